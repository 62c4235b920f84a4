//! Mounts that are prepared before the container's namespaces exist.
//!
//! Only out there is there the privilege to see what a user of the container's may not, to give a
//! mount other ids, or to stay connected with a mount of the host's. They cross detached, as
//! descriptors, and are attached inside.

use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use ucr_sys::mount::{Change, Depth, Tree};
use ucr_sys::process::{Namespaces, SingleThreaded};

use crate::cgroup::group;
use crate::failure::{Cause, During, Failure, Step};
use crate::oci::plan::{IdMapping, IdMappings, Propagation};
use crate::plan::{Mount, Plan, Rootfs, Source};

/// What was prepared: the root, and each mount of the plan's or none.
#[derive(Debug, Default)]
pub struct Sources {
    /// The root.
    pub root: Option<Tree>,
    /// The mounts, in the order of the plan's.
    pub mounts: Vec<Option<Tree>>,
}

/// Prepares what of `plan` has to be prepared outside.
///
/// # Errors
///
/// A [`Failure`] of [`Step::Rootfs`] or [`Step::Mounts`] that names the path.
pub fn prepare(plan: &Plan, proof: &SingleThreaded) -> Result<Sources, Failure> {
    let handed_over = plan.handed_over.as_ref();
    let joined = handed_over.map_or(&[][..], |handed_over| &handed_over.joined);
    let joins_user = |(kind, _): &(u64, _)| *kind == Namespaces::USER.bits();
    let other_user = plan.ids.is_some() || joined.iter().any(joins_user);
    let is_slave = handed_over.is_some_and(|it| it.propagation.kind == Propagation::Slave);
    let root = match &plan.rootfs {
        Rootfs::Directory(path) if other_user || is_slave => {
            Some(Tree::copy_of(path.as_path(), Depth::Recursive).during(Step::Rootfs, path)?)
        }
        _ => None,
    };
    let shares = host_shares();
    let mut mounts = Vec::with_capacity(plan.mounts.len());
    for mount in &plan.mounts {
        let Source::Bind { path, recursive } = &mount.source else {
            mounts.push(None);
            continue;
        };
        if !other_user && !needs_host(mount, shares) {
            mounts.push(None);
            continue;
        }
        let at = &mount.destination;
        let tree = Tree::copy_of(path.as_path(), depth(*recursive)).during(Step::Mounts, at)?;
        if let Some(ids) = &mount.ids {
            let mappings = ids.mappings.as_ref().or(plan.ids.as_ref());
            let mappings = mappings.ok_or_else(|| Failure::new(Step::Mounts, at, Cause::NoIds))?;
            let users = Users::new(mappings, proof).during(Step::Mounts, at)?;
            users
                .map(&tree, depth(ids.recursive))
                .during(Step::Mounts, at)?;
        }
        mounts.push(Some(tree));
    }
    Ok(Sources { root, mounts })
}

/// Whether any mount here propagates; where none does there is nothing to stay connected with.
fn host_shares() -> bool {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    mounts.contains(" shared:") || mounts.contains(" master:")
}

fn needs_host(mount: &Mount, shares: bool) -> bool {
    let connected =
        |(kind, _): &(Propagation, bool)| matches!(kind, Propagation::Shared | Propagation::Slave);
    mount.ids.is_some() || shares && mount.propagation.iter().any(connected)
}

fn depth(recursive: bool) -> Depth {
    if recursive {
        Depth::Recursive
    } else {
        Depth::One
    }
}

/// A user namespace with nobody in it, by whose ids the files of mounts are shown.
#[derive(Debug)]
pub struct Users {
    namespace: OwnedFd,
    root: (u32, u32),
}

impl Users {
    /// Makes one with the ids of `mappings`.
    ///
    /// # Errors
    ///
    /// Any failure of `clone3`, or of [`write_ids`].
    pub fn new(mappings: &IdMappings, proof: &SingleThreaded) -> ucr_sys::Result<Self> {
        let settle = |pid: ucr_sys::process::Pid| write_ids(pid.as_raw_nonzero().get(), mappings);
        Ok(Self {
            namespace: ucr_sys::namespace::user_namespace(proof, settle)?,
            root: mappings.root().unwrap_or_default(),
        })
    }

    /// Who its root is outside: user and group.
    pub fn root(&self) -> (u32, u32) {
        self.root
    }

    /// Shows the files of the detached `tree` with these ids, mount_setattr(2) "ID-mapped mounts".
    ///
    /// # Errors
    ///
    /// Any failure of `mount_setattr`: `EINVAL` for a file system that cannot do that.
    pub fn map(&self, tree: &Tree, depth: Depth) -> ucr_sys::Result<()> {
        let change = Change {
            mapped_by: Some(self.namespace.as_fd()),
            ..Change::default()
        };
        tree.change(&change, depth)
    }
}

/// Gives the user namespace of process `pid` its ids, user_namespaces(7).
///
/// # Errors
///
/// Any failure of the writes: `EINVAL` for ranges that overlap, say.
pub fn write_ids(pid: i32, mappings: &IdMappings) -> ucr_sys::Result<()> {
    let write = |name: &str, list: &[IdMapping]| {
        let file = PathBuf::from(format!("/proc/{pid}/{name}"));
        group::write_file(&file, IdMappings::lines(list).as_bytes())
    };
    write("uid_map", &mappings.uids)?;
    write("gid_map", &mappings.gids)
}
