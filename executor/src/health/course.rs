//! When a check is due, and what its outcome means: mesos.md, section 2.13, without a clock.
//!
//! All times count from the begin, which is when the task runs.

use std::time::Duration;

use super::{Check, Told};

/// How a check came out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Whether that is healthy.
    pub healthy: bool,
    /// The HTTP status, or the exit code of the command, where there was one.
    pub code: Option<i32>,
    /// What was found, in one line.
    pub message: String,
}

/// How a check goes on.
#[derive(Clone, Debug)]
pub struct Course {
    number: usize,
    interval: Duration,
    grace: Duration,
    kill_after: Option<u32>,
    /// When the next one is due; none once it has killed.
    due: Option<Duration>,
    was_healthy: bool,
    consecutive: u32,
}

impl Course {
    /// Of the check that stands at `number`.
    pub fn new(number: usize, check: &Check) -> Self {
        Self {
            number,
            interval: check.interval,
            grace: check.grace,
            kill_after: check.kill_after,
            due: Some(check.delay),
            was_healthy: false,
            consecutive: 0,
        }
    }

    /// When the next one is done; none when there is none.
    pub fn due(&self) -> Option<Duration> {
        self.due
    }

    /// Takes note of how one came out that ended at `now`; what is to be told of it, if anything.
    ///
    /// A failure counts for nothing while it was never healthy and the grace is not over, and is
    /// not told. Each one that counts is told; a success is if the one before was none.
    pub fn ended(&mut self, now: Duration, outcome: Outcome) -> Option<Told> {
        self.due = now.checked_add(self.interval);
        if outcome.healthy {
            let is_news = !self.was_healthy || self.consecutive > 0;
            self.was_healthy = true;
            self.consecutive = 0;
            return is_news.then(|| self.told(outcome, false));
        }
        if !self.was_healthy && now <= self.grace {
            return None;
        }
        self.consecutive = self.consecutive.saturating_add(1);
        let kill = self.kill_after.is_some_and(|most| self.consecutive >= most);
        if kill {
            self.due = None;
        }
        Some(self.told(outcome, kill))
    }

    fn told(&self, outcome: Outcome, kill: bool) -> Told {
        Told {
            check: self.number,
            healthy: outcome.healthy,
            consecutive: self.consecutive,
            kill,
            code: outcome.code,
            message: outcome.message,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Probe;
    use super::*;

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// Delay 15, interval 10, timeout 20, grace 10: as Mesos has it where nothing is said.
    fn course(grace: u64, kill_after: Option<u32>) -> Course {
        let address = "127.0.0.1:80".parse().unwrap();
        Course::new(
            3,
            &Check {
                probe: Probe::Tcp { address },
                delay: seconds(15),
                interval: seconds(10),
                timeout: seconds(20),
                grace: seconds(grace),
                kill_after,
            },
        )
    }

    fn outcome(healthy: bool) -> Outcome {
        Outcome {
            healthy,
            code: None,
            message: String::new(),
        }
    }

    /// Does what is due, each one taking a second; what was told, as `(healthy, consecutive, kill)`.
    fn run(course: &mut Course, healthy: &[bool]) -> Vec<Option<(bool, u32, bool)>> {
        let steps = healthy.iter().map(|healthy| {
            let now = course.due().unwrap() + seconds(1);
            let told = course.ended(now, outcome(*healthy));
            told.map(|told| (told.healthy, told.consecutive, told.kill))
        });
        steps.collect()
    }

    #[test]
    fn the_first_comes_after_the_delay_and_each_other_an_interval_after_the_end_of_the_last() {
        let mut course = course(10, None);
        assert_eq!(course.due(), Some(seconds(15)));
        course.ended(seconds(35), outcome(true));
        assert_eq!(course.due(), Some(seconds(45)));
        course.ended(seconds(46), outcome(false));
        assert_eq!(course.due(), Some(seconds(56)));
    }

    #[test]
    fn a_failure_in_the_grace_counts_for_nothing_and_is_not_told() {
        let mut course = course(40, Some(1));
        // At 16, 27 and 38; the one at 49 counts.
        let told = run(&mut course, &[false, false, false, false]);
        assert_eq!(told, [None, None, None, Some((false, 1, true))]);
    }

    #[test]
    fn the_grace_ends_with_the_first_success() {
        let mut course = course(300, Some(2));
        let told = run(&mut course, &[false, true, false, false]);
        let expected = [
            None,
            Some((true, 0, false)),
            Some((false, 1, false)),
            Some((false, 2, true)),
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn a_failure_at_the_very_end_of_the_grace_is_within_it() {
        let mut course = course(20, Some(1));
        assert_eq!(course.ended(seconds(20), outcome(false)), None);
        assert!(course.ended(seconds(21), outcome(false)).unwrap().kill);
    }

    #[test]
    fn every_failure_is_told_and_of_successes_the_first_and_the_first_after_failures() {
        let mut course = course(0, Some(3));
        let told = run(&mut course, &[true, true, false, false, true, true, false]);
        let expected = [
            Some((true, 0, false)),
            None,
            Some((false, 1, false)),
            Some((false, 2, false)),
            Some((true, 0, false)),
            None,
            Some((false, 1, false)),
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn failures_count_only_one_after_the_other_and_the_limit_kills_once() {
        let mut course = course(0, Some(2));
        let told = run(&mut course, &[false, true, false, false]);
        assert_eq!(told.last(), Some(&Some((false, 2, true))));
        assert_eq!(course.due(), None);
    }

    #[test]
    fn a_limit_of_none_never_kills_and_one_of_zero_kills_at_the_first() {
        let mut never = course(0, None);
        let told = run(&mut never, &[false; 100]);
        assert_eq!(told.last(), Some(&Some((false, 100, false))));
        let told = course(0, Some(0)).ended(seconds(16), outcome(false));
        assert!(told.unwrap().kill);
    }

    #[test]
    fn what_is_told_says_of_which_check_it_is() {
        let mut course = course(0, None);
        let found = Outcome {
            healthy: false,
            code: Some(503),
            message: "HTTP status 503".to_owned(),
        };
        let told = course.ended(seconds(16), found).unwrap();
        let json = serde_json::to_string(&told).unwrap();
        let expected =
            r#"{"check":3,"healthy":false,"consecutive":1,"code":503,"message":"HTTP status 503"}"#;
        assert_eq!(json, expected);
    }
}
