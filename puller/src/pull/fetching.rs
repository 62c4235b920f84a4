//! One layer that is being fetched: what is there of it, whom to ask, and how often it failed.

use std::time::Instant;

use ucr_images::image::{Layer, Origin};
use ucr_images::store::Partial;
use url::Url;

use super::error::{LayerError, PullError};
use super::layers::{Job, Task};
use crate::http::{self, ByteRange, Client, Failure, Response, Retrying, ShownUrl, Verdict};
use crate::registry::{Role, Session, Trail};
use crate::spool::{Gap, Spool, Stop};

/// So many bytes more, and earlier failures are forgotten: the network works, only not for long.
const PROGRESS: u64 = 1024 * 1024;

/// A layer, its bytes so far, and its troubles.
#[derive(Debug)]
pub(super) struct Fetching {
    pub(super) layer: Layer,
    pub(super) spool: Spool,
    /// Who is asked.
    pub(super) place: Place,
    partial: Partial,
    /// Bytes that were there before, which nobody has verified.
    inherited: u64,
    failures: u32,
    received_at_failure: u64,
    not_before: Option<Instant>,
    pub(super) in_parts: InParts,
    /// Whether its bytes came by several requests at once, or from several places.
    is_mixed: bool,
    /// Whether somebody sent more than there is, which ends the worker too.
    has_overflowed: bool,
    /// The places of the route that were passed over for it.
    pub(super) trail: Trail,
    /// What those outside said that were passed over for it.
    passed: Vec<String>,
    trouble: Option<LayerError>,
}

/// Whom a layer is asked of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// One of the route to the image.
    Route(usize),
    /// One of those that the manifest names, outside of any registry.
    Outside(usize),
}

/// Whether the server sends parts of a body when asked for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum InParts {
    /// As far as anybody knows.
    Hoped,
    /// It does, but not several at once.
    OneByOne,
    /// It has not, or wrong ones.
    Refused,
}

/// How a request for a part of the layer ended.
#[derive(Debug)]
pub(super) enum Outcome {
    /// With all that was asked for, or as much as the server thinks there is.
    Body,
    /// With more bytes than the layer has.
    TooLong,
    /// With another part of it than was asked for.
    WrongPart,
    /// With nobody who takes the bytes: the worker ended, and will say why.
    Unread,
    /// With bytes that the disk did not take.
    Disk(ucr_sys::Error),
    /// Early, in a way that may pass.
    Failed(Failure, LayerError),
    /// With a refusal that asking again will not change.
    Refused(LayerError),
}

/// What follows for the layer.
#[derive(Debug)]
pub(super) enum Then {
    /// It is asked for again, now or later.
    GoOn,
    /// This place cannot give it.
    NotHere(LayerError),
    /// It cannot be had anywhere.
    Failed(LayerError),
}

/// What there is when a layer's worker has ended.
#[derive(Debug)]
pub(super) enum Settled<T> {
    /// The layer, and what the worker found out of it.
    Done(T),
    /// Something else, part of which may be of another process or another request.
    Doubtful,
    /// Something else, and all of it from one place.
    Wrong(LayerError),
    /// A failure that is not about the bytes.
    Failed(LayerError),
}

impl Outcome {
    /// What it means that a body's sink stopped for `stop`, or did not.
    pub(super) fn of_body(stop: Option<Stop>) -> Self {
        match stop {
            None | Some(Stop::Full) => Self::Body,
            Some(Stop::TooLong) => Self::TooLong,
            Some(Stop::WrongPart) => Self::WrongPart,
            Some(Stop::Unread) => Self::Unread,
            Some(Stop::Disk(error)) => Self::Disk(error),
        }
    }

    /// What it means that a request ended with no body.
    pub(super) fn of_failure(result: Result<Response, http::Error>, session: &Session<'_>) -> Self {
        let failure = Failure::of(&result);
        match (result, failure) {
            (Ok(response), _) if response.status == 416 => Self::WrongPart,
            (Ok(response), Some(failure)) => {
                Self::Failed(failure, session.refusal(&response).into())
            }
            (Err(error), Some(failure)) => Self::Failed(failure, error.into()),
            (Err(error), None) => Self::Refused(error.into()),
            (Ok(_), None) => Self::Body,
        }
    }

    /// Whether the server has shown that it wants no more requests at once.
    pub(super) fn is_enough_for_the_server(&self) -> bool {
        match self {
            Self::WrongPart => true,
            Self::Failed(failure, _) => failure.is_too_many,
            _ => false,
        }
    }
}

