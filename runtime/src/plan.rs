//! What `ucr-init` is to do, with nothing left to decide.
//!
//! `launch` writes it into a sealed memory file, `ucr-init` reads it. The format
//! is private to one build: a magic, the build's identity, then postcard.

mod bytes;
mod order;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::cgroup::CgroupPlan;
use crate::id::ContainerId;
use crate::network;
use crate::oci;
use crate::oci::hooks::Hooks;
use crate::oci::plan::{DeviceKind, HandedOver, IdMappings, Propagation};
use crate::user::{Principal, UserName};
use crate::volumes::{Shared, Volumes};

pub use bytes::Bytes;
pub use order::{BUILD_ID, Error, Order};

/// The whole plan of one container.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// The container's id.
    pub id: ContainerId,
    /// The name that a person gave it.
    pub name: Option<String>,
    /// What else people know it by.
    pub about: About,
    /// When it is ended, whatever it does, in seconds from its start.
    pub timeout: Option<u64>,
    /// Where its number for the host is written once its task runs.
    pub pid_file: Option<PathBuf>,
    /// The directory of all state: this container's is `containers/<id>` in it.
    pub state_root: PathBuf,
    /// Descriptors that supervisor and pid 1 keep open: locks of the caller.
    pub held: Vec<i32>,
    /// Trees that the supervisor deletes at the very end.
    pub remove_at_exit: Vec<PathBuf>,
    /// Its volumes, and what keeps those that it shares.
    pub volumes: Volumes,
    /// Who is told how it goes, if anybody wants to know.
    pub report: Option<Report>,
    /// The cgroups, and the limits in them.
    pub cgroups: CgroupPlan,
    /// The namespaces, as `CLONE_NEW*` bits.
    pub namespaces: u64,
    /// What it is connected to, if that was there before it.
    pub network: Option<Network>,
    /// The ids of a new user namespace.
    pub ids: Option<IdMappings>,
    /// The root file system.
    pub rootfs: Rootfs,
    /// What its files get before anything is mounted in it.
    pub additions: Option<Additions>,
    /// What is mounted in it, in order.
    pub mounts: Vec<Mount>,
    /// Whether the standard devices are put into the `/dev` among the mounts.
    pub devices: bool,
    /// Paths hidden from the task.
    pub masked: Vec<Bytes>,
    /// Paths that the task may not write.
    pub readonly: Vec<Bytes>,
    /// Whether the root file system is read-only.
    pub readonly_root: bool,
    /// Settings of the kernel's for the namespaces: path below `/proc/sys`, and value.
    pub sysctls: Vec<(String, String)>,
    /// The host name.
    pub hostname: Option<Bytes>,
    /// The NIS domain name.
    pub domainname: Option<Bytes>,
    /// Who has the number 1.
    pub pid_one: PidOne,
    /// The task.
    pub process: Process,
    /// Directories in it that become its user's, without what is in them.
    #[serde(default)]
    pub given: Vec<Bytes>,
    /// Programs that its supervisor and pid 1 run at points of its life.
    pub hooks: Option<Hooked>,
    /// What is different when no supervisor stays.
    pub handed_over: Option<HandedOver>,
}

/// A connection, and the descriptors that go with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// The network namespace that pid 1 joins; none for the host's.
    pub namespace: Option<i32>,
    /// Sockets that the supervisor alone keeps.
    pub sockets: Vec<i32>,
    /// The process that puts rules in force, and what it says; the task waits for them.
    pub rules: Option<(i32, i32)>,
    /// What the supervisor gives back at its end: the name of the record, and its lock among those
    /// that are held.
    pub given_back: Option<(ContainerId, i32)>,
    /// What is told of it.
    pub about: network::About,
}

impl Network {
    /// The descriptors that are the supervisor's alone.
    pub fn descriptors(&self) -> Vec<i32> {
        let rules = self.rules.map(|(_, words)| words);
        let own = self.sockets.iter().copied();
        own.chain(self.namespace).chain(rules).collect()
    }
}

/// The hooks of a supervised container, and what they are told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hooked {
    /// The programs; none of `startContainer`.
    pub hooks: Hooks,
    /// What their state says of the container.
    pub about: oci::plan::About,
    /// The file `config.json` of the bundle that the state names.
    pub config: Bytes,
}

/// Who has the number 1 in the container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PidOne {
    /// A process of ours, which reaps what nobody waits for and passes signals on.
    Ours,
    /// The task itself, which has to do so.
    Task,
}

