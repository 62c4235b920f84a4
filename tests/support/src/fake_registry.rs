//! A registry in this process that tells what it was asked, and fails as told.
//!
//! It serves the pull half of the OCI distribution spec over HTTP/1.1 with
//! keep-alive, on a loopback port of its own, with TLS or in clear:
//!
//! ```
//! use test_support::fake_registry::{FakeRegistry, Fault};
//! use test_support::{HttpClient, ImageBuilder, TestCa};
//!
//! let ca = TestCa::new("test");
//! let registry = FakeRegistry::https(&ca);
//! registry.put("app", "latest", &ImageBuilder::new().build());
//! registry.fault_times("GET /v2/app/manifests", Fault::Status(503), 1);
//!
//! let client = HttpClient::https(&registry.host(), &ca.pem());
//! assert_eq!(client.get("/v2/app/manifests/latest").unwrap().status, 503);
//! assert_eq!(client.get("/v2/app/manifests/latest").unwrap().status, 200);
//! assert_eq!(registry.count("/manifests/"), 2);
//! ```
//!
//! A *pattern* is any part of the text `METHOD /path?query`. Authentication is
//! checked before faults, so that a fault hits the request that would succeed;
//! who asks for a token meets faults first.

mod auth;
mod content;
mod fault;
mod gate;
mod http2;
mod message;
mod server;

use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use rustls::ServerConfig;

use crate::ca::TestCa;
use crate::image::{Image, ImageIndex, Stored};
use crate::schema1::Schema1Image;

pub use auth::TokenField;
pub use fault::Fault;
pub use gate::Gate;
pub use message::{Ending, Framing, Hold, Request, Response};

use auth::Auth;
use content::Content;
use fault::{Rule, Rules};
use gate::Latch;
use server::Server;

/// An event that does not come within this time never will.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running registry; it stops when it is dropped.
#[derive(Debug)]
pub struct FakeRegistry {
    shared: Arc<Shared>,
    server: Server,
    scheme: &'static str,
}

/// A request as it came, and what was answered.
#[derive(Debug, Clone)]
pub struct Recorded {
    /// The request.
    pub request: Request,
    /// The status of the answer.
    pub status: u16,
    /// When it came.
    pub at: Instant,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    recorded: Condvar,
}

#[derive(Debug, Default)]
struct State {
    content: Content,
    auth: Auth,
    rules: Rules,
    log: Vec<Recorded>,
    latches: Vec<Latch>,
    connections: usize,
}

impl FakeRegistry {
    /// Starts a registry whose certificate, for localhost and the loopback
    /// addresses, is signed by `ca`.
    pub fn https(ca: &TestCa) -> Self {
        Self::with_tls(ca.issue(&["localhost", "127.0.0.1", "::1"]).server_config())
    }

    /// Starts a registry that speaks HTTP/2 with whoever offers it, and HTTP/1.1
    /// with others; how faults show there is said by [`Fault`].
    pub fn http2(ca: &TestCa) -> Self {
        let issued = ca.issue(&["localhost", "127.0.0.1", "::1"]);
        let mut config = ServerConfig::clone(&issued.server_config());
        config.alpn_protocols.insert(0, http2::ALPN.to_vec());
        Self::with_tls(Arc::new(config))
    }

    /// Starts a registry with TLS settings of the test's own.
    pub fn with_tls(config: Arc<ServerConfig>) -> Self {
        Self::start(Some(config), "https")
    }

    /// Starts a registry in clear, for what must be refused.
    pub fn http() -> Self {
        Self::start(None, "http")
    }

    fn start(tls: Option<Arc<ServerConfig>>, scheme: &'static str) -> Self {
        let shared = Arc::new(Shared::default());
        let server = Server::start(tls, shared.clone());
        shared.lock().auth.own_realm = format!("{scheme}://{}/token", server.address());
        Self {
            shared,
            server,
            scheme,
        }
    }

    /// The address that it listens on.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// `127.0.0.1:PORT`, as it stands in an image reference.
    pub fn host(&self) -> String {
        self.address().to_string()
    }

    /// The URL of a path.
    pub fn url(&self, path: &str) -> String {
        format!("{}://{}{path}", self.scheme, self.address())
    }

    /// Serves an image under a tag and its digest.
    pub fn put(&self, repository: &str, tag: &str, image: &Image) {
        self.shared.lock().content.put_image(repository, tag, image);
    }

    /// Serves an image of schema 1 under a tag and its digest.
    pub fn put_schema1(&self, repository: &str, tag: &str, image: &Schema1Image) {
        for (digest, bytes) in image.blobs() {
            self.put_blob(repository, &digest, bytes);
        }
        self.put_manifest(repository, tag, &image.manifest);
    }

    /// Serves an index and the images in it.
    pub fn put_index(&self, repository: &str, tag: &str, index: &ImageIndex) {
        self.shared.lock().content.put_index(repository, tag, index);
    }

    /// Serves any document as manifest, under a tag and its digest.
    pub fn put_manifest(&self, repository: &str, tag: &str, manifest: &Stored) {
        self.shared
            .lock()
            .content
            .put_manifest(repository, tag, manifest);
    }

    /// Serves bytes under any digest, which need not be theirs.
    pub fn put_blob(&self, repository: &str, digest: &str, bytes: Vec<u8>) {
        self.shared
            .lock()
            .content
            .put_blob(repository, digest, bytes);
    }

