//! Settling: from "whole while this boot lasts" to "survives a power cut".

use ucr_sys::Dir;

use super::error::Error;
use super::layer::{Written, read_meta, write_meta};
use super::layout::Store;

impl Store {
    /// Waits until all layers of this boot are on the disk, and records that they are.
    ///
    /// One syncfs(2) for all of them: the store's root was opened before the
    /// first write of this process, so a write-back error since then is seen,
    /// and nothing is recorded as durable.
    pub fn settle(&self) -> Result<(), Error> {
        let fresh = self.fresh_layers().map_err(Error::Sync)?;
        if fresh.is_empty() {
            return Ok(());
        }
        self.root.sync_file_system().map_err(Error::Sync)?;
        for (parent, hex) in fresh {
            self.record_durable(&parent, &hex).map_err(Error::Sync)?;
        }
        self.root.sync_file_system().map_err(Error::Sync)
    }

    /// Layers and fix-ups that are only good for this boot, with where they are.
    fn fresh_layers(&self) -> Result<Vec<(Dir, String)>, ucr_sys::Error> {
        let mut fresh = Vec::new();
        for kind in [&self.layers, &self.fixups] {
            for algorithm in kind.names()? {
                let parent = kind.dir(&algorithm)?;
                for hex in parent.names()? {
                    // One that cannot be read is no reason to leave the others unsettled.
                    let Ok(meta) = read_meta(&parent, &hex) else {
                        continue;
                    };
                    let ours = Written::Boot(self.boot.to_string());
                    if meta.is_some_and(|meta| meta.written == ours) {
                        fresh.push((kind.dir(&algorithm)?, hex));
                    }
                }
            }
        }
        Ok(fresh)
    }

    fn record_durable(&self, parent: &Dir, hex: &str) -> Result<(), ucr_sys::Error> {
        // Gone or changed meanwhile: whoever did that settles it again.
        let Some(mut meta) = read_meta(parent, hex)? else {
            return Ok(());
        };
        meta.written = Written::Durable;
        match parent.dir(hex) {
            Ok(dir) => write_meta(&dir, &meta),
            Err(error) if error.is_not_found() => Ok(()),
            Err(error) => Err(error),
        }
    }
}
