//! The kinds of trouble: their names for programs, and whether trying again can help.

/// What kind of trouble there is with an image, for whoever decides what to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The registry cannot be reached, or the connection broke.
    Network,
    /// Nothing, or next to nothing, came for too long.
    Timeout,
    /// The time that the caller gave was over.
    Deadline,
    /// The proxy cannot be reached, or does not let us through.
    Proxy,
    /// The server's certificate is not trusted, or nobody is.
    Untrusted,
    /// There is no TLS session for another reason.
    Tls,
    /// A credential is missing.
    CredentialMissing,
    /// A credential is not accepted, or not for this.
    CredentialRejected,
    /// A place where credentials are kept cannot be used.
    CredentialUnreadable,
    /// There is no such image.
    NotFound,
    /// There is no such image for the platform.
    Platform,
    /// What came is not what was promised: size, digest or diff ID.
    Integrity,
    /// What came is hostile, broken or not supported.
    Refused,
    /// The configuration forbids to go there.
    Blocked,
    /// The registry says that it is asked too much.
    RateLimited,
    /// The registry is there, and says that it cannot answer now.
    Unavailable,
    /// The registry answered in no way that is of use.
    Registry,
    /// The image takes more than it may.
    Budget,
    /// The disk is full, or would be.
    DiskFull,
    /// The store or the system failed.
    System,
}

impl ErrorKind {
    /// All of them.
    pub const ALL: [Self; 20] = [
        Self::Network,
        Self::Timeout,
        Self::Deadline,
        Self::Proxy,
        Self::Untrusted,
        Self::Tls,
        Self::CredentialMissing,
        Self::CredentialRejected,
        Self::CredentialUnreadable,
        Self::NotFound,
        Self::Platform,
        Self::Integrity,
        Self::Refused,
        Self::Blocked,
        Self::RateLimited,
        Self::Unavailable,
        Self::Registry,
        Self::Budget,
        Self::DiskFull,
        Self::System,
    ];

    /// Its name for programs, which stays the same from version to version.
    pub fn code(self) -> &'static str {
        match self {
            Self::Network => "network",
            Self::Timeout => "timeout",
            Self::Deadline => "deadline",
            Self::Proxy => "proxy",
            Self::Untrusted => "untrusted",
            Self::Tls => "tls",
            Self::CredentialMissing => "credential-missing",
            Self::CredentialRejected => "credential-rejected",
            Self::CredentialUnreadable => "credential-unreadable",
            Self::NotFound => "not-found",
            Self::Platform => "platform",
            Self::Integrity => "integrity",
            Self::Refused => "refused",
            Self::Blocked => "blocked",
            Self::RateLimited => "rate-limited",
            Self::Unavailable => "unavailable",
            Self::Registry => "registry",
            Self::Budget => "budget",
            Self::DiskFull => "disk-full",
            Self::System => "system",
        }
    }

    /// Whether the same may succeed later, or on another machine.
    pub fn is_retryable(self) -> bool {
        match self {
            Self::Network
            | Self::Timeout
            | Self::Deadline
            | Self::Proxy
            | Self::RateLimited
            | Self::Unavailable
            | Self::DiskFull
            | Self::System => true,
            Self::Untrusted
            | Self::Tls
            | Self::CredentialMissing
            | Self::CredentialRejected
            | Self::CredentialUnreadable
            | Self::NotFound
            | Self::Platform
            | Self::Integrity
            | Self::Refused
            | Self::Blocked
            | Self::Registry
            | Self::Budget => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn none_is_missing_in_the_list_and_no_code_is_there_twice() {
        for (number, kind) in ErrorKind::ALL.iter().enumerate() {
            assert_eq!(*kind as usize, number, "{kind:?}");
        }
        assert_eq!(ErrorKind::System as usize + 1, ErrorKind::ALL.len());
        let codes: std::collections::BTreeSet<_> =
            ErrorKind::ALL.iter().map(|kind| kind.code()).collect();
        assert_eq!(codes.len(), ErrorKind::ALL.len());
    }
}
