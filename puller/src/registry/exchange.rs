//! One question to a registry, through redirects and challenges to its answer.

use ucr_images::{Secret, names_inside};
use url::Url;

use super::authenticator::{Demand, demand_of};
use super::error::Error;
use super::error_body;
use super::places;
use super::session::Session;
use crate::http::{self, ByteRange, Identify, Method, Origin, Request, Response, redirect_target};

/// How many redirects are followed.
const MAX_REDIRECTS: u32 = 10;
/// How often one question may be asked again with another proof.
const MAX_PROOFS: u32 = 2;

/// A question under way: where it stands, and how often it was sent on.
#[derive(Debug)]
pub(crate) struct Exchange {
    method: Method,
    range: Option<ByteRange>,
    accept: Vec<String>,
    asked: Url,
    now: Url,
    redirects: u32,
    /// Whether it was ever sent to another origin; whoever sends it back from
    /// there must not get it a proof (CVE-2026-50151).
    strayed: bool,
    bounds: Bounds,
    proofs: u32,
    /// The proof that went with the last request.
    sent: Option<Secret>,
}

/// Where a question may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bounds {
    /// To the registry, and from there wherever it sends us.
    Registry,
    /// To a place that somebody named who is not trusted with it, and never inside this network.
    Outside,
}

/// What follows from an answer.
#[derive(Debug)]
pub(crate) enum Step {
    /// It is the answer.
    Done,
    /// Ask again: elsewhere, or with another proof.
    Again(Request),
}

impl Exchange {
    /// Begins with a question to the registry itself.
    pub(crate) fn new(url: Url, accept: &[&str]) -> Self {
        let accept = accept
            .iter()
            .map(|&media_type| media_type.to_owned())
            .collect();
        Self {
            method: Method::Get,
            range: None,
            accept,
            now: url.clone(),
            asked: url,
            redirects: 0,
            strayed: false,
            bounds: Bounds::Registry,
            proofs: 0,
            sent: None,
        }
    }

    /// Begins with a question to a place outside of any registry, which may be the registry's own
    /// host all the same: it is never answered with a proof, and never with a client certificate.
    pub(crate) fn outside(url: Url) -> Self {
        Self {
            strayed: true,
            bounds: Bounds::Outside,
            ..Self::new(url, &[])
        }
    }

    /// Asks for the header fields of the answer only.
    pub(crate) fn head(mut self) -> Self {
        self.method = Method::Head;
        self
    }

    /// Asks how large the body is, and for as much of it as that takes.
    pub(crate) fn size(mut self) -> Self {
        self.method = Method::Size;
        self
    }

    /// Asks for a part of the body; the answer may still be the whole (status 200).
    pub(crate) fn part(mut self, range: ByteRange) -> Self {
        self.range = Some(range);
        self
    }

    /// The request to send now; the proof goes along only to the registry's own origin.
    pub(crate) fn request(&mut self, session: &mut Session<'_>) -> Request {
        self.sent = None;
        if !self.strayed {
            session.authenticator.prepare();
            self.sent = session.authenticator.authorization().cloned();
        }
        Request {
            method: self.method.clone(),
            range: self.range,
            url: self.now.clone(),
            accept: self.accept.clone(),
            authorization: self.sent.clone(),
            identify: match self.bounds {
                Bounds::Registry => Identify::IfAsked,
                Bounds::Outside => Identify::Never,
            },
        }
    }

    /// Decides what follows from `response`, asking for a token if that is what it takes.
    pub(crate) fn advance(
        &mut self,
        session: &mut Session<'_>,
        response: &Response,
    ) -> Result<Step, Error> {
        if let Some(target) = redirect_target(response)? {
            self.redirects += 1;
            if self.redirects > MAX_REDIRECTS {
                let from = (&self.asked).into();
                return Err(http::Error::TooManyRedirects {
                    from,
                    limit: MAX_REDIRECTS,
                }
                .into());
            }
            if self.bounds == Bounds::Outside && names_inside(&target) {
                return Err(Error::SentInside {
                    url: (&self.asked).into(),
                    to: (&target).into(),
                });
            }
            places::check_target(session.authenticator.registries(), &target)?;
            self.strayed |= Origin::of(&target) != Origin::of(&self.asked);
            self.now = target;
            return Ok(Step::Again(self.request(session)));
        }
        if !self.strayed && response.status >= 400 && error_body::is_of_version_1(response) {
            return Err(Error::Version1 {
                host: session.endpoint().host().to_string(),
                said: error_body::said(response),
            });
        }
        if let Some(demand) = demand_of(response).filter(|_| !self.strayed) {
            self.meet(demand, session, response)?;
            self.now = self.asked.clone();
            return Ok(Step::Again(self.request(session)));
        }
        // Part of a body is an answer only to who asked for a part.
        let is_part = response.status == 206 && self.range.is_some();
        match self.bounds {
            _ if is_part => {}
            Bounds::Registry => session.check_status(response)?,
            Bounds::Outside if response.status == 200 => {}
            // As whom the registry knows us is no matter there.
            Bounds::Outside => return Err(session.refusal(response)),
        }
        // What was sent on to elsewhere went without a proof.
        session.authenticator.accept(self.sent.as_ref());
        Ok(Step::Done)
    }

    /// Sees to another proof for the next request, or to none at all.
    fn meet(
        &mut self,
        demand: Demand,
        session: &mut Session<'_>,
        response: &Response,
    ) -> Result<(), Error> {
        let authenticator = &mut session.authenticator;
        if authenticator.forget_unasked(demand) {
            return Ok(());
        }
        self.proofs += 1;
        if self.proofs > MAX_PROOFS {
            return Err(authenticator.unauthorized(error_body::said(response)));
        }
        // Another question may have got a new proof since this one was sent.
        if authenticator.authorization() == self.sent.as_ref() {
            authenticator.meet(demand, response)?;
        }
        Ok(())
    }
}
