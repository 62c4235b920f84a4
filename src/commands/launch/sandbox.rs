//! The sandbox: the directory of a task that it sees at `/mnt/mesos/sandbox`.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use ucr_sys::Dir;
use ucr_sys::inroot::{InRoot, Kind, Links};

use super::log_file::{LogFile, Rotation};
use crate::command_error::CommandError;

/// The folder of a pod's sandbox with those of its containers, as Mesos has it.
const CONTAINERS: &str = "containers";

/// The directory of one container of a task.
#[derive(Debug)]
pub(super) struct Sandbox {
    path: PathBuf,
    folder: Rc<OwnedFd>,
}

impl Sandbox {
    /// Opens the directory `path`, making it where it is missing.
    pub(super) fn open(path: &Path) -> Result<Self, CommandError> {
        let path = std::path::absolute(path)?;
        let directory = Dir::open_or_create(&path).map_err(CommandError::new)?;
        let folder = directory.as_fd().try_clone_to_owned()?;
        Ok(Self {
            path,
            folder: Rc::new(folder),
        })
    }

    /// The sandbox of the container `name` of a pod.
    pub(super) fn of_container(&self, name: &str) -> Result<Self, CommandError> {
        let below = Path::new(CONTAINERS).join(name);
        self.directory(&below)
    }

    /// The directory `below`, made where it is missing; found as if the sandbox were all there is.
    pub(super) fn directory(&self, below: &Path) -> Result<Self, CommandError> {
        let root = InRoot::new(self.folder.try_clone()?);
        let place = root.ensure(below, Kind::Directory, Links::Follow);
        place.map_err(CommandError::new)?;
        let folder = root.directory(below).map_err(CommandError::new)?;
        // As the kernel shows it: links of the sandbox lead nowhere outside.
        let path = ucr_sys::inroot::shown_path(folder.as_fd()).map_err(CommandError::new)?;
        Ok(Self {
            path,
            folder: Rc::new(folder),
        })
    }

    /// Its path on this host.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The directory itself.
    pub(super) fn folder(&self) -> BorrowedFd<'_> {
        self.folder.as_fd()
    }

    /// The file of one of the task's streams.
    pub(super) fn log(&self, stream: &str, rotation: Rotation) -> Result<LogFile, CommandError> {
        let folder = Rc::clone(&self.folder);
        LogFile::open(folder, stream, rotation).map_err(CommandError::new)
    }
}
