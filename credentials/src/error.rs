//! How looking for a credential can fail.

use std::io;

/// A place where a credential may be could not be looked at.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file with credentials cannot be read.
    #[error("cannot read the credentials in {file}")]
    Read {
        /// The file, as it is shown to people.
        file: String,
        /// Why.
        source: io::Error,
    },
    /// A file with credentials is not what docker and podman write.
    #[error("the credentials in {file} cannot be understood: {why}")]
    Malformed {
        /// The file, as it is shown to people.
        file: String,
        /// What is wrong, without anything of the content.
        why: String,
    },
    /// A file with credentials cannot be changed.
    #[error("cannot write the credentials in {file}")]
    Write {
        /// The file, as it is shown to people.
        file: String,
        /// Why.
        source: ucr_sys::Error,
    },
    /// The credential that is to be changed is kept by a helper.
    #[error("{file} says that {program} keeps the credential for {scope}: change it there")]
    Helped {
        /// The file, as it is shown to people.
        file: String,
        /// The helper.
        program: String,
        /// What it is for.
        scope: String,
    },
    /// A task's own configuration names a program, which would run with our rights.
    #[error("{file} names {program} for the credential: no program is run because a task says so")]
    HelperRefused {
        /// The helper.
        program: String,
        /// Who names it.
        file: String,
    },
    /// A credential helper cannot be started.
    #[error("cannot start {program}, which {file} names as keeper of the credential for {host}")]
    HelperStart {
        /// The helper.
        program: String,
        /// Who names it.
        file: String,
        /// The registry.
        host: String,
        /// Why.
        source: io::Error,
    },
    /// A credential helper failed, or answered something else than a credential.
    #[error("{program}, which {file} names, gave no credential for {host}: {why}")]
    Helper {
        /// The helper.
        program: String,
        /// Who names it.
        file: String,
        /// The registry.
        host: String,
        /// What happened, with its own words where it had any.
        why: String,
    },
}