/// Where the root file system comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Rootfs {
    /// Layers.
    Overlay(Overlay),
    /// A directory of the caller's, used as it is.
    Directory(Bytes),
    /// All files of this machine, with what is in memory made at this directory of the container's.
    Host(Bytes),
}

/// What people know a container by, and how it is to be stopped.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct About {
    /// The image, as it was asked for.
    pub image: String,
    /// The image's ID.
    pub image_id: String,
    /// What was run: program and arguments.
    pub command: Vec<String>,
    /// What people attached to it.
    pub labels: BTreeMap<String, String>,
    /// How it is asked to end.
    pub stop: Stop,
    /// What of the host it may use.
    #[serde(default)]
    pub host: HostConfig,
}

/// What of the host a container may use, as it was asked for and as people look it up.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HostConfig {
    /// The user of the task.
    pub user: String,
    /// Its directory.
    pub directory: String,
    /// The limit of memory in bytes; 0 for none.
    pub memory: i64,
    /// The limit of processors in billionths of one; 0 for none.
    pub nano_cpus: i64,
    /// The limit of processes; 0 for none.
    pub pids: i64,
    /// The kind of network.
    pub network: String,
    /// Whether nothing is kept from it.
    pub privileged: bool,
    /// Whether its root can be read alone.
    pub read_only: bool,
    /// Capabilities that were added.
    pub cap_add: Vec<String>,
    /// Capabilities that were taken away.
    pub cap_drop: Vec<String>,
}

/// How a container is asked to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Stop {
    /// By this signal to its task,
    pub signal: i32,
    /// and by force so many seconds later.
    pub seconds: u64,
}

impl Default for Stop {
    /// Docker's: SIGTERM, and 10 seconds.
    fn default() -> Self {
        Self {
            signal: 15,
            seconds: 10,
        }
    }
}

/// Who is told of the container's start and end, and what is said of it each time.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Descriptors that the supervisor alone keeps, for JSON lines.
    pub sinks: Vec<i32>,
    /// The image, as people name it.
    pub image: String,
    /// When the command began, in seconds since 1970.
    pub began: f64,
}

/// An overlay of read-only layers and a private writable one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overlay {
    /// The layers, top first.
    pub lower: Vec<Bytes>,
    /// The existing directory of this container, for `upper`, `work` and `rootfs`.
    pub work_dir: Bytes,
}

/// Text for files of the root file system, written to the container's own layer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Additions {
    /// What comes at the end of each file.
    pub text: Bytes,
    /// The files; one that several paths lead to gets the text once.
    pub files: Vec<AddedFile>,
    /// The file that is made of the text where none of `files` is there.
    pub fallback: Bytes,
    /// New files in a directory of hashes.
    pub hashed: HashDirectory,
}

/// A file that gets text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddedFile {
    /// Its path, in the container.
    pub path: Bytes,
    /// What happens where there is none.
    pub missing: Missing,
}

/// What happens where a file is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Missing {
    /// It stays so.
    Skip,
    /// It is made, with its parents.
    Make,
}

/// A directory whose files are named by a hash of what is in them and a number, as
/// `0123abcd.0` (openssl-rehash(1)); it is left alone if none of its names is of this form.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HashDirectory {
    /// Its path, in the container.
    pub path: Bytes,
    /// The files to be made in it.
    pub files: Vec<HashedFile>,
}

/// A file that is named by its hash and the first number that is free.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HashedFile {
    /// The hash.
    pub hash: String,
    /// What is in the file.
    pub content: Bytes,
}

/// One mount.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// Where, in the container.
    pub destination: Bytes,
    /// What.
    pub source: Source,
    /// `MOUNT_ATTR_*` bits that it gets, mount_setattr(2).
    pub attributes: u32,
    /// Bits that it loses.
    pub cleared: u32,
    /// Bits that it and everything mounted below it get, and bits that they lose.
    pub recursive: (u32, u32),
    /// How mounts below it propagate, and whether that holds for all of them.
    pub propagation: Vec<(Propagation, bool)>,
    /// The ids that its files get.
    pub ids: Option<MountIds>,
    /// Whether it begins with a copy of what it covers.
    pub copy_up: bool,
}

/// The ids that the files of a mount get, mount_setattr(2) "ID-mapped mounts".
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountIds {
    /// The mappings; none for those of the container.
    pub mappings: Option<IdMappings>,
    /// Whether they hold for everything mounted below it too.
    pub recursive: bool,
}

