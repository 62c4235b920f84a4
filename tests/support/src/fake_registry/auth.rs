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
    credential: Option<(String, String)>,
    field: TokenField,
    /// A refresh token that is as good as the credential.
    refresh: Option<String>,
    /// Whether the refresh token comes along with each token.
    gives_refresh: bool,
    /// Whether only POST is known.
    post_only: bool,
}

/// Whether it is a token that is asked for.
pub(super) fn is_for_token(request: &Request) -> bool {
    request.path() == "/token"
}

impl Auth {
    pub(super) fn require_basic(&mut self, user: &str, password: &str) {
        self.demand = Demand::Basic(basic(user, password));
    }

    pub(super) fn require_nothing(&mut self) {
        self.demand = Demand::Nothing;
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
        let owned = |(user, password): (&str, &str)| (user.to_owned(), password.to_owned());
        self.issues = Some(TokenService {
            credential: credential.map(owned),
            field,
            refresh: None,
            gives_refresh: false,
            post_only: false,
        });
    }

    pub(super) fn accept_refresh(&mut self, token: &str) {
        if let Some(service) = &mut self.issues {
            service.refresh = Some(token.to_owned());
        }
    }

    pub(super) fn give_refresh(&mut self, token: &str) {
        self.accept_refresh(token);
        if let Some(service) = &mut self.issues {
            service.gives_refresh = true;
        }
    }

    pub(super) fn issue_by_post_only(&mut self) {
        if let Some(service) = &mut self.issues {
            service.post_only = true;
        }
    }

    pub(super) fn expire_tokens(&mut self) {
        self.generation += 1;
    }

    /// The answer to those who may not, and to those who ask for a token.
    pub(super) fn check(&self, request: &Request) -> Option<Response> {
        if is_for_token(request) {
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
        let is_post = request.method == "POST";
        if service.post_only && !is_post {
            return Response::error(405, "UNSUPPORTED", "only POST");
        }
        let form = String::from_utf8_lossy(&request.body).into_owned();
        let (_, query) = request.target.split_once('?').unwrap_or_default();
        let given = fields(if is_post { &form } else { query });
        if !service.accepts(request, &given) {
            return refuse("Basic realm=\"token\"");
        }
        let scopes = given.iter().filter(|(name, _)| name == "scope");
        let scopes: Vec<_> = scopes.map(|(_, scope)| scope.as_str()).collect();
        let token = format!("{}{}", self.token_prefix(), hex::encode(scopes.join(" ")));
        let field = match service.field {
            TokenField::Token => "token",
            TokenField::AccessToken => "access_token",
        };
        let mut answer = json!({field: token, "expires_in": 300});
        if service.gives_refresh {
            answer["refresh_token"] = json!(service.refresh);
        }
        Response::new(200, "application/json", answer.to_string())
    }

    /// The same for all registries, so that one can give tokens for another.
    fn token_prefix(&self) -> String {
        format!("fake.{}.", self.generation)
    }
}

impl TokenService {
    fn accepts(&self, request: &Request, given: &[(String, String)]) -> bool {
        let Some((user, password)) = &self.credential else {
            return true;
        };
        let field = |name: &str| {
            let found = given.iter().find(|(key, _)| key == name);
            found.map(|(_, value)| value.as_str())
        };
        match field("grant_type").filter(|_| request.method == "POST") {
            None => request.header("authorization") == Some(&basic(user, password)),
            Some("password") => {
                (field("username"), field("password")) == (Some(user), Some(password))
            }
            Some("refresh_token") => {
                self.refresh.is_some() && field("refresh_token") == self.refresh.as_deref()
            }
            Some(_) => false,
        }
    }
}

/// The names and values of a query or a form.
fn fields(text: &str) -> Vec<(String, String)> {
    let pairs = text.split('&').filter_map(|pair| pair.split_once('='));
    pairs
        .map(|(name, value)| (name.to_owned(), percent_decode(value)))
        .collect()
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
