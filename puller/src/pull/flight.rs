//! Layers in flight: all transfers in this thread, and a thread for each layer that unpacks it.

use std::collections::{HashMap, VecDeque};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::{self, Scope};
use std::time::{Duration, Instant};

use ucr_images::store::Staging;
use ucr_images::turns::{InTurn, Turns};

use super::Pull;
use super::error::{LayerError, PullError};
use super::fetching::{Fetching, InParts, Outcome, Place, Settled, Then};
use super::layers::{Job, Task, Wanted};
use super::learning::{self, Staged};
use super::pace::Pace;
use super::unpack::{Learnt, Threads, Unpacking, learn, prove, unpack};
use crate::http::{self, Ended, MAX_CONNECTIONS, Ranges, Transfers, Waker};
use crate::progress::Event;
use crate::registry::{self, Exchange, Role, Route, Session, Step};
use crate::spool::{Gap, SpoolWriter};

/// The smallest part that is worth a request of its own.
const LEAST_PART: u64 = 8 * 1024 * 1024;
/// An unpacker that is this far behind its transfer would not gain by a faster one.
const FAR_BEHIND: u64 = 4 * 1024 * 1024;
/// How long to wait for an event at the most before looking again.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// How a worker ended; with the right to what it did, and what it learnt if that was its task.
type Ending = (usize, Task, Result<Option<Learnt>, LayerError>);

/// A request that is under way, for a part of a layer.
struct Asking {
    layer: usize,
    place: Place,
    in_parts: InParts,
    exchange: Exchange,
}

/// Fetches and unpacks layers, as many at once as there may be connections; returns what was
/// learnt of those whose diff IDs nobody knew.
///
/// # Errors
/// The first layer's that fails for good.
pub(super) fn fetch(
    pull: &Pull<'_>,
    route: &mut Route<'_>,
    mut jobs: Vec<Job>,
) -> Result<Vec<Wanted>, PullError> {
    let staging = pull.store.stage()?;
    // The largest first: the last to end should not be one that began late.
    jobs.sort_by_key(|job| std::cmp::Reverse(job.layer.size));
    let sizes = jobs.iter().map(|job| job.layer.size);
    let bytes = sizes.fold(0, u64::saturating_add);
    let processors = thread::available_parallelism().map_or(1, usize::from);
    let (ended, endings) = mpsc::channel();
    let (learnt, aside) = thread::scope(|scope| {
        let transfers = Transfers::new(pull.client)?;
        let mut flight = Flight {
            pull,
            route,
            staging: &staging,
            waker: transfers.waker(),
            transfers,
            ended,
            queue: VecDeque::from(jobs),
            layers: HashMap::new(),
            asking: HashMap::new(),
            next_id: 0,
            pace: Pace::new(Instant::now()),
            processors,
            turns: Turns::new(processors),
            bytes,
            arrived: 0,
            learnt: Vec::new(),
            aside: Vec::new(),
        };
        flight.run(scope, &endings)?;
        Ok::<_, PullError>((flight.learnt, flight.aside))
    })?;
    learning::commit_aside(pull, route, &staging, aside)?;
    Ok(learnt)
}

struct Flight<'p, 'r, 'c> {
    pull: &'p Pull<'p>,
    route: &'r mut Route<'c>,
    staging: &'p Staging,
    waker: Waker,
    transfers: Transfers<'p>,
    ended: Sender<Ending>,
    queue: VecDeque<Job>,
    layers: HashMap<usize, Fetching>,
    asking: HashMap<usize, Asking>,
    next_id: usize,
    pace: Pace,
    processors: usize,
    turns: Turns,
    /// Compressed bytes of all layers together.
    bytes: u64,
    /// Bytes of layers that are no longer in flight.
    arrived: u64,
    /// What layers turned out to be.
    learnt: Vec<Wanted>,
    /// Those of them that somebody else is making just now.
    aside: Vec<Staged>,
}

