//! Memory that decoders share: taken before it is used, waited for when others have it.

use std::sync::{Condvar, Mutex, PoisonError};

use crate::turns::Turn;

/// So many bytes, for all decoders together.
#[derive(Debug)]
pub(super) struct Memory {
    total: u64,
    taken: Mutex<u64>,
    given_back: Condvar,
}

/// What one decoder has of it; given back when this is dropped.
#[derive(Debug)]
pub(crate) struct Share {
    memory: &'static Memory,
    bytes: u64,
    /// Given back before memory is waited for: who has that may be waiting for the turn.
    turn: Option<Turn>,
}

impl Memory {
    /// Nobody has any of it yet.
    pub(crate) const fn new(total: u64) -> Self {
        Self {
            total,
            taken: Mutex::new(0),
            given_back: Condvar::new(),
        }
    }

    /// A share of nothing, to begin with, for who works in this `turn` if in any.
    pub(super) fn share(&'static self, turn: Option<Turn>) -> Share {
        Share {
            memory: self,
            bytes: 0,
            turn,
        }
    }

    /// Takes `bytes` if they are free.
    fn try_take(&self, bytes: u64) -> bool {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let free = *taken + bytes <= self.total;
        if free {
            *taken += bytes;
        }
        free
    }

    /// Waits until `bytes` are free, and takes them.
    fn take(&self, bytes: u64) {
        let taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let mut taken = self
            .given_back
            .wait_while(taken, |taken| *taken + bytes > self.total)
            .unwrap_or_else(PoisonError::into_inner);
        *taken += bytes;
    }

    fn give_back(&self, bytes: u64) {
        *self.taken.lock().unwrap_or_else(PoisonError::into_inner) -= bytes;
        self.given_back.notify_all();
    }
}

impl Share {
    /// Whether there is enough in it for `bytes`.
    pub(super) fn covers(&self, bytes: u64) -> bool {
        self.bytes >= bytes.min(self.memory.total)
    }

    /// Sees to it that it holds `bytes`; more than there is in all means all there is.
    ///
    /// What it holds is given back before it waits for more, so that nobody who
    /// waits is waited for.
    pub(super) fn grow(&mut self, bytes: u64) {
        if !self.covers(bytes) {
            self.memory.give_back(std::mem::take(&mut self.bytes));
            let bytes = bytes.min(self.memory.total);
            if !self.memory.try_take(bytes) {
                if let Some(turn) = &self.turn {
                    turn.give_back();
                }
                self.memory.take(bytes);
            }
            self.bytes = bytes;
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.memory.give_back(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;

    use super::*;
    use crate::turns::Turns;

    #[test]
    fn who_needs_all_waits_until_nobody_has_any() {
        static MEMORY: Memory = Memory::new(10);
        let mut light = MEMORY.share(None);
        light.grow(4);
        let mut other = MEMORY.share(None);
        other.grow(6);
        let (began, begins) = mpsc::channel();
        thread::scope(|scope| {
            scope.spawn(|| {
                let mut heavy = MEMORY.share(None);
                heavy.grow(u64::MAX);
                began.send(heavy.bytes).unwrap();
            });
            drop(light);
            assert!(begins.try_recv().is_err());
            drop(other);
            assert_eq!(begins.recv().unwrap(), 10);
        });
        assert_eq!(*MEMORY.taken.lock().unwrap(), 0);
    }

    #[test]
    fn who_waits_for_memory_leaves_the_turn_to_who_has_it() {
        static MEMORY: Memory = Memory::new(10);
        let turns = Turns::new(1);
        let (owner, other) = (turns.place(1), turns.place(2));
        let mut owned = MEMORY.share(Some(owner.clone()));
        owned.grow(10);
        let (began, begins) = mpsc::channel();
        thread::scope(|scope| {
            scope.spawn(|| {
                other.take();
                began.send(()).unwrap();
                MEMORY.share(Some(other.clone())).grow(10);
            });
            begins.recv().unwrap();
            owner.take();
            drop(owned);
        });
        assert_eq!(*MEMORY.taken.lock().unwrap(), 0);
    }

    #[test]
    fn two_that_both_want_more_do_not_wait_for_each_other() {
        static MEMORY: Memory = Memory::new(10);
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    for _ in 0..1000 {
                        let mut share = MEMORY.share(None);
                        share.grow(5);
                        share.grow(10);
                    }
                });
            }
        });
        assert_eq!(*MEMORY.taken.lock().unwrap(), 0);
    }
}
