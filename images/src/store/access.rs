//! Cached is not allowed: who was let in lately, and where a layer may be had.
//!
//! An image that needed a credential is given out of the store to a caller whom
//! the registry has just let in, and for a while ([`Store::remembers`]). A layer
//! that needed one is shared only with repositories that are known to hold it
//! ([`Store::is_held`]).
//!
//! Who was let in is remembered as the name of an empty file: the HMAC-SHA256 of
//! registry, repository, principal and secret under a key that never leaves the
//! store. So no secret is ever compared byte by byte, and what lies on the disk
//! can be tried out on no dictionary without the key. Beside these lie the
//! challenges of registries, named the same way, so that a cached pull brings
//! the proof that will be demanded.

use std::os::fd::AsFd;
use std::time::{Duration, SystemTime};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use ucr_sys::{Dir, Errno, Lock, LockMode, at};

use super::error::Error;
use super::layout::Store;
use super::tree::{Tree, absent};
use crate::{Credential, Digest};

const KEY_BYTES: usize = 32;
/// Bytes of a challenge, at the most.
const MAX_CHALLENGE: u64 = 4096;
/// Claims and challenges older than this are of no use to anybody, and go with the next sweep.
const OLDEST: Duration = Duration::from_secs(24 * 3600);

/// Somebody who wants to read a repository.
#[derive(Debug, Clone, Copy)]
pub struct Claim<'a> {
    /// Host and port of the registry.
    pub registry: &'a str,
    /// The path of the repository.
    pub repository: &'a str,
    /// Who asks, and the proof.
    pub credential: &'a Credential,
}

/// Where a layer may be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holder<'a> {
    /// By anybody: it was once obtained without a credential.
    Public,
    /// From a repository, by who may read that.
    Repository {
        /// Host and port of the registry.
        registry: &'a str,
        /// The path of the repository.
        repository: &'a str,
    },
}

impl Holder<'_> {
    /// What it is called in a layer's directory.
    fn file_name(&self) -> String {
        match self {
            Self::Public => "public".to_owned(),
            Self::Repository {
                registry,
                repository,
            } => Digest::sha256(&framed(&[registry, repository]))
                .hex()
                .to_owned(),
        }
    }
}

