//! Who `ucr` trusts when it connects: a base CAfile, which is read and never
//! edited, and the certificates that an operator added to it.
//!
//! Files become certificates: `pem` finds blocks in text, `crt` tells formats apart
//! by content, `pkcs7` and `trusted` open two of them, and `x509` knows the facts of
//! a certificate. Where trusted ones are: `cafile` finds the base, `trust_store`
//! keeps the added ones, `registry_dir` reads what dockerd and podman keep. `policy`
//! joins them for one host, as a `bundle` that a TLS library is given.
//!
//! Why a server is refused: `probe` takes down what it presents, and is the only
//! thing here that opens a connection; `verify` has OpenSSL judge that, `diagnosis`
//! says it in plain words, and `strict` what rustls thinks.
//!
//! What leaves for other programs: `convert` changes the format of a file,
//! `output` writes one, `install` adds to a CAfile of theirs, and `hash_dir` and
//! `docker_dir` write the directories that OpenSSL and dockerd look into. Files of
//! others are touched by `files::outside` alone.
//!
//! Nothing here prints, or reads the environment or the clock; paths, values of
//! variables and the time are handed in.

#![forbid(unsafe_code)]

mod bundle;
mod cafile;
mod convert;
mod crt;
mod diagnosis;
mod docker_dir;
mod error;
mod files;
mod fingerprint;
mod hash_dir;
mod host;
mod install;
mod names;
mod output;
mod pem;
mod pkcs7;
mod policy;
mod probe;
mod registry_dir;
mod strict;
#[cfg(test)]
mod testing;
mod trust_store;
mod trusted;
mod verify;
mod x509;

pub use bundle::{Anchor, SourceKind, TrustBundle, TrustSource};
pub use cafile::{BaseCafile, CafileOrigin, Candidate, find_base, usual_cafiles};
pub use convert::{ConvertError, Converted, Encoding, convert};
pub use crt::{Certificate, Contents, Input};
pub use diagnosis::{Accepted, Diagnosis, judge};
pub use docker_dir::{
    DockerDirError, RegistryFile, RegistryOutcome, exported_registries, write_docker_dir,
};
pub use error::{Error, Foreign};
pub use fingerprint::{Fingerprint, FingerprintPrefix};
pub use hash_dir::{HashDirError, HashDirWritten, write_hash_dir};
pub use host::{HostPort, InvalidHost};
pub use install::{
    FlawedMarkers, InstallError, InstallOutcome, Installed, LockedCafile, Uninstalled, uninstall,
};
pub use output::{OutputError, annotated_pem, comment_text, write_file};
pub use pem::PemFlaw;
pub use pkcs7::Pkcs7Flaw;
pub use policy::{HostTrust, TrustPlaces, TrustPolicy};
pub use probe::{Presented, ProbeError, Route, probe};
pub use registry_dir::{ClientFlaw, ClientIdentity};
pub use strict::strict_objection;
pub use trust_store::{
    AddOutcome, Added, Addition, CertName, Dates, Entry, Listing, Provenance, Removed, Scope,
    Selector, TrustStore,
};
pub use x509::{DerFlaw, Facts, Note, Timestamp, Version};
