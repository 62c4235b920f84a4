//! HTTPS by libcurl: requests, their answers, and many transfers in one thread.
//!
//! This module is the only one that knows libcurl. It does not know registries:
//! redirects and challenges come back as answers, and whoever asked decides
//! what a credential may be sent to. libcurl reads nothing of its own here: no
//! environment, no netrc, no CApath, no cookies, no proxy but the one in the
//! settings; whom TLS trusts is asked of a policy for each host and port.

mod attempt;
mod authorities;
mod client;
mod download;
mod error;
mod greeting;
mod no_proxy;
mod part;
mod probe;
mod proxy;
mod redirect;
mod request;
mod response;
mod retry;
mod transfers;
mod trust;
mod way;

pub(crate) use client::Client;
pub use client::{Ranges, Settings};
pub(crate) use download::{Download, Downloaded, Failed, Validators};
pub use error::{Error, Peer, Untrusted};
pub use greeting::{Greeting, greet};
pub use probe::{Answered, probe};
pub use proxy::{Proxies, ProxyError, ShownProxy};
pub(crate) use redirect::{Origin, redirect_target};
pub use request::ShownUrl;
pub(crate) use request::{ByteRange, Identify, Method, Request};
pub(crate) use response::Response;
pub(crate) use retry::{Failure, Verdict, luck, status_may_pass};
pub use retry::{Listener, Patience, Retrying};
pub(crate) use transfers::{Ended, MAX_CONNECTIONS, Transfers, Waker};
pub use trust::{HostTrust, Identity, TrustPolicy, Verification};
pub use way::Way;