impl Store {
    /// Remembers that the registry has let somebody in just now.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn remember(&self, claim: &Claim<'_>) -> Result<(), Error> {
        let remember = || {
            let access = self.root.dir_or_create("access")?;
            let name = name_of(claim, &make_key(&access)?);
            if !access.touch(&name)? {
                access.replace_soon(&name, b"", 0o600)?;
            }
            Ok(())
        };
        remember().map_err(Error::Access)
    }

    /// Whether the registry has let somebody in within the last `ttl`.
    ///
    /// What seems to have been in the future, by a clock that was set back, does not count.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn remembers(&self, claim: &Claim<'_>, ttl: Duration) -> Result<bool, Error> {
        self.remembers_at(claim, ttl, SystemTime::now())
            .map_err(Error::Access)
    }

    fn remembers_at(
        &self,
        claim: &Claim<'_>,
        ttl: Duration,
        now: SystemTime,
    ) -> Result<bool, ucr_sys::Error> {
        let Some(access) = absent(self.root.dir("access"))? else {
            return Ok(false);
        };
        let Some(key) = read_key(&access)? else {
            return Ok(false);
        };
        let let_in = access.modified(&name_of(claim, &key))?;
        let age = let_in.and_then(|let_in| now.duration_since(let_in).ok());
        Ok(age.is_some_and(|age| age < ttl))
    }

    /// Remembers by which challenge a registry let somebody into a repository.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn remember_challenge(&self, place: [&str; 2], challenge: &str) -> Result<(), Error> {
        let remember = || {
            let access = self.root.dir_or_create("access")?;
            let name = keyed(&framed(&place), &make_key(&access)?);
            let known = access.read(&name, MAX_CHALLENGE)?;
            if known.as_deref() == Some(challenge.as_bytes()) && access.touch(&name)? {
                return Ok(());
            }
            access.replace_soon(&name, challenge.as_bytes(), 0o600)
        };
        remember().map_err(Error::Access)
    }

    /// The challenge by which a registry let somebody into a repository within the last day.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn challenge_of(&self, place: [&str; 2]) -> Result<Option<String>, Error> {
        let look = || {
            let Some(access) = absent(self.root.dir("access"))? else {
                return Ok(None);
            };
            let Some(key) = read_key(&access)? else {
                return Ok(None);
            };
            let name = keyed(&framed(&place), &key);
            let met = access.modified(&name)?;
            let age = met.and_then(|met| SystemTime::now().duration_since(met).ok());
            if age.is_none_or(|age| age > OLDEST) {
                return Ok(None);
            }
            access.read(&name, MAX_CHALLENGE)
        };
        let text = look().map_err(Error::Access)?;
        // One that a power cut has torn is of no use, and does no harm.
        Ok(text.and_then(|text| String::from_utf8(text).ok()))
    }

    /// Records that a layer of the store may be had from `holder`; does nothing where there is no such layer.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn record_holder(&self, diff_id: &Digest, holder: &Holder<'_>) -> Result<(), Error> {
        let record = || {
            let Some(open) = self.open_tree(&Tree::Layer(diff_id.clone()))? else {
                return Ok(());
            };
            let holders = open.dir.dir_or_create("holders")?;
            let name = holder.file_name();
            // Empty, so that it is whole as soon as it is there, and a kill leaves nothing else.
            match at::create_file(holders.as_fd(), name.as_bytes()) {
                Err(error) if error.errno() != Errno::EXIST => Err(error),
                _ => Ok(()),
            }
        };
        record().map_err(Error::Access)
    }

    /// Whether a layer of the store may be had from `holder`: what may be had by anybody may be
    /// had from everywhere.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn is_held(&self, diff_id: &Digest, holder: &Holder<'_>) -> Result<bool, Error> {
        let look = || {
            let open = self.open_tree(&Tree::Layer(diff_id.clone()))?;
            let holders = open.map(|open| absent(open.dir.dir("holders")));
            let Some(holders) = holders.transpose()?.flatten() else {
                return Ok(false);
            };
            Ok(holders.contains(&Holder::Public.file_name())?
                || holders.contains(&holder.file_name())?)
        };
        look().map_err(Error::Access)
    }

    /// Forgets claims that are too old to count.
    pub(super) fn sweep_claims(&self) -> Result<(), ucr_sys::Error> {
        let Some(access) = absent(self.root.dir("access"))? else {
            return Ok(());
        };
        let now = SystemTime::now();
        for name in access.names()?.into_iter().filter(|name| name != "key") {
            let let_in = access.modified(&name)?;
            let age = let_in.and_then(|let_in| now.duration_since(let_in).ok());
            if age.is_none_or(|age| age > OLDEST) {
                access.remove(&name)?;
            }
        }
        Ok(())
    }
}

/// Parts as bytes that no other parts come to.
fn framed(parts: &[&str]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for part in parts {
        bytes.extend((part.len() as u64).to_le_bytes());
        bytes.extend(part.as_bytes());
    }
    bytes
}

fn name_of(claim: &Claim<'_>, key: &[u8; KEY_BYTES]) -> String {
    let Claim {
        registry,
        repository,
        credential,
    } = claim;
    let (principal, secret) = match credential {
        Credential::Login(login) => (login.principal.as_str(), &login.secret),
        // No principal has a colon in it, so these are nobody's names.
        Credential::IdentityToken(token) => (":identity", token),
        Credential::RegistryToken(token) => (":registry", token),
    };
    keyed(
        &framed(&[registry, repository, principal, secret.expose()]),
        key,
    )
}

fn keyed(text: &[u8], key: &[u8; KEY_BYTES]) -> String {
    // A key shorter than a block is padded with zeros by definition (RFC 2104).
    let mut block = [0; 64];
    block[..KEY_BYTES].copy_from_slice(key);
    let mut mac = Hmac::<Sha256>::new(&block.into());
    mac.update(text);
    hex::encode(mac.finalize().into_bytes())
}

fn read_key(access: &Dir) -> Result<Option<[u8; KEY_BYTES]>, ucr_sys::Error> {
    let key = access.read("key", KEY_BYTES as u64)?;
    // One that a power cut has torn is replaced, and what it was the key to is forgotten.
    Ok(key.and_then(|key| key.try_into().ok()))
}

