//! Who `ucr` trusts when it connects: a base CAfile, which is read and never
//! edited, and the certificates that an operator added to it.
//!
//! The data flows in the order of the modules: `pem` finds blocks in
//! text, `crt` tells PEM from DER and yields certificates, `x509` knows the
//! facts of one, `trust_store` keeps the added ones on disk, `cafile` finds the
//! base, and `bundle` merges both into what a TLS library is given.
//!
//! Beside that flow, `probe` looks at what a server presents after a TLS library
//! refused it, and `diagnosis` says what is wrong with it. The probe is the only
//! thing here that opens a connection.
//!
//! What leaves for other programs: `convert` changes the format of a file,
//! `output` writes one, `install` adds to a CAfile of theirs, and `hash_dir` and
//! `docker_dir` write the directories that OpenSSL and dockerd look into. Files of others are touched by `files::outside` alone.
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
