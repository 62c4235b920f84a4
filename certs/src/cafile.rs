//! Finding the base CAfile among those that were named and the usual places.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::files;

/// Where distributions keep the CAfile: Debian and Alpine, RHEL up to 9 by its
/// compatibility link, SUSE, RHEL, and the place of OpenSSL itself and the BSDs.
pub const WELL_KNOWN_CAFILES: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Who named a CAfile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum CafileOrigin {
    /// A flag of the command line.
    Flag(&'static str),
    /// A variable of the environment.
    Variable(&'static str),
    /// The configuration file.
    Configuration,
    /// Nobody: it stands in a usual place of distributions.
    WellKnown,
}

impl fmt::Display for CafileOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Flag(name) | Self::Variable(name) => name,
            Self::Configuration => "the configuration",
            Self::WellKnown => "the distribution",
        })
    }
}

/// A CAfile that somebody named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The path as it was named.
    pub path: PathBuf,
    /// Who named it.
    pub origin: CafileOrigin,
}

/// The CAfile that trust begins with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseCafile {
    /// Where it is.
    pub path: PathBuf,
    /// Who named it.
    pub origin: CafileOrigin,
}

/// Picks the base CAfile: the first that was named, else the first well-known one there is.
///
/// `named` is in order of precedence. A named file that is missing is an error
/// and never replaced by another: whoever names a CAfile restricts trust to it.
///
/// # Errors
///
/// [`Error::CafileMissing`], or [`Error::Read`] when a place cannot be looked at.
pub fn find_base(
    named: &[Candidate],
    well_known: &[impl AsRef<Path>],
) -> Result<Option<BaseCafile>, Error> {
    if let Some(Candidate { path, origin }) = named.first() {
        return match exists(path)? {
            true => Ok(Some(BaseCafile {
                path: path.clone(),
                origin: *origin,
            })),
            false => Err(Error::CafileMissing {
                path: path.clone(),
                origin: *origin,
            }),
        };
    }
    for path in well_known.iter().map(AsRef::as_ref) {
        if exists(path)? {
            let path = path.to_owned();
            return Ok(Some(BaseCafile {
                path,
                origin: CafileOrigin::WellKnown,
            }));
        }
    }
    Ok(None)
}

fn exists(path: &Path) -> Result<bool, Error> {
    files::exists(path).map_err(|source| Error::Read {
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_named_cafile_wins_and_is_never_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let there = dir.path().join("there.pem");
        std::fs::File::create(&there).unwrap();
        let flag = |path: &Path| Candidate {
            path: path.to_owned(),
            origin: CafileOrigin::Flag("--cafile"),
        };

        let found = find_base(&[flag(&there)], &WELL_KNOWN_CAFILES)
            .unwrap()
            .unwrap();
        assert_eq!(
            (found.path, found.origin),
            (there.clone(), CafileOrigin::Flag("--cafile"))
        );

        let missing = dir.path().join("missing.pem");
        let error = find_base(&[flag(&missing)], &[&there]).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "the CAfile {} (from --cafile) does not exist",
                missing.display()
            )
        );
    }

    #[test]
    fn without_a_name_the_first_well_known_place_counts() {
        let dir = tempfile::tempdir().unwrap();
        let paths = ["a", "b", "c"].map(|name| dir.path().join(name));
        assert_eq!(find_base(&[], &paths).unwrap(), None);
        for path in &paths[1..] {
            std::fs::File::create(path).unwrap();
        }
        let found = find_base(&[], &paths).unwrap().unwrap();
        assert_eq!(
            (found.path, found.origin),
            (paths[1].clone(), CafileOrigin::WellKnown)
        );
    }
}
