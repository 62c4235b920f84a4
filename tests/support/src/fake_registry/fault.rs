//! What goes wrong, and with which requests.

use std::fmt;
use std::sync::Arc;

use super::gate::Latch;
use super::message::{Ending, Framing, Hold, Request, Response};

/// Something that goes wrong with a request that would have succeeded.
///
/// Where HTTP/2 is spoken, what resets a connection resets the stream
/// (RST_STREAM), and what cuts it off tells the client to go away (GOAWAY).
#[derive(Clone)]
pub enum Fault {
    /// Only this much of the body is sent, then the connection ends; its length was told in full.
    Truncate(usize),
    /// The connection is reset instead of an answer.
    Reset,
    /// The connection is reset after this much of the body.
    ResetAfter(usize),
    /// One bit of the body is wrong.
    WrongBytes,
    /// The body is cut or filled up to this length, which is told truly.
    Resize(usize),
    /// An error with this status and the body that the distribution spec has for it.
    Status(u16),
    /// An error with `Retry-After` in seconds.
    RetryAfter(u16, u32),
    /// A redirect with this status to this URL.
    Redirect(u16, String),
    /// A redirect to the same path on another base, `https://HOST:PORT`.
    RedirectToBase(String),
    /// The body stops after `offset` bytes until a gate is released; see `FakeRegistry::gate`.
    #[doc(hidden)]
    Hold {
        /// How many bytes come before.
        offset: usize,
        /// What is waited for.
        gate: Latch,
    },
    /// A page for people, with status 200, as a captive portal sends.
    Html,
    /// A body of this many spaces.
    Huge(usize),
    /// The whole body with status 200 although a part was asked for.
    IgnoreRange,
    /// Status 206 with the bytes from the beginning, whatever was asked for.
    WrongRange,
    /// The end of the body is told in another way.
    Framing(Framing),
    /// These bytes instead of an answer, whatever they are; then the connection ends.
    Raw(Vec<u8>),
    /// A header is added or replaced.
    Header(String, String),
    /// Whatever a closure gives.
    Respond(Responder),
}

/// Makes a response to a request.
pub(super) type Responder = Arc<dyn Fn(&Request) -> Response + Send + Sync>;

impl Fault {
    /// Answers wrongly; `honest` is how it would have been right.
    pub(super) fn answer(
        &self,
        request: &Request,
        honest: &dyn Fn(&Request) -> Response,
    ) -> Response {
        match self {
            Self::Reset => Response {
                ending: Ending::Reset,
                ..Response::new(0, "", Vec::new())
            },
            Self::Status(status) => Response::error(*status, code(*status), "as the test wants it"),
            Self::RetryAfter(status, seconds) => {
                Response::error(*status, code(*status), "come back later")
                    .header("Retry-After", &seconds.to_string())
            }
            Self::Redirect(status, location) => redirect(*status, location),
            Self::RedirectToBase(base) => redirect(307, &format!("{base}{}", request.target)),
            Self::Html => Response::new(200, "text/html", "<!DOCTYPE html><title>Log in</title>"),
            Self::Huge(length) => Response {
                body: vec![b' '; *length],
                ..honest(request)
            },
            Self::IgnoreRange => honest(&without_range(request)),
            Self::Raw(bytes) => Response {
                framing: Framing::Raw,
                ending: Ending::Close,
                ..Response::new(200, "", bytes.clone())
            },
            Self::Respond(respond) => respond(request),
            _ => self.damage(request, honest(request), honest),
        }
    }

    /// The faults that change an honest response.
    fn damage(
        &self,
        request: &Request,
        mut response: Response,
        honest: &dyn Fn(&Request) -> Response,
    ) -> Response {
        let length = response.body.len();
        match self {
            Self::Truncate(keep) | Self::ResetAfter(keep) => {
                response.framing = Framing::Claimed(length);
                response.body.truncate(*keep);
                let reset = matches!(self, Self::ResetAfter(_));
                response.ending = if reset { Ending::Reset } else { Ending::Cut };
            }
            Self::WrongBytes => {
                if let Some(byte) = response.body.last_mut() {
                    *byte ^= 1;
                }
            }
            Self::Resize(length) => response.body.resize(*length, b' '),
            Self::Hold { offset, gate } => {
                response.hold = Some(Hold {
                    offset: *offset,
                    latch: gate.clone(),
                });
            }
            Self::WrongRange => {
                response.body = honest(&without_range(request)).body;
                response.body.truncate(length);
            }
            Self::Framing(framing) => {
                response.framing = *framing;
                match framing {
                    Framing::Close => response.ending = Ending::Close,
                    Framing::ChunkedUnterminated => response.ending = Ending::Cut,
                    _ => {}
                }
            }
            Self::Header(name, value) => return response.header(name, value),
            _ => {}
        }
        response
    }
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fault").finish_non_exhaustive()
    }
}

fn redirect(status: u16, location: &str) -> Response {
    Response::new(status, "text/plain", "elsewhere").header("Location", location)
}

fn without_range(request: &Request) -> Request {
    let mut request = request.clone();
    request.headers.retain(|(name, _)| name != "range");
    request
}

/// The code of the distribution spec that goes with a status.
fn code(status: u16) -> &'static str {
    match status {
        401 => "UNAUTHORIZED",
        403 => "DENIED",
        404 => "NAME_UNKNOWN",
        429 => "TOOMANYREQUESTS",
        503 => "UNAVAILABLE",
        _ => "UNKNOWN",
    }
}

/// A fault, for which requests, and how often yet.
#[derive(Debug)]
pub(super) struct Rule {
    pattern: String,
    fault: Fault,
    left: Option<usize>,
}

impl Rule {
    pub(super) fn new(pattern: &str, fault: Fault, times: Option<usize>) -> Self {
        Self {
            pattern: pattern.to_owned(),
            fault,
            left: times,
        }
    }
}

/// All faults of a registry; of several that match, the oldest counts.
#[derive(Debug, Default)]
pub(super) struct Rules(Vec<Rule>);

impl Rules {
    pub(super) fn push(&mut self, rule: Rule) {
        self.0.push(rule);
    }

    /// The fault that meets this request.
    pub(super) fn take(&mut self, request: &Request) -> Option<Fault> {
        let matches = |rule: &&mut Rule| rule.left != Some(0) && request.matches(&rule.pattern);
        let rule = self.0.iter_mut().find(matches)?;
        rule.left = rule.left.map(|left| left - 1);
        Some(rule.fault.clone())
    }
}
