//! `certs.d/HOST[:PORT]/`, where dockerd and podman keep what belongs to one
//! registry: `*.crt` to trust, and a client certificate as `NAME.cert` with its
//! key as `NAME.key` (dockerd's "Verify repository client with certificates",
//! containers-certs.d(5)).
//!
//! What cannot be used is a problem of its own and never breaks the rest.

use std::ffi::OsStr;
use std::fmt;
use std::path::{Path, PathBuf};

use openssl::pkey::PKey;
use openssl::x509::X509;

use crate::crt::{Certificate, Input};
use crate::docker_dir;
use crate::error::Error;
use crate::files;
use crate::host::HostPort;

/// What `ucr` shows to a registry that asks who it is.
#[derive(Clone, PartialEq, Eq)]
pub struct ClientIdentity {
    /// The file of the certificate.
    pub path: PathBuf,
    /// The client's own certificate, then the intermediates to send along.
    pub chain: Vec<Certificate>,
    key: Vec<u8>,
}

impl ClientIdentity {
    /// The chain as PEM.
    pub fn chain_pem(&self) -> Vec<u8> {
        self.chain.iter().flat_map(Certificate::to_pem).collect()
    }

    /// The private key as PEM: a secret.
    pub fn key_pem(&self) -> &[u8] {
        &self.key
    }
}

impl fmt::Debug for ClientIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientIdentity")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

/// Why a client certificate is not used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClientFlaw {
    /// There is no key of its name.
    NoKey,
    /// There is a key, but no certificate of its name.
    NoCertificate,
    /// The key's file holds no private key in PEM.
    NotAKey,
    /// The key wants a passphrase.
    EncryptedKey,
    /// The key belongs to another certificate.
    OtherKey,
    /// Another one comes first, and only one is shown.
    NotTheFirst,
}

impl fmt::Display for ClientFlaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoKey => "there is no file of the same name that ends in .key",
            Self::NoCertificate => "there is no file of the same name that ends in .cert",
            Self::NotAKey => "its .key holds no private key in PEM",
            Self::EncryptedKey => "its .key is encrypted, and there is nobody to ask",
            Self::OtherKey => "its .key is that of another certificate",
            Self::NotTheFirst => "only the first one by name is used",
        })
    }
}

/// What the directories of one registry hold together.
#[derive(Debug, Default)]
pub(crate) struct RegistryDirs {
    /// Each directory that was looked at, with its certificates; `None` where there is none.
    pub(crate) looked_at: Vec<(PathBuf, Option<Vec<Certificate>>)>,
    /// The client certificate to show.
    pub(crate) identity: Option<ClientIdentity>,
    /// What could not be used.
    pub(crate) problems: Vec<Error>,
}

impl RegistryDirs {
    /// Reads what is there for `host` below each of `parents`.
    pub(crate) fn read(parents: &[PathBuf], host: &HostPort) -> Self {
        let mut found = Self::default();
        for parent in parents {
            let directories = host.spellings().into_iter().map(|name| parent.join(name));
            let (present, absent): (Vec<_>, Vec<_>) = directories.partition(|path| path.is_dir());
            // Of several spellings that are all absent, one is enough to name.
            let absent = absent.into_iter().take(usize::from(present.is_empty()));
            found.looked_at.extend(absent.map(|path| (path, None)));
            for directory in present {
                let certificates = found.read_directory(&directory);
                found.looked_at.push((directory, Some(certificates)));
            }
        }
        found
    }

    fn read_directory(&mut self, directory: &Path) -> Vec<Certificate> {
        let names = match files::names(directory) {
            Ok(names) => names,
            Err(source) => {
                let path = directory.to_owned();
                self.problems.push(Error::Read { path, source });
                return Vec::new();
            }
        };
        let mut certificates = Vec::new();
        for path in names.iter().map(|name| directory.join(name)) {
            match path.extension().and_then(OsStr::to_str) {
                Some("crt") => match anchors_of(&path) {
                    Ok(found) => certificates.extend(found),
                    Err(error) => self.problems.push(error),
                },
                Some("cert") => self.offer(&path),
                Some("key") if !path.with_extension("cert").is_file() => {
                    self.refuse(&path, ClientFlaw::NoCertificate);
                }
                _ => {}
            }
        }
        certificates
    }

    /// Takes a client certificate unless there is one already.
    fn offer(&mut self, path: &Path) {
        if self.identity.is_some() {
            return self.refuse(path, ClientFlaw::NotTheFirst);
        }
        match read_identity(path) {
            Ok(identity) => self.identity = Some(identity),
            Err(error) => self.problems.push(error),
        }
    }