impl<'p> Flight<'p, '_, '_> {
    fn run<'scope>(
        &mut self,
        scope: &'scope Scope<'scope, '_>,
        endings: &Receiver<Ending>,
    ) -> Result<(), PullError>
    where
        'p: 'scope,
    {
        loop {
            while self.layers.len() < MAX_CONNECTIONS
                && let Some(job) = self.queue.pop_front()
            {
                self.begin(scope, job)?;
            }
            if self.layers.is_empty() {
                return Ok(());
            }
            self.ask()?;
            for ended in self.transfers.wait(self.longest_wait())? {
                self.transferred(ended)?;
            }
            while let Ok(ending) = endings.try_recv() {
                self.worker_ended(ending)?;
            }
            if self.pull.client.patience().deadline.is_over() {
                return Err(PullError::Deadline);
            }
            self.try_more();
        }
    }

    /// How long nothing needs to be done unless something happens.
    fn longest_wait(&self) -> Duration {
        let now = Instant::now();
        let due = self.layers.values().filter_map(Fetching::not_before);
        let due = due.map(|then| then.saturating_duration_since(now));
        let adaptive = self.pull.client.ranges() == Ranges::Adaptive;
        due.chain(self.pace.due(now).filter(|_| adaptive))
            .chain(self.pull.client.patience().deadline.left())
            .fold(LONGEST_WAIT, Duration::min)
    }

    fn id(&mut self) -> usize {
        self.next_id += 1;
        self.next_id
    }

    /// Gives a layer its worker; its transfers follow.
    fn begin<'scope>(&mut self, scope: &'scope Scope<'scope, '_>, job: Job) -> Result<(), PullError>
    where
        'p: 'scope,
    {
        let id = self.id();
        let (fetching, task) = Fetching::begin(job)?;
        let digest = &fetching.layer.digest;
        let size = fetching.layer.size;
        self.pull
            .progress
            .event(Event::LayerStarted { digest, size });
        if let Task::Prove(_) = task {
            self.pull.progress.event(Event::LayerProving { digest });
        }
        if fetching.spool.received() > 0 {
            let from = fetching.spool.received();
            self.pull
                .progress
                .event(Event::LayerResumed { digest, from });
        }
        let threads = Threads::of(size, self.bytes, self.processors);
        let turn = self.turns.place(size);
        let reader = InTurn::new(fetching.spool.reader(), turn.clone());
        let layer = fetching.layer.clone();
        let (ended, waker) = (self.ended.clone(), self.waker.clone());
        let unpacking = Unpacking {
            store: self.pull.store,
            staging: self.staging,
            progress: self.pull.progress,
            meter: self.pull.meter,
            threads,
            turn: Some(turn),
        };
        let work = move || {
            let result = match &task {
                Task::Make(lock) => unpack(&unpacking, lock, &layer, reader).map(|()| None),
                Task::Prove(lock) => {
                    prove(&unpacking, (&layer, lock.diff_id()), reader).map(|()| None)
                }
                Task::Learn => learn(&unpacking, &layer, reader).map(Some),
            };
            // Nobody listens any more when another layer has failed.
            let _ = ended.send((id, task, result));
            waker.wake();
        };
        let builder = thread::Builder::new().name(format!("layer {}", digest.short()));
        if let Err(source) = builder.spawn_scoped(scope, work) {
            return Err(fetching.failed(LayerError::Thread(source)));
        }
        self.layers.insert(id, fetching);
        Ok(())
    }

    /// Sends requests for what nobody is fetching, where there is no reason to wait.
    fn ask(&mut self) -> Result<(), PullError> {
        let now = Instant::now();
        let mut open: Vec<(usize, Gap)> = Vec::new();
        for (id, layer) in self.layers.iter().filter(|(_, layer)| layer.is_due(now)) {
            open.extend(layer.spool.gaps().into_iter().map(|gap| (*id, gap)));
        }
        // What is read first is fetched first.
        open.sort_by_key(|(id, gap)| (gap.start, *id));
        let free = MAX_CONNECTIONS.saturating_sub(self.asking.len());
        for (id, gap) in open.into_iter().take(free) {
            self.ask_for(id, gap)?;
        }
        Ok(())
    }

    fn ask_for(&mut self, layer: usize, gap: Gap) -> Result<(), PullError> {
        let Some(fetching) = self.layers.get_mut(&layer) else {
            return Ok(());
        };
        let place = fetching.place;
        let sink = match fetching.spool.writer(gap) {
            Ok(sink) => sink,
            Err(error) => {
                fetching.give_up(LayerError::Spool(error));
                return Ok(());
            }
        };
        let session = session(self.route, place);
        let mut exchange = match fetching.outside() {
            Some(url) => Exchange::outside(url.clone()),
            None => session.blob(&fetching.layer.digest),
        };
        if let Some(range) = fetching.range(gap) {
            exchange = exchange.part(range);
        }
        let request = exchange.request(session);
        let asking = Asking {
            layer,
            place,
            in_parts: fetching.in_parts,
            exchange,
        };
        self.send(asking, &request, sink)
    }

    fn send(
        &mut self,
        asking: Asking,
        request: &http::Request,
        sink: SpoolWriter,
    ) -> Result<(), PullError> {
        let id = self.id();
        self.transfers.start(id, request, sink)?;
        self.asking.insert(id, asking);
        Ok(())
    }

    /// A transfer has ended: with its part of the blob, with a way to it, or not at all.
    fn transferred(&mut self, ended: Ended) -> Result<(), PullError> {
        let Ended { id, sink, result } = ended;
        let Some(mut asking) = self.asking.remove(&id) else {
            return Ok(());
        };
        let answer = match &result {
            Ok(response) if http::Failure::of(&result).is_none() && response.status != 416 => {
                let session = session(self.route, asking.place);
                Some(asking.exchange.advance(session, response))
            }
            _ => None,
        };
        let outcome = match answer {
            Some(Ok(Step::Again(request))) => {
                return match sink {
                    Some(sink) => self.send(asking, &request, sink),
                    None => Ok(()),
                };
            }
            Some(Err(error)) => Outcome::Refused(error.into()),
            Some(Ok(Step::Done)) => Outcome::of_body(sink.and_then(SpoolWriter::finish)),
            None => match sink.and_then(SpoolWriter::finish) {
                Some(stop) => Outcome::of_body(Some(stop)),
                None => Outcome::of_failure(result, session(self.route, asking.place)),
            },
        };
        self.conclude(&asking, outcome)
    }

    fn conclude(&mut self, asking: &Asking, outcome: Outcome) -> Result<(), PullError> {
        let Some(fetching) = self.layers.get_mut(&asking.layer) else {
            return Ok(());
        };
        if fetching.has_trouble() || fetching.place != asking.place {
            return Ok(());
        }
        // One of several that were asked for in parts has shown that already.
        let known = asking.in_parts < InParts::Refused && fetching.in_parts == InParts::Refused;
        if known && matches!(outcome, Outcome::WrongPart) {
            return Ok(());
        }
        if outcome.is_enough_for_the_server() {
            self.pace.settle();
        }
        let role = session(self.route, asking.place).endpoint().role();
        match fetching.conclude(outcome, role, self.pull.client) {
            Then::GoOn => {}
            Then::NotHere(error) => match elsewhere(self.route, fetching, error) {
                Ok(place) => fetching.go_to(place),
                Err(error) => fetching.give_up(error),
            },
            Then::Failed(error) => fetching.give_up(error),
        }
        Ok(())
    }

    fn worker_ended(&mut self, (id, task, result): Ending) -> Result<(), PullError> {
        let Some(mut fetching) = self.layers.remove(&id) else {
            return Ok(());
        };
        self.arrived += fetching.spool.received();
        let requests: Vec<usize> = self
            .asking
            .iter()
            .filter(|(_, asking)| asking.layer == id)
            .map(|(id, _)| *id)
            .collect();
        for request in requests {
            self.asking.remove(&request);
            drop(self.transfers.stop(request)?);
        }
        match fetching.settle(result) {
            Settled::Done(learnt) => return self.done(fetching, task, learnt),
            Settled::Failed(error) => return Err(fetching.abandon(error)),
            Settled::Doubtful => {}
            Settled::Wrong(error) => match elsewhere(self.route, &mut fetching, error) {
                Ok(place) => fetching.go_to(place),
                Err(error) => return Err(fetching.abandon(error)),
            },
        }
        let staged = match &task {
            Task::Make(lock) => Some(lock.diff_id().hex()),
            Task::Learn => Some(fetching.layer.digest.hex()),
            Task::Prove(_) => None,
        };
        if let Some(name) = staged {
            let removed = self.staging.dir().remove_tree(name);
            removed.map_err(|error| fetching.failed(LayerError::Prepare(error)))?;
        }
        self.queue.push_front(fetching.again(task)?);
        Ok(())
    }

    /// A layer is whole and verified.
    fn done(
        &mut self,
        fetching: Fetching,
        task: Task,
        learnt: Option<Learnt>,
    ) -> Result<(), PullError> {
        if !self.layers.is_empty() {
            self.pull.store.more_to_come();
        }
        let layer = fetching.layer.clone();
        if let Some(learnt) = learnt {
            let staged = Staged { layer, learnt };
            staged.hold(self.pull)?;
            self.learnt.push(staged.wanted());
            let committed = learning::commit(self.pull, self.route, (self.staging, &staged))?;
            // Before the blob's lock goes: whoever waits for it looks for the note.
            staged.note(self.pull)?;
            if !committed {
                self.aside.push(staged);
            }
            return fetching.done();
        }
        if let Task::Make(lock) | Task::Prove(lock) = task {
            self.pull.record_holder(lock.diff_id(), self.route)?;
            fetching.done()?;
            self.pull.store.unlock_layer(lock)?;
        }
        let digest = &layer.digest;
        self.pull.progress.event(Event::LayerDone { digest });
        Ok(())
    }

    /// Shares a large layer out among several requests, where that may help.
    fn try_more(&mut self) {
        let free = self.asking.len() < MAX_CONNECTIONS && self.queue.is_empty();
        let least = match self.pull.client.ranges() {
            Ranges::Never => return,
            Ranges::Adaptive => LEAST_PART,
            Ranges::Always(least) => least,
        };
        let in_flight = self.layers.values().map(|layer| layer.spool.received());
        let received = self.arrived + in_flight.sum::<u64>();
        let layers = self.layers.values_mut();
        let largest = layers
            .filter(|layer| layer.may_be_shared(least))
            .max_by_key(|layer| layer.missing());
        let now = Instant::now();
        match largest {
            Some(layer) if free && self.pull.client.ranges() != Ranges::Adaptive => {
                layer.share(least);
            }
            Some(layer) => {
                let possible = free && layer.spool.unread() < FAR_BEHIND;
                if self.pace.try_more(now, received, possible) {
                    layer.share(least);
                }
            }
            None => {
                self.pace.try_more(now, received, false);
            }
        }
    }
}

/// Whose rules hold for a place: the registry's, for one outside, of which it knows nothing.
fn session<'r, 'c>(route: &'r mut Route<'c>, place: Place) -> &'r mut Session<'c> {
    match place {
        Place::Route(at) => route.session(at),
        Place::Outside(_) => route.registry(),
    }
}

/// Where else to ask for a layer that one place did not give.
///
/// # Errors
/// What to end with when there is no other place, or asking there would not help.
fn elsewhere(
    route: &mut Route<'_>,
    fetching: &mut Fetching,
    error: LayerError,
) -> Result<Place, LayerError> {
    let Place::Route(place) = fetching.place else {
        return fetching.next_outside(error);
    };
    let endpoint = route.session(place).endpoint();
    let refusal = match error {
        LayerError::Registry(error) => error,
        LayerError::Http(error) => error.into(),
        error if endpoint.role() == Role::Registry => return Err(error),
        _ => registry::Error::OtherContent {
            endpoint: endpoint.to_string(),
        },
    };
    route
        .after(place, refusal, &mut fetching.trail)
        .map(Place::Route)
        .map_err(LayerError::Registry)
}