    /// From now on asks for this name and password.
    pub fn require_basic(&self, user: &str, password: &str) {
        self.shared.lock().auth.require_basic(user, password);
    }

    /// From now on lets in anybody.
    pub fn require_nothing(&self) {
        self.shared.lock().auth.require_nothing();
    }

    /// From now on asks for a token, which its own `/token` gives to those who
    /// have the credential, or to everybody.
    pub fn require_bearer(&self, credential: Option<(&str, &str)>, field: TokenField) {
        let mut state = self.shared.lock();
        state.auth.require_bearer();
        state.auth.issue_tokens(credential, field);
    }

    /// From now on asks for a token from elsewhere, for example
    /// `other.url("/token")` of a registry that [`Self::issue_tokens`].
    pub fn require_bearer_from(&self, realm: &str) {
        self.shared.lock().auth.require_bearer_from(realm);
    }

    /// Gives tokens at `/token`, for any registry of this kind.
    pub fn issue_tokens(&self, credential: Option<(&str, &str)>, field: TokenField) {
        self.shared.lock().auth.issue_tokens(credential, field);
    }

    /// Takes this refresh token for tokens, by POST to `/token`.
    pub fn accept_refresh(&self, token: &str) {
        self.shared.lock().auth.accept_refresh(token);
    }

    /// The same, and gives it to everybody who gets a token.
    pub fn give_refresh(&self, token: &str) {
        self.shared.lock().auth.give_refresh(token);
    }

    /// Answers GET of `/token` with 405: passwords are to come by POST.
    pub fn issue_by_post_only(&self) {
        self.shared.lock().auth.issue_by_post_only();
    }

    /// Makes all tokens that this registry gave worthless.
    pub fn expire_tokens(&self) {
        self.shared.lock().auth.expire_tokens();
    }

    /// Answers requests that match with a fault, from now on.
    pub fn fault(&self, pattern: &str, fault: Fault) {
        self.shared
            .lock()
            .rules
            .push(Rule::new(pattern, fault, None));
    }

    /// Answers the next `times` requests that match with a fault.
    pub fn fault_times(&self, pattern: &str, fault: Fault, times: usize) {
        self.shared
            .lock()
            .rules
            .push(Rule::new(pattern, fault, Some(times)));
    }

    /// Answers requests that match with whatever the closure gives.
    pub fn respond(
        &self,
        pattern: &str,
        respond: impl Fn(&Request) -> Response + Send + Sync + 'static,
    ) {
        self.fault(pattern, Fault::Respond(Arc::new(respond)));
    }

    /// Takes all faults back.
    pub fn heal(&self) {
        self.shared.lock().rules = Rules::default();
    }

    /// Holds back what follows the first `offset` bytes of each body that matches,
    /// until the gate is released or dropped.
    pub fn gate(&self, pattern: &str, offset: usize) -> Gate {
        let gate = Gate::default();
        self.shared.lock().latches.push(gate.latch());
        self.fault(
            pattern,
            Fault::Hold {
                offset,
                gate: gate.latch(),
            },
        );
        gate
    }

    /// All requests that match, in the order of their answers.
    pub fn requests(&self, pattern: &str) -> Vec<Recorded> {
        let state = self.shared.lock();
        state
            .log
            .iter()
            .filter(|recorded| recorded.request.matches(pattern))
            .cloned()
            .collect()
    }

    /// How many requests match.
    pub fn count(&self, pattern: &str) -> usize {
        self.requests(pattern).len()
    }

    /// How many connections were opened.
    pub fn connections(&self) -> usize {
        self.shared.lock().connections
    }

    /// Waits until `count` requests that match have come.
    #[track_caller]
    pub fn wait_for(&self, pattern: &str, count: usize) {
        let deadline = Instant::now() + PATIENCE;
        let mut state = self.shared.lock();
        loop {
            let matching = state
                .log
                .iter()
                .filter(|seen| seen.request.matches(pattern))
                .count();
            if matching >= count {
                return;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(
                !left.is_zero(),
                "{matching} of {count} requests for {pattern:?} came"
            );
            (state, _) = self.shared.recorded.wait_timeout(state, left).unwrap();
        }
    }
}

impl Drop for FakeRegistry {
    fn drop(&mut self) {
        for latch in std::mem::take(&mut self.shared.lock().latches) {
            latch.release();
        }
        self.server.stop();
    }
}

impl Shared {
    /// A thread that panicked has failed its test already.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Decides the answer to a request, and records both.
    fn answer(&self, request: &Request) -> Response {
        let mut state = self.lock();
        let decided = state.auth.check(request);
        let fault = match &decided {
            Some(_) if !auth::is_for_token(request) => None,
            _ => state.rules.take(request),
        };
        let honest = |request: &Request| {
            let content = || state.content.answer(request);
            decided.clone().unwrap_or_else(content)
        };
        let response = match &fault {
            Some(fault) => fault.answer(request, &honest),
            None => honest(request),
        };
        state.log.push(Recorded {
            request: request.clone(),
            status: response.status,
            at: Instant::now(),
        });
        self.recorded.notify_all();
        response
    }
}

#[cfg(test)]
mod tests;
