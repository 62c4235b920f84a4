//! `--volumes-from`: the volumes of a container that runs, for another one.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use oci_spec::runtime::Mount;
use ucr_images::store::Container;
use ucr_runtime::launch::{SharedVolume, VolumeLease};
use ucr_runtime::state::{Found, Record};
use ucr_runtime::volumes::{Kind, Lease, Volume};
use ucr_sys::{Dir, Errno, Lock, LockMode, at, still_named};

use super::volume;
use crate::command_error::CommandError;
use crate::commands::containers::{has_ended, look_for, running};
use crate::settings::Settings;

/// What is to be done to the other container, in a message.
const WHAT: &str = "take the volumes of";

/// One `--volumes-from`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct VolumesFrom {
    container: String,
    read_only: bool,
}

impl VolumesFrom {
    /// Reads `CONTAINER[:ro|rw]`.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let (container, access) = text.split_once(':').unwrap_or((text, "rw"));
        let read_only = match access {
            "ro" => true,
            "rw" => false,
            other => return Err(format!("\"{other}\" is neither ro nor rw")),
        };
        if container.is_empty() {
            return Err("it names no container".to_owned());
        }
        Ok(Self {
            container: container.to_owned(),
            read_only,
        })
    }
}

/// Volumes of others, and what keeps them.
#[derive(Debug, Default)]
pub(crate) struct Borrowed {
    volumes: Vec<Borrow>,
    leases: Vec<(Lock, Lease)>,
}

/// A volume, and a pidfd of the first process of whose it is.
#[derive(Debug)]
struct Borrow {
    volume: Volume,
    container: Rc<OwnedFd>,
}

impl Borrowed {
    /// The volumes of all containers in `wanted`, as far as there is nothing else at their places;
    /// of two at one place the later one counts, as with Docker.
    ///
    /// # Errors
    /// A container that does not run, or whose volumes cannot be shared.
    pub(super) fn take(
        wanted: &[VolumesFrom],
        settings: &Settings,
        is_covered: impl Fn(&Path) -> bool,
    ) -> Result<Self, CommandError> {
        let mut borrowed = Self::default();
        for one in wanted {
            borrowed.take_all(one, settings)?;
        }
        borrowed
            .volumes
            .retain(|one| !is_covered(&one.volume.target));
        Ok(borrowed)
    }

    fn take_all(&mut self, wanted: &VolumesFrom, settings: &Settings) -> Result<(), CommandError> {
        let record = match look_for(settings, &wanted.container)? {
            Found::Alive(record) => record,
            Found::Ended(ended) => return Err(has_ended(&ended.record, WHAT)),
        };
        let container = running(settings, Found::Alive(record.clone()), WHAT)?;
        let init = container.init().filter(|_| record.task_now().is_some());
        let init = init.ok_or_else(|| refused(wanted, "its task does not run yet"))?;
        let init = Rc::new(init.try_clone_to_owned()?);
        check_shareable(wanted, &record)?;
        for lease in &record.volumes.leases {
            if self
                .leases
                .iter()
                .any(|(_, other)| other.file == lease.file)
            {
                continue;
            }
            let lock = hold(&lease.file).map_err(CommandError::new)?;
            let lock = lock.ok_or_else(|| has_ended(&record, WHAT))?;
            self.leases.push((lock, lease.clone()));
        }
        for volume in &record.volumes.all {
            let volume = with_access(volume, wanted.read_only);
            self.volumes
                .retain(|other| other.volume.target != volume.target);
            let container = Rc::clone(&init);
            self.volumes.push(Borrow { volume, container });
        }
        Ok(())
    }

    /// The volumes, which are this container's too.
    pub(super) fn volumes(&self) -> impl Iterator<Item = &Volume> {
        self.volumes.iter().map(|one| &one.volume)
    }

    /// Those that are of the host.
    pub(crate) fn mounts(&self) -> impl Iterator<Item = Mount> {
        self.volumes().filter_map(|volume| match &volume.kind {
            Kind::Bind { source, options } => {
                let volume = volume::Volume {
                    source: source.clone(),
                    target: volume.target.clone(),
                    options: options.clone(),
                };
                Some(volume.mount())
            }
            Kind::Image { .. } => None,
        })
    }

    /// Those that other containers have of their images.
    pub(crate) fn shared(&self) -> Vec<SharedVolume> {
        let shared = self.volumes.iter().filter_map(|one| match one.volume.kind {
            Kind::Image { read_only } => Some(SharedVolume {
                path: one.volume.target.clone(),
                read_only,
                container: Rc::clone(&one.container),
            }),
            Kind::Bind { .. } => None,
        });
        shared.collect()
    }

    /// What keeps these, and with `own` volumes of its image what this container has of its own.
    pub(crate) fn leases(
        &self,
        container: &Container,
        own: &[Volume],
    ) -> io::Result<Vec<VolumeLease>> {
        let mut leases = Vec::new();
        for (lock, lease) in &self.leases {
            leases.push(VolumeLease {
                lock: lock.as_fd().try_clone_to_owned()?,
                file: lease.file.clone(),
                trees: lease.trees.clone(),
            });
        }
        let borrowed = |volume: &Volume| self.volumes().any(|other| other == volume);
        let is_own = |volume: &&Volume| matches!(volume.kind, Kind::Image { .. });
        // Of a store that can only be read the lease does not keep the layers.
        let lasts = container.held.is_empty();
        if lasts && own.iter().filter(is_own).any(|volume| !borrowed(volume)) {
            leases.push(VolumeLease {
                lock: container.lease.try_clone()?,
                file: container.lease_file.clone(),
                trees: vec![container.dir.clone()],
            });
        }
        Ok(leases)
    }
}

