//! When a failed request is worth repeating, how often, and how long to wait before.

use std::time::Duration;

use ucr_images::Deadline;

use super::error::Error;
use super::response::Response;

/// How patient a pull is with servers and networks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// How often a request is repeated that brings nothing.
    pub retries: u32,
    /// How long to wait before the first repetition; each later one waits twice as long.
    pub first_delay: Duration,
    /// The longest wait before a repetition, also where the server asks for a longer one and
    /// there is no deadline.
    pub longest_delay: Duration,
    /// When everything must be done.
    pub deadline: Deadline,
    /// A transfer that brings fewer bytes a second than this …
    pub least_rate: u32,
    /// … for so long has failed.
    pub stalled_after: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            retries: 5,
            first_delay: Duration::from_millis(300),
            longest_delay: Duration::from_secs(60),
            deadline: Deadline::default(),
            least_rate: 1024,
            stalled_after: Duration::from_secs(30),
        }
    }
}

/// A request that failed, and will be repeated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retrying {
    /// What is asked for, or who is asked, again.
    pub what: String,
    /// Why, in the words of whoever said so.
    pub why: String,
    /// How long is waited before.
    pub after: Duration,
    /// Which repetition it is, from 1.
    pub attempt: u32,
    /// How many there are at the most.
    pub of: u32,
}

/// Who wants to know of requests that are repeated.
pub trait Listener: std::fmt::Debug {
    /// Takes note.
    fn retrying(&self, retrying: &Retrying);
}

/// A failure that may pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    /// What happened.
    pub(crate) why: String,
    /// How long the server asks to wait.
    pub(crate) asked: Option<Duration>,
    /// How often it is worth repeating at the most: a name or a host that is not there now will
    /// hardly be in a minute, and a person who mistyped it is waiting.
    pub(crate) most: u32,
    /// Whether the server says that it is asked too much (RFC 6585, section 4).
    pub(crate) is_too_many: bool,
}

/// Repetitions where nobody answers at all.
const UNREACHABLE: u32 = 2;

impl Failure {
    /// A failure that nobody but us noticed.
    pub(crate) fn new(why: String) -> Self {
        Self {
            why,
            asked: None,
            most: u32::MAX,
            is_too_many: false,
        }
    }

    /// What failed in a way that may pass, if anything did.
    pub(crate) fn of(result: &Result<Response, Error>) -> Option<Self> {
        match result {
            Ok(response) if status_may_pass(response.status) => Some(Self {
                why: format!("HTTP status {}", response.status),
                asked: retry_after(response),
                most: u32::MAX,
                is_too_many: response.status == 429,
            }),
            Err(error) if may_pass(error) => Some(Self {
                why: error.to_string(),
                asked: None,
                most: match error {
                    Error::Resolve { .. } | Error::Connect { .. } | Error::Proxy { .. } => {
                        UNREACHABLE
                    }
                    _ => u32::MAX,
                },
                is_too_many: false,
            }),
            _ => None,
        }
    }
}

/// What to do about a request that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Wait so long, and repeat it.
    After(Duration),
    /// It has failed.
    GiveUp,
    /// The wait that it takes would end behind the deadline.
    TooLate(Duration),
}

impl Patience {
    /// A patience that repeats nothing.
    pub fn none() -> Self {
        Self {
            retries: 0,
            ..Self::default()
        }
    }

    /// What to do when a request failed in a way that may pass, after `failures` before it.
    ///
    /// `luck`, anything from 0 to 1, keeps many processes that failed together from coming back
    /// together.
    pub(crate) fn verdict(&self, failures: u32, failure: &Failure, luck: f64) -> Verdict {
        if failures >= self.retries.min(failure.most) {
            return Verdict::GiveUp;
        }
        let doubled = self.first_delay.saturating_mul(1 << failures.min(20));
        let own = doubled
            .min(self.longest_delay)
            .mul_f64(0.5 + luck.clamp(0.0, 1.0) / 2.0);
        let left = self.deadline.left();
        let wait = match failure.asked {
            None => own,
            // A server that says when gets a little more than that, each time another.
            Some(asked) => {
                let asked = match left {
                    Some(_) => asked,
                    None => asked.min(self.longest_delay),
                };
                let spread = (asked / 10).max(self.first_delay);
                asked + spread.mul_f64(luck.clamp(0.0, 1.0))
            }
        };
        match left {
            Some(left) if wait >= left => Verdict::TooLate(wait),
            _ => Verdict::After(wait),
        }
    }
}

/// Anything from 0 to 1.
pub(crate) fn luck() -> f64 {
    let digits = ucr_sys::random_suffix();
    let number = u32::from_str_radix(&digits[..8], 16).unwrap_or_default();
    f64::from(number) / f64::from(u32::MAX)
}

/// Whether a request that ended so may succeed when it is repeated.
pub(crate) fn may_pass(error: &Error) -> bool {
    matches!(
        error,
        Error::Resolve { .. }
            | Error::Connect { .. }
            | Error::TimedOut { .. }
            | Error::Broken { .. }
            | Error::Proxy { .. }
            | Error::Interrupted { .. }
    )
}

/// Whether an answer with this status may be another one later (RFC 9110, RFC 6585, RFC 8470).
pub(crate) fn status_may_pass(status: u16) -> bool {
    matches!(status, 408 | 425 | 429 | 500 | 502 | 503 | 504)
}