impl Mount {
    /// A mount with nothing but attributes.
    pub fn new(destination: Bytes, source: Source, attributes: u32) -> Self {
        Self {
            destination,
            source,
            attributes,
            cleared: 0,
            recursive: (0, 0),
            propagation: Vec::new(),
            ids: None,
            copy_up: false,
        }
    }
}

/// What is mounted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Source {
    /// A new instance of a file system.
    FileSystem {
        /// Its type.
        kind: String,
        /// What it is of, as mountinfo shows it.
        source: String,
        /// Its options: a key, and a value unless it is a flag.
        options: Vec<(String, Option<String>)>,
    },
    /// A file or directory of the host.
    Bind {
        /// Its path.
        path: Bytes,
        /// Whether what is mounted below it comes along.
        recursive: bool,
    },
    /// A device file of the host.
    Device {
        /// Its path.
        path: Bytes,
        /// Major and minor number that it has to have.
        number: (u32, u32),
    },
    /// A device file that is made for the container.
    Node {
        /// What it is.
        kind: DeviceKind,
        /// Major and minor number.
        number: (u32, u32),
        /// Permission bits.
        mode: u32,
        /// Owner and group, as the machine counts.
        owner: (u32, u32),
    },
    /// A directory of another container's.
    Shared(Shared),
    /// What the root file system has there itself.
    Own,
    /// The container's own cgroups.
    Cgroups,
    /// A file of this text, in memory.
    Text(Bytes),
    /// The layers of an image, top first, which can be read alone.
    Layers(Vec<Bytes>),
}

/// A policy of sched(7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scheduler {
    /// `SCHED_*`.
    pub policy: u32,
    /// The nice value.
    pub nice: i32,
    /// The static priority of real time.
    pub priority: u32,
}

/// The task's process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Program and arguments.
    pub arguments: Vec<Bytes>,
    /// Environment, as `NAME=value`.
    pub environment: Vec<Bytes>,
    /// Working directory, in the container.
    pub directory: Bytes,
    /// Who it runs as.
    pub user: User,
    /// Mode bits that its files do not get.
    pub umask: u32,
    /// Capability sets.
    pub capabilities: Capabilities,
    /// Resource limits: number, soft, hard.
    pub limits: Vec<(u32, u64, u64)>,
    /// Whether `execve` may grant no privileges.
    pub no_new_privileges: bool,
    /// What is asked before each system call, if anything.
    pub filter: Option<Filter>,
    /// The profile of AppArmor that it is confined by, if one is asked for.
    #[serde(default)]
    pub apparmor: Option<Bytes>,
    /// oom_score_adj, proc(5).
    pub oom_score_adj: Option<i32>,
    /// How it shares processors with others.
    pub scheduler: Option<Scheduler>,
    /// Its class and level at block devices, ioprio_set(2).
    pub io_priority: Option<i32>,
    /// The terminal that is its standard input, output and error; none if they are the caller's.
    pub terminal: Option<Terminal>,
    /// Groups besides the user's.
    pub groups: Vec<Principal>,
}

/// A terminal of the container's own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terminal {
    /// Its lines at first; 0 if nobody knows.
    pub rows: u16,
    /// Characters in a line at first; 0 if nobody knows.
    pub columns: u16,
}

/// A filter of system calls, seccomp(2).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Filter {
    /// The program: an array of `struct sock_filter`.
    pub program: Bytes,
    /// `SECCOMP_FILTER_FLAG_*`.
    pub flags: u32,
}

impl Process {
    /// No program at all, of nobody in particular.
    pub fn none() -> Self {
        Self {
            arguments: Vec::new(),
            environment: Vec::new(),
            directory: Path::new("/").into(),
            user: User::Ids {
                uid: 0,
                gid: 0,
                groups: Vec::new(),
            },
            umask: 0o022,
            capabilities: Capabilities::default(),
            limits: Vec::new(),
            no_new_privileges: true,
            filter: None,
            apparmor: None,
            oom_score_adj: None,
            scheduler: None,
            io_priority: None,
            terminal: None,
            groups: Vec::new(),
        }
    }
}

/// Who the task runs as.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum User {
    /// These ids.
    Ids {
        /// User.
        uid: u32,
        /// Primary group.
        gid: u32,
        /// Supplementary groups.
        groups: Vec<u32>,
    },
    /// Looked up in the image.
    Named(UserName),
}

/// Capability sets as bit masks, capabilities(7).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capabilities {
    /// Bounding set.
    pub bounding: u64,
    /// Permitted set.
    pub permitted: u64,
    /// Effective set.
    pub effective: u64,
    /// Inheritable set.
    pub inheritable: u64,
    /// Ambient set.
    pub ambient: u64,
}
