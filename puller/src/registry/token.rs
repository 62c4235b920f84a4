//! Bearer tokens: how one is asked for (distribution, "Token Authentication" and "OAuth2").

use std::time::{Duration, Instant};

use serde::Deserialize;
use ucr_images::{Login, Secret};
use url::Url;
use url::form_urlencoded::Serializer;

use super::error::Error;
use super::error_body;
use crate::http::{Client, Method, Request, Response};

/// The most that a token server's answer may hold.
const ANSWER_LIMIT: usize = 1024 * 1024;
/// What we call ourselves to token servers that speak OAuth 2.
const CLIENT_ID: &str = "ucr";
/// How long a token is good for that does not say, and the least that is believed: one for
/// less is not to be given out (distribution, "Token Authentication Specification").
const SHORTEST_LIFE: Duration = Duration::from_secs(60);
/// A token is renewed so long before its end: the request that it goes with takes its time.
const MARGIN: Duration = Duration::from_secs(10);

/// What a registry asked for in its challenge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TokenRequest {
    /// The token server's URL, of which it is known that it may be asked.
    pub(super) realm: Url,
    /// What the token server knows the registry by.
    pub(super) service: Option<String>,
    /// What the token must allow; nothing in particular when `None`.
    pub(super) scope: Option<String>,
}

/// What goes along with the question for a token.
#[derive(Debug, Clone, Copy)]
pub(super) enum Grant<'a> {
    /// Nothing: anybody may have it.
    Anonymous,
    /// A user and its password.
    Login(&'a Login),
    /// A refresh token.
    Refresh(&'a Secret),
}

/// A token, and what came with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token {
    /// The value of an `Authorization` header.
    pub(super) authorization: Secret,
    /// What gets the next token without the password.
    pub(super) refresh: Option<Secret>,
    /// When to ask for another.
    pub(super) due: Due,
}

/// The moment after which a token is renewed before it is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Due(Option<Instant>);

impl Due {
    /// For a token that is used for as long as it is taken.
    pub(super) const NEVER: Self = Self(None);

    /// For a token that was asked for at `asked` and is good for so many seconds.
    ///
    /// It counts from the question, by our own clock: when it was issued is said by a clock
    /// that may be wrong.
    fn of(asked: Instant, expires_in: Option<u64>) -> Self {
        let life = Duration::from_secs(expires_in.unwrap_or(0)).max(SHORTEST_LIFE);
        Self(asked.checked_add(life.saturating_sub(MARGIN)))
    }

    /// Whether that moment has come; never for one further away than the clock goes.
    pub(super) fn has_come(self, now: Instant) -> bool {
        self.0.is_some_and(|due| now >= due)
    }
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    token: Option<String>,
    #[serde(default)]
    access_token: Option<String>,
    #[serde(default)]
    refresh_token: Option<String>,
    /// Some write it as a fraction.
    #[serde(default)]
    expires_in: Option<serde_json::Number>,
}

/// A question for a token that was answered with a refusal.
#[derive(Debug)]
pub(super) enum Failure {
    /// Whoever asked may not have it, in the server's words.
    Refused(String),
    /// Everything else.
    Other(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Other(error)
    }
}

/// Asks for a token. A password goes with GET, as every registry takes it, and with POST to a
/// server that only knows that (404 or 405); a refresh token with POST.
pub(super) fn fetch(
    client: &Client,
    wanted: &TokenRequest,
    grant: Grant<'_>,
) -> Result<Token, Failure> {
    let asked = Instant::now();
    let response = match grant {
        Grant::Refresh(refresh) => {
            let extra = [
                ("grant_type", "refresh_token"),
                ("refresh_token", refresh.expose()),
            ];
            post(client, wanted, &extra)?
        }
        Grant::Anonymous => get(client, wanted, None)?,
        Grant::Login(login) => {
            let response = get(client, wanted, Some(login))?;
            if matches!(response.status, 404 | 405) {
                post_password(client, wanted, login)?
            } else {
                response
            }
        }
    };
    match (response.status, grant) {
        (200, _) => understand(&response, asked),
        // RFC 6749, section 5.2: a grant that is no good is a bad request.
        (400, Grant::Refresh(_)) | (401 | 403, _) => {
            Err(Failure::Refused(error_body::said(&response)))
        }
        (status, _) => Err(Failure::Other(Error::Status {
            url: (&response.url).into(),
            status,
            said: error_body::said(&response),
        })),
    }
}

fn get(client: &Client, wanted: &TokenRequest, login: Option<&Login>) -> Result<Response, Error> {
    let mut url = wanted.realm.clone();
    for (name, value) in wanted.parameters() {
        url.query_pairs_mut().append_pair(name, value);
    }
    let request = Request {
        authorization: login.map(Login::basic),
        ..Request::get(url)
    };
    Ok(client.fetch(&request, ANSWER_LIMIT)?)
}

