//! Trust for one connection: the base CAfile, the certificates that were added
//! for all registries and for this one, and what dockerd's and podman's
//! directories hold for it.
//!
//! Everything that counts for all hosts is read once, when the policy is made;
//! the directories of a host are read when it is asked about. Only a base that
//! somebody named has to be sound: a damaged added file is a problem to tell of,
//! and the others count all the same.

use std::path::PathBuf;

use crate::bundle::{SourceKind, TrustBundle};
use crate::cafile::BaseCafile;
use crate::crt::{Certificate, Input};
use crate::error::Error;
use crate::host::HostPort;
use crate::registry_dir::{ClientIdentity, RegistryDirs};
use crate::trust_store::{Entry, Scope, TrustStore};

/// Where everything that may be trusted is.
#[derive(Debug, Clone, Default)]
pub struct TrustPlaces {
    /// The CAfile that trust begins with.
    pub base: Option<BaseCafile>,
    /// The trust stores, the machine's before the user's.
    pub stores: Vec<TrustStore>,
    /// Directories that hold one for each registry: `/etc/docker/certs.d` and its like.
    pub registry_dirs: Vec<PathBuf>,
}

/// Whom to trust, for every host.
#[derive(Debug)]
pub struct TrustPolicy {
    base: Option<(BaseCafile, Vec<Certificate>)>,
    stores: Vec<(PathBuf, Vec<Entry>)>,
    registry_dirs: Vec<PathBuf>,
    problems: Vec<Error>,
    private_keys: usize,
}

/// What one connection trusts, and what it shows of itself.
#[derive(Debug, Default)]
pub struct HostTrust {
    /// The certificates, and the places that were looked at.
    pub bundle: TrustBundle,
    /// The client certificate to show when the host asks for one.
    pub identity: Option<ClientIdentity>,
    /// What could not be used and was passed over; each names its file.
    pub problems: Vec<Error>,
}

impl TrustPolicy {
    /// Reads the base and the added certificates.
    ///
    /// # Errors
    ///
    /// [`Error::Base`] when the base that somebody named cannot be used: libcurl would
    /// refuse every connection for one damaged block, with code 77 and no name. One that
    /// nobody named is a problem like others: trust without it is only narrower.
    pub fn load(places: &TrustPlaces) -> Result<Self, Error> {
        let mut policy = Self {
            base: None,
            stores: Vec::new(),
            registry_dirs: places.registry_dirs.clone(),
            problems: Vec::new(),
            private_keys: 0,
        };
        if let Some(base) = &places.base {
            let read = policy.read_base(base).map_err(|source| Error::Base {
                path: base.path.clone(),
                origin: base.origin,
                source: Box::new(source),
            });
            match read {
                Err(error) if !base.origin.is_named() => policy.problems.push(error),
                read => read?,
            }
        }
        for store in &places.stores {
            policy.read_store(store);
        }
        Ok(policy)
    }

    /// Whether there is no place at all that a connection could trust anything of.
    pub fn is_empty(&self) -> bool {
        let added = self.added().next().is_some();
        let dirs = self.registry_dirs.iter().any(|path| path.is_dir());
        self.base.is_none() && !added && !dirs
    }

    fn read_base(&mut self, base: &BaseCafile) -> Result<(), Error> {
        let input = Input::read(&base.path)?;
        let contents = input.contents()?;
        if contents.certificates.is_empty() {
            return Err(Error::NoCertificate {
                file: input.name().to_owned(),
                found: contents.besides_certificates(),
            });
        }
        self.private_keys = contents.private_keys;
        self.base = Some((base.clone(), contents.certificates));
        Ok(())
    }

    fn read_store(&mut self, store: &TrustStore) {
        let mut entries = Vec::new();
        match store.list() {
            Ok(listing) => {
                entries = listing.entries;
                self.problems.extend(listing.damaged);
            }
            Err(error) => self.problems.push(error),
        }
        self.stores.push((store.directory().to_owned(), entries));
    }

    /// What could not be read of the added certificates; each names its file.
    pub fn problems(&self) -> &[Error] {
        &self.problems
    }

    /// How many private keys the base holds, which is worth a warning.
    pub fn private_keys_in_base(&self) -> usize {
        self.private_keys
    }

    /// All that was added, with the registries that each counts for.
    pub fn added(&self) -> impl Iterator<Item = &Entry> {
        self.stores.iter().flat_map(|(_, entries)| entries)
    }

    /// What a connection to `host` trusts.
    pub fn for_host(&self, host: &HostPort) -> HostTrust {
        let mut bundle = self.merged(|scope| scope.covers(host));
        let dirs = RegistryDirs::read(&self.registry_dirs, host);
        for (path, held) in &dirs.looked_at {
            bundle.push(path.clone(), SourceKind::RegistryDir, held.as_ref());
        }
        HostTrust {
            bundle,
            identity: dirs.identity,
            problems: dirs.problems,
        }
    }

    /// What is trusted whatever the host.
    pub fn for_all(&self) -> TrustBundle {
        self.merged(|scope| *scope == Scope::AllRegistries)
    }

    fn merged(&self, covers: impl Fn(&Scope) -> bool) -> TrustBundle {
        let mut bundle = TrustBundle::default();
        if let Some((base, certificates)) = &self.base {
            let kind = SourceKind::Base(base.origin);
            bundle.push(base.path.clone(), kind, Some(certificates));
        }
        for (path, entries) in &self.stores {
            let counting = entries.iter().filter(|entry| covers(&entry.scope));
            let certificates = counting.map(|entry| &entry.certificate);
            bundle.push(path.clone(), SourceKind::Added, Some(certificates));
        }
        bundle
    }
}

#[cfg(test)]
mod tests;
