//! One line of a report, and of `--progress json`: its fields, and what an event makes of them.
//!
//! docs/report.md describes them for whoever reads them.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

/// Characters of a message that are told: a line fits a pipe whole.
const LONGEST: usize = 1000;

/// One event. What is not known, or makes no sense for it, is left out.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Line {
    /// When, in seconds since 1970.
    pub time: f64,
    /// What happened.
    pub event: &'static str,
    /// What `ucr` was at.
    pub phase: &'static str,
    /// The name of what failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<&'static str>,
    /// Whether the same may succeed later, or on another machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retryable: Option<bool>,
    /// The HTTP status.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Where it happened.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// What was asked for, without a query.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The image, as it was named.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub image: String,
    /// The digest of its configuration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The digest of its manifest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub manifest: Option<String>,
    /// The digest of a layer, as the registry has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub layer: Option<String>,
    /// How many layers the image has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub layers: Option<usize>,
    /// Bytes so far.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Bytes in all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
    /// The process that is waited for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// Seconds that are waited for, or were.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wait: Option<f64>,
    /// Which attempt comes next.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// How many there are at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempts: Option<u32>,
    /// What a person is told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Since the command began.
    pub seconds: f64,
}

/// When a command began, and what it is about: what all of its lines have.
#[derive(Debug, Clone)]
pub struct Stamp {
    began: f64,
    image: String,
}

impl Stamp {
    /// For a command that begins now.
    pub fn new(image: impl Into<String>) -> Self {
        Self {
            began: now(),
            image: image.into(),
        }
    }

    /// For the same command, about `image`.
    pub(super) fn about(&self, image: impl Into<String>) -> Self {
        Self {
            began: self.began,
            image: image.into(),
        }
    }

    /// When it began, in seconds since 1970.
    pub fn began(&self) -> f64 {
        self.began
    }

    /// The image.
    pub fn image(&self) -> &str {
        &self.image
    }

    /// A line as JSON, with its end.
    pub fn json(&self, line: Line) -> String {
        let time = now();
        let line = Line {
            time,
            seconds: milliseconds(time - self.began),
            image: self.image.clone(),
            message: line
                .message
                .map(|text| text.chars().take(LONGEST).collect()),
            ..line
        };
        // A struct of plain fields: there is nothing to fail on.
        let mut text = serde_json::to_string(&line).unwrap_or_default();
        text.push('\n');
        text
    }
}

/// Now, in seconds since 1970, to the millisecond.
pub(crate) fn now() -> f64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    milliseconds(since.unwrap_or_default().as_secs_f64())
}

/// As lines have them: to the millisecond.
pub fn milliseconds(seconds: f64) -> f64 {
    (seconds.max(0.0) * 1000.0).round() / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_message_is_cut_so_that_a_line_fits_a_pipe() {
        let line = Line {
            message: Some("x".repeat(100_000)),
            ..Line::default()
        };
        assert!(Stamp::new("x").json(line).len() < 4096);
    }
}
