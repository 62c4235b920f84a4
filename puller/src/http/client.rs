//! How every handle is set up, and requests done one at a time.

use std::cell::RefCell;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use curl::easy::{Easy2, Handler, HttpVersion, List, NetRc, WriteError};
use url::Url;

use super::attempt::Attempt;
use super::authorities::Authorities;
use super::error::{Error, host_and_port};
use super::part;
use super::proxy::Proxies;
use super::request::{ByteRange, Method, Request, ShownUrl};
use super::response::{Response, content_length};
use super::retry::{self, Failure, Listener, Patience, Retrying, Verdict};
use super::trust::{HostTrust, TrustPolicy};
use crate::spool::{SpoolWriter, Taken};

/// What libcurl reads from a socket at once.
const RECEIVE_BUFFER: usize = 128 * 1024;
/// The most of an answer with another status than 200 that is kept.
const ERROR_BODY_LIMIT: usize = 64 * 1024;

/// What every connection is made with.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Whom to trust, asked for each host and port.
    pub trust: Arc<dyn TrustPolicy>,
    /// The proxy to go through, if any, and where not.
    pub proxies: Proxies,
    /// An empty directory of ours: libcurl is given it as CApath, so that no other is trusted.
    pub empty_ca_path: PathBuf,
    /// What `User-Agent` says.
    pub user_agent: String,
    /// How long a connection, TLS included, may take to come about.
    pub connect_timeout: Duration,
    /// How often and how long failures are put up with.
    pub patience: Patience,
    /// Whether large bodies are fetched by several requests at once.
    pub ranges: Ranges,
}

/// Whether large bodies are fetched by several requests at once, each for a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Ranges {
    /// Where it turns out to be faster.
    #[default]
    Adaptive,
    /// Wherever two parts have this many bytes at least.
    Always(u64),
    /// Nowhere.
    Never,
}

/// A maker of handles, and one handle for requests done one at a time.
#[derive(Debug)]
pub(crate) struct Client<'l> {
    settings: Settings,
    authorities: Authorities,
    listener: Option<&'l dyn Listener>,
    easy: RefCell<Easy2<Receiver>>,
}

impl<'l> Client<'l> {
    /// A client that has not connected anywhere yet, and tells `listener` what it does again.
    pub(crate) fn telling(settings: Settings, listener: &'l dyn Listener) -> Self {
        Self {
            listener: Some(listener),
            ..Self::new(settings)
        }
    }

    /// A client that has not connected anywhere yet.
    pub(crate) fn new(settings: Settings) -> Self {
        assert!(
            ucr_sys_openssl::is_unconfigured(),
            "OpenSSL has read a configuration, which may accept what must not be"
        );
        Self {
            settings,
            authorities: Authorities::default(),
            listener: None,
            easy: RefCell::new(Easy2::new(Receiver::default())),
        }
    }

    /// Sends `request` and waits for the whole answer, whose body may have `limit` bytes.
    ///
    /// A failure that may pass is put up with as the settings say.
    ///
    /// # Errors
    /// When there is no answer, or one with a larger body.
    pub(crate) fn fetch(&self, request: &Request, limit: usize) -> Result<Response, Error> {
        let mut failures = 0;
        loop {
            let result = self.fetch_once(request, limit);
            match self.again(&result, &request.url, failures)? {
                Some(wait) => ucr_images::pause(wait),
                None => return result,
            }
            failures += 1;
        }
    }

    /// As [`Self::fetch`], where a failure is put up with by asking somebody else.
    ///
    /// # Errors
    /// As [`Self::fetch`].
    pub(crate) fn fetch_once(&self, request: &Request, limit: usize) -> Result<Response, Error> {
        let extent = match request.method {
            Method::Size => Extent::Size,
            _ => Extent::Whole,
        };
        let receiver = Receiver {
            limit,
            extent,
            ..Receiver::default()
        };
        self.perform(request, receiver)
    }

    /// How long to wait before a request that ended so is repeated, if it is to be.
    ///
    /// # Errors
    /// When the deadline is before that.
    fn again(
        &self,
        result: &Result<Response, Error>,
        url: &Url,
        failures: u32,
    ) -> Result<Option<Duration>, Error> {
        match Failure::of(result) {
            Some(failure) => self.after(failure, url, failures),
            None => Ok(None),
        }
    }

    /// How long to wait before a request of `url` is repeated that failed so, if it is to be.
    ///
    /// # Errors
    /// When the deadline is before that.
    pub(super) fn after(
        &self,
        failure: Failure,
        url: &Url,
        failures: u32,
    ) -> Result<Option<Duration>, Error> {
        let patience = self.patience();
        match patience.verdict(failures, &failure, retry::luck()) {
            Verdict::GiveUp => Ok(None),
            Verdict::After(after) => {
                self.tell(&Retrying {
                    what: host_and_port(url),
                    why: failure.why,
                    after,
                    attempt: failures + 1,
                    of: patience.retries.min(failure.most),
                });
                Ok(Some(after))
            }
            Verdict::TooLate(wait) => Err(Error::TooLate {
                url: url.into(),
                why: failure.why,
                wait,
            }),
        }
    }