fn post_password(client: &Client, wanted: &TokenRequest, login: &Login) -> Result<Response, Error> {
    let extra = [
        ("grant_type", "password"),
        ("username", login.principal.as_str()),
        ("password", login.secret.expose()),
    ];
    post(client, wanted, &extra)
}

fn post(client: &Client, wanted: &TokenRequest, extra: &[(&str, &str)]) -> Result<Response, Error> {
    let mut form = Serializer::new(String::new());
    form.extend_pairs(wanted.parameters());
    form.append_pair("client_id", CLIENT_ID);
    form.extend_pairs(extra);
    let request = Request {
        method: Method::Post(Secret::new(form.finish())),
        ..Request::get(wanted.realm.clone())
    };
    Ok(client.fetch(&request, ANSWER_LIMIT)?)
}

impl TokenRequest {
    /// Whether another request is for the same service of the same server.
    pub(super) fn is_at_the_server_of(&self, other: &Self) -> bool {
        (&self.realm, &self.service) == (&other.realm, &other.service)
    }

    fn parameters(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let service = self.service.as_deref().map(|service| ("service", service));
        let scope = self.scope.as_deref().map(|scope| ("scope", scope));
        service.into_iter().chain(scope)
    }
}

fn understand(response: &Response, asked: Instant) -> Result<Token, Failure> {
    let missing = || {
        Failure::Other(Error::TokenMissing {
            url: (&response.url).into(),
        })
    };
    let answer: Answer = serde_json::from_slice(&response.body).map_err(|_no_json| missing())?;
    let mut tokens = [answer.token, answer.access_token].into_iter().flatten();
    let token = tokens.find(|token| is_sendable(token));
    let refresh = answer.refresh_token.filter(|token| !token.is_empty());
    let expires_in = answer.expires_in.and_then(|number| number.as_u64());
    Ok(Token {
        authorization: bearer(&token.ok_or_else(missing)?),
        refresh: refresh.map(Secret::new),
        due: Due::of(asked, expires_in),
    })
}

/// The value of an `Authorization` header of the Bearer scheme (RFC 6750).
pub(super) fn bearer(token: &str) -> Secret {
    Secret::new(format!("Bearer {token}"))
}

/// A token goes into a header: nothing that could end the line, and something at all.
fn is_sendable(token: &str) -> bool {
    !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(body: &str) -> Option<Token> {
        let response = Response {
            url: Url::parse("https://r.example/token").unwrap(),
            status: 200,
            headers: Vec::new(),
            body: body.as_bytes().to_vec(),
            counted: 0,
        };
        understand(&response, Instant::now()).ok()
    }

    #[test]
    fn p33_both_names_of_a_token_and_none_that_could_end_a_header_line() {
        let token = |body: &str| Some(answered(body)?.authorization.expose().to_owned());
        assert_eq!(token(r#"{"token":"a"}"#).as_deref(), Some("Bearer a"));
        assert_eq!(
            token(r#"{"access_token":"b"}"#).as_deref(),
            Some("Bearer b")
        );
        let both = r#"{"token":"","access_token":"b","issued_at":0,"expires_in":1.5}"#;
        assert_eq!(token(both).as_deref(), Some("Bearer b"));
        for nothing in [
            "{}",
            "[]",
            "",
            r#"{"token":""}"#,
            r#"{"token":"a\r\nX: y"}"#,
            r#"{"token":null}"#,
        ] {
            assert_eq!(token(nothing), None, "{nothing}");
        }
    }

    #[test]
    fn p33_a_refresh_token_may_come_along() {
        let refresh = |body: &str| answered(body).unwrap().refresh;
        assert_eq!(
            refresh(r#"{"token":"a","refresh_token":"r"}"#),
            Some(Secret::new("r"))
        );
        assert_eq!(refresh(r#"{"token":"a","refresh_token":""}"#), None);
    }

    #[test]
    fn p33_a_token_is_renewed_before_its_end_by_our_own_clock() {
        let asked = Instant::now();
        let has_come = |expires_in, seconds| {
            Due::of(asked, expires_in).has_come(asked + Duration::from_secs(seconds))
        };
        for unsaid in [None, Some(0), Some(1), Some(60)] {
            assert!(!has_come(unsaid, 49), "{unsaid:?}");
            assert!(has_come(unsaid, 50), "{unsaid:?}");
        }
        assert!(!has_come(Some(300), 289));
        assert!(has_come(Some(300), 290));
        assert!(!has_come(Some(u64::MAX), 1 << 30));
    }

    #[test]
    fn service_and_scope_are_asked_for() {
        let wanted = TokenRequest {
            realm: Url::parse("https://r.example/token?x=1").unwrap(),
            service: Some("s v".to_owned()),
            scope: Some("repository:a/b:pull".to_owned()),
        };
        let mut form = Serializer::new(String::new());
        form.extend_pairs(wanted.parameters());
        assert_eq!(form.finish(), "service=s+v&scope=repository%3Aa%2Fb%3Apull");
    }
}
