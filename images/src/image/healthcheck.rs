//! Docker's `HEALTHCHECK`, which OCI's configuration has no word for.

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

/// Where the image says nothing (docker's documentation of `HEALTHCHECK`).
const INTERVAL: Duration = Duration::from_secs(30);
const TIMEOUT: Duration = Duration::from_secs(30);
const RETRIES: u32 = 3;

/// How an image says that the health of its containers is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Healthcheck {
    /// What is run in the container.
    pub test: Test,
    /// From the start to the first, and from the end of one to the next.
    pub interval: Duration,
    /// After which one has failed.
    pub timeout: Duration,
    /// From the start, while failures do not count.
    pub start_period: Duration,
    /// Failures one after the other that make it unhealthy.
    pub retries: u32,
}

/// What is run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Test {
    /// A program with its arguments.
    Command(Vec<String>),
    /// A line for the shell.
    Shell(String),
}

#[derive(Deserialize)]
struct Written {
    #[serde(rename = "Test", default)]
    test: Vec<String>,
    #[serde(rename = "Interval", default)]
    interval: i64,
    #[serde(rename = "Timeout", default)]
    timeout: i64,
    #[serde(rename = "StartPeriod", default)]
    start_period: i64,
    #[serde(rename = "Retries", default)]
    retries: i64,
}

impl Healthcheck {
    /// What the configuration `document` says; none where that is nothing, `NONE`, or makes no
    /// sense: no image is less of one for that.
    pub(super) fn of(document: &Value) -> Option<Self> {
        let written = document.get("config")?.get("Healthcheck")?;
        let written = Written::deserialize(written).ok()?;
        let (kind, words) = written.test.split_first()?;
        let test = match (kind.as_str(), words) {
            ("CMD", [_, ..]) => Test::Command(words.to_vec()),
            ("CMD-SHELL", [line]) => Test::Shell(line.clone()),
            _ => return None,
        };
        Some(Self {
            test,
            interval: nanoseconds(written.interval).unwrap_or(INTERVAL),
            timeout: nanoseconds(written.timeout).unwrap_or(TIMEOUT),
            start_period: nanoseconds(written.start_period).unwrap_or_default(),
            retries: u32::try_from(written.retries)
                .ok()
                .filter(|retries| *retries > 0)
                .unwrap_or(RETRIES),
        })
    }
}

/// A time as docker writes it; 0 and less are none.
fn nanoseconds(written: i64) -> Option<Duration> {
    let written = u64::try_from(written).ok()?;
    (written > 0).then(|| Duration::from_nanos(written))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(check: &Value) -> Option<Healthcheck> {
        Healthcheck::of(&json!({"config": {"Healthcheck": check}}))
    }

    #[test]
    fn what_docker_writes_is_read_and_what_is_missing_is_the_usual() {
        let found = of(&json!({
            "Test": ["CMD", "/probe", "-x"], "Interval": 5_000_000_000_i64,
            "Timeout": 1_500_000_000_i64, "StartPeriod": 60_000_000_000_i64, "Retries": 7
        }));
        let expected = Healthcheck {
            test: Test::Command(vec!["/probe".to_owned(), "-x".to_owned()]),
            interval: Duration::from_secs(5),
            timeout: Duration::from_millis(1500),
            start_period: Duration::from_secs(60),
            retries: 7,
        };
        assert_eq!(found, Some(expected));
        let usual = of(&json!({"Test": ["CMD-SHELL", "a && b"]})).unwrap();
        assert_eq!(usual.test, Test::Shell("a && b".to_owned()));
        assert_eq!((usual.interval, usual.timeout), (INTERVAL, TIMEOUT));
        assert_eq!((usual.start_period, usual.retries), (Duration::ZERO, 3));
    }

    #[test]
    fn none_and_nonsense_are_no_check() {
        for nonsense in [
            json!(null),
            json!({}),
            json!("CMD"),
            json!({"Test": null}),
            json!({"Test": []}),
            json!({"Test": ["NONE"]}),
            json!({"Test": ["CMD"]}),
            json!({"Test": ["CMD-SHELL"]}),
            json!({"Test": ["CMD-SHELL", "a", "b"]}),
            json!({"Test": ["curl", "x"]}),
            json!({"Test": ["CMD", 7]}),
        ] {
            assert_eq!(of(&nonsense), None, "{nonsense}");
        }
        let negative = of(&json!({"Test": ["CMD", "x"], "Interval": -1, "Retries": -1})).unwrap();
        assert_eq!((negative.interval, negative.retries), (INTERVAL, 3));
        assert_eq!(Healthcheck::of(&json!({"config": null})), None);
        assert_eq!(Healthcheck::of(&json!([])), None);
    }
}
