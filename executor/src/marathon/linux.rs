//! What a container has of the kernel's: `linuxInfo`.

use crate::Error;
use crate::document::{Known, Node};
use crate::task::{Ipc, Linux, Seccomp};

static LINUX: Known = Known::all(&["seccomp", "ipcInfo"]);

/// Reads `linuxInfo`.
pub(super) fn read(node: &Node<'_>) -> Result<Linux, Error> {
    let fields = node.fields(&LINUX)?;
    let (ipc, shm_size) = fields.read("ipcInfo", ipc)?.unwrap_or_default();
    Ok(Linux {
        seccomp: fields.read("seccomp", seccomp)?.unwrap_or_default(),
        ipc,
        shm_size,
        ..Linux::default()
    })
}

static SECCOMP: Known = Known::all(&["profileName", "unconfined"]);

fn seccomp(node: &Node<'_>) -> Result<Seccomp, Error> {
    let fields = node.fields(&SECCOMP)?;
    let unconfined = fields.is("unconfined")?;
    let profile = fields.read("profileName", profile)?;
    match (unconfined, profile) {
        (true, Some(_)) => {
            let why = "without a filter there is no profile";
            Err(fields.together("profileName", "unconfined", why))
        }
        (true, None) => Ok(Seccomp::Unconfined),
        (false, Some(name)) => Ok(Seccomp::Profile(name)),
        (false, None) => Ok(Seccomp::Default),
    }
}

/// The name of a profile: a file in the agent's directory of them, and nowhere else.
pub(crate) fn profile(node: &Node<'_>) -> Result<String, Error> {
    let name = node.filled()?;
    if name.contains('/') || name.starts_with('.') {
        return Err(node.grammar(
            name,
            "the name of a file in the agent's directory of profiles",
        ));
    }
    Ok(name.to_owned())
}

static IPC: Known = Known::all(&["mode", "shmSize"]);

fn ipc(node: &Node<'_>) -> Result<(Ipc, Option<u32>), Error> {
    let fields = node.fields(&IPC)?;
    let mode = fields.need("mode", "it is PRIVATE or SHARE_PARENT")?;
    let mode = mode.one_of(&[("PRIVATE", Ipc::Own), ("SHARE_PARENT", Ipc::Shared)])?;
    let size = fields.read("shmSize", shm_size)?;
    if mode == Ipc::Shared && size.is_some() {
        return Err(fields.rule(
            "shmSize",
            "belongs to a mode of PRIVATE: what is shared has its size already",
        ));
    }
    Ok((mode, size))
}

/// The size of `/dev/shm` in MiB.
pub(crate) fn shm_size(node: &Node<'_>) -> Result<u32, Error> {
    node.integer(1..=u32::MAX)
}

/// Refuses what only a pod has: a parent to share with.
pub(crate) fn has_no_parent(linux: Linux, path: &str) -> Result<Linux, Error> {
    if linux.ipc == Ipc::Shared {
        return Err(Error::Unsupported {
            path: path.to_owned(),
            why: "a task that is in no pod would share the agent's own: use PRIVATE",
        });
    }
    Ok(linux)
}
