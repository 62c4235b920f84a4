//! All layers of an image: which are missing, who makes them, and all of them in flight at once.
//!
//! Among processes, a layer is made by who holds its lock. A process takes all
//! locks it can have without waiting, makes those layers, and only then waits
//! for the rest: nobody waits while others wait for it, so there is no deadlock.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::{self, Scope};

use super::Pull;
use super::error::{LayerError, PullError};
use super::unpack::unpack;
use crate::Digest;
use crate::http::{self, MAX_CONNECTIONS, Response, Transfers, Waker};
use crate::image::{self, ImageConfig, Layer, Manifest};
use crate::pipe::{PipeWriter, pipe};
use crate::progress::Event;
use crate::registry::{Exchange, Session, Step};
use crate::store::{LayerLock, Staging};

/// A layer that the image needs.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    /// What it must be, uncompressed.
    pub(super) diff_id: Digest,
    /// What the registry has it as.
    pub(super) layer: Layer,
}

/// Joins the manifest's layers with the configuration's diff IDs; one that occurs twice is wanted once.
pub(super) fn pair(manifest: &Manifest, config: &ImageConfig) -> Result<Vec<Wanted>, image::Error> {
    let diff_ids = config.diff_ids();
    if manifest.layers.len() != diff_ids.len() {
        let layers = manifest.layers.len();
        return Err(image::Error::LayerCount {
            layers,
            diff_ids: diff_ids.len(),
        });
    }
    let mut seen = HashSet::new();
    let pairs = diff_ids.iter().zip(&manifest.layers);
    Ok(pairs
        .filter(|(diff_id, _)| seen.insert(*diff_id))
        .map(|(diff_id, layer)| Wanted {
            diff_id: diff_id.clone(),
            layer: layer.clone(),
        })
        .collect())
}

/// A layer that is ours to make.
struct Job {
    wanted: Wanted,
    lock: LayerLock,
}

/// Sees to it that all of `wanted` are in the store, by whoever's doing.
pub(super) fn fetch_missing(
    pull: &Pull<'_>,
    session: &mut Session<'_>,
    wanted: Vec<Wanted>,
) -> Result<(), PullError> {
    let mut missing = Vec::new();
    for one in wanted {
        if pull.store.has_layer(&one.diff_id)? {
            pull.progress.event(Event::LayerPresent {
                digest: &one.layer.digest,
            });
        } else {
            missing.push(one);
        }
    }
    // The order in which locks are waited for, the same in every process.
    missing.sort_by(|one, two| one.diff_id.cmp(&two.diff_id));
    let mut jobs = Vec::new();
    while !missing.is_empty() || !jobs.is_empty() {
        let (ours, others) = claim(pull, missing)?;
        jobs.extend(ours);
        missing = others;
        if jobs.is_empty() {
            jobs.extend(wait_for_first(pull, &mut missing)?);
        } else {
            fetch(pull, session, std::mem::take(&mut jobs))?;
        }
    }
    Ok(())
}

/// Takes the locks that are free; layers that turn out to be there are left out.
fn claim(pull: &Pull<'_>, missing: Vec<Wanted>) -> Result<(Vec<Job>, Vec<Wanted>), PullError> {
    let mut ours = Vec::new();
    let mut others = Vec::new();
    for wanted in missing {
        match pull.store.try_lock_layer(&wanted.diff_id)? {
            Some(lock) => ours.extend(check_again(pull, wanted, lock)?),
            None => others.push(wanted),
        }
    }
    Ok((ours, others))
}

/// Waits until the maker of the first missing layer is done, or dead.
fn wait_for_first(pull: &Pull<'_>, missing: &mut Vec<Wanted>) -> Result<Option<Job>, PullError> {
    if missing.is_empty() {
        return Ok(None);
    }
    let wanted = missing.remove(0);
    pull.progress.event(Event::LayerWaiting {
        digest: &wanted.layer.digest,
    });
    let lock = pull.store.lock_layer(&wanted.diff_id)?;
    check_again(pull, wanted, lock)
}

/// With the lock in hand: the layer may have been made while we waited for it.
fn check_again(pull: &Pull<'_>, wanted: Wanted, lock: LayerLock) -> Result<Option<Job>, PullError> {
    if !pull.store.has_layer(&wanted.diff_id)? {
        return Ok(Some(Job { wanted, lock }));
    }
    pull.store.unlock_layer(lock)?;
    pull.progress.event(Event::LayerPresent {
        digest: &wanted.layer.digest,
    });
    Ok(None)
}

