//! Who may compute: as many layers at once as there are processors, the largest first.
//!
//! All layers of an image come at the same time. If all were also unpacked at
//! the same time, each would get an equal share of the processors, and at the
//! end the largest would be left alone with one of them. So a layer takes a
//! turn for as long as there is something to do with its bytes, gives it back
//! before it waits, and passes it on to a larger one between two portions.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::io::{self, BufRead, Read};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// The larger the earlier; then in the order of their numbers.
type Rank = (Reverse<u64>, usize);

/// So many turns, for all layers together.
#[derive(Debug, Clone)]
pub struct Turns(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    processors: usize,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    last: usize,
    working: BTreeSet<Rank>,
    waiting: BTreeSet<Rank>,
}

impl Turns {
    /// As many turns as there are processors for this process, at least one.
    pub fn new(processors: usize) -> Self {
        Self(Arc::new(Shared {
            processors: processors.max(1),
            state: Mutex::default(),
            changed: Condvar::new(),
        }))
    }

    /// A place among those who take turns, for a layer of `size` bytes.
    pub fn place(&self, size: u64) -> Turn {
        let mut state = self.0.lock();
        state.last += 1;
        let rank = (Reverse(size), state.last);
        Turn(Arc::new(Place {
            shared: Arc::clone(&self.0),
            rank,
        }))
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change of the state is one insertion or one removal.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_next(&self, state: &State, rank: Rank) -> bool {
        state.working.len() < self.processors && state.waiting.first() == Some(&rank)
    }
}

/// A layer's place among those who take turns; copies of it are the same place.
///
/// The turn is given back with the last copy.
#[derive(Debug, Clone)]
pub struct Turn(Arc<Place>);

#[derive(Debug)]
struct Place {
    shared: Arc<Shared>,
    rank: Rank,
}

impl Turn {
    /// Waits for the turn; gives one that it has already to a larger layer that waits.
    pub(crate) fn take(&self) {
        let Place { shared, rank } = &*self.0;
        let mut state = shared.lock();
        if state.working.contains(rank) {
            if state.waiting.first().is_none_or(|first| first > rank) {
                return;
            }
            state.working.remove(rank);
            shared.changed.notify_all();
        }
        state.waiting.insert(*rank);
        while !shared.is_next(&state, *rank) {
            state = shared
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        state.waiting.remove(rank);
        state.working.insert(*rank);
        // There may be a turn for the next one too.
        shared.changed.notify_all();
    }

    /// Gives the turn back, if this has it.
    pub fn give_back(&self) {
        self.0.give_back();
    }
}

impl Place {
    fn give_back(&self) {
        if self.shared.lock().working.remove(&self.rank) {
            self.shared.changed.notify_all();
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.give_back();
    }
}

/// What reading on from a reader means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// There are bytes that were read before.
    AtHand,
    /// There are bytes to be read, or it is the end.
    There,
    /// There is nothing yet, and to read is to wait.
    NotYet,
}

/// A reader that knows whether it would have to wait.
pub trait Foresee: BufRead {
    /// What reading on means now.
    fn next(&self) -> Next;
}

/// Reads when it is its turn, and waits for bytes when it is not.
#[derive(Debug)]
pub struct InTurn<R> {
    reader: R,
    turn: Turn,
}

impl<R: Foresee> InTurn<R> {
    /// The turn is taken with the first byte.
    pub fn new(reader: R, turn: Turn) -> Self {
        Self { reader, turn }
    }
}

impl<R: Foresee> BufRead for InTurn<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        match self.reader.next() {
            Next::AtHand => {}
            Next::There => self.turn.take(),
            Next::NotYet => {
                self.turn.give_back();
                self.reader.fill_buf()?;
                self.turn.take();
            }
        }
        self.reader.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        self.reader.consume(amount);
    }
}

impl<R: Foresee> Read for InTurn<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(buffer)?;
        self.consume(count);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Sender, channel};
    use std::thread;

    use super::*;

    /// Works whenever it may, a thousand times, and tells when it is done.
    fn work(turn: &Turn, name: u32, done: &Sender<u32>) {
        for _ in 0..1000 {
            turn.take();
        }
        done.send(name).unwrap();
        turn.give_back();
    }

    #[test]
    fn a_larger_layer_that_waits_gets_the_turn_of_a_smaller_one() {
        let turns = Turns::new(1);
        let (done, order) = channel();
        let first = turns.place(1);
        first.take();
        let places = [turns.place(20), turns.place(30), turns.place(10)];
        thread::scope(|scope| {
            for (place, name) in places.iter().zip([20, 30, 10]) {
                let done = done.clone();
                scope.spawn(move || work(place, name, &done));
            }
            while turns.0.lock().waiting.len() < 3 {
                thread::yield_now();
            }
            first.take();
        });
        drop(done);
        assert_eq!(order.iter().collect::<Vec<_>>(), [30, 20, 10]);
    }

    #[test]
    fn no_more_work_at_once_than_there_are_processors() {
        let turns = Turns::new(2);
        let places: Vec<Turn> = (0..6).map(|size| turns.place(size)).collect();
        thread::scope(|scope| {
            for place in &places {
                let turns = &turns;
                scope.spawn(move || {
                    for _ in 0..1000 {
                        place.take();
                        assert!(turns.0.lock().working.len() <= 2);
                        place.give_back();
                    }
                });
            }
        });
    }

    #[test]
    fn who_goes_gives_the_turn_back() {
        let turns = Turns::new(1);
        let turn = turns.place(1);
        let copy = turn.clone();
        turn.take();
        drop(turn);
        assert_eq!(turns.0.lock().working.len(), 1);
        drop(copy);
        turns.place(1).take();
    }

    /// Bytes that come one portion after the other, each when it is waited for.
    struct Slow {
        portions: Vec<Vec<u8>>,
        at_hand: Vec<u8>,
        turns: Turns,
    }

    impl Foresee for Slow {
        fn next(&self) -> Next {
            match (self.at_hand.is_empty(), self.portions.is_empty()) {
                (false, _) => Next::AtHand,
                (true, false) => Next::NotYet,
                (true, true) => Next::There,
            }
        }
    }

    impl BufRead for Slow {
        fn fill_buf(&mut self) -> io::Result<&[u8]> {
            if self.at_hand.is_empty() {
                assert!(self.turns.0.lock().working.is_empty() || self.portions.is_empty());
                self.at_hand = self.portions.pop().unwrap_or_default();
            }
            Ok(&self.at_hand)
        }

        fn consume(&mut self, amount: usize) {
            self.at_hand.drain(..amount);
        }
    }

    impl Read for Slow {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            unreachable!("it is read through its buffer")
        }
    }

    #[test]
    fn nobody_waits_for_bytes_with_a_turn() {
        let turns = Turns::new(1);
        let slow = Slow {
            portions: vec![b"two".to_vec(), b"one".to_vec()],
            at_hand: Vec::new(),
            turns: turns.clone(),
        };
        let mut reader = InTurn::new(slow, turns.place(6));
        let mut all = Vec::new();
        reader.read_to_end(&mut all).unwrap();
        assert_eq!(all, b"onetwo");
        assert_eq!(turns.0.lock().working.len(), 1);
    }
}
