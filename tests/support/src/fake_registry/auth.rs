//! Who may ask: nobody needs a credential, a name and password, or a token.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::message::{Request, Response};

/// The field of the answer that holds the token (distribution spec: both are in use).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenField {
    /// `token`, as Docker Hub.
    Token,
    /// `access_token`, as OAuth 2.
    AccessToken,
}

#[derive(Debug, Default)]
pub(super) struct Auth {
    pub(super) own_realm: String,
    demand: Demand,
    issues: Option<TokenService>,
    generation: usize,
}

#[derive(Debug, Default)]
enum Demand {
    #[default]
    Nothing,
    Basic(String),
    Bearer {
        realm: String,
    },
}

#[derive(Debug)]
struct TokenService {
    credential: Option<String>,
    field: TokenField,
}

impl Auth {
    pub(super) fn require_basic(&mut self, user: &str, password: &str) {
        self.demand = Demand::Basic(basic(user, password));
    }

    pub(super) fn require_bearer(&mut self) {
        self.demand = Demand::Bearer {
            realm: self.own_realm.clone(),
        };
    }

    pub(super) fn require_bearer_from(&mut self, realm: &str) {
        self.demand = Demand::Bearer {
            realm: realm.to_owned(),
        };
    }

    pub(super) fn issue_tokens(&mut self, credential: Option<(&str, &str)>, field: TokenField) {
        let credential = credential.map(|(user, password)| basic(user, password));
        self.issues = Some(TokenService { credential, field });
    }

    pub(super) fn expire_tokens(&mut self) {
        self.generation += 1;
    }

    /// The answer to those who may not, and to those who ask for a token.
    pub(super) fn check(&self, request: &Request) -> Option<Response> {
        if request.path() == "/token" {
            return self
                .issues
                .as_ref()
                .map(|service| self.issue(service, request));
        }
        let given = request.header("authorization");
        match &self.demand {
            Demand::Nothing => None,
            Demand::Basic(wanted) if given == Some(wanted) => None,
            Demand::Basic(_) => Some(refuse("Basic realm=\"fake\"")),
            Demand::Bearer { realm } => self.check_token(realm, request, given),
        }
    }

    fn check_token(&self, realm: &str, request: &Request, given: Option<&str>) -> Option<Response> {
        let scope = scope(request.path());
        let accepted = |given: &str| {
            let scopes = given.strip_prefix(&self.token_prefix()).and_then(unpack);
            scopes.is_some_and(|scopes| scope.is_empty() || scopes.split(' ').any(|s| s == scope))
        };
        if given
            .and_then(|given| given.strip_prefix("Bearer "))
            .is_some_and(accepted)
        {
            return None;
        }
        let mut challenge = format!("Bearer realm=\"{realm}\",service=\"fake\"");
        if !scope.is_empty() {
            challenge += &format!(",scope=\"{scope}\"");
        }
        Some(refuse(&challenge))
    }

    fn issue(&self, service: &TokenService, request: &Request) -> Response {
        if service.credential.is_some()
            && request.header("authorization") != service.credential.as_deref()
        {
            return refuse("Basic realm=\"token\"");
        }
        let query = request
            .target
            .split_once('?')
            .map_or("", |(_, query)| query);
        let scopes: Vec<_> = query
            .split('&')
            .filter_map(|pair| pair.strip_prefix("scope="))
            .map(percent_decode)
            .collect();
        let token = format!("{}{}", self.token_prefix(), hex::encode(scopes.join(" ")));
        let field = match service.field {
            TokenField::Token => "token",
            TokenField::AccessToken => "access_token",
        };
        Response::new(
            200,
            "application/json",
            json!({field: token, "expires_in": 300}).to_string(),
        )
    }

    /// The same for all registries, so that one can give tokens for another.
    fn token_prefix(&self) -> String {
        format!("fake.{}.", self.generation)
    }
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

fn refuse(challenge: &str) -> Response {
    Response::error(401, "UNAUTHORIZED", "authentication required")
        .header("WWW-Authenticate", challenge)
}

fn unpack(scopes: &str) -> Option<String> {
    String::from_utf8(hex::decode(scopes).ok()?).ok()
}

/// The scope that a path needs; none for `/v2/` itself.
fn scope(path: &str) -> String {
    let rest = path.strip_prefix("/v2/").unwrap_or_default();
    let ends = ["/manifests/", "/blobs/", "/tags/"]
        .iter()
        .filter_map(|part| rest.find(part));
    ends.min().map_or_else(String::new, |end| {
        format!("repository:{}:pull", &rest[..end])
    })
}

fn percent_decode(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        match (
            first,
            tail.get(..2).and_then(|digits| hex::decode(digits).ok()),
        ) {
            (b'%', Some(decoded)) => {
                bytes.extend(decoded);
                rest = &tail[2..];
            }
            (b'+', _) => bytes.push(b' '),
            _ => bytes.push(*first),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
