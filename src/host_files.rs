//! `/etc/hosts`, `/etc/hostname` and `/etc/resolv.conf` of a container.
//!
//! Mounted over the image's, as Docker does, so that neither those nor the host's change.

use std::path::{Path, PathBuf};

use ucr_sys::Dir;

use crate::command_error::CommandError;
use crate::commands::run::{LookupArgs, Network};

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
    hosts: Vec<u8>,
    hostname: Vec<u8>,
    resolv: Vec<u8>,
}

impl HostFiles {
    /// Makes them of the host's, with the names that are asked for.
    pub(crate) fn new(
        network: Network,
        hostname: &str,
        lookup: &LookupArgs,
    ) -> Result<Self, CommandError> {
        let mut hosts: Vec<u8> = match network {
            // Who shares the host's network shares its names.
            Network::Host => host_file("hosts")?.unwrap_or_else(|| LOCAL_HOSTS.into()),
            Network::None => format!("{LOCAL_HOSTS}127.0.0.1\t{hostname}\n").into(),
        };
        if !hosts.ends_with(b"\n") {
            hosts.push(b'\n');
        }
        hosts.extend_from_slice(lookup.host_lines().as_bytes());
        let resolv = match network {
            Network::Host => host_file("resolv.conf")?.unwrap_or_default(),
            Network::None => Vec::new(),
        };
        Ok(Self {
            hosts,
            hostname: format!("{hostname}\n").into(),
            resolv: lookup.resolv(resolv),
        })
    }

    /// Their paths in the container, and their texts.
    pub(crate) fn texts(self) -> Vec<(PathBuf, Vec<u8>)> {
        vec![
            ("/etc/hosts".into(), self.hosts),
            ("/etc/hostname".into(), self.hostname),
            ("/etc/resolv.conf".into(), self.resolv),
        ]
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
