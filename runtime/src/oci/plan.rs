//! What a container that is handed over has besides the plan of every container.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::hooks::Hooks;
use super::log::Log;
use crate::plan::Bytes;

/// What `create` is told that a supervised container does without.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandedOver {
    /// What is remembered of the container, and told to its hooks.
    pub about: About,
    /// How many descriptors after the standard three the task keeps.
    pub preserved: u32,
    /// The descriptor of a socket that gets the caller's side of the task's terminal.
    pub console: Option<i32>,
    /// Where errors are written besides standard error.
    pub log: Option<Log>,
    /// Programs that run at points of its life.
    pub hooks: Hooks,
    /// Whether there is a program to run; without one it can be created and not started.
    pub task: TaskPresence,
    /// Whether the task gets a session keyring of its own.
    pub keyring: Keyring,
    /// Namespaces that exist already: `CLONE_NEW*` bit and path.
    pub joined: Vec<(u64, Bytes)>,
    /// How mounts below the root propagate.
    pub propagation: RootPropagation,
    /// Device files besides the standard ones.
    pub devices: Vec<Device>,
    /// The execution domain, personality(2).
    pub personality: Option<u64>,
    /// What the clocks of a new time namespace are ahead, as lines of time_namespaces(7).
    pub clock_offsets: Option<String>,
}

/// What is remembered of a container, and told to its hooks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// The version of the specification that its configuration says.
    pub oci_version: String,
    /// The directory of its configuration, absolute.
    pub bundle: PathBuf,
    /// Its root file system.
    pub rootfs: PathBuf,
    /// What its configuration says of it to others.
    pub annotations: BTreeMap<String, String>,
}

/// Whether the configuration has a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TaskPresence {
    /// It has.
    Present,
    /// It has none.
    Absent,
}

/// Which session keyring the task has, keyrings(7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Keyring {
    /// A new one.
    New,
    /// That of whoever called.
    Callers,
}

/// The ids of a user namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdMappings {
    /// Users.
    pub uids: Vec<IdMapping>,
    /// Groups.
    pub gids: Vec<IdMapping>,
}

/// A range of ids, user_namespaces(7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdMapping {
    /// The first, inside.
    pub inside: u32,
    /// The first, outside.
    pub outside: u32,
    /// How many.
    pub count: u32,
}

impl IdMappings {
    /// Whether the container has user `uid`.
    pub fn has_user(&self, uid: u32) -> bool {
        has(&self.uids, uid)
    }

    /// Whether the container has group `gid`.
    pub fn has_group(&self, gid: u32) -> bool {
        has(&self.gids, gid)
    }

    /// The ids that the container's root has outside: its user and its group.
    pub fn root(&self) -> Option<(u32, u32)> {
        let outside = |list: &[IdMapping]| {
            let first = list.iter().find(|one| one.inside == 0 && one.count > 0);
            first.map(|one| one.outside)
        };
        Some((outside(&self.uids)?, outside(&self.gids)?))
    }

    /// The ids outside of a user and a group; none unless the container has both.
    pub fn outside(&self, (uid, gid): (u32, u32)) -> Option<(u32, u32)> {
        Some((outside(&self.uids, uid)?, outside(&self.gids, gid)?))
    }

    /// One of the two lists in the form of `/proc/<pid>/uid_map`.
    pub fn lines(list: &[IdMapping]) -> String {
        let line = |one: &IdMapping| format!("{} {} {}\n", one.inside, one.outside, one.count);
        list.iter().map(line).collect()
    }
}

fn outside(list: &[IdMapping], id: u32) -> Option<u32> {
    list.iter().find_map(|one| {
        let at = id.checked_sub(one.inside).filter(|at| *at < one.count)?;
        one.outside.checked_add(at)
    })
}

fn has(list: &[IdMapping], id: u32) -> bool {
    let holds = |one: &IdMapping| id.checked_sub(one.inside).is_some_and(|at| at < one.count);
    list.iter().any(holds)
}

/// How mounts below the root propagate, mount_namespaces(7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootPropagation {
    /// In which direction.
    pub kind: Propagation,
    /// Whether it holds for everything mounted below the root too.
    pub recursive: bool,
}

impl RootPropagation {
    /// None at all.
    pub const PRIVATE: Self = Self {
        kind: Propagation::Private,
        recursive: true,
    };
}

/// In which direction mounts propagate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Propagation {
    /// Both.
    Shared,
    /// From the host to the container.
    Slave,
    /// None.
    Private,
    /// None, and they cannot be bound elsewhere.
    Unbindable,
}

impl From<Propagation> for ucr_sys::mount::Propagation {
    fn from(kind: Propagation) -> Self {
        match kind {
            Propagation::Shared => Self::Shared,
            Propagation::Slave => Self::Slave,
            Propagation::Private => Self::Private,
            Propagation::Unbindable => Self::Unbindable,
        }
    }
}

/// A device file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// Where, in the container.
    pub path: Bytes,
    /// What.
    pub kind: DeviceKind,
    /// Major and minor number.
    pub number: (u32, u32),
    /// Permission bits.
    pub mode: u32,
    /// Owner and group.
    pub owner: (u32, u32),
}

/// What a device file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DeviceKind {
    /// Characters, one after the other.
    Character,
    /// Blocks.
    Block,
    /// A FIFO.
    Fifo,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_outside_are_those_of_the_range_that_has_them() {
        let range = |inside, outside, count| IdMapping {
            inside,
            outside,
            count,
        };
        let ids = IdMappings {
            uids: vec![range(0, 1000, 10), range(10, 5000, 1)],
            gids: vec![range(0, 2000, 5)],
        };
        assert_eq!(ids.outside((0, 0)), ids.root());
        assert_eq!(ids.outside((10, 4)), Some((5000, 2004)));
        assert_eq!(ids.outside((11, 4)), None);
        assert_eq!(ids.outside((9, 5)), None);
    }
}
