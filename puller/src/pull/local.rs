//! Pulling an image from files: verified and unpacked as one that comes from a registry.
//!
//! Who holds an image's bytes may have it: a layer that the store has already is
//! read and verified all the same, but not unpacked again.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::thread;

use ucr_images::image::ImageConfig;
use ucr_images::store::{self, ImageRecord, LayerLock, Staging, Store, StoredImage, Tree};
use ucr_images::{Deadline, Digest, Hurried, LocalName, Platform};

use super::error::{LayerError, PullError};
use super::layers::{Wanted, bytes, pair};
use super::unpack::{Threads, Unpacking, prove, unpack};
use super::waiting::{Awaited, Watch};
use crate::budget::{Budget, Meter, Missing};
use crate::error::Error;
use crate::local;
use crate::local::{LocalImage, Spool};
use crate::progress::{Event, Progress};

/// What to take from files.
#[derive(Debug, Clone)]
pub struct LocalRequest {
    /// The image.
    pub name: LocalName,
    /// The platform, where the name stands for several.
    pub platform: Platform,
    /// The most bytes of an archive that are copied into the store to be read, where it is a
    /// pipe or compressed as a whole.
    pub copy_limit: u64,
    /// What the image may take.
    pub budget: Budget,
    /// When all of it must be in the store.
    pub deadline: Deadline,
}

/// Takes an image from files on this machine into the store.
///
/// The files are looked at each time; what is as it was when this name was last
/// pulled is not read again.
///
/// # Errors
/// The first trouble, whatever it is; nothing unverified can be seen in the store then.
pub fn pull_local(
    store: &Store,
    request: &LocalRequest,
    progress: &dyn Progress,
) -> Result<StoredImage, Error> {
    let taken = run(store, request, progress).map_err(|error| match request.deadline.is_over() {
        // Whatever reading it said then.
        true => error.too_late(),
        false => error,
    });
    taken.map_err(|error| Error::new(&request.name, error))
}

fn run(
    store: &Store,
    request: &LocalRequest,
    progress: &dyn Progress,
) -> Result<StoredImage, PullError> {
    let LocalRequest {
        name,
        platform,
        copy_limit,
        budget,
        deadline,
    } = request;
    let staging = store.stage()?;
    let spool = Spool {
        directory: staging.dir(),
        limit: *copy_limit,
        deadline: *deadline,
    };
    let image = LocalImage::open(name, platform, Some(&spool))?;
    let manifest = &image.resolved.digest;
    if let Some(stored) = store.image_to_use(name, platform)?
        && stored.manifest == *manifest
    {
        progress.event(Event::Unchanged { manifest });
        return Ok(stored);
    }
    budget.admit_layers(image.resolved.content.layers.len())?;
    let config = ImageConfig::parse(&image.config)?;
    config.check_platform(platform)?;
    let wanted = pair(&image.resolved.content, &config)?;
    progress.event(Event::Resolved {
        manifest,
        bytes: bytes(wanted.iter().map(|one| &one.layer)),
        layers: wanted.len(),
    });
    let id = &image.resolved.content.config;
    let trees: Vec<_> = config.diff_ids().iter().cloned().map(Tree::Layer).collect();
    store.hold(Some(id), &trees)?;
    let room = || store.room();
    let taking = Taking {
        store,
        meter: &Meter::new(budget, store.path(), &room),
        budget,
        staging: &staging,
        image: &image,
        deadline: *deadline,
        progress,
    };
    taking.layers(wanted)?;
    let record = ImageRecord {
        reference: name.to_string(),
        platform: platform.to_string(),
        fixup: store.fix_up(config.diff_ids())?,
        manifest: manifest.clone(),
        config: id.clone(),
        resolved: Some(image.resolved.named.clone()),
        pulled: Some(store::now()),
        private: false,
    };
    let documents = [&image.resolved.bytes[..], &image.config[..]];
    store.record_image(name, platform, &record, documents)?;
    store.stacked(record, config)?.ok_or(PullError::Vanished)
}

/// One layer to be read.
struct Task {
    wanted: Wanted,
    /// The right to make it, where it is not in the store.
    lock: Option<LayerLock>,
}

/// Layers on their way from an image in files into the store.
struct Taking<'t> {
    store: &'t Store,
    staging: &'t Staging,
    image: &'t LocalImage,
    progress: &'t dyn Progress,
    budget: &'t Budget,
    meter: &'t Meter<'t>,
    deadline: Deadline,
}