    /// Tells whoever wants to know that a request will be repeated.
    pub(crate) fn tell(&self, retrying: &Retrying) {
        tracing::debug!(what = retrying.what, why = retrying.why, "asking again");
        if let Some(listener) = self.listener {
            listener.retrying(retrying);
        }
    }

    /// How often and how long failures are put up with.
    pub(crate) fn patience(&self) -> &Patience {
        &self.settings.patience
    }

    /// Whether large bodies are fetched by several requests at once.
    pub(crate) fn ranges(&self) -> Ranges {
        self.settings.ranges
    }

    /// Sends `request` and waits for the answer; of its body `limit` bytes are waited for at most,
    /// and dropped.
    ///
    /// # Errors
    /// When there is no answer.
    pub(super) fn fetch_beginning(
        &self,
        request: &Request,
        limit: usize,
    ) -> Result<Response, Error> {
        let receiver = Receiver {
            limit,
            extent: Extent::Beginning,
            ..Receiver::default()
        };
        self.perform(request, receiver)
    }

    /// Sends `request` and waits for status and headers; the connection ends with the body's begin.
    ///
    /// # Errors
    /// When there is no answer.
    pub(super) fn fetch_head(&self, request: &Request) -> Result<Response, Error> {
        let receiver = Receiver {
            extent: Extent::Head,
            ..Receiver::default()
        };
        self.perform(request, receiver)
    }

    fn perform(&self, request: &Request, receiver: Receiver) -> Result<Response, Error> {
        let mut easy = self.easy.borrow_mut();
        easy.reset();
        *easy.get_mut() = receiver;
        self.configure(&mut easy, request, HttpVersion::V2TLS)?;
        let result = easy
            .perform()
            .map_err(|error| self.explain(&error, &easy, &request.url));
        let answer = std::mem::take(easy.get_mut()).into_answer(result, &request.url);
        if answer.is_err() {
            // The next one goes over a new connection: libcurl would ask for another stream of an
            // HTTP/2 connection in which one has stalled.
            *easy = Easy2::new(Receiver::default());
        }
        answer
    }

    /// A handle of its own for a body that goes into `sink`, over HTTP/1.1.
    ///
    /// HTTP/2 is not used for blobs: libcurl keeps some 10 MB for each paused stream.
    pub(super) fn streaming(
        &self,
        request: &Request,
        sink: SpoolWriter,
    ) -> Result<Easy2<Receiver>, Error> {
        let receiver = Receiver {
            sink: Some(sink),
            range: request.range,
            ..Receiver::default()
        };
        let mut easy = Easy2::new(receiver);
        self.configure(&mut easy, request, HttpVersion::V11)?;
        Ok(easy)
    }

    /// Makes a handle ask for `request`, trusting and going by the way that the settings say.
    pub(super) fn configure<H: Handler>(
        &self,
        easy: &mut Easy2<H>,
        request: &Request,
        version: HttpVersion,
    ) -> Result<(), Error> {
        let Settings {
            trust: policy,
            proxies,
            empty_ca_path,
            ..
        } = &self.settings;
        let trust = HostTrust::for_url(&**policy, &request.url)?;
        self.set_options(easy, request, version)
            .and_then(|()| trust.apply(easy, (&self.authorities, empty_ca_path), request.identify))
            .map_err(Error::Setup)?;
        match proxies.to(&request.url) {
            Some(proxy) => proxy.apply(easy, &**policy, empty_ca_path),
            None => Ok(()),
        }
    }

    /// What it means that the request of `easy` for `url` failed.
    pub(super) fn explain<H>(&self, error: &curl::Error, easy: &Easy2<H>, url: &Url) -> Error {
        Attempt::of(easy, url, self.settings.proxies.to(url))
            .left(self.settings.patience.deadline.left())
            .explain(error)
    }

    fn set_options<H: Handler>(
        &self,
        easy: &mut Easy2<H>,
        request: &Request,
        version: HttpVersion,
    ) -> Result<(), curl::Error> {
        easy.url(request.url.as_str())?;
        set_method(easy, &request.method)?;
        if let Some(range) = request.range {
            easy.range(&range.to_string())?;
        }
        easy.http_headers(header_list(request)?)?;
        easy.useragent(&self.settings.user_agent)?;
        easy.http_version(version)?;
        easy.buffer_size(RECEIVE_BUFFER)?;
        easy.connect_timeout(self.settings.connect_timeout)?;
        easy.low_speed_limit(self.settings.patience.least_rate)?;
        easy.low_speed_time(self.settings.patience.stalled_after)?;
        if let Some(left) = self.settings.patience.deadline.left() {
            // Zero would mean forever.
            easy.timeout(left.max(Duration::from_millis(1)))?;
        }
        easy.follow_location(false)?;
        easy.netrc(NetRc::Ignored)?;
        // Empty is "none, whatever the environment says" (CURLOPT_PROXY(3), CURLOPT_NOPROXY(3)).
        easy.proxy("")?;
        easy.noproxy("")
    }
}

