//! What a pull is at.

/// What a pull was at when something happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Finding out what the name stands for: manifest and configuration.
    Resolve,
    /// Proving who asks.
    Auth,
    /// Making a connection that can be trusted.
    Tls,
    /// Fetching layers.
    Download,
    /// Comparing what came with what was promised.
    Verify,
    /// Unpacking layers.
    Unpack,
    /// Keeping them.
    Store,
}

impl Phase {
    /// Its name for programs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Resolve => "resolve",
            Self::Auth => "auth",
            Self::Tls => "tls",
            Self::Download => "download",
            Self::Verify => "verify",
            Self::Unpack => "unpack",
            Self::Store => "store",
        }
    }
}
