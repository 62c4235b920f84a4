//! Showing how a pull goes on: bars for a person, lines for a log, or nothing.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use indicatif::{HumanBytes, MultiProgress, ProgressBar, ProgressStyle};
use ucr_puller::{Digest, Event, Progress};

use crate::command_error::explained;
use crate::ui::Ui;

/// What fits: nothing when `quiet`, bars on a terminal, lines elsewhere.
pub(crate) fn choose(quiet: bool, ui: Ui, name: &str) -> Box<dyn Progress> {
    if quiet {
        Box::new(())
    } else if ui.is_watched() {
        Box::new(Bars::new(name))
    } else {
        Box::new(Lines {
            ui,
            name: name.to_owned(),
        })
    }
}

/// A line for each thing that begins or ends.
struct Lines {
    ui: Ui,
    name: String,
}

impl Progress for Lines {
    fn event(&self, event: Event<'_>) {
        let line = match event {
            Event::Resolved {
                manifest,
                bytes,
                layers,
            } => {
                let (name, manifest, size) = (&self.name, manifest.short(), HumanBytes(bytes));
                let plural = if layers == 1 { "" } else { "s" };
                format!("{name}: manifest {manifest}, {size} in {layers} layer{plural}")
            }
            Event::MirrorPassedOver { endpoint, error } => {
                format!("{endpoint} did not help: {}", explained(error))
            }
            Event::LayerPresent { digest } => format!("layer {}: already here", digest.short()),
            Event::LayerWaiting { digest, .. } => {
                format!(
                    "layer {}: waiting for another ucr that is pulling it",
                    digest.short()
                )
            }
            Event::LayerStarted { digest, size } => {
                format!("layer {}: pulling {}", digest.short(), HumanBytes(size))
            }
            Event::LayerDone { digest } => format!("layer {}: done", digest.short()),
            _ => return,
        };
        self.ui.say(&line);
    }
}

/// A bar for each layer in flight, and one for the whole below them.
struct Bars {
    bars: MultiProgress,
    whole: ProgressBar,
    layers: Mutex<HashMap<Digest, Layer>>,
}

struct Layer {
    bar: ProgressBar,
    done: u64,
}

impl Bars {
    fn new(name: &str) -> Self {
        let bars = MultiProgress::new();
        let whole = bars.add(ProgressBar::new(0).with_style(style(
            "{prefix} {bar:30} {bytes:>10}/{total_bytes:<10} {bytes_per_sec:>12} {elapsed}",
        )));
        whole.set_prefix(name.to_owned());
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
                "  layer {prefix} {bar:30} {bytes:>10}/{total_bytes:<10} {msg}",
            ));
            bar.set_prefix(digest.short().to_owned());
            Layer {
                bar: self.bars.insert_before(&self.whole, bar),
                done: 0,
            }
        });
        change(layer);
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
                let line = format!("{endpoint} did not help: {}", explained(error));
                // Above the bars; a terminal that does not take it shows the end anyway.
                let _ = self.bars.println(line);
            }
            Event::LayerPresent { digest } => self.with_layer(digest, |layer| {
                layer.bar.set_style(style("  layer {prefix} {msg}"));
                layer.bar.finish_with_message("already here");
            }),
            Event::LayerWaiting { digest, .. } => self.with_layer(digest, |layer| {
                layer
                    .bar
                    .set_message("waiting for another ucr that is pulling it");
            }),
            Event::LayerStarted { digest, size } => self.with_layer(digest, |layer| {
                layer.bar.set_length(size);
                layer.bar.set_message("");
            }),
            Event::LayerBytes { digest, done } => self.with_layer(digest, |layer| {
                self.whole.inc(done.saturating_sub(layer.done));
                layer.done = done;
                layer.bar.set_position(done);
            }),
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
