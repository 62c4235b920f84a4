//! Whether more requests at once make a pull faster, found out by trying.

use std::time::{Duration, Instant};

/// How long is measured before deciding.
const WINDOW: Duration = Duration::from_secs(1);
/// One more request must bring so much more, or it was the last that was tried.
const WORTH_IT: f64 = 1.15;

/// What came lately, and what the last try brought.
#[derive(Debug)]
pub(super) struct Pace {
    since: Instant,
    received: u64,
    /// Bytes a second before the last try.
    before: Option<f64>,
    settled: bool,
}

impl Pace {
    /// Begins to measure.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            since: now,
            received: 0,
            before: None,
            settled: false,
        }
    }

    /// Stops trying, as when the server says that it is too much.
    pub(super) fn settle(&mut self) {
        self.settled = true;
    }

    /// When it is worth asking again.
    pub(super) fn due(&self, now: Instant) -> Option<Duration> {
        let passed = now.saturating_duration_since(self.since);
        (!self.settled).then(|| WINDOW.saturating_sub(passed))
    }

    /// Whether to try one more request, when `received` bytes have come in all.
    ///
    /// `possible` tells whether there is anything to share and nothing else in the way; time in
    /// which there is not is not measured.
    pub(super) fn try_more(&mut self, now: Instant, received: u64, possible: bool) -> bool {
        let passed = now.saturating_duration_since(self.since);
        if self.settled || passed < WINDOW {
            return false;
        }
        #[expect(
            clippy::cast_precision_loss,
            reason = "a rate to compare, not to count with"
        )]
        let rate = received.saturating_sub(self.received) as f64 / passed.as_secs_f64();
        (self.since, self.received) = (now, received);
        if !possible {
            self.before = None;
            return false;
        }
        if self.before.is_some_and(|before| rate < before * WORTH_IT) {
            self.settled = true;
            return false;
        }
        self.before = Some(rate);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds one rate for each window, in bytes a second, and tells when more was tried.
    fn tries(rates: &[u64]) -> Vec<bool> {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        let mut received = 0;
        let mut now = start;
        rates
            .iter()
            .map(|rate| {
                now += WINDOW;
                received += rate;
                pace.try_more(now, received, true)
            })
            .collect()
    }

    #[test]
    fn more_is_tried_for_as_long_as_it_brings_more() {
        assert_eq!(
            tries(&[100, 200, 300, 310, 900]),
            [true, true, true, false, false]
        );
    }

    #[test]
    fn where_one_request_is_as_fast_as_two_it_is_tried_once() {
        assert_eq!(tries(&[100, 101, 100, 100]), [true, false, false, false]);
    }

    #[test]
    fn p63_a_server_that_has_enough_is_not_asked_for_more() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        pace.settle();
        assert!(!pace.try_more(start + WINDOW, 100, true));
        assert_eq!(pace.due(start), None);
    }

    #[test]
    fn time_with_nothing_to_share_says_nothing() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        assert!(!pace.try_more(start + WINDOW, 1000, false));
        assert!(pace.try_more(start + WINDOW * 2, 1100, true));
        assert!(!pace.try_more(start + WINDOW * 3, 1200, true));
    }
}
