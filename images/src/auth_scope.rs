//! What an entry of an auth file is for: a registry, or a part of its repositories.

use std::fmt;
use std::str::FromStr;

use crate::RegistryHost;

/// A registry, and the path below which it counts; all of the registry when that is empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthScope {
    /// The registry.
    pub host: RegistryHost,
    path: String,
}

/// The text is no registry with an optional path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{}\" is not HOST[:PORT][/PATH]", .text.escape_debug())]
pub struct AuthScopeError {
    text: String,
}

impl AuthScope {
    /// The whole of a registry.
    pub fn all_of(host: RegistryHost) -> Self {
        Self {
            host,
            path: String::new(),
        }
    }

    /// The path in the registry, without slashes at its ends.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// What a key of an auth file means, `None` when it is no registry.
    ///
    /// Docker's older keys are URLs, and mean the whole host; so does the path of an API
    /// version (`https://index.docker.io/v1/`).
    pub fn of_key(key: &str) -> Option<Self> {
        let is_url = |scheme: &&str| key.starts_with(scheme);
        let scheme = ["https://", "http://"].into_iter().find(is_url);
        let bare = &key[scheme.map_or(0, str::len)..];
        let (host, path) = bare.split_once('/').unwrap_or((bare, ""));
        let path = path.trim_end_matches('/');
        let is_of_host = scheme.is_some() || matches!(path, "v1" | "v2");
        Some(Self {
            host: host.parse().ok()?,
            path: if is_of_host { "" } else { path }.to_owned(),
        })
    }

    /// Whether it counts for a repository; the longer its path, the more it counts.
    pub fn covers(&self, host: &RegistryHost, repository: &str) -> bool {
        let rest = repository.strip_prefix(self.path.as_str());
        let ends = rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        self.host == *host && (self.path.is_empty() || ends)
    }
}

impl FromStr for AuthScope {
    type Err = AuthScopeError;

    /// Reads what a person names: `HOST[:PORT][/PATH]`, or a key as docker writes it.
    fn from_str(text: &str) -> Result<Self, AuthScopeError> {
        let plain = |scope: &Self| scope.path.split('/').all(is_component);
        Self::of_key(text)
            .filter(|scope| scope.path.is_empty() || plain(scope))
            .ok_or_else(|| AuthScopeError {
                text: text.to_owned(),
            })
    }
}

fn is_component(text: &str) -> bool {
    let is_of_name = |byte: u8| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'_' | b'-')
    };
    !text.is_empty() && !matches!(text, "." | "..") && text.bytes().all(is_of_name)
}

impl fmt::Display for AuthScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.host)?;
        if self.path.is_empty() {
            return Ok(());
        }
        write!(f, "/{}", self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_every_generation_are_understood() {
        for (key, expected) in [
            ("r.example", "r.example"),
            ("r.example:443", "r.example"),
            ("https://r.example:5000/", "r.example:5000"),
            ("http://r.example/some/path", "r.example"),
            ("r.example/team/app/", "r.example/team/app"),
            ("https://index.docker.io/v1/", "docker.io"),
            ("index.docker.io/v1/", "docker.io"),
            ("docker.io/library/busybox", "docker.io/library/busybox"),
            ("[::1]:5000/x", "[::1]:5000/x"),
        ] {
            assert_eq!(AuthScope::of_key(key).unwrap().to_string(), expected);
        }
        assert_eq!(AuthScope::of_key("*.example"), None);
        assert_eq!(AuthScope::of_key(""), None);
    }

    #[test]
    fn a_path_counts_for_whole_components() {
        let scope: AuthScope = "r.example/team".parse().unwrap();
        let host: RegistryHost = "R.example:443".parse().unwrap();
        assert!(scope.covers(&host, "team"));
        assert!(scope.covers(&host, "team/app"));
        assert!(!scope.covers(&host, "teams/app"));
        assert!(!scope.covers(&host, "other"));
        assert!(!scope.covers(&"r.example:5000".parse().unwrap(), "team"));
    }

    #[test]
    fn what_a_person_names_must_be_able_to_match() {
        for text in [
            "",
            "r.example/UPPER",
            "r.example/a//b",
            "r.example/..",
            "a b",
        ] {
            assert!(text.parse::<AuthScope>().is_err(), "{text}");
        }
    }
}