fn set_method<H: Handler>(easy: &mut Easy2<H>, method: &Method) -> Result<(), curl::Error> {
    match method {
        Method::Get | Method::Size => easy.get(true),
        Method::Head => easy.nobody(true),
        Method::Post(form) => {
            easy.post(true)?;
            easy.post_fields_copy(form.expose().as_bytes())
        }
    }
}

pub(super) fn header_list(request: &Request) -> Result<List, curl::Error> {
    let mut headers = List::new();
    if !request.accept.is_empty() {
        headers.append(&format!("Accept: {}", request.accept.join(", ")))?;
    }
    if let Some(authorization) = &request.authorization {
        headers.append(&format!("Authorization: {}", authorization.expose()))?;
    }
    Ok(headers)
}

/// How much of an answer is wanted.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Extent {
    #[default]
    Whole,
    Head,
    /// As much of the body as may come.
    Beginning,
    /// How large the body is.
    Size,
    /// All that was wanted came, and with it a body that nobody wants.
    Enough,
}

/// What libcurl hands an answer to as it comes.
#[derive(Debug, Default)]
pub(super) struct Receiver {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    counted: u64,
    limit: usize,
    extent: Extent,
    overflowed: bool,
    abandoned: bool,
    sink: Option<SpoolWriter>,
    /// What was asked for, and whether the answer has been compared with it.
    range: Option<ByteRange>,
    compared: bool,
}

impl Receiver {
    /// Gives the sink of the body back.
    pub(super) fn take_sink(&mut self) -> Option<SpoolWriter> {
        self.sink.take()
    }

    /// Makes an answer of what came, or an error of how it ended.
    pub(super) fn into_answer(
        self,
        result: Result<(), Error>,
        url: &Url,
    ) -> Result<Response, Error> {
        if self.overflowed {
            return Err(Error::TooLarge {
                url: url.into(),
                limit: self.body_limit(),
            });
        }
        if self.abandoned {
            return Err(Error::Abandoned);
        }
        if self.extent != Extent::Enough {
            result?;
        }
        tracing::debug!(url = %ShownUrl::from(url), status = self.status, "answered");
        Ok(Response {
            url: url.clone(),
            status: self.status,
            headers: self.headers,
            body: self.body,
            counted: self.counted,
        })
    }

    fn body_limit(&self) -> usize {
        if self.status == 200 {
            self.limit
        } else {
            ERROR_BODY_LIMIT
        }
    }

    fn keep(&mut self, data: &[u8]) -> usize {
        match self.extent {
            Extent::Size if self.status == 200 => return self.count(data.len()),
            Extent::Whole | Extent::Beginning | Extent::Size => {}
            Extent::Head | Extent::Enough => {
                self.extent = Extent::Enough;
                return 0;
            }
        }
        let room = self.body_limit().saturating_sub(self.body.len());
        let kept = data.len().min(room);
        self.body.extend_from_slice(&data[..kept]);
        if kept < data.len() {
            // The rest of a refusal's text is not waited for: it need not have an end.
            match (self.status, self.extent) {
                (200, Extent::Whole | Extent::Size) => self.overflowed = true,
                _ => self.extent = Extent::Enough,
            }
        }
        kept
    }

    /// Takes the size that the server tells, or counts on; returns how many bytes were taken.
    fn count(&mut self, more: usize) -> usize {
        let told = header(&self.headers, "content-length").and_then(content_length);
        let so_far = self.counted.saturating_add(more as u64);
        let most = (self.limit as u64).saturating_add(1);
        self.counted = told.unwrap_or(so_far.min(most));
        if told.is_some() || self.counted == most {
            self.extent = Extent::Enough;
            return 0;
        }
        more
    }
}

impl Handler for Receiver {
    fn header(&mut self, line: &[u8]) -> bool {
        let line = String::from_utf8_lossy(line);
        let line = line.trim_end();
        if line.starts_with("HTTP/") {
            // A new head begins, as after "100 Continue".
            self.headers.clear();
            self.status = line
                .split(' ')
                .nth(1)
                .and_then(|code| code.parse().ok())
                .unwrap_or(0);
        } else if let Some((name, value)) = line.split_once(':') {
            self.headers
                .push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
        }
        true
    }

    fn write(&mut self, data: &[u8]) -> Result<usize, WriteError> {
        let partial = self.status == 206 && self.range.is_some();
        let Some(sink) = self.sink.as_mut().filter(|_| self.status == 200 || partial) else {
            return Ok(self.keep(data));
        };
        let mut taken = Taken::All;
        if !self.compared {
            self.compared = true;
            let came = header(&self.headers, "content-range");
            taken = part::compare(self.range, self.status, came, sink);
        }
        if taken == Taken::All {
            taken = sink.write(data);
        }
        match taken {
            Taken::All => Ok(data.len()),
            Taken::Stopped => {
                self.abandoned = true;
                Ok(0)
            }
        }
    }
}

fn header<'h>(headers: &'h [(String, String)], name: &str) -> Option<&'h str> {
    let found = headers.iter().find(|(key, _)| key == name);
    found.map(|(_, value)| value.as_str())
}
