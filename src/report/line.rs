//! One line of a report, and of `--progress json`: its fields, and what an event makes of them.
//!
//! docs/report.md describes them for whoever reads them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serialize;
use ucr_puller::{Event, registry_kind};

use crate::command_error::explained;

/// Characters of a message that are told: a line fits a pipe whole.
const LONGEST: usize = 1000;

/// One event. What is not known, or makes no sense for it, is left out.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(crate) struct Line {
    /// When, in seconds since 1970.
    pub(crate) time: f64,
    /// What happened.
    pub(crate) event: &'static str,
    /// What `ucr` was at.
    pub(crate) phase: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) code: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) retryable: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) host: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) url: Option<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) image: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) manifest: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) layer: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) layers: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) total: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) pid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) wait: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) attempt: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) attempts: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) message: Option<String>,
    /// Since the command began.
    pub(crate) seconds: f64,
}

/// When a command began, and what it is about: what all of its lines have.
#[derive(Debug, Clone)]
pub(crate) struct Stamp {
    began: f64,
    image: String,
}

impl Stamp {
    /// For a command that begins now.
    pub(crate) fn new(image: impl Into<String>) -> Self {
        Self {
            began: now(),
            image: image.into(),
        }
    }

    /// When it began, in seconds since 1970.
    pub(crate) fn began(&self) -> f64 {
        self.began
    }

    /// The image.
    pub(crate) fn image(&self) -> &str {
        &self.image
    }

    /// A line as JSON, with its end.
    pub(crate) fn json(&self, line: Line) -> String {
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

fn now() -> f64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    milliseconds(since.unwrap_or_default().as_secs_f64())
}

fn milliseconds(seconds: f64) -> f64 {
    (seconds.max(0.0) * 1000.0).round() / 1000.0
}

fn seconds(time: Duration) -> Option<f64> {
    Some(milliseconds(time.as_secs_f64()))
}

impl Line {
    /// What is told of an event of a pull; nothing of single bytes.
    pub(crate) fn of(event: Event<'_>) -> Option<Self> {
        let mut line = Self {
            layer: layer_of(event),
            ..Self::default()
        };
        (line.event, line.phase) = match event {
            Event::Resolved { .. } => ("resolved", "resolve"),
            Event::MirrorPassedOver { .. } => ("mirror-passed-over", "resolve"),
            Event::Unchanged { .. } => ("unchanged", "resolve"),
            Event::LayerProving { .. } => ("layer-proving", "auth"),
            Event::LayerPresent { .. } => ("layer-present", "store"),
            Event::LayerWaiting { .. } => ("layer-waiting", "download"),
            Event::LayerStalled { .. } => ("layer-stalled", "download"),
            Event::Retrying(_) => ("retrying", "download"),
            Event::LayerStarted { .. } => ("layer-started", "download"),
            Event::LayerResumed { .. } => ("layer-resumed", "download"),
            Event::LayerDone { .. } => ("layer-done", "unpack"),
            Event::Settling => ("settling", "store"),
            Event::SettlingStalled { .. } => ("settling-stalled", "store"),
            _ => return None,
        };
        line.fill(event);
        Some(line)
    }

    fn fill(&mut self, event: Event<'_>) {
        match event {
            Event::Resolved {
                manifest,
                bytes,
                layers,
            } => {
                self.manifest = Some(manifest.to_string());
                self.total = Some(bytes);
                self.layers = Some(layers);
            }
            Event::MirrorPassedOver { endpoint, error } => {
                let kind = registry_kind(error);
                self.host = Some(endpoint.host().to_string());
                self.code = Some(kind.code());
                self.message = Some(explained(error));
            }
            Event::Unchanged { manifest } => self.manifest = Some(manifest.to_string()),
            Event::LayerWaiting {
                holder, done, size, ..
            } => {
                self.pid = holder;
                self.bytes = Some(done);
                self.total = Some(size);
            }
            Event::LayerStalled { holder, since, .. }
            | Event::SettlingStalled { holder, since } => {
                self.pid = holder;
                self.wait = seconds(since);
            }
            Event::Retrying(retrying) => {
                self.message = Some(format!("{}: {}", retrying.what, retrying.why));
                self.wait = seconds(retrying.after);
                self.attempt = Some(retrying.attempt);
                self.attempts = Some(retrying.of);
            }
            Event::LayerStarted { size, .. } => self.total = Some(size),
            Event::LayerResumed { from, .. } => self.bytes = Some(from),
            _ => {}
        }
    }
}

fn layer_of(event: Event<'_>) -> Option<String> {
    match event {
        Event::LayerPresent { digest }
        | Event::LayerProving { digest }
        | Event::LayerWaiting { digest, .. }
        | Event::LayerStalled { digest, .. }
        | Event::LayerStarted { digest, .. }
        | Event::LayerResumed { digest, .. }
        | Event::LayerBytes { digest, .. }
        | Event::LayerDone { digest } => Some(digest.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use ucr_images::Digest;

    use super::*;

    #[test]
    fn a_line_has_what_is_known_and_no_more() {
        let digest = Digest::sha256(b"x");
        let line = Line::of(Event::LayerResumed {
            digest: &digest,
            from: 7,
        });
        let json = Stamp::new("r.example/x:1").json(line.unwrap());
        assert_eq!(json.matches('\n').count(), 1);
        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        let keys: Vec<_> = value.as_object().unwrap().keys().collect();
        let expected = [
            "bytes", "event", "image", "layer", "phase", "seconds", "time",
        ];
        assert_eq!(keys, expected);
        assert_eq!(value["layer"], digest.to_string());
        assert_eq!(value["bytes"], 7);
    }

    #[test]
    fn a_long_message_is_cut_so_that_a_line_fits_a_pipe() {
        let line = Line {
            message: Some("x".repeat(100_000)),
            ..Line::default()
        };
        assert!(Stamp::new("x").json(line).len() < 4096);
    }
}
