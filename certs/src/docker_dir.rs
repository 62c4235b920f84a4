//! Certificates for dockerd: in `certs.d`, a directory for each registry, where
//! every file that ends in `.crt` is trusted for that registry beside the
//! system's (<https://docs.docker.com/engine/security/certificates/>).
//!
//! A file of ours is known by its name and its first line. It is a copy of what
//! was trusted when it was written: the next export renews or removes it, and
//! `registry_dir`, which reads the same directories, passes over it.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use crate::crt::{Certificate, Input};
use crate::files;
use crate::files::outside::{self, Found, SharedDir};
use crate::host::HostPort;
use crate::output::{annotated_pem, unique};

/// The one file of ours in a registry's directory.
const FILE: &str = "ucr.crt";
/// The first line of a file of ours.
const OURS: &[u8] = b"# Replaced by the next `ucr certs export --docker-dir`.\n";

/// A failure to write a `certs.d` directory.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DockerDirError {
    /// Nobody said for which registries.
    #[error("no registry to write certificates for in {}", directory.display())]
    NoRegistry {
        /// The directory of all registries.
        directory: PathBuf,
    },
    /// The directory of all registries could not be read; nothing was changed.
    #[error("cannot read {}", directory.display())]
    Read {
        /// The directory of all registries.
        directory: PathBuf,
        /// The call that failed.
        source: ucr_sys::Error,
    },
    /// The directory of a registry could not be changed; those before it were.
    #[error("cannot change {}", directory.display())]
    Write {
        /// The directory of the registry.
        directory: PathBuf,
        /// The call that failed.
        source: ucr_sys::Error,
    },
}

/// What became of a registry's file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RegistryOutcome {
    /// It holds so many certificates.
    Written {
        /// How many.
        certificates: usize,
    },
    /// There are no certificates, and an older file was removed.
    Removed,
    /// There are no certificates, and there was no file of ours.
    Nothing,
}

/// The file of one registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistryFile {
    /// The registry.
    pub registry: HostPort,
    /// The file.
    pub path: PathBuf,
    /// What became of it.
    pub outcome: RegistryOutcome,
}

/// Whether a file that is named `name` and holds `bytes` is an export of ours.
pub(crate) fn is_ours(name: &OsStr, bytes: &[u8]) -> bool {
    name == FILE && bytes.starts_with(OURS)
}

/// The registries that a directory holds an export of ours for; none when it does not exist.
///
/// # Errors
///
/// [`DockerDirError::Read`].
pub fn exported_registries(directory: &Path) -> Result<Vec<HostPort>, DockerDirError> {
    let names = files::names(directory).map_err(|source| DockerDirError::Read {
        directory: directory.to_owned(),
        source,
    })?;
    let registry = |name: &String| {
        let registry: HostPort = name.parse().ok()?;
        // Under another spelling it is somebody's copy, and no export writes there.
        let is_exported = registry.to_string() == *name && holds_ours(&directory.join(name));
        is_exported.then_some(registry)
    };
    Ok(names.iter().filter_map(registry).collect())
}

/// Writes `DIRECTORY/HOST[:PORT]/ucr.crt` for each registry, and touches nothing else.
///
/// A registry without certificates loses the file of an earlier call.
///
/// # Errors
///
/// [`DockerDirError`]: no registry, or a call that failed.
pub fn write_docker_dir(
    directory: &Path,
    registries: &[(HostPort, Vec<Certificate>)],
) -> Result<Vec<RegistryFile>, DockerDirError> {
    if registries.is_empty() {
        return Err(DockerDirError::NoRegistry {
            directory: directory.to_owned(),
        });
    }
    let write = |(registry, certificates): &(HostPort, Vec<Certificate>)| {
        // A host has no slash and is not "..": it was parsed.
        let directory = directory.join(registry.to_string());
        let written = write_registry(&directory, certificates);
        let outcome = written.map_err(|source| DockerDirError::Write {
            directory: directory.clone(),
            source,
        })?;
        Ok(RegistryFile {
            registry: registry.clone(),
            path: directory.join(FILE),
            outcome,
        })
    };
    registries.iter().map(write).collect()
}

fn write_registry(
    directory: &Path,
    certificates: &[Certificate],
) -> ucr_sys::Result<RegistryOutcome> {
    let certificates = unique(certificates);
    if certificates.is_empty() {
        if !holds_ours(directory) {
            return Ok(RegistryOutcome::Nothing);
        }
        let locked = SharedDir::lock(directory)?;
        locked.remove(OsStr::new(FILE))?;
        locked.sync()?;
        return Ok(RegistryOutcome::Removed);
    }
    outside::make_dir(directory)?;
    let locked = SharedDir::lock(directory)?;
    let wanted = [OURS, &annotated_pem(certificates.iter().copied())].concat();
    if !files::holds(&directory.join(FILE), &wanted) {
        locked.replace(OsStr::new(FILE), &wanted, None)?;
    }
    Ok(RegistryOutcome::Written {
        certificates: certificates.len(),
    })
}

