//! Waiting for layers that other processes are making, and telling how they get on.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::Pull;
use super::error::PullError;
use super::layers::{Wanted, blob_name};
use crate::Digest;
use crate::http::pause;
use crate::progress::Event;

/// How long a look around may be off: a maker that dies is noticed after that.
const TICK: Duration = Duration::from_millis(40);
/// What each layer that is waited for adds, so that many waiters with many layers do no harm.
const TICK_PER_LAYER: Duration = Duration::from_millis(5);
/// A maker that brings nothing for so long is told of, and again after as long.
const STALLED: Duration = Duration::from_secs(5);

/// What is known of one layer that another process is making.
#[derive(Debug)]
struct Seen {
    done: u64,
    /// When something last came.
    since: Instant,
    /// When its standing still was last told of.
    told: Instant,
}

/// Somebody who waits.
pub(super) struct Watch<'p> {
    pull: &'p Pull<'p>,
    seen: HashMap<Digest, Seen>,
}

impl<'p> Watch<'p> {
    /// Has seen nothing yet.
    pub(super) fn new(pull: &'p Pull<'p>) -> Self {
        Self {
            pull,
            seen: HashMap::new(),
        }
    }

    /// Waits for a moment, after which it is worth asking for the locks again.
    ///
    /// Not for the lock itself: then nobody could tell how the other gets on, and a deadline
    /// would not count.
    ///
    /// # Errors
    /// When the deadline has passed.
    pub(super) fn wait(&mut self, missing: &[Wanted]) -> Result<(), PullError> {
        let now = Instant::now();
        for wanted in missing {
            self.look_at(wanted, now);
        }
        let left = self.pull.client.patience().left();
        if self.pull.client.patience().is_over()
            && let Some(first) = missing.first()
        {
            let digest = first.layer.digest.clone();
            let holder = self.pull.store.maker(&first.diff_id);
            return Err(PullError::WaitedTooLong { digest, holder });
        }
        let tick = TICK + TICK_PER_LAYER * u32::try_from(missing.len()).unwrap_or(u32::MAX);
        pause(left.map_or(tick, |left| tick.min(left)));
        Ok(())
    }

    fn look_at(&mut self, wanted: &Wanted, now: Instant) {
        let pull = self.pull;
        let done = pull.store.partial_bytes(&blob_name(pull, wanted));
        let digest = &wanted.layer.digest;
        let holder = pull.store.maker(&wanted.diff_id);
        let seen = self.seen.get_mut(&wanted.diff_id);
        let waiting = Event::LayerWaiting {
            digest,
            holder,
            done,
            size: wanted.layer.size,
        };
        match seen {
            Some(seen) if seen.done == done => {
                if now.duration_since(seen.told) >= STALLED {
                    seen.told = now;
                    pull.progress.event(Event::LayerStalled {
                        digest,
                        holder,
                        since: now.duration_since(seen.since),
                    });
                }
            }
            _ => {
                pull.progress.event(waiting);
                let seen = Seen {
                    done,
                    since: now,
                    told: now,
                };
                self.seen.insert(wanted.diff_id.clone(), seen);
            }
        }
    }
}