impl Taking<'_> {
    /// Reads and verifies all of `wanted`, and unpacks those that are missing.
    ///
    /// Holds no lock while it waits for another, as in `layers`.
    fn layers(&self, mut wanted: Vec<Wanted>) -> Result<(), PullError> {
        self.admit(&wanted)?;
        wanted.sort_by(|one, two| one.diff_id.cmp(&two.diff_id));
        let mut watch = Watch::new(self.progress, self.deadline);
        while !wanted.is_empty() {
            let (tasks, others) = self.claim(wanted)?;
            wanted = others;
            if tasks.is_empty() {
                watch.wait(wanted.iter().map(|one| Awaited {
                    layer: &one.layer,
                    maker: self.store.maker(&one.diff_id),
                    // Another's bytes may come from anywhere.
                    done: 0,
                }))?;
            }
            self.read(tasks)?;
        }
        Ok(())
    }

    /// Whether what is missing can have room.
    fn admit(&self, wanted: &[Wanted]) -> Result<(), PullError> {
        let mut missing = Missing::default();
        for one in wanted {
            if !self.store.has_layer(&one.diff_id)? {
                missing.layers += 1;
                missing.bytes = missing.bytes.saturating_add(one.layer.size);
            }
        }
        // Nothing of it has to be fetched.
        missing.kept = missing.bytes;
        let (path, room) = (self.store.path(), self.store.room());
        Ok(self.budget.admit(missing, path, room)?)
    }

    /// Those that can be read now, and those that other processes are making.
    fn claim(&self, wanted: Vec<Wanted>) -> Result<(Vec<Task>, Vec<Wanted>), PullError> {
        let mut tasks = Vec::new();
        let mut others = Vec::new();
        for wanted in wanted {
            if self.store.has_layer(&wanted.diff_id)? {
                tasks.push(Task { wanted, lock: None });
                continue;
            }
            let Some(lock) = self.store.try_lock_layer(&wanted.diff_id)? else {
                others.push(wanted);
                continue;
            };
            if self.store.has_layer(&wanted.diff_id)? {
                // Made since we looked.
                self.store.unlock_layer(lock)?;
                tasks.push(Task { wanted, lock: None });
            } else {
                let lock = Some(lock);
                tasks.push(Task { wanted, lock });
            }
        }
        Ok((tasks, others))
    }

    /// Reads layers, as many at once as there are processors.
    fn read(&self, mut tasks: Vec<Task>) -> Result<(), PullError> {
        // The largest first: the last to end should not be one that began late.
        tasks.sort_by_key(|task| std::cmp::Reverse(task.wanted.layer.size));
        let processors = thread::available_parallelism().map_or(1, usize::from);
        let sizes = tasks.iter().map(|task| task.wanted.layer.size);
        let all = sizes.fold(0, u64::saturating_add);
        let workers = processors.min(tasks.len());
        let queue = Mutex::new(VecDeque::from(tasks));
        let queue = || queue.lock().unwrap_or_else(PoisonError::into_inner);
        let work = || {
            loop {
                let Some(task) = queue().pop_front() else {
                    return Ok(());
                };
                let digest = task.wanted.layer.digest.clone();
                let threads = Threads::of(task.wanted.layer.size, all, processors);
                if let Err(error) = self.read_one(task, threads) {
                    // The others end with what they are at.
                    queue().clear();
                    let source = Box::new(error);
                    return Err(PullError::Layer { digest, source });
                }
                if !queue().is_empty() {
                    self.store.more_to_come();
                }
            }
        };
        thread::scope(|scope| {
            let spawn = |_| thread::Builder::new().spawn_scoped(scope, work);
            // This thread is one of them, should there be no other.
            let others: Vec<_> = (1..workers)
                .map_while(|number| spawn(number).ok())
                .collect();
            let own = work();
            let join = |handle: thread::ScopedJoinHandle<'_, _>| {
                handle
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            };
            others.into_iter().map(join).fold(own, Result::and)
        })
    }

    fn read_one(&self, Task { wanted, lock }: Task, threads: Threads) -> Result<(), LayerError> {
        let digest = &wanted.layer.digest;
        let reader = Hurried::new(self.image.layer(digest)?, self.deadline);
        let unpacking = Unpacking {
            store: self.store,
            staging: self.staging,
            progress: self.progress,
            meter: self.meter,
            threads,
            turn: None,
        };
        let Some(lock) = lock else {
            let proved = prove(&unpacking, (&wanted.layer, &wanted.diff_id), reader);
            proved.map_err(|error| of_file(error, digest))?;
            self.progress.event(Event::LayerPresent { digest });
            return Ok(());
        };
        let size = wanted.layer.size;
        self.progress.event(Event::LayerStarted { digest, size });
        let unpacked = unpack(&unpacking, &lock, &wanted.layer, reader);
        unpacked.map_err(|error| of_file(error, digest))?;
        self.store.unlock_layer(lock)?;
        self.progress.event(Event::LayerDone { digest });
        Ok(())
    }
}

/// What is said of a registry's bytes, of a file's.
fn of_file(error: LayerError, digest: &Digest) -> LayerError {
    let name = digest.to_string();
    match error {
        LayerError::Size { declared, actual } => LayerError::Local(local::Error::Size {
            name,
            declared,
            actual,
        }),
        LayerError::Digest { expected, actual } => LayerError::Local(local::Error::Digest {
            name,
            expected,
            actual,
        }),
        other => other,
    }
}
