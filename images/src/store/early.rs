//! Writing out what is made while more is being made, for who will wait for it.
//!
//! A pull ends with a syncfs(2) of all that it made. Where processors are what it waits for until
//! then, the disk is idle; so a thread lets the disk begin. It vouches for nothing, but what it is
//! told of counts: an error that the kernel tells it means what one at the end would mean.

use std::sync::mpsc::{self, Receiver, SyncSender};
use std::sync::{MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use ucr_sys::Dir;

use super::error::Error;
use super::layout::Store;

/// How far it is with writing early.
#[derive(Debug, Default)]
pub(super) enum Early {
    /// All is written at the end.
    #[default]
    No,
    /// Nothing was made yet; by this directory a thread will write.
    Ready(Dir),
    /// A thread writes.
    Writing(EarlyWriting),
}

/// A thread that writes a file system out, each time that there is more.
#[derive(Debug)]
pub(super) struct EarlyWriting {
    more: SyncSender<()>,
    thread: JoinHandle<Result<(), ucr_sys::Error>>,
}

impl EarlyWriting {
    /// Waits for more to write to the file system of `directory`; `None` where there is no thread
    /// to be had.
    fn begin(directory: Dir) -> Option<Self> {
        // One wish that waits stands for all: it is fulfilled after the last of them.
        let (more, wishes) = mpsc::sync_channel(1);
        let thread = thread::Builder::new().name("write out".to_owned());
        let thread = thread.spawn(move || write_out(&directory, &wishes)).ok()?;
        Some(Self { more, thread })
    }

    /// Ends with what is being written just now.
    fn end(self) -> Result<(), ucr_sys::Error> {
        drop(self.more);
        let ended = self.thread.join();
        ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

/// Writes out until nobody can want it any more, or the disk does not take it.
fn write_out(directory: &Dir, wishes: &Receiver<()>) -> Result<(), ucr_sys::Error> {
    wishes
        .iter()
        .try_for_each(|()| directory.sync_file_system())
}

impl Store {
    /// Has what this process makes from now on written out while it makes more, for
    /// [`Store::settle`] at its end, by this process and not a copy of it.
    ///
    /// # Errors
    /// When the store cannot be opened once more.
    pub fn settle_early(&self) -> Result<(), Error> {
        // Opened before anything is written: errors since then are told to it, too.
        let directory = self.root.dir("layers").map_err(Error::Sync)?;
        *self.early() = Early::Ready(directory);
        Ok(())
    }

    /// Says that something was made, and that more will be.
    pub fn more_to_come(&self) {
        let mut early = self.early();
        *early = match std::mem::take(&mut *early) {
            Early::Ready(directory) => {
                EarlyWriting::begin(directory).map_or(Early::No, Early::Writing)
            }
            early => early,
        };
        if let Early::Writing(writing) = &*early {
            // One wish waits already, or the disk has failed and `settle` will say so.
            let _ = writing.more.try_send(());
        }
    }

    /// Waits until no thread writes any more; from now on none does.
    pub(super) fn end_early_writing(&self) -> Result<(), ucr_sys::Error> {
        match std::mem::take(&mut *self.early()) {
            Early::Writing(writing) => writing.end(),
            // Nobody else was told of an error.
            Early::Ready(_) | Early::No => Ok(()),
        }
    }

    fn early(&self) -> MutexGuard<'_, Early> {
        self.early.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
