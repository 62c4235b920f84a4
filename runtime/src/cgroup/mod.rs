//! Control groups: which hierarchies there are, what limits mean in each, and their use.
//!
//! [`detect`] and [`limits`] look and decide (in `ucr`) and leave a
//! [`CgroupPlan`]: directories to make and values to write. [`group`] carries it
//! out (in `ucr-init`) and never decides. Version 1, version 2 and both side by
//! side differ only in the plan.

mod cpuset;
pub mod detect;
mod device_program;
pub mod devices;
pub mod freezer;
pub mod group;
pub mod limit;
pub mod limits;
pub mod made;
mod place;
pub mod processes;
#[cfg(feature = "launch")]
pub mod update;
mod v1;
mod v2;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use place::Place;

/// The cgroups of one container, one for each hierarchy in use.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CgroupPlan {
    /// The directories, in the order in which they are made.
    pub groups: Vec<Group>,
    /// The memory limit, for the words that follow an out-of-memory kill.
    pub memory_limit: Option<u64>,
}

/// The version of a hierarchy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Version {
    /// cgroups(7), version 1: one hierarchy for each set of controllers.
    One,
    /// cgroups(7), version 2: one hierarchy for all.
    Two,
}

/// One directory to make.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// The version of its hierarchy.
    pub version: Version,
    /// What the hierarchy is called below `/sys/fs/cgroup`, such as `memory`.
    pub name: String,
    /// The controllers of its hierarchy; empty for a version 2 without any.
    pub controllers: Vec<String>,
    /// The shared directory above it, made when missing.
    pub parent: PathBuf,
    /// The directory itself.
    pub path: PathBuf,
    /// Directories above it that ours share and that go when they are empty; innermost first.
    pub shared: Vec<PathBuf>,
    /// Whose choice its place is.
    pub place: Place,
    /// Written after the parent and before the directory are made: version 2 delegation.
    pub enable: Vec<Write>,
    /// Written into the directory: the limits.
    pub writes: Vec<Write>,
    /// The program that decides about devices in version 2, bpf(2); empty for none.
    pub device_filter: Vec<u64>,
}

/// One value to write.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Write {
    /// The controller that it belongs to, for the error message.
    pub controller: String,
    /// The file.
    pub file: PathBuf,
    /// The value.
    pub value: String,
    /// What happens where there is no such file.
    pub if_missing: IfMissing,
}

/// What happens where a file is missing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum IfMissing {
    /// It is an error.
    Fail,
    /// Nothing: nobody asked for this value.
    Skip,
    /// Another is written, which must be there.
    Other {
        /// The file.
        file: PathBuf,
        /// The value.
        value: String,
    },
}
