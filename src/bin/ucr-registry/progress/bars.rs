//! A bar for each layer in flight, for a person at a terminal.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use ucr::command_error::explained;
use ucr::shown;
use ucr_images::Digest;
use ucr_puller::{Event, Progress};

use super::{PROVING, about_retrying, about_stalling};

/// A bar for each layer in flight, and one for the whole below them.
pub(super) struct Bars {
    bars: MultiProgress,
    whole: ProgressBar,
    layers: Mutex<HashMap<Digest, Layer>>,
}

struct Layer {
    bar: ProgressBar,
    done: u64,
}

impl Bars {
    /// Of a pull of `image`.
    pub(super) fn new(image: &str) -> Self {
        let bars = MultiProgress::new();
        let whole = bars.add(ProgressBar::new(0).with_style(style(
            "{prefix} {bar:30} {decimal_bytes:>9}/{decimal_total_bytes:<9} {decimal_bytes_per_sec:>11} {elapsed}",
        )));
        whole.set_prefix(image.to_owned());
        whole.enable_steady_tick(Duration::from_millis(200));
        Self {
            bars,
            whole,
            layers: Mutex::new(HashMap::new()),
        }
    }

    fn with_layer(&self, digest: &Digest, change: impl FnOnce(&mut Layer)) {
        let mut layers = self.layers.lock().unwrap_or_else(PoisonError::into_inner);
        let layer = layers.entry(digest.clone()).or_insert_with(|| {
            let bar = ProgressBar::new(0).with_style(style(
                "  layer {prefix} {bar:30} {decimal_bytes:>9}/{decimal_total_bytes:<9} {msg}",
            ));
            bar.set_prefix(digest.short().to_owned());
            Layer {
                bar: self.bars.insert_before(&self.whole, bar),
                done: 0,
            }
        });
        change(layer);
    }

    /// Says a line above the bars.
    fn say(&self, line: String) {
        // A terminal that does not take it shows the end anyway.
        let _ = self.bars.println(line);
    }

    /// Shows what of a layer is there, whoever got it.
    fn advance(&self, digest: &Digest, done: u64) {
        self.with_layer(digest, |layer| {
            self.whole.inc(done.saturating_sub(layer.done));
            layer.done = layer.done.max(done);
            layer.bar.set_position(done);
        });
    }

    fn message(&self, digest: &Digest, text: String) {
        self.with_layer(digest, |layer| layer.bar.set_message(text));
    }
}

fn style(template: &str) -> ProgressStyle {
    // A template that does not parse is a mistake in this file: show the default then.
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=> ")
}

impl Progress for Bars {
    fn event(&self, event: Event<'_>) {
        match event {
            Event::Resolved { bytes, .. } => self.whole.set_length(bytes),
            Event::MirrorPassedOver { endpoint, error } => {
                self.say(format!("{endpoint} did not help: {}", explained(error)));
            }
            Event::LayerProving { digest } => self.message(digest, PROVING.to_owned()),
            Event::Retrying(retrying) => self.say(about_retrying(retrying)),
            Event::LayerPresent { digest } => self.with_layer(digest, |layer| {
                layer.bar.set_style(style("  layer {prefix} {msg}"));
                layer.bar.finish_with_message("already here");
            }),
            Event::LayerWaiting {
                digest,
                holder,
                done,
                size,
            } => {
                self.with_layer(digest, |layer| layer.bar.set_length(size));
                self.advance(digest, done);
                let holder = ucr_images::another_ucr(holder);
                self.message(digest, format!("waiting for {holder} that is pulling it"));
            }
            Event::LayerStalled {
                digest,
                holder,
                since,
            } => self.message(digest, about_stalling(holder, since)),
            Event::LayerStarted { digest, size } => self.with_layer(digest, |layer| {
                layer.bar.set_length(size);
                layer.bar.set_message("");
            }),
            Event::LayerResumed { digest, from } => {
                let from = shown::size(from);
                self.message(digest, format!("going on with the {from} that are here"));
            }
            Event::LayerBytes { digest, done } => self.advance(digest, done),
            Event::LayerDone { digest } => {
                self.with_layer(digest, |layer| layer.bar.finish_with_message("done"));
            }
            _ => {}
        }
    }
}

impl Drop for Bars {
    fn drop(&mut self) {
        self.whole.finish();
    }
}