fn refused(wanted: &VolumesFrom, why: &str) -> CommandError {
    let name = &wanted.container;
    CommandError::sentence(format!("cannot {WHAT} the container {name}: {why}"))
}

/// Whether nothing is in the way of sharing the volumes of an image.
fn check_shareable(wanted: &VolumesFrom, record: &Record) -> Result<(), CommandError> {
    let is_image = |volume: &Volume| matches!(volume.kind, Kind::Image { .. });
    if !record.volumes.all.iter().any(is_image) {
        return Ok(());
    }
    if record.ids.is_some() {
        let why = "those of its image belong to the ids of its user namespace";
        return Err(refused(wanted, why));
    }
    if record.volumes.leases.is_empty() {
        let why = "nothing keeps those of its image, as its store can only be read";
        return Err(refused(wanted, why));
    }
    Ok(())
}

/// A volume as another container sees it: what is read-only stays so.
fn with_access(volume: &Volume, read_only: bool) -> Volume {
    let mut volume = volume.clone();
    match &mut volume.kind {
        Kind::Bind { options, .. } if read_only => options.push("ro".to_owned()),
        Kind::Bind { .. } => {}
        Kind::Image { read_only: already } => *already |= read_only,
    }
    volume
}

/// Takes the lease `file`, if it is still there and nobody is about to remove what it keeps.
fn hold(file: &Path) -> Result<Option<Lock>, ucr_sys::Error> {
    let (Some(folder), Some(name)) = (file.parent(), file.file_name()) else {
        return Ok(None);
    };
    let (folder, name) = (Dir::open(folder)?, name.as_encoded_bytes());
    let opened = match at::open_file(folder.as_fd(), name) {
        Err(error) if error.errno() == Errno::NOENT => return Ok(None),
        opened => opened?,
    };
    let kept = opened.as_fd();
    let copy = kept.try_clone_to_owned();
    let copy = copy.map_err(|error| ucr_sys::Error::from_io("dup", "", &error))?;
    let lock = Lock::try_on(copy, LockMode::Shared)?;
    // Who removed it had it exclusively: then this is another one's, or nobody's.
    let named = still_named(folder.as_fd(), name, &opened)?;
    Ok(lock.filter(|_| named))
}

/// The places of volumes.
pub(super) fn targets<'a>(volumes: impl Iterator<Item = &'a Volume>) -> Vec<PathBuf> {
    volumes.map(|volume| volume.target.clone()).collect()
}

#[cfg(test)]
mod tests {
    use ucr_runtime::oci::plan::IdMappings;
    use ucr_runtime::plan::About;

    use super::*;

    #[test]
    fn a_container_may_have_an_access() {
        let parsed = |text: &str| VolumesFrom::parse(text).map(|it| (it.container, it.read_only));
        assert_eq!(parsed("web"), Ok(("web".to_owned(), false)));
        assert_eq!(parsed("web:rw"), Ok(("web".to_owned(), false)));
        assert_eq!(parsed("web:ro"), Ok(("web".to_owned(), true)));
        for wrong in ["", ":ro", "web:", "web:z", "web:ro:rw"] {
            assert!(VolumesFrom::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_read_only_stays_so() {
        let image = |read_only| Volume {
            target: "/v".into(),
            kind: Kind::Image { read_only },
        };
        assert_eq!(with_access(&image(true), false), image(true));
        assert_eq!(with_access(&image(false), true), image(true));
        let bind = |options: &[&str]| Volume {
            target: "/v".into(),
            kind: Kind::Bind {
                source: "/s".into(),
                options: options.iter().map(ToString::to_string).collect(),
            },
        };
        assert_eq!(with_access(&bind(&["ro"]), false), bind(&["ro"]));
        assert_eq!(with_access(&bind(&["rw"]), true), bind(&["rw", "ro"]));
    }

    #[test]
    fn volumes_of_an_image_are_shared_where_something_keeps_them() {
        let wanted = VolumesFrom::parse("web").unwrap();
        let mut record = Record::new("web".parse().unwrap(), None, About::default());
        check_shareable(&wanted, &record).unwrap();
        record.volumes.all.push(Volume {
            target: "/v".into(),
            kind: Kind::Image { read_only: false },
        });
        let error = check_shareable(&wanted, &record).unwrap_err().message();
        assert!(error.contains("its store can only be read"), "{error}");
        record.volumes.leases.push(Lease {
            held: 3,
            file: "/leases/web".into(),
            trees: Vec::new(),
        });
        check_shareable(&wanted, &record).unwrap();
        record.ids = Some(IdMappings::default());
        let error = check_shareable(&wanted, &record).unwrap_err().message();
        assert!(error.contains("its user namespace"), "{error}");
    }

    #[test]
    fn a_lease_is_held_while_it_is_there_and_nobody_removes() {
        let temp = tempfile::tempdir().unwrap();
        let file = temp.path().join("lease");
        assert!(hold(&file).unwrap().is_none());
        let folder = Dir::open(temp.path()).unwrap();
        let take = |mode| Lock::acquire(folder.as_fd(), b"lease", mode).unwrap();
        let (first, second) = (take(LockMode::Shared), hold(&file).unwrap().unwrap());
        let is_last = |lock: Lock| Lease::is_last(&lock.into_fd()).unwrap();
        assert!(!is_last(first));
        assert!(is_last(second));
        let removing = take(LockMode::Exclusive);
        assert!(hold(&file).unwrap().is_none());
        drop(removing);
    }
}