/// The key, made by the first who needs it.
fn make_key(access: &Dir) -> Result<[u8; KEY_BYTES], ucr_sys::Error> {
    if let Some(key) = read_key(access)? {
        return Ok(key);
    }
    let _alone = Lock::on(at::open_dir(access.as_fd(), b".")?, LockMode::Exclusive)?;
    if let Some(key) = read_key(access)? {
        return Ok(key);
    }
    let key = ucr_sys::random_bytes();
    access.replace("key", &key, 0o600)?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Secret;

    const TTL: Duration = Duration::from_secs(600);

    fn store() -> (tempfile::TempDir, Store) {
        let temp = tempfile::tempdir().unwrap();
        let store = Store::open(&temp.path().join("store")).unwrap();
        (temp, store)
    }

    fn claim<'a>(repository: &'a str, credential: &'a Credential) -> Claim<'a> {
        Claim {
            registry: "r.example",
            repository,
            credential,
        }
    }

    #[test]
    fn only_who_was_let_in_is_remembered_and_only_there() {
        let (_temp, store) = store();
        let alice = Credential::login("alice", "wonderland");
        assert!(!store.remembers(&claim("a", &alice), TTL).unwrap());
        store.remember(&claim("a", &alice)).unwrap();
        assert!(store.remembers(&claim("a", &alice), TTL).unwrap());
        assert!(!store.remembers(&claim("b", &alice), TTL).unwrap());
        for other in [
            Credential::login("alice", "wonderlan"),
            Credential::login("alic", "ewonderland"),
            Credential::login("bob", "wonderland"),
            Credential::IdentityToken(Secret::new("wonderland")),
            Credential::RegistryToken(Secret::new("wonderland")),
        ] {
            assert!(!store.remembers(&claim("a", &other), TTL).unwrap());
        }
    }

    #[test]
    fn it_is_forgotten_in_time_and_when_the_clock_goes_back() {
        let (_temp, store) = store();
        let alice = Credential::login("alice", "wonderland");
        store.remember(&claim("a", &alice)).unwrap();
        let at = |now| store.remembers_at(&claim("a", &alice), TTL, now).unwrap();
        let now = SystemTime::now();
        assert!(at(now + TTL / 2));
        assert!(!at(now + TTL * 2));
        assert!(!at(now - TTL));
        store.remember(&claim("a", &alice)).unwrap();
        assert!(at(SystemTime::now()));
    }

    #[test]
    fn s48_nothing_of_a_secret_is_written() {
        let (_temp, store) = store();
        let alice = Credential::login("alice", "wonderland");
        store.remember(&claim("a", &alice)).unwrap();
        let access = store.root.dir("access").unwrap();
        for name in access.names().unwrap() {
            assert!(name == "key" || name.len() == 64, "{name}");
            let content = access.read(&name, 64).unwrap().unwrap();
            assert!(name == "key" || content.is_empty());
        }
    }

    #[test]
    fn a_challenge_is_known_for_the_repository_that_it_was_met_for() {
        let (_temp, store) = store();
        let known = |repository| store.challenge_of(["r.example", repository]).unwrap();
        assert_eq!(known("a"), None);
        for challenge in ["Basic realm=\"r\"", "Bearer realm=\"https://t.example\""] {
            store
                .remember_challenge(["r.example", "a"], challenge)
                .unwrap();
            assert_eq!(known("a").as_deref(), Some(challenge));
        }
        assert_eq!(known("b"), None);
    }

    #[test]
    fn another_store_has_another_key() {
        let ((_temp, one), (_other_temp, two)) = (store(), store());
        let alice = Credential::login("alice", "wonderland");
        let names = [&one, &two].map(|store| {
            store.remember(&claim("a", &alice)).unwrap();
            let access = store.root.dir("access").unwrap();
            let mut names = access.names().unwrap();
            names.retain(|name| name != "key");
            names
        });
        assert_ne!(names[0], names[1]);
    }

    #[test]
    fn a_layer_is_held_by_whom_it_was_had_from() {
        let (_temp, store) = store();
        let diff_id = Digest::sha256(b"x");
        let holder = |repository| Holder::Repository {
            registry: "r.example",
            repository,
        };
        store.record_holder(&diff_id, &Holder::Public).unwrap();
        assert!(!store.is_held(&diff_id, &Holder::Public).unwrap());
        crate::store::layer::tests::commit(&store, &diff_id);
        store.record_holder(&diff_id, &holder("a")).unwrap();
        assert!(store.is_held(&diff_id, &holder("a")).unwrap());
        assert!(!store.is_held(&diff_id, &holder("b")).unwrap());
        assert!(!store.is_held(&diff_id, &Holder::Public).unwrap());
        store.record_holder(&diff_id, &Holder::Public).unwrap();
        assert!(store.is_held(&diff_id, &holder("b")).unwrap());
    }
}
