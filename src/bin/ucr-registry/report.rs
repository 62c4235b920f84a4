//! What a report is told of a pull: docs/report.md.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use ucr::command_error::explained;
use ucr::report::{Failure, Line, Report, milliseconds};
use ucr_images::Digest;
use ucr_puller::Event;

/// A report that is told of a pull.
#[derive(Debug)]
pub(crate) struct PullReport<'r> {
    report: &'r Report,
    /// Layers whose waiting was told already: how they get on is for the progress.
    waiting: Mutex<HashSet<Digest>>,
}

impl<'r> PullReport<'r> {
    /// Nothing was told yet.
    pub(crate) fn new(report: &'r Report) -> Self {
        Self {
            report,
            waiting: Mutex::default(),
        }
    }

    /// Tells of an event, if it is one for a report.
    pub(crate) fn event(&self, event: Event<'_>) {
        if let Event::LayerWaiting { digest, .. } = event {
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            if !waiting.insert(digest.clone()) {
                return;
            }
        }
        if let Some(line) = line_of(event) {
            self.report.tell(line);
        }
    }
}

/// What a program is told of a pull that failed.
pub(crate) fn failure(error: &ucr_puller::Error) -> Failure {
    Failure {
        code: error.code(),
        retryable: error.is_retryable(),
        phase: error.phase().name(),
        status: error.status(),
        host: error.host(),
        url: error.url(),
        layer: error.layer().map(ToString::to_string),
    }
}

fn seconds(time: Duration) -> Option<f64> {
    Some(milliseconds(time.as_secs_f64()))
}

/// What is told of an event of a pull; nothing of single bytes.
pub(crate) fn line_of(event: Event<'_>) -> Option<Line> {
    let mut line = Line {
        layer: layer_of(event),
        ..Line::default()
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
    fill(&mut line, event);
    Some(line)
}

fn fill(line: &mut Line, event: Event<'_>) {
    match event {
        Event::Resolved {
            manifest,
            bytes,
            layers,
        } => {
            line.manifest = Some(manifest.to_string());
            line.total = Some(bytes);
            line.layers = Some(layers);
        }
        Event::MirrorPassedOver { endpoint, error } => {
            let kind = error.kind();
            line.host = Some(endpoint.host().to_string());
            line.code = Some(kind.code());
            line.message = Some(explained(error));
        }
        Event::Unchanged { manifest } => line.manifest = Some(manifest.to_string()),
        Event::LayerWaiting {
            holder, done, size, ..
        } => {
            line.pid = holder;
            line.bytes = Some(done);
            line.total = Some(size);
        }
        Event::LayerStalled { holder, since, .. } | Event::SettlingStalled { holder, since } => {
            line.pid = holder;
            line.wait = seconds(since);
        }
        Event::Retrying(retrying) => {
            line.message = Some(format!("{}: {}", retrying.what, retrying.why));
            line.wait = seconds(retrying.after);
            line.attempt = Some(retrying.attempt);
            line.attempts = Some(retrying.of);
        }
        Event::LayerStarted { size, .. } => line.total = Some(size),
        Event::LayerResumed { from, .. } => line.bytes = Some(from),
        _ => {}
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
    use ucr::report::Stamp;

    use super::*;

    #[test]
    fn a_line_has_what_is_known_and_no_more() {
        let digest = Digest::sha256(b"x");
        let line = line_of(Event::LayerResumed {
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
}
