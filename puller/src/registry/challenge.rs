//! `WWW-Authenticate`: which proof a registry wants (RFC 9110, section 11.6.1).

/// One challenge of a 401 answer that `ucr` can meet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Challenge {
    /// User and password with each request.
    Basic,
    /// A token.
    Bearer(Bearer),
}

/// Where a token is to be had, and for what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bearer {
    /// The URL of the token server, as the registry wrote it.
    pub(crate) realm: String,
    /// What the token server knows the registry by.
    pub(crate) service: Option<String>,
    /// What the token must allow.
    pub(crate) scope: Option<String>,
}

/// The most challenges of one answer that are looked at.
const MAX_CHALLENGES: usize = 16;

/// The most bytes of a challenge that are worth remembering.
const MAX_REMEMBERED: usize = 4096;

/// The fields of an answer as text for [`of_memory`]; `None` where it is too long.
pub(crate) fn to_remember<'a>(fields: impl Iterator<Item = &'a str>) -> Option<String> {
    let text = fields.collect::<Vec<_>>().join("\n");
    (text.len() <= MAX_REMEMBERED).then_some(text)
}

/// The challenge of an answer of earlier.
pub(crate) fn of_memory(text: &str) -> Option<Challenge> {
    choose(text.lines())
}

/// The challenge to meet: Bearer before Basic, `None` when neither is among them.
pub(crate) fn choose<'a>(fields: impl Iterator<Item = &'a str>) -> Option<Challenge> {
    let challenges: Vec<Raw> = fields.flat_map(parse).take(MAX_CHALLENGES).collect();
    let bearer = challenges.iter().find_map(|one| {
        let realm = one.parameter("realm").filter(|_| one.is("bearer"))?;
        Some(Challenge::Bearer(Bearer {
            realm: realm.to_owned(),
            service: one.parameter("service").map(str::to_owned),
            scope: one.parameter("scope").map(str::to_owned),
        }))
    });
    bearer.or_else(|| {
        challenges
            .iter()
            .any(|one| one.is("basic"))
            .then_some(Challenge::Basic)
    })
}

/// Whether a token was good, but for something else (RFC 6750, section 3.1).
pub(crate) fn lacks_scope<'a>(fields: impl Iterator<Item = &'a str>) -> bool {
    let mut challenges = fields.flat_map(parse).take(MAX_CHALLENGES);
    challenges.any(|one| one.is("bearer") && one.parameter("error") == Some("insufficient_scope"))
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Raw {
    scheme: String,
    parameters: Vec<(String, String)>,
}

impl Raw {
    fn is(&self, scheme: &str) -> bool {
        self.scheme.eq_ignore_ascii_case(scheme)
    }

    fn parameter(&self, name: &str) -> Option<&str> {
        let found = self
            .parameters
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name));
        found
            .map(|(_, value)| value.as_str())
            .filter(|value| !value.is_empty())
    }
}

/// Reads one field value; what cannot be read is passed over.
fn parse(field: &str) -> Vec<Raw> {
    let mut challenges: Vec<Raw> = Vec::new();
    let mut rest = field.trim_start();
    while !rest.is_empty() && challenges.len() <= MAX_CHALLENGES {
        let (word, after) = split_token(rest);
        if word.is_empty() {
            rest = rest.get(1..).unwrap_or_default().trim_start();
            continue;
        }
        let after = after.trim_start();
        match after.strip_prefix('=').filter(|_| !challenges.is_empty()) {
            Some(value) => {
                let (value, after) = split_value(value.trim_start());
                if let Some(current) = challenges.last_mut() {
                    current.parameters.push((word.to_owned(), value));
                }
                rest = after.trim_start();
            }
            None => {
                challenges.push(Raw {
                    scheme: word.to_owned(),
                    parameters: Vec::new(),
                });
                rest = after;
            }
        }
    }
    challenges
}

fn split_token(text: &str) -> (&str, &str) {
    let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~/".contains(c);
    text.split_at(text.find(|c| !is_token(c)).unwrap_or(text.len()))
}

fn split_value(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let (token, after) = split_token(text);
        return (token.to_owned(), after);
    };
    let mut value = String::new();
    let mut escaped = false;
    for (at, c) in quoted.char_indices() {
        match c {
            _ if escaped => {
                value.push(c);
                escaped = false;
            }
            '\\' => escaped = true,
            '"' => return (value, &quoted[at + 1..]),
            _ => value.push(c),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(field: &str) -> Option<Challenge> {
        choose([field].into_iter())
    }

    fn bearer(realm: &str, service: Option<&str>, scope: Option<&str>) -> Challenge {
        Challenge::Bearer(Bearer {
            realm: realm.to_owned(),
            service: service.map(str::to_owned),
            scope: scope.map(str::to_owned),
        })
    }

    #[test]
    fn a_docker_challenge() {
        let field = r#"Bearer realm="https://auth.example/token",service="r.example",scope="repository:a/b:pull""#;
        let expected = bearer(
            "https://auth.example/token",
            Some("r.example"),
            Some("repository:a/b:pull"),
        );
        assert_eq!(one(field), Some(expected));
    }

    #[test]
    fn a_comma_in_a_quoted_scope_ends_nothing() {
        let field = r#"Bearer realm="https://a/t" , scope="repository:x:pull,push""#;
        assert_eq!(
            one(field),
            Some(bearer("https://a/t", None, Some("repository:x:pull,push")))
        );
    }

    #[test]
    fn bearer_is_preferred_in_any_order() {
        let both = r#"Basic realm="r", Bearer realm="https://a/t""#;
        assert_eq!(one(both), Some(bearer("https://a/t", None, None)));
        let fields = [r#"bearer Realm="https://a/t""#, r#"BASIC realm="r""#];
        assert_eq!(
            choose(fields.into_iter()),
            Some(bearer("https://a/t", None, None))
        );
    }

    #[test]
    fn p30_what_cannot_be_read_or_met_is_no_challenge() {
        for field in [
            "",
            ",,,",
            "Negotiate",
            "Digest realm=\"x\"",
            "=\"",
            "Bearer",
            "Bearer realm=",
        ] {
            assert_eq!(one(field), None, "{field}");
        }
        assert_eq!(one("Basic"), Some(Challenge::Basic));
        assert_eq!(
            one(&"Basic realm=\"x\", ".repeat(100_000)),
            Some(Challenge::Basic)
        );
    }

    #[test]
    fn p35_a_token_for_something_else_is_told_from_no_right_at_all() {
        let lacks = |field: &str| lacks_scope([field].into_iter());
        assert!(lacks(
            r#"Basic realm="x", Bearer realm="https://a/t",error="insufficient_scope""#
        ));
        assert!(!lacks(
            r#"Bearer realm="https://a/t",error="invalid_token""#
        ));
        assert!(!lacks(r#"Basic realm="x",error="insufficient_scope""#));
    }

    #[test]
    fn an_open_quote_ends_with_the_field() {
        assert_eq!(
            one(r#"Bearer realm="https://a/t"#),
            Some(bearer("https://a/t", None, None))
        );
    }
}
