//! Waiting for layers that other processes are making, and telling how they get on.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use ucr_images::image::Layer;
use ucr_images::{Deadline, Digest, pause};

use super::Pull;
use super::error::PullError;
use super::layers::blob_name;
use crate::progress::{Event, Progress};

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

/// A layer that another process is making.
#[derive(Debug, Clone, Copy)]
pub(super) struct Awaited<'w> {
    pub(super) layer: &'w Layer,
    /// Which process, where it has said so.
    pub(super) maker: Option<u32>,
    /// How many bytes of it have come there.
    pub(super) done: u64,
}

/// Somebody who waits.
pub(super) struct Watch<'p> {
    progress: &'p dyn Progress,
    deadline: Deadline,
    seen: HashMap<Digest, Seen>,
}

impl<'p> Watch<'p> {
    /// Has seen nothing yet.
    pub(super) fn new(progress: &'p dyn Progress, deadline: Deadline) -> Self {
        Self {
            progress,
            deadline,
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
    pub(super) fn wait<'w>(
        &mut self,
        missing: impl Iterator<Item = Awaited<'w>>,
    ) -> Result<(), PullError> {
        let now = Instant::now();
        let mut tick = TICK;
        for awaited in missing {
            self.look_at(awaited, now);
            tick += TICK_PER_LAYER;
            if self.deadline.is_over() {
                let digest = awaited.layer.digest.clone();
                let holder = awaited.maker;
                return Err(PullError::WaitedTooLong { digest, holder });
            }
        }
        pause(self.deadline.shorten(tick));
        Ok(())
    }

    fn look_at(&mut self, awaited: Awaited<'_>, now: Instant) {
        let Awaited {
            layer,
            maker: holder,
            done,
        } = awaited;
        let digest = &layer.digest;
        let seen = self.seen.get_mut(digest);
        let waiting = Event::LayerWaiting {
            digest,
            holder,
            done,
            size: layer.size,
        };
        match seen {
            Some(seen) if seen.done == done => {
                if now.duration_since(seen.told) >= STALLED {
                    seen.told = now;
                    self.progress.event(Event::LayerStalled {
                        digest,
                        holder,
                        since: now.duration_since(seen.since),
                    });
                }
            }
            _ => {
                self.progress.event(waiting);
                let seen = Seen {
                    done,
                    since: now,
                    told: now,
                };
                self.seen.insert(digest.clone(), seen);
            }
        }
    }
}

impl Pull<'_> {
    /// A watch over layers that others fetch.
    pub(super) fn watch(&self) -> Watch<'_> {
        Watch::new(self.progress, self.client.patience().deadline)
    }

    /// A layer that `maker` fetches.
    pub(super) fn awaited<'l>(&self, layer: &'l Layer, maker: Option<u32>) -> Awaited<'l> {
        let done = self.store.partial_bytes(&blob_name(self.request, layer));
        Awaited { layer, maker, done }
    }
}
