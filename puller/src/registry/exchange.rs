//! One question to a registry, through redirects and challenges to its answer.

use url::Url;

use super::error::Error;
use super::session::Session;
use crate::http::{self, Origin, Request, Response, redirect_target};

/// How many redirects are followed.
const MAX_REDIRECTS: u32 = 10;
/// How often one question may be asked again with another proof.
const MAX_PROOFS: u32 = 2;

/// A question under way: where it stands, and how often it was sent on.
#[derive(Debug)]
pub(crate) struct Exchange {
    accept: Vec<String>,
    asked: Url,
    now: Url,
    redirects: u32,
    proofs: u32,
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
            accept,
            now: url.clone(),
            asked: url,
            redirects: 0,
            proofs: 0,
        }
    }

    /// The request to send now; the proof goes along only to the registry's own origin.
    pub(crate) fn request(&self, session: &Session<'_>) -> Request {
        let ours = Origin::of(&self.now) == Origin::of(&self.asked);
        Request {
            url: self.now.clone(),
            accept: self.accept.clone(),
            authorization: session.authorization().filter(|_| ours).cloned(),
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
            self.now = target;
            return Ok(Step::Again(self.request(session)));
        }
        let ours = Origin::of(&self.now) == Origin::of(&self.asked);
        if response.status == 401 && ours {
            self.proofs += 1;
            session.meet_challenge(response, self.proofs > MAX_PROOFS)?;
            self.now = self.asked.clone();
            return Ok(Step::Again(self.request(session)));
        }
        session.check_status(response)?;
        Ok(Step::Done)
    }
}
