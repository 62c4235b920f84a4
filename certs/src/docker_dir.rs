//! Certificates for dockerd: in `certs.d`, a directory for each registry, where
//! every file that ends in `.crt` is trusted for that registry beside the
//! system's (<https://docs.docker.com/engine/security/certificates/>).

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use crate::crt::Certificate;
use crate::files;
use crate::files::outside::{self, SharedDir};
use crate::host::HostPort;
use crate::output::{annotated_pem, unique};

/// The one file of ours in a registry's directory.
const FILE: &str = "ucr.crt";
const COMMENT: &[u8] = b"# Replaced by the next `ucr certs export --docker-dir`.\n";

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
    /// There are no certificates, and there was no file.
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
    let path = directory.join(FILE);
    if certificates.is_empty() {
        if !files::exists(&path)? {
            return Ok(RegistryOutcome::Nothing);
        }
        let locked = SharedDir::lock(directory)?;
        locked.remove(OsStr::new(FILE))?;
        locked.sync()?;
        return Ok(RegistryOutcome::Removed);
    }
    outside::make_dir(directory)?;
    let locked = SharedDir::lock(directory)?;
    let wanted = [COMMENT, &annotated_pem(certificates.iter().copied())].concat();
    if !files::holds(&path, &wanted) {
        locked.replace(OsStr::new(FILE), &wanted, None)?;
    }
    Ok(RegistryOutcome::Written {
        certificates: certificates.len(),
    })
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