impl Fetching {
    /// Begins with what is there of the layer, and gives away what is to be done with it.
    pub(super) fn begin(job: Job) -> Result<(Self, Task), PullError> {
        let Job {
            task,
            layer,
            partial,
            place,
            in_parts,
            trail,
            passed,
        } = job;
        let spool = partial.dir().and_then(|dir| Spool::open(dir, layer.size));
        let spool = spool.map_err(|source| PullError::Layer {
            digest: layer.digest.clone(),
            source: Box::new(LayerError::Spool(source)),
        })?;
        let inherited = spool.received();
        let fetching = Self {
            layer,
            spool,
            place,
            partial,
            inherited,
            failures: 0,
            received_at_failure: inherited,
            not_before: None,
            in_parts,
            trail,
            passed,
            is_mixed: false,
            has_overflowed: false,
            trouble: None,
        };
        Ok((fetching, task))
    }

    /// Whether it may be asked for now.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.trouble.is_none() && self.not_before.is_none_or(|then| then <= now)
    }

    /// When it may be asked for, where that is not now.
    pub(super) fn not_before(&self) -> Option<Instant> {
        self.not_before.filter(|_| self.trouble.is_none())
    }

    /// Whether it has failed already.
    pub(super) fn has_trouble(&self) -> bool {
        self.trouble.is_some()
    }

    /// What to ask for to fill `gap`; `None` for the whole.
    pub(super) fn range(&self, gap: Gap) -> Option<ByteRange> {
        let whole = gap.start == 0 && gap.end == self.layer.size;
        if whole || self.in_parts == InParts::Refused {
            return None;
        }
        let last = (gap.end < self.layer.size).then(|| gap.end - 1);
        Some(ByteRange {
            first: gap.start,
            last,
        })
    }

    /// Bytes that are missing.
    pub(super) fn missing(&self) -> u64 {
        self.layer.size - self.spool.received()
    }

    /// Whether several requests could share what is missing, in parts of `least` bytes.
    pub(super) fn may_be_shared(&self, least: u64) -> bool {
        self.trouble.is_none()
            && self.in_parts == InParts::Hoped
            && self.not_before.is_none()
            && self.spool.gaps().is_empty()
            && self.missing() >= least.saturating_mul(2)
    }

    /// Lets one more request share in what is missing.
    pub(super) fn share(&mut self, least: u64) {
        self.is_mixed |= self.spool.split(least).is_some();
    }

    /// Decides what follows from how a request ended.
    ///
    /// What passes is put up with only where there is nobody else to ask: not with a mirror.
    pub(super) fn conclude(&mut self, outcome: Outcome, role: Role, client: &Client<'_>) -> Then {
        match outcome {
            Outcome::Unread => Then::GoOn,
            Outcome::Body if self.spool.gaps().is_empty() => {
                self.not_before = None;
                Then::GoOn
            }
            Outcome::Body => {
                let (declared, actual) = (self.layer.size, self.spool.received());
                let error = LayerError::Size { declared, actual };
                if role == Role::Mirror {
                    return Then::NotHere(error);
                }
                let failure = Failure::new(format!("it sent {actual} bytes of {declared}"));
                self.failed_for_now(&failure, error, client)
            }
            Outcome::TooLong => {
                self.has_overflowed = true;
                let declared = self.layer.size;
                let actual = declared + 1;
                Then::NotHere(LayerError::Size { declared, actual })
            }
            Outcome::WrongPart if self.in_parts == InParts::Refused => {
                Then::NotHere(LayerError::Parts)
            }
            Outcome::WrongPart => self.without_parts(),
            Outcome::Disk(source) => Then::Failed(LayerError::Spool(source)),
            Outcome::Failed(failure, _) if failure.is_too_many && self.is_fetched_without_it() => {
                Then::GoOn
            }
            Outcome::Failed(_, error) if role == Role::Mirror => Then::NotHere(error),
            Outcome::Failed(mut failure, error) => {
                // Whoever gave the manifest is no host that was mistyped: it may be restarting.
                if matches!(self.place, Place::Route(_)) {
                    failure.most = u32::MAX;
                }
                self.failed_for_now(&failure, error, client)
            }
            Outcome::Refused(error) => Then::NotHere(error),
        }
    }

    /// Whether all that is missing is still being fetched after a request too many was refused.
    fn is_fetched_without_it(&mut self) -> bool {
        self.in_parts = self.in_parts.max(InParts::OneByOne);
        self.spool.join_empty();
        self.spool.gaps().is_empty()
    }

    fn failed_for_now(
        &mut self,
        failure: &Failure,
        error: LayerError,
        client: &Client<'_>,
    ) -> Then {
        let received = self.spool.received();
        if received >= self.received_at_failure.saturating_add(PROGRESS) {
            self.failures = 0;
        }
        self.received_at_failure = received;
        let patience = client.patience();
        match patience.verdict(self.failures, failure, http::luck()) {
            Verdict::After(wait) => {
                self.failures += 1;
                self.not_before = Some(Instant::now() + wait);
                client.tell(&Retrying {
                    what: format!("layer {}", self.layer.digest.short()),
                    why: failure.why.clone(),
                    after: wait,
                    attempt: self.failures,
                    of: patience.retries.min(failure.most),
                });
                Then::GoOn
            }
            Verdict::GiveUp => Then::NotHere(error),
            Verdict::TooLate(wait) => {
                let why = failure.why.clone();
                Then::Failed(LayerError::TooLate { why, wait })
            }
        }
    }

    /// Asks another place from now on.
    pub(super) fn go_to(&mut self, place: Place) {
        self.is_mixed |= self.spool.received() > 0;
        self.place = place;
        self.failures = 0;
        self.not_before = None;
        self.in_parts = InParts::Hoped;
    }

    /// Where the place is that is asked, if that is outside of any registry.
    pub(super) fn outside(&self) -> Option<&Url> {
        match (&self.layer.origin, self.place) {
            (Origin::Elsewhere(urls), Place::Outside(at)) => urls.get(at),
            _ => None,
        }
    }

    /// The place outside to ask when this one did not give the layer.
    ///
    /// # Errors
    /// What to end with when there is no other.
    pub(super) fn next_outside(&mut self, error: LayerError) -> Result<Place, LayerError> {
        if matches!(error, LayerError::Outside { .. }) {
            return Err(error);
        }
        let url = self.outside().map(ShownUrl::from);
        let next = match (&self.layer.origin, self.place) {
            (Origin::Elsewhere(urls), Place::Outside(at)) if at + 1 < urls.len() => at + 1,
            _ => {
                return Err(LayerError::Outside {
                    url,
                    others: self.passed.clone(),
                    source: Box::new(error),
                });
            }
        };
        tracing::debug!(url = url.as_ref().map(ToString::to_string), %error, "passed over");
        let passed = url.map(|url| format!("{url} did not help ({error})"));
        self.passed.extend(passed);
        Ok(Place::Outside(next))
    }

    /// From now on asks for the whole, and passes over what is there.
    fn without_parts(&mut self) -> Then {
        self.in_parts = InParts::Refused;
        match self.spool.keep_front() {
            Ok(()) => Then::GoOn,
            Err(error) => Then::Failed(LayerError::Spool(error)),
        }
    }

    /// Lets the worker end, and remembers why.
    pub(super) fn give_up(&mut self, error: LayerError) {
        self.trouble.get_or_insert(error);
        self.spool.give_up();
    }

    /// What follows from how the worker ended.
    pub(super) fn settle<T>(&mut self, result: Result<T, LayerError>) -> Settled<T> {
        // Where the transfer broke, the worker only saw that there was no more.
        let error = match (self.trouble.take(), result) {
            (None, Ok(found)) => return Settled::Done(found),
            (Some(trouble), _) => trouble,
            // Another place is asked since.
            (None, Err(_)) if self.has_overflowed => return Settled::Doubtful,
            (None, Err(error)) => error,
        };
        if !error.is_of_content() {
            return Settled::Failed(error);
        }
        // Whoever wrote what was there before may have crashed over it, a server may send other
        // parts than it says, and an honest place may have completed what a lying one began.
        if self.inherited > 0 || self.is_mixed {
            return Settled::Doubtful;
        }
        Settled::Wrong(error)
    }

    /// Throws away what nobody can go on with, after a failure for good.
    pub(super) fn abandon(&self, error: LayerError) -> PullError {
        if error.may_be_resumed() {
            return self.failed(error);
        }
        match self.partial.clear() {
            Ok(()) => self.failed(error),
            Err(unremoved) => self.failed(LayerError::Spool(unremoved)),
        }
    }

    /// The job of doing it all again from the first byte, at the place that is asked now.
    pub(super) fn again(self, task: Task) -> Result<Job, PullError> {
        self.partial
            .clear()
            .map_err(|error| self.failed(LayerError::Spool(error)))?;
        Ok(Job {
            task,
            layer: self.layer,
            partial: self.partial,
            place: self.place,
            in_parts: InParts::Refused,
            trail: self.trail,
            passed: self.passed,
        })
    }

    /// Throws the compressed bytes away: the layer is in its place.
    pub(super) fn done(self) -> Result<(), PullError> {
        self.partial
            .clear()
            .map_err(|error| self.failed(LayerError::Spool(error)))
    }

    /// The layer's failure.
    pub(super) fn failed(&self, source: LayerError) -> PullError {
        PullError::Layer {
            digest: self.layer.digest.clone(),
            source: Box::new(source),
        }
    }
}
