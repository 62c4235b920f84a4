//! Who asks a registry, and the proof: secrets that nobody can print by accident.

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

/// A principal and its secret: what `docker login` calls user and password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// The name, which may appear in messages.
    pub principal: String,
    /// The password, or a token that stands for one.
    pub secret: Secret,
}

impl Login {
    /// The value of an HTTP `Authorization` header of the Basic scheme (RFC 7617).
    pub fn basic(&self) -> Secret {
        Secret::new(format!("Basic {}", self.encoded().expose()))
    }

    /// Both as the `auth` of an auth file has them.
    pub fn encoded(&self) -> Secret {
        use base64::Engine as _;
        let pair = format!("{}:{}", self.principal, self.secret.expose());
        Secret::new(base64::engine::general_purpose::STANDARD.encode(pair))
    }
}

/// What a registry can be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credential {
    /// User and password, for the registry itself or for its token server.
    Login(Login),
    /// A refresh token, which the token server takes for tokens (OAuth 2, RFC 6749, section 6).
    IdentityToken(Secret),
    /// A token for the registry itself, to be sent as it is.
    RegistryToken(Secret),
}

impl Credential {
    /// A principal and its password.
    pub fn login(principal: impl Into<String>, secret: impl Into<String>) -> Self {
        Self::Login(Login {
            principal: principal.into(),
            secret: Secret::new(secret),
        })
    }
}

impl fmt::Display for Credential {
    /// Whose it is, as messages say it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Login(Login { principal, .. }) => {
                write!(f, "principal \"{}\"", principal.escape_debug())
            }
            Self::IdentityToken(_) => f.write_str("an identity token"),
            Self::RegistryToken(_) => f.write_str("a registry token"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s48_a_secret_shows_nowhere_it_is_formatted() {
        let kinds = [
            Credential::login("alice", "wonderland"),
            Credential::IdentityToken(Secret::new("wonderland")),
            Credential::RegistryToken(Secret::new("wonderland")),
        ];
        for credential in kinds {
            assert!(!format!("{credential:?} {credential}").contains("wonderland"));
        }
        assert_eq!(format!("{}", Secret::new("wonderland")), "[redacted]");
    }

    #[test]
    fn basic_is_the_pair_in_base64() {
        let login = Login {
            principal: "alice".to_owned(),
            secret: Secret::new("wonderland"),
        };
        assert_eq!(login.basic().expose(), "Basic YWxpY2U6d29uZGVybGFuZA==");
    }
}
