//! Finding the base CAfile among those that were named and the usual places.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::files;

/// Where DC/OS keeps its Python packages, below `/opt/mesosphere`.
const DCOS_LIBRARIES: [&str; 3] = [
    "active/python-requests/lib",
    "active/python-certifi/lib",
    "lib",
];
/// The packages that come with a CAfile.
const DCOS_PACKAGES: [&str; 2] = ["requests", "certifi"];

/// Where distributions keep the CAfile: Debian and Alpine, RHEL up to 9 by its
/// compatibility link, SUSE, RHEL, and the place of OpenSSL itself and the BSDs.
const DISTRIBUTION_CAFILES: [&str; 5] = [
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
    /// Nobody: it is the one that DC/OS trusts, and that the Mesos agent reads.
    DcOs,
    /// Nobody: it stands in a usual place of distributions.
    Distribution,
}

impl CafileOrigin {
    /// Whether somebody chose this file.
    pub fn is_named(self) -> bool {
        match self {
            Self::Flag(_) | Self::Variable(_) | Self::Configuration => true,
            Self::DcOs | Self::Distribution => false,
        }
    }
}

impl fmt::Display for CafileOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Flag(name) | Self::Variable(name) => name,
            Self::Configuration => "the configuration",
            Self::DcOs => "DC/OS",
            Self::Distribution => "the distribution",
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

/// The places where a CAfile is looked for when nobody names one, in order: those
/// of DC/OS below `mesosphere` (`/opt/mesosphere`), then those of distributions.
///
/// DC/OS has it in a Python package whose path changes with each upgrade, which
/// is why what is added there is lost:
/// `active/python-requests/lib/python3.5/site-packages/requests/cacert.pem`.
pub fn usual_cafiles(mesosphere: &Path) -> Vec<Candidate> {
    let mut places = Vec::new();
    for library in DCOS_LIBRARIES.map(|library| mesosphere.join(library)) {
        // A library that cannot be read is one that is not there.
        let mut pythons = files::names(&library).unwrap_or_default();
        pythons.retain(|name| name.starts_with("python3"));
        pythons.sort_by_key(|name| std::cmp::Reverse(minor_version(name)));
        for python in pythons {
            let packages = library.join(python).join("site-packages");
            places.extend(DCOS_PACKAGES.map(|package| Candidate {
                path: packages.join(package).join("cacert.pem"),
                origin: CafileOrigin::DcOs,
            }));
        }
    }
    places.extend(DISTRIBUTION_CAFILES.map(|path| Candidate {
        path: path.into(),
        origin: CafileOrigin::Distribution,
    }));
    places
}

/// 12 of `python3.12`.
fn minor_version(python: &str) -> u32 {
    let minor = python.strip_prefix("python3.").unwrap_or_default();
    minor.parse().unwrap_or_default()
}

/// Picks the base CAfile: the first that was named, else the first of the usual ones there is.
///
/// `named` is in order of precedence. A named file that is missing is an error
/// and never replaced by another: whoever names a CAfile restricts trust to it.
///
/// # Errors
///
/// [`Error::CafileMissing`], or [`Error::Read`] when a place cannot be looked at.
pub fn find_base(named: &[Candidate], usual: &[Candidate]) -> Result<Option<BaseCafile>, Error> {
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
    for Candidate { path, origin } in usual {
        if exists(path)? {
            return Ok(Some(BaseCafile {
                path: path.clone(),
                origin: *origin,
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

    fn candidate(path: &Path, origin: CafileOrigin) -> Candidate {
        let path = path.to_owned();
        Candidate { path, origin }
    }

    #[test]
    fn a_named_cafile_wins_and_is_never_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let there = dir.path().join("there.pem");
        std::fs::File::create(&there).unwrap();
        let flag = |path: &Path| candidate(path, CafileOrigin::Flag("--cafile"));
        let usual = [candidate(&there, CafileOrigin::Distribution)];

        let found = find_base(&[flag(&there)], &usual).unwrap().unwrap();
        assert_eq!(
            (found.path, found.origin),
            (there.clone(), CafileOrigin::Flag("--cafile"))
        );

        let missing = dir.path().join("missing.pem");
        let error = find_base(&[flag(&missing), flag(&there)], &usual).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "the CAfile {} (from --cafile) does not exist",
                missing.display()
            )
        );
    }

    #[test]
    fn without_a_name_the_first_usual_place_counts() {
        let dir = tempfile::tempdir().unwrap();
        let paths = ["a", "b", "c"].map(|name| dir.path().join(name));
        let usual = paths
            .each_ref()
            .map(|path| candidate(path, CafileOrigin::Distribution));
        assert_eq!(find_base(&[], &usual).unwrap(), None);
        for path in &paths[1..] {
            std::fs::File::create(path).unwrap();
        }
        let found = find_base(&[], &usual).unwrap().unwrap();
        assert_eq!(
            (found.path, found.origin),
            (paths[1].clone(), CafileOrigin::Distribution)
        );
    }

    #[test]
    fn the_file_of_dc_os_comes_before_the_distribution_s_whatever_its_python() {
        let dir = tempfile::tempdir().unwrap();
        let library = dir.path().join("active/python-requests/lib");
        for (python, package) in [
            ("3.5", "requests"),
            ("3.12", "certifi"),
            ("3.9", "requests"),
        ] {
            let packages = library.join(format!("python{python}/site-packages/{package}"));
            std::fs::create_dir_all(&packages).unwrap();
            std::fs::File::create(packages.join("cacert.pem")).unwrap();
        }
        let base = || find_base(&[], &usual_cafiles(dir.path())).unwrap().unwrap();
        let newest = "python3.12/site-packages/certifi/cacert.pem";
        assert_eq!(base().origin, CafileOrigin::DcOs);
        assert_eq!(base().path, library.join(newest));
        // An upgrade moves it.
        std::fs::remove_file(library.join(newest)).unwrap();
        let next = "python3.9/site-packages/requests/cacert.pem";
        assert_eq!(base().path, library.join(next));
        let nowhere = usual_cafiles(Path::new("/no/such"));
        assert_eq!(nowhere.len(), DISTRIBUTION_CAFILES.len());
    }
}
