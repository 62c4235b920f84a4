//! Pins: images that are kept whatever becomes of their names.

use std::fmt;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use ucr_sys::LockMode;

use super::error::Error;
use super::image::{ImageRecord, now, record_name};
use super::layout::Store;
use super::tree::absent;
use crate::{Digest, Platform};

/// The most that a pin's file may hold.
const PIN_LIMIT: u64 = 64 * 1024;

/// What keeps an image, and for how long.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pin {
    /// What it is called; unique in the store.
    name: String,
    /// When it ends by itself, in seconds since 1970.
    until: Option<u64>,
    /// What the image was called then, and what it is.
    pub(super) record: ImageRecord,
}

impl Pin {
    /// What it is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// When it ends by itself, if it does.
    pub fn until(&self) -> Option<SystemTime> {
        let until = Duration::from_secs(self.until?);
        SystemTime::UNIX_EPOCH.checked_add(until)
    }

    /// The name that the image had when it was pinned.
    pub fn reference(&self) -> &str {
        &self.record.reference
    }

    /// The image ID.
    pub fn image(&self) -> &Digest {
        &self.record.config
    }

    pub(super) fn is_over(&self) -> bool {
        self.until.is_some_and(|until| until <= now())
    }
}

impl Store {
    /// Keeps what `reference` stands for now under a pin of this name, in place of what it kept before.
    ///
    /// # Errors
    /// Also when there is no such image.
    pub fn pin(
        &self,
        name: &str,
        (reference, platform): (&dyn fmt::Display, &Platform),
        ttl: Option<Duration>,
    ) -> Result<(), Error> {
        let failed = |source| Error::Pin {
            name: name.to_owned(),
            source,
        };
        let _naming = self.lock_names(LockMode::Shared)?;
        let record = self.read_record(&record_name(reference, platform))?;
        let record = record.ok_or_else(|| Error::NoSuchImage {
            wanted: reference.to_string(),
            path: self.path().to_owned(),
        })?;
        let pin = Pin {
            name: name.to_owned(),
            until: ttl.map(|ttl| now().saturating_add(ttl.as_secs())),
            record,
        };
        let content = serde_json::to_vec(&pin).unwrap_or_default();
        let pins = self.root.dir_or_create("pins").map_err(failed)?;
        pins.replace(&file_name(name), &content, 0o600)
            .map_err(failed)
    }

    /// Takes a pin away; returns whether there was one.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn unpin(&self, name: &str) -> Result<bool, Error> {
        let failed = |source| Error::Pin {
            name: name.to_owned(),
            source,
        };
        let Some(pins) = absent(self.root.dir("pins")).map_err(failed)? else {
            return Ok(false);
        };
        self.check_writable()?;
        let file = file_name(name);
        let there = pins.contains(&file).map_err(failed)?;
        pins.remove(&file).map_err(failed)?;
        Ok(there)
    }

    /// All pins, those that are over too; one that cannot be read keeps nothing.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn pins(&self) -> Result<Vec<Pin>, Error> {
        let failed = |source| Error::Pin {
            name: "of any name".to_owned(),
            source,
        };
        let Some(dir) = absent(self.root.dir("pins")).map_err(failed)? else {
            return Ok(Vec::new());
        };
        let mut pins = Vec::new();
        for file in dir.names().map_err(failed)? {
            let content = dir.read(&file, PIN_LIMIT).map_err(failed)?;
            pins.extend(content.and_then(|content| serde_json::from_slice(&content).ok()));
        }
        Ok(pins)
    }

    /// Takes away the pins that are over.
    pub(super) fn drop_old_pins(&self) -> Result<(), Error> {
        for pin in self.pins()?.iter().filter(|pin| pin.is_over()) {
            self.unpin(&pin.name)?;
        }
        Ok(())
    }
}

/// Names may hold anything: their hash is used.
fn file_name(name: &str) -> String {
    Digest::sha256(name.as_bytes()).hex().to_owned()
}