/// Fetches and unpacks layers, as many at once as there may be connections.
fn fetch(pull: &Pull<'_>, session: &mut Session<'_>, mut jobs: Vec<Job>) -> Result<(), PullError> {
    let staging = pull.store.stage()?;
    // The largest first: the last to end should not be one that began late.
    jobs.sort_by_key(|job| std::cmp::Reverse(job.wanted.layer.size));
    let (ended, endings) = mpsc::channel();
    thread::scope(|scope| {
        let transfers = Transfers::new(pull.client)?;
        let waker = transfers.waker();
        let mut flight = Flight {
            pull,
            session,
            staging: &staging,
            transfers,
            waker,
            ended,
            running: HashMap::new(),
            next_id: 0,
        };
        flight.run(scope, VecDeque::from(jobs), &endings)
    })
}

/// How a worker ended; with the lock, which it held for as long as it worked.
type Ending = (usize, LayerLock, Result<(), LayerError>);

struct Running {
    digest: Digest,
    exchange: Exchange,
    trouble: Option<LayerError>,
}

struct Flight<'p, 's, 'c> {
    pull: &'p Pull<'p>,
    session: &'s mut Session<'c>,
    staging: &'p Staging,
    transfers: Transfers<'p>,
    waker: Waker,
    ended: Sender<Ending>,
    running: HashMap<usize, Running>,
    next_id: usize,
}

impl<'p> Flight<'p, '_, '_> {
    fn run<'scope>(
        &mut self,
        scope: &'scope Scope<'scope, '_>,
        mut queue: VecDeque<Job>,
        endings: &Receiver<Ending>,
    ) -> Result<(), PullError>
    where
        'p: 'scope,
    {
        loop {
            while self.running.len() < MAX_CONNECTIONS
                && let Some(job) = queue.pop_front()
            {
                self.start(scope, job)?;
            }
            if self.running.is_empty() {
                return Ok(());
            }
            for (id, result) in self.transfers.wait()? {
                self.transferred(id, result)?;
            }
            while let Ok(ending) = endings.try_recv() {
                self.worker_ended(ending)?;
            }
        }
    }

    fn start<'scope>(&mut self, scope: &'scope Scope<'scope, '_>, job: Job) -> Result<(), PullError>
    where
        'p: 'scope,
    {
        let Job { wanted, lock } = job;
        let id = self.next_id;
        self.next_id += 1;
        let waker = self.waker.clone();
        let (writer, reader) = pipe(move || waker.wake());
        let mut exchange = self.session.blob(&wanted.layer.digest);
        let digest = wanted.layer.digest.clone();
        let size = wanted.layer.size;
        self.pull.progress.event(Event::LayerStarted {
            digest: &digest,
            size,
        });
        self.transfers
            .start(id, &exchange.request(self.session), writer)?;
        self.running.insert(
            id,
            Running {
                digest: digest.clone(),
                exchange,
                trouble: None,
            },
        );
        let (store, progress, staging) = (self.pull.store, self.pull.progress, self.staging);
        let (ended, waker) = (self.ended.clone(), self.waker.clone());
        let work = move || {
            let result = unpack(store, (staging, &lock), &wanted, reader, progress);
            // Nobody listens any more when another layer has failed.
            let _ = ended.send((id, lock, result));
            waker.wake();
        };
        let builder = thread::Builder::new().name(format!("layer {}", digest.short()));
        match builder.spawn_scoped(scope, work) {
            Ok(_handle) => Ok(()),
            Err(source) => Err(failed(digest, LayerError::Thread(source))),
        }
    }

    /// A transfer has ended: with the blob, with a way to it, or not at all.
    fn transferred(
        &mut self,
        id: usize,
        result: Result<Response, http::Error>,
    ) -> Result<(), PullError> {
        let Some(running) = self.running.get_mut(&id) else {
            return Ok(());
        };
        let mut response = match result {
            Ok(response) => response,
            // The worker gave up first, and will say why.
            Err(http::Error::Abandoned) => return Ok(()),
            Err(error) => {
                running.trouble = Some(error.into());
                return Ok(());
            }
        };
        let writer = response.pipe.take();
        match running.exchange.advance(self.session, &response) {
            Ok(Step::Done) => writer.map(PipeWriter::complete).unwrap_or_default(),
            Ok(Step::Again(request)) => {
                if let Some(writer) = writer {
                    self.transfers.start(id, &request, writer)?;
                }
            }
            Err(error) => running.trouble = Some(error.into()),
        }
        Ok(())
    }

    fn worker_ended(&mut self, (id, lock, result): Ending) -> Result<(), PullError> {
        let Some(Running {
            digest, trouble, ..
        }) = self.running.remove(&id)
        else {
            return Ok(());
        };
        // Where the transfer broke, the worker only saw that there was no more.
        match (trouble, result) {
            (Some(trouble), _) => Err(failed(digest, trouble)),
            (None, Err(error)) => Err(failed(digest, error)),
            (None, Ok(())) => {
                self.pull.store.unlock_layer(lock)?;
                self.pull
                    .progress
                    .event(Event::LayerDone { digest: &digest });
                Ok(())
            }
        }
    }
}

fn failed(digest: Digest, source: LayerError) -> PullError {
    PullError::Layer {
        digest,
        source: Box::new(source),
    }
}
