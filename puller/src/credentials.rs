//! A principal and its secret, which nobody can print by accident.

use std::fmt;

/// Text that shows as `[redacted]` wherever it is formatted.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself; named so that each use can be found.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// Who asks a registry, and the proof: what `docker login` calls user and password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credential {
    /// The name, which may appear in messages.
    pub principal: String,
    /// The password or token.
    pub secret: Secret,
}

impl Credential {
    /// The value of an HTTP `Authorization` header of the Basic scheme (RFC 7617).
    pub(crate) fn basic(&self) -> Secret {
        use base64::Engine as _;
        let pair = format!("{}:{}", self.principal, self.secret.expose());
        let encoded = base64::engine::general_purpose::STANDARD.encode(pair);
        Secret::new(format!("Basic {encoded}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s48_a_secret_shows_nowhere_it_is_formatted() {
        let credential = Credential {
            principal: "alice".to_owned(),
            secret: Secret::new("wonderland"),
        };
        assert!(!format!("{credential:?} {}", credential.secret).contains("wonderland"));
    }

    #[test]
    fn basic_is_the_pair_in_base64() {
        let credential = Credential {
            principal: "alice".to_owned(),
            secret: Secret::new("wonderland"),
        };
        assert_eq!(
            credential.basic().expose(),
            "Basic YWxpY2U6d29uZGVybGFuZA=="
        );
    }
}