/// How long a server asks to wait (RFC 9110, section 10.2.3); `None` where it says nothing usable.
///
/// Seconds, or a date, which counts from the server's own `Date`: our clock may be wrong.
pub(crate) fn retry_after(response: &Response) -> Option<Duration> {
    let value = response.header("retry-after")?.trim();
    if let Ok(seconds) = value.parse::<u32>() {
        return Some(Duration::from_secs(seconds.into()));
    }
    let then = http_date(value)?;
    let now = http_date(response.header("date")?)?;
    Some(Duration::from_secs(then.saturating_sub(now)))
}

/// Seconds since 1970 of a date as in `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110, section 5.6.7).
fn http_date(text: &str) -> Option<u64> {
    let date = httpdate::parse_http_date(text).ok()?;
    let since = date.duration_since(std::time::UNIX_EPOCH).ok()?;
    Some(since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn failure(asked: Option<Duration>) -> Failure {
        Failure {
            why: "HTTP status 503".to_owned(),
            asked,
            most: u32::MAX,
            is_too_many: false,
        }
    }

    fn patience(deadline: Option<Duration>) -> Patience {
        Patience {
            retries: 4,
            first_delay: seconds(1),
            longest_delay: seconds(60),
            deadline: deadline.map(Deadline::within).unwrap_or_default(),
            ..Patience::default()
        }
    }

    fn answer(headers: &[(&str, &str)]) -> Response {
        Response {
            url: url::Url::parse("https://r.example/").unwrap(),
            status: 429,
            headers: headers
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
            body: Vec::new(),
            counted: 0,
        }
    }

    #[test]
    fn p55_waits_double_and_vary_and_end() {
        let patience = patience(None);
        assert_eq!(
            patience.verdict(0, &failure(None), 1.0),
            Verdict::After(seconds(1))
        );
        assert_eq!(
            patience.verdict(3, &failure(None), 1.0),
            Verdict::After(seconds(8))
        );
        assert_eq!(
            patience.verdict(2, &failure(None), 0.0),
            Verdict::After(seconds(2))
        );
        assert_eq!(patience.verdict(4, &failure(None), 1.0), Verdict::GiveUp);
        let longest = Patience {
            retries: 100,
            ..patience
        };
        assert_eq!(
            longest.verdict(50, &failure(None), 1.0),
            Verdict::After(seconds(60))
        );
    }

    #[test]
    fn p63_a_server_that_says_when_is_heeded_up_to_the_deadline() {
        let open = patience(None);
        let Verdict::After(wait) = open.verdict(0, &failure(Some(seconds(20))), 0.5) else {
            panic!("it is not repeated");
        };
        assert!(wait >= seconds(20) && wait <= seconds(22), "{wait:?}");
        let Verdict::After(wait) = open.verdict(0, &failure(Some(seconds(7200))), 0.5) else {
            panic!("it is not repeated");
        };
        assert!(wait <= seconds(66), "{wait:?}");
        let limited = patience(Some(seconds(300)));
        assert!(matches!(
            limited.verdict(0, &failure(Some(seconds(200))), 0.5),
            Verdict::After(_)
        ));
        assert!(matches!(
            limited.verdict(0, &failure(Some(seconds(400))), 0.5),
            Verdict::TooLate(_)
        ));
    }

    #[test]
    fn p63_many_that_failed_together_do_not_come_back_together() {
        let patience = patience(None);
        for asked in [
            None,
            Some(seconds(0)),
            Some(seconds(20)),
            Some(seconds(7200)),
        ] {
            let waits = (0..=10_u8).map(|tenths| {
                let luck = f64::from(tenths) / 10.0;
                let Verdict::After(wait) = patience.verdict(2, &failure(asked), luck) else {
                    panic!("it is not repeated");
                };
                wait
            });
            let waits: Vec<_> = waits.collect();
            // As far apart as the shortest wait there is, and no two together.
            assert!(waits[10] - waits[0] >= patience.first_delay, "{waits:?}");
            assert!(waits.windows(2).all(|pair| pair[0] < pair[1]), "{waits:?}");
        }
        let drawn: std::collections::HashSet<_> = (0..50).map(|_| luck().to_bits()).collect();
        assert!(drawn.len() > 40, "{drawn:?}");
    }

    #[test]
    fn p63_retry_after_is_seconds_or_a_date_by_the_servers_clock() {
        let asked = |headers: &[(&str, &str)]| retry_after(&answer(headers));
        assert_eq!(asked(&[("retry-after", "7")]), Some(seconds(7)));
        let date = ("date", "Sun, 06 Nov 1994 08:49:37 GMT");
        let later = ("retry-after", "Sun, 06 Nov 1994 08:50:07 GMT");
        let earlier = ("retry-after", "Sun, 06 Nov 1994 08:40:00 GMT");
        assert_eq!(asked(&[date, later]), Some(seconds(30)));
        assert_eq!(asked(&[date, earlier]), Some(seconds(0)));
        for garbage in ["-3", "soon", "", "99999999999999999999"] {
            assert_eq!(asked(&[("retry-after", garbage), date]), None, "{garbage}");
        }
        assert_eq!(asked(&[]), None);
    }

    #[test]
    fn p63_what_may_pass_is_repeated_and_what_will_not_is_not() {
        for status in [408, 425, 429, 500, 502, 503, 504] {
            assert!(status_may_pass(status), "{status}");
        }
        for status in [200, 400, 401, 403, 404, 405, 406, 410, 451, 501] {
            assert!(!status_may_pass(status), "{status}");
        }
    }
}