/// Whether the directory of a registry has a file of ours; a link to one is somebody else's.
fn holds_ours(directory: &Path) -> bool {
    let path = directory.join(FILE);
    let is_file = matches!(Found::named(&path), Ok(Found::File));
    is_file && Input::read(&path).is_ok_and(|input| is_ours(OsStr::new(FILE), input.bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Workshop;

    fn certificates(workshop: &Workshop, names: &[&str]) -> Vec<Certificate> {
        let of = |name: &&str| workshop.input(&format!("{name}.pem")).certificates();
        names.iter().flat_map(|name| of(name).unwrap()).collect()
    }

    #[test]
    fn each_registry_has_its_own_file_and_others_stay() {
        let workshop = Workshop::new();
        workshop.ca("one");
        workshop.ca("two");
        let all = workshop.path("etc/certs.d");
        let registry = |text: &str, names: &[&str]| {
            (
                text.parse::<HostPort>().unwrap(),
                certificates(&workshop, names),
            )
        };
        let wanted = [
            registry("Registry.example:5000", &["one", "two", "one"]),
            registry("[::1]:443", &["two"]),
        ];
        let written = write_docker_dir(&all, &wanted).unwrap();
        assert_eq!(written[0].path, all.join("registry.example:5000/ucr.crt"));
        let two = RegistryOutcome::Written { certificates: 2 };
        assert_eq!(written[0].outcome, two);
        assert_eq!(
            files::names(&all).unwrap(),
            ["[::1]", "registry.example:5000"]
        );
        let held = |name: &str| workshop.input(name).certificates().unwrap();
        let file = "etc/certs.d/registry.example:5000/ucr.crt";
        assert_eq!(held(file), certificates(&workshop, &["one", "two"]));

        workshop.write("etc/certs.d/registry.example:5000/mine.crt", "mine");
        let again = write_docker_dir(&all, &wanted[..1]).unwrap();
        assert_eq!(again, written[..1]);
        let nothing = [
            registry("registry.example:5000", &[]),
            registry("other", &[]),
        ];
        let outcomes = write_docker_dir(&all, &nothing).unwrap();
        assert_eq!(outcomes[0].outcome, RegistryOutcome::Removed);
        assert_eq!(outcomes[1].outcome, RegistryOutcome::Nothing);
        assert_eq!(
            files::names(&all).unwrap(),
            ["[::1]", "registry.example:5000"]
        );
        let left = files::names(&all.join("registry.example:5000")).unwrap();
        assert_eq!(left, ["mine.crt"]);
    }

    #[test]
    fn an_export_is_found_again_and_what_is_not_ours_is_none() {
        let workshop = Workshop::new();
        workshop.ca("one");
        let all = workshop.path("certs.d");
        assert_eq!(exported_registries(&all).unwrap(), []);
        let ours = certificates(&workshop, &["one"]);
        let registries: [HostPort; 2] = ["r.example:5000", "[::1]"].map(|one| one.parse().unwrap());
        let wanted = registries.clone().map(|one| (one, ours.clone()));
        write_docker_dir(&all, &wanted).unwrap();
        let text = workshop.read("certs.d/[::1]/ucr.crt");
        for (name, text) in [
            ("mine.example", workshop.read("one.pem")),
            ("r.example:443", text.clone()),
            ("no host", text),
        ] {
            std::fs::create_dir(all.join(name)).unwrap();
            workshop.write(&format!("certs.d/{name}/ucr.crt"), text);
        }
        std::fs::create_dir(all.join("link.example")).unwrap();
        let link = all.join("link.example/ucr.crt");
        std::os::unix::fs::symlink("../[::1]/ucr.crt", link).unwrap();
        workshop.write("certs.d/file.example", "no directory");
        let mut found = exported_registries(&all).unwrap();
        found.sort();
        assert_eq!(found, [registries[1].clone(), registries[0].clone()]);

        let mine = [("mine.example".parse().unwrap(), Vec::new())];
        let left = write_docker_dir(&all, &mine).unwrap();
        assert_eq!(left[0].outcome, RegistryOutcome::Nothing);
        assert!(all.join("mine.example/ucr.crt").exists());
    }

    #[test]
    fn without_a_registry_nothing_is_made() {
        let workshop = Workshop::new();
        let all = workshop.path("certs.d");
        let error = write_docker_dir(&all, &[]).unwrap_err();
        assert!(
            matches!(error, DockerDirError::NoRegistry { .. }),
            "{error}"
        );
        assert!(!all.exists());
    }
}
