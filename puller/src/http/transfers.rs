//! Many transfers at once, in the thread that calls.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use curl::multi::{Easy2Handle, Multi, MultiWaker};
use url::Url;

use super::client::{Client, Receiver};
use super::error::Error;
use super::request::Request;
use super::response::Response;
use crate::spool::SpoolWriter;

/// Connections to one host at a time, as browsers have it.
pub(crate) const MAX_CONNECTIONS: usize = 6;

struct Active {
    handle: Easy2Handle<Receiver>,
    url: Url,
}

/// A transfer that has ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// What it was known as.
    pub(crate) id: usize,
    /// Where its body went.
    pub(crate) sink: Option<SpoolWriter>,
    /// How it ended.
    pub(crate) result: Result<Response, Error>,
}

/// How libcurl says that a transfer ended.
type CurlResult = Result<(), curl::Error>;

/// A set of transfers whose bodies go into spools.
pub(crate) struct Transfers<'c> {
    client: &'c Client<'c>,
    multi: Multi,
    active: HashMap<usize, Active>,
}

/// Ends a [`Transfers::wait`] from another thread.
#[derive(Clone)]
pub(crate) struct Waker(Arc<MultiWaker>);

impl Waker {
    /// Makes the waiting thread look around.
    pub(crate) fn wake(&self) {
        // It fails only when the transfers are gone, and with them whoever waited.
        let _ = self.0.wakeup();
    }
}

impl fmt::Debug for Waker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Waker")
    }
}

impl<'c> Transfers<'c> {
    /// A set with nothing in it.
    pub(crate) fn new(client: &'c Client<'c>) -> Result<Self, Error> {
        let mut multi = Multi::new();
        multi
            .set_max_host_connections(MAX_CONNECTIONS)
            .map_err(Error::Multi)?;
        Ok(Self {
            client,
            multi,
            active: HashMap::new(),
        })
    }

    /// What wakes [`Transfers::wait`] up.
    pub(crate) fn waker(&self) -> Waker {
        Waker(Arc::new(self.multi.waker()))
    }

    /// Begins a transfer, to be known as `id`, whose body goes into `sink` if it is what was asked for.
    pub(crate) fn start(
        &mut self,
        id: usize,
        request: &Request,
        sink: SpoolWriter,
    ) -> Result<(), Error> {
        let easy = self.client.streaming(request, sink)?;
        let mut handle = self.multi.add2(easy).map_err(Error::Multi)?;
        handle.set_token(id).map_err(Error::Setup)?;
        self.active.insert(
            id,
            Active {
                handle,
                url: request.url.clone(),
            },
        );
        Ok(())
    }

    /// Goes on with all transfers until one has ended, somebody woke us, or it took too long.
    pub(crate) fn wait(&mut self, longest: Duration) -> Result<Vec<Ended>, Error> {
        self.multi.perform().map_err(Error::Multi)?;
        let ended = self.take_ended()?;
        if !ended.is_empty() {
            return Ok(ended);
        }
        self.multi.poll(&mut [], longest).map_err(Error::Multi)?;
        Ok(Vec::new())
    }

    /// Drops a transfer that is still going on, and gives its sink back.
    pub(crate) fn stop(&mut self, id: usize) -> Result<Option<SpoolWriter>, Error> {
        let Some(Active { handle, .. }) = self.active.remove(&id) else {
            return Ok(None);
        };
        let mut easy = self.multi.remove2(handle).map_err(Error::Multi)?;
        Ok(easy.get_mut().take_sink())
    }

    fn take_ended(&mut self) -> Result<Vec<Ended>, Error> {
        let mut results = Vec::new();
        let active = &self.active;
        self.multi.messages(|message| {
            let Ok(id) = message.token() else { return };
            let result = active
                .get(&id)
                .and_then(|one| message.result_for2(&one.handle));
            results.extend(result.map(|result| (id, result)));
        });
        self.finish(results)
    }

    fn finish(&mut self, results: Vec<(usize, CurlResult)>) -> Result<Vec<Ended>, Error> {
        let mut ended = Vec::with_capacity(results.len());
        for (id, result) in results {
            let Some(Active { handle, url }) = self.active.remove(&id) else {
                continue;
            };
            let mut easy = self.multi.remove2(handle).map_err(Error::Multi)?;
            let result = result.map_err(|error| self.client.explain(&error, &easy, &url));
            let mut receiver = std::mem::take(easy.get_mut());
            let sink = receiver.take_sink();
            let result = receiver.into_answer(result, &url);
            ended.push(Ended { id, sink, result });
        }
        Ok(ended)
    }
}

impl fmt::Debug for Transfers<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transfers")
            .field("active", &self.active.keys())
            .finish_non_exhaustive()
    }
}
