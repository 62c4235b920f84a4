//! `/etc/hosts`, `/etc/hostname` and `/etc/resolv.conf` of a container.
//!
//! Made in the container's own directory and bind-mounted, as Docker does, so
//! that neither the image nor the host's files change.

use std::path::{Path, PathBuf};

use oci_spec::runtime::Mount;
use ucr_sys::Dir;

use crate::command_error::CommandError;
use crate::commands::run::Network;
use crate::container_spec::bind;

/// The most that a host's file may hold to be copied.
const LIMIT: u64 = 1024 * 1024;

const LOCAL_HOSTS: &str = "127.0.0.1\tlocalhost\n\
    ::1\tlocalhost ip6-localhost ip6-loopback\n\
    fe00::0\tip6-localnet\n\
    ff00::0\tip6-mcastprefix\n\
    ff02::1\tip6-allnodes\n\
    ff02::2\tip6-allrouters\n";

/// The files of one container.
#[derive(Debug)]
pub(crate) struct HostFiles {
    directory: PathBuf,
}

impl HostFiles {
    /// Writes the files into `container`, the container's own directory.
    pub(crate) fn write(
        container: &Path,
        network: Network,
        hostname: &str,
    ) -> Result<Self, CommandError> {
        let hosts = match network {
            // Who shares the host's network shares its names.
            Network::Host => host_file("hosts")?.unwrap_or_else(|| LOCAL_HOSTS.into()),
            Network::None => format!("{LOCAL_HOSTS}127.0.0.1\t{hostname}\n").into(),
        };
        let resolv = match network {
            Network::Host => host_file("resolv.conf")?.unwrap_or_default(),
            Network::None => Vec::new(),
        };
        let directory = container.join("etc");
        let write = || {
            let dir = Dir::open(container)?.create_dir("etc")?;
            dir.replace_soon("hosts", &hosts, 0o644)?;
            dir.replace_soon("hostname", format!("{hostname}\n").as_bytes(), 0o644)?;
            dir.replace_soon("resolv.conf", &resolv, 0o644)
        };
        write().map_err(CommandError::new)?;
        Ok(Self { directory })
    }

    /// The mounts that show them to the container.
    pub(crate) fn mounts(&self) -> Vec<Mount> {
        let mount = |name| {
            bind(
                &self.directory.join(name),
                &Path::new("/etc").join(name),
                &[],
            )
        };
        ["hosts", "hostname", "resolv.conf"].map(mount).into()
    }
}

/// A file of the host's `/etc`, `None` where there is none.
///
/// Links are followed: systemd-resolved and others keep the file elsewhere.
fn host_file(name: &str) -> Result<Option<Vec<u8>>, CommandError> {
    let path = Path::new("/etc").join(name);
    let file = match std::fs::canonicalize(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            let text = format!("cannot find {}: {error}", path.display());
            return Err(CommandError::sentence(text));
        }
    };
    let (Some(parent), Some(name)) = (file.parent(), file.file_name().and_then(|n| n.to_str()))
    else {
        return Ok(None);
    };
    Dir::open(parent)
        .and_then(|dir| dir.read(name, LIMIT))
        .map_err(CommandError::new)
}
