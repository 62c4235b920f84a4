//! A line for each thing that begins or ends, for a log.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use ucr::command_error::explained;
use ucr::shown;
use ucr::ui::Ui;
use ucr_images::Digest;
use ucr_puller::{Event, Progress};

use super::{PROVING, about_retrying, about_settling, about_stalling, about_waiting};

/// How often a log is told how a layer gets on that is waited for.
const EVERY: Duration = Duration::from_secs(10);

/// The lines of one pull.
pub(super) struct Lines {
    ui: Ui,
    image: String,
    /// When a layer's waiting was last told.
    waiting: Mutex<HashMap<Digest, Instant>>,
}

impl Lines {
    /// Of a pull of `image`.
    pub(super) fn new(ui: Ui, image: &str) -> Self {
        Self {
            ui,
            image: image.to_owned(),
            waiting: Mutex::default(),
        }
    }

    /// Whether it is time to tell again that a layer is waited for.
    fn is_due(&self, digest: &Digest) -> bool {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let due = waiting
            .get(digest)
            .is_none_or(|told| now.duration_since(*told) >= EVERY);
        if due {
            waiting.insert(digest.clone(), now);
        }
        due
    }

    fn line(&self, event: Event<'_>) -> Option<String> {
        let layer = |digest: &Digest, text: String| format!("layer {}: {text}", digest.short());
        Some(match event {
            Event::Resolved {
                manifest,
                bytes,
                layers,
            } => {
                let (image, manifest, size) = (&self.image, manifest.short(), shown::size(bytes));
                let plural = if layers == 1 { "" } else { "s" };
                format!("{image}: manifest {manifest}, {size} in {layers} layer{plural}")
            }
            Event::MirrorPassedOver { endpoint, error } => {
                format!("{endpoint} did not help: {}", explained(error))
            }
            Event::Unchanged { manifest } => {
                let (image, manifest) = (&self.image, manifest.short());
                format!("{image}: manifest {manifest}, already here")
            }
            Event::LayerProving { digest } => layer(digest, PROVING.to_owned()),
            Event::LayerPresent { digest } => layer(digest, "already here".to_owned()),
            Event::LayerWaiting {
                digest,
                holder,
                done,
                size,
            } if self.is_due(digest) => layer(digest, about_waiting(holder, done, size)),
            Event::LayerStalled {
                digest,
                holder,
                since,
            } => layer(digest, about_stalling(holder, since)),
            Event::SettlingStalled { holder, since } => {
                format!("{}: {}", self.image, about_settling(holder, since))
            }
            Event::Retrying(retrying) => about_retrying(retrying),
            Event::LayerStarted { digest, size } => {
                layer(digest, format!("pulling {}", shown::size(size)))
            }
            Event::LayerResumed { digest, from } => {
                let from = shown::size(from);
                layer(digest, format!("going on with the {from} that are here"))
            }
            Event::LayerDone { digest } => layer(digest, "done".to_owned()),
            _ => return None,
        })
    }
}

impl Progress for Lines {
    fn event(&self, event: Event<'_>) {
        if let Some(line) = self.line(event) {
            self.ui.say(&line);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layer_that_is_waited_for_is_not_told_of_all_the_time() {
        let lines = Lines::new(Ui::new(), "x");
        let digest = Digest::sha256(b"x");
        let waiting = Event::LayerWaiting {
            digest: &digest,
            holder: Some(7),
            done: 1024,
            size: 2048,
        };
        let said = lines.line(waiting).unwrap();
        let expected = "waiting for another ucr (process 7) that is pulling it, 1.02kB of 2.04kB";
        assert!(said.ends_with(expected), "{said}");
        assert_eq!(lines.line(waiting), None);
    }
}
