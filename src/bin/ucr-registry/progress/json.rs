//! Lines of JSON on standard error, with bytes, for a program that shows progress itself.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use ucr::report::{Line, Stamp};
use ucr::ui::Ui;
use ucr_images::Digest;
use ucr_puller::{Event, Progress};

use crate::report::line_of;

/// How long at least lies between two lines with bytes of the same.
const PAUSE: Duration = Duration::from_millis(250);

/// The lines of one pull.
pub(super) struct JsonLines {
    ui: Ui,
    stamp: Stamp,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    total: Option<u64>,
    /// Bytes of each layer that are unpacked.
    done: HashMap<Digest, u64>,
    /// When bytes were last told of.
    told: Option<Instant>,
    /// When a layer's waiting was last told of.
    waiting: HashMap<Digest, Instant>,
}

impl JsonLines {
    /// Of a pull of `image`.
    pub(super) fn new(ui: Ui, image: &str) -> Self {
        Self {
            ui,
            stamp: Stamp::new(image),
            state: Mutex::default(),
        }
    }
}

impl State {
    /// What is told of an event at `now`.
    fn line(&mut self, event: Event<'_>, now: Instant) -> Option<Line> {
        let is_due = |told: Option<&Instant>| {
            told.is_none_or(|told| now.saturating_duration_since(*told) >= PAUSE)
        };
        match event {
            Event::Resolved { bytes, .. } => self.total = Some(bytes),
            Event::LayerBytes { digest, done } => {
                self.done.insert(digest.clone(), done);
                if !is_due(self.told.as_ref()) {
                    return None;
                }
                self.told = Some(now);
                return Some(Line {
                    event: "bytes",
                    phase: "download",
                    bytes: Some(self.done.values().sum()),
                    total: self.total,
                    ..Line::default()
                });
            }
            Event::LayerWaiting { digest, .. } => {
                if !is_due(self.waiting.get(digest)) {
                    return None;
                }
                self.waiting.insert(digest.clone(), now);
            }
            Event::LayerDone { .. } => {
                // Where nothing more is to come, the last word must be the right one.
                return line_of(event).map(|line| Line {
                    bytes: Some(self.done.values().sum()),
                    total: self.total,
                    ..line
                });
            }
            _ => {}
        }
        line_of(event)
    }
}

impl Progress for JsonLines {
    fn event(&self, event: Event<'_>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let line = state.line(event, Instant::now());
        // Under the lock: lines come in the order in which things happened.
        if let Some(line) = line {
            self.ui.say_block(&self.stamp.json(line));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_told_four_times_a_second_at_the_most() {
        let mut state = State {
            total: Some(100),
            ..State::default()
        };
        let [one, two] = [Digest::sha256(b"1"), Digest::sha256(b"2")];
        let begin = Instant::now();
        let mut told = Vec::new();
        for step in 0..100 {
            let now = begin + Duration::from_millis(10) * step;
            let digest = if step % 2 == 0 { &one } else { &two };
            let done = u64::from(step / 2);
            let line = state.line(Event::LayerBytes { digest, done }, now);
            told.extend(line.and_then(|line| line.bytes));
        }
        // At 0, 250, 500 and 750 ms, of both layers together.
        assert_eq!(told, [0, 24, 49, 74]);
    }
}