    fn refuse(&mut self, path: &Path, flaw: ClientFlaw) {
        self.problems.push(unusable(path, flaw));
    }
}

/// What a `.crt` file adds; an export of ours must not outlive what it was made from.
fn anchors_of(path: &Path) -> Result<Vec<Certificate>, Error> {
    let input = Input::read_regular(path)?;
    let name = path.file_name().unwrap_or_default();
    if docker_dir::is_ours(name, input.bytes()) {
        return Ok(Vec::new());
    }
    Ok(input.contents()?.certificates)
}

fn certificates_of(path: &Path) -> Result<Vec<Certificate>, Error> {
    Ok(Input::read_regular(path)?.contents()?.certificates)
}

fn read_identity(path: &Path) -> Result<ClientIdentity, Error> {
    let chain = certificates_of(path)?;
    let key = match Input::read_regular(&path.with_extension("key")) {
        Err(Error::Read { source, .. }) if source.is_not_found() => {
            return Err(unusable(path, ClientFlaw::NoKey));
        }
        key => key?,
    };
    if let Some(flaw) = key_flaw(key.bytes(), &chain) {
        return Err(unusable(path, flaw));
    }
    Ok(ClientIdentity {
        path: path.to_owned(),
        chain,
        key: key.bytes().to_owned(),
    })
}

/// What keeps a key from being the one of the first certificate of `chain`.
fn key_flaw(pem: &[u8], chain: &[Certificate]) -> Option<ClientFlaw> {
    // PKCS#8 says it in the label, older files in a header (RFC 1421, section 4.6.1.1).
    let text = String::from_utf8_lossy(pem);
    if text.contains("ENCRYPTED") {
        return Some(ClientFlaw::EncryptedKey);
    }
    let Ok(key) = PKey::private_key_from_pem(pem) else {
        return Some(ClientFlaw::NotAKey);
    };
    let public = chain
        .first()
        .map(|own| X509::from_der(own.der())?.public_key());
    match public {
        Some(Ok(public)) if public.public_eq(&key) => None,
        _ => Some(ClientFlaw::OtherKey),
    }
}

