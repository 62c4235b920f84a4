//! Holding the server back until a test says so.

use std::sync::{Arc, Condvar, Mutex};

use super::PATIENCE;

/// The test's side: knows whether the server has come to it, and lets it on.
#[derive(Debug, Default)]
pub struct Gate(Latch);

/// The server's side.
#[derive(Debug, Clone, Default)]
pub struct Latch(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    reached: usize,
    released: bool,
}

impl Gate {
    /// Waits until `count` responses in all have come to the gate.
    #[track_caller]
    pub fn wait_reached(&self, count: usize) {
        let inner = &self.0.0;
        let state = inner.state.lock().unwrap();
        let (state, _) = inner
            .changed
            .wait_timeout_while(state, PATIENCE, |state| state.reached < count)
            .unwrap();
        assert!(
            state.reached >= count,
            "{} of {count} came to the gate",
            state.reached
        );
    }

    /// How many responses have come to the gate.
    pub fn reached(&self) -> usize {
        self.0.0.state.lock().unwrap().reached
    }

    /// Lets all through, those that come later too.
    pub fn release(&self) {
        self.0.release();
    }

    pub(super) fn latch(&self) -> Latch {
        self.0.clone()
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.0.release();
    }
}

impl Latch {
    pub(super) fn release(&self) {
        self.0.state.lock().unwrap().released = true;
        self.0.changed.notify_all();
    }

    pub(super) fn pass(&self) {
        let mut state = self.0.state.lock().unwrap();
        state.reached += 1;
        self.0.changed.notify_all();
        drop(
            self.0
                .changed
                .wait_while(state, |state| !state.released)
                .unwrap(),
        );
    }
}