fn unusable(path: &Path, flaw: ClientFlaw) -> Error {
    Error::ClientCertificate {
        path: path.to_owned(),
        flaw,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Workshop, explain};

    fn read(workshop: &Workshop, host: &str) -> RegistryDirs {
        let parents = ["docker", "containers"].map(|name| workshop.path(name));
        RegistryDirs::read(&parents, &host.parse().unwrap())
    }

    fn make(workshop: &Workshop, directory: &str) {
        std::fs::create_dir_all(workshop.path(directory)).unwrap();
    }

    /// Makes a pair in `directory`, as `docker` wants it named.
    fn pair(workshop: &Workshop, directory: &str, name: &str) {
        workshop.ca(name);
        for (from, to) in [("pem", "cert"), ("key", "key")] {
            let content = workshop.read(&format!("{name}.{from}"));
            workshop.write(&format!("{directory}/{name}.{to}"), content);
        }
    }

    fn problems(workshop: &Workshop, found: &RegistryDirs) -> Vec<String> {
        let explained = found.problems.iter();
        explained
            .map(|error| explain(error, &workshop.path("")))
            .collect()
    }

    #[test]
    fn host_and_host_443_are_the_same_and_all_places_count() {
        let workshop = Workshop::new();
        for directory in [
            "docker/r.example",
            "docker/r.example:443",
            "containers/r.example",
        ] {
            make(&workshop, directory);
            let name = directory.replace(['/', ':'], "-");
            workshop.ca(&name);
            let pem = workshop.read(&format!("{name}.pem"));
            workshop.write(&format!("{directory}/ca.crt"), pem);
        }
        workshop.write("docker/r.example/README", "not a certificate");
        for host in ["r.example", "R.example:443"] {
            let found = read(&workshop, host);
            let certificates = found.looked_at.iter().flat_map(|(_, found)| found);
            assert_eq!(certificates.flatten().count(), 3, "{host}");
            assert!(found.problems.is_empty(), "{:?}", found.problems);
        }
        let elsewhere = read(&workshop, "r.example:5000");
        let expected = ["docker", "containers"].map(|parent| {
            let path = workshop.path(parent).join("r.example:5000");
            (path, None)
        });
        assert_eq!(elsewhere.looked_at, expected);
    }

    #[test]
    fn a_damaged_file_is_named_and_the_others_count() {
        let workshop = Workshop::new();
        make(&workshop, "docker/r.example");
        workshop.ca("good");
        workshop.write("docker/r.example/b.crt", workshop.read("good.pem"));
        workshop.write("docker/r.example/a.crt", "-----BEGIN CERTIFICATE-----\n");
        let found = read(&workshop, "r.example");
        assert_eq!(
            problems(&workshop, &found),
            ["docker/r.example/a.crt: PEM block 1 (line 1) is damaged: its END line is missing"]
        );
        assert_eq!(found.looked_at[0].1.as_ref().unwrap().len(), 1);
    }

    #[test]
    fn a_pipe_is_not_waited_for() {
        let workshop = Workshop::new();
        make(&workshop, "docker/r.example");
        let pipe = workshop.path("docker/r.example/a.crt");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status();
        assert!(made.unwrap().success());
        let found = read(&workshop, "r.example");
        let told = ["docker/r.example/a.crt is no regular file"];
        assert_eq!(problems(&workshop, &found), told);
    }

    #[test]
    fn an_export_of_our_own_is_passed_over() {
        let workshop = Workshop::new();
        let pem = workshop.ca("exported");
        let exported = Input::read(&pem).unwrap().certificates().unwrap();
        let registry: HostPort = "r.example".parse().unwrap();
        let wanted = [(registry, exported)];
        docker_dir::write_docker_dir(&workshop.path("docker"), &wanted).unwrap();
        let trusted = || {
            let found = read(&workshop, "r.example");
            assert!(found.problems.is_empty(), "{:?}", found.problems);
            found.looked_at[0].1.as_ref().unwrap().len()
        };
        assert_eq!(trusted(), 0);
        // Somebody's own, of another name or of another content.
        let text = workshop.read("docker/r.example/ucr.crt");
        workshop.write("docker/r.example/mine.crt", text);
        assert_eq!(trusted(), 1);
        workshop.write("docker/r.example/ucr.crt", workshop.read("exported.pem"));
        assert_eq!(trusted(), 2);
    }

    #[test]
    fn p26_a_client_certificate_comes_with_its_key() {
        let workshop = Workshop::new();
        make(&workshop, "docker/r.example");
        pair(&workshop, "docker/r.example", "client");
        let found = read(&workshop, "r.example");
        assert!(found.problems.is_empty(), "{:?}", found.problems);
        let identity = found.identity.unwrap();
        assert_eq!(identity.chain_pem(), workshop.read("client.pem"));
        assert_eq!(identity.key_pem(), workshop.read("client.key"));
        assert!(!format!("{identity:?}").contains("key"), "a secret");
    }

    #[test]
    fn p26_a_pair_that_is_none_is_named() {
        let workshop = Workshop::new();
        make(&workshop, "docker/r.example");
        for name in ["a", "b", "c", "c1", "c2", "d", "e"] {
            pair(&workshop, "docker/r.example", name);
        }
        let path = |name: &str| workshop.path(&format!("docker/r.example/{name}"));
        std::fs::remove_file(path("a.key")).unwrap();
        std::fs::copy(path("b.cert"), path("b.key")).unwrap();
        workshop.openssl("pkcs8 -topk8 -passout pass:x -in c.key -out docker/r.example/c.key");
        let old = "rsa -traditional -aes128 -passout pass:x -in rsa.key";
        workshop.openssl("genrsa -out rsa.key 2048");
        workshop.openssl(&format!("{old} -out docker/r.example/c1.key"));
        std::fs::copy(path("d.key"), path("c2.key")).unwrap();
        std::fs::remove_file(path("e.cert")).unwrap();
        let found = read(&workshop, "r.example");
        let told = |name: &str, flaw: ClientFlaw| {
            format!("the client certificate docker/r.example/{name} is not used: {flaw}")
        };
        assert_eq!(
            problems(&workshop, &found),
            [
                told("a.cert", ClientFlaw::NoKey),
                told("b.cert", ClientFlaw::NotAKey),
                told("c.cert", ClientFlaw::EncryptedKey),
                told("c1.cert", ClientFlaw::EncryptedKey),
                told("c2.cert", ClientFlaw::OtherKey),
                told("e.key", ClientFlaw::NoCertificate),
            ]
        );
        assert_eq!(found.identity.unwrap().path, path("d.cert"));
        pair(&workshop, "docker/r.example", "f");
        let found = read(&workshop, "r.example");
        let last = problems(&workshop, &found).pop().unwrap();
        assert_eq!(last, told("f.cert", ClientFlaw::NotTheFirst));
    }
}
