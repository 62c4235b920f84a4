//! The added certificates, as `ucr run --inject-ca` puts them into a container's CA bundle.
//!
//! Which files of a container programs take CA certificates from is known here
//! and only here; the runtime adds the text to them.

use std::error::Error;
use std::path::{Path, PathBuf};

use oci_spec::runtime::{Process, Spec};
use ucr::command_error::CommandError;
use ucr::ui::Ui;
use ucr_certs::{Certificate, Fingerprint, Scope, TrustStore, comment_text};
use ucr_runtime::plan::{AddedFile, Additions, HashDirectory, HashedFile, Missing};

/// What holds all CA certificates, as distributions have it.
const BUNDLES: [&str; 6] = [
    // Debian and Alpine; made where an image has no bundle at all.
    FALLBACK,
    // Alpine and OpenSSL itself.
    "/etc/ssl/cert.pem",
    // Red Hat's, of which some are links to others.
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/pki/tls/cert.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    // SUSE.
    "/etc/ssl/ca-bundle.pem",
];

/// Where GnuTLS, Go, curl and most others look first.
const FALLBACK: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Where Debian's OpenSSL looks a certificate up by the hash of its subject.
const HASH_DIRECTORY: &str = "/etc/ssl/certs";

/// The variable that names another bundle to OpenSSL, SSL_CTX_set_default_verify_paths(3), and to Go.
const BUNDLE_VARIABLE: &str = "SSL_CERT_FILE=";

/// A certificate that cannot be injected.
#[derive(Debug, thiserror::Error)]
enum InjectError {
    /// OpenSSL does not read it.
    #[error("cannot hash the subject of the added certificate {0}")]
    SubjectHash(Fingerprint, #[source] Box<dyn Error + Send + Sync>),
}

/// Certificates, ready for any container.
#[derive(Debug)]
pub(crate) struct InjectedCerts {
    text: Vec<u8>,
    hashed: Vec<HashedFile>,
}

impl InjectedCerts {
    /// Reads the certificates that were added to `stores` for all registries; without any,
    /// says so and has none.
    ///
    /// # Errors
    /// When a directory cannot be read. A damaged file in it is said and passed over.
    pub(crate) fn read(stores: &[TrustStore], ui: &Ui) -> Result<Option<Self>, CommandError> {
        let mut entries = Vec::new();
        for store in stores {
            let listing = store.list().map_err(CommandError::new)?;
            ui.say_passed_over(&listing.damaged);
            entries.extend(listing.entries);
        }
        let all = entries.len();
        entries.retain(|entry| entry.scope == Scope::AllRegistries);
        if entries.is_empty() {
            ui.say(&format!(
                "ucr: --inject-ca has nothing to inject: no certificate was added for all \
                 registries, and {all} for single ones"
            ));
            ui.say("  try: ucr certs add CA.crt");
            return Ok(None);
        }
        let mut certs = Self {
            text: Vec::new(),
            hashed: Vec::new(),
        };
        for entry in &entries {
            certs.push(&entry.certificate).map_err(CommandError::new)?;
        }
        Ok(Some(certs))
    }

    fn push(&mut self, certificate: &Certificate) -> Result<(), InjectError> {
        let hash = certificate.subject_hash().map_err(|error| {
            InjectError::SubjectHash(certificate.fingerprint(), Box::new(error))
        })?;
        let content = commented(&certificate.facts().subject, &certificate.to_pem());
        self.text.extend_from_slice(&content);
        let content = content.into();
        self.hashed.push(HashedFile { hash, content });
        Ok(())
    }

    /// What the container of `spec` gets; says which mounts will hide something of it.
    pub(crate) fn additions(&self, spec: &Spec, ui: &Ui) -> Additions {
        let named = spec.process().as_ref().and_then(named_bundle);
        say_hidden(spec, named.as_deref(), ui);
        let made = named.map(|path| AddedFile {
            path: path.into(),
            missing: Missing::Make,
        });
        let bundles = BUNDLES.map(|path| AddedFile {
            path: path.into(),
            missing: Missing::Skip,
        });
        Additions {
            text: self.text.clone().into(),
            files: bundles.into_iter().chain(made).collect(),
            fallback: FALLBACK.into(),
            hashed: HashDirectory {
                path: HASH_DIRECTORY.into(),
                files: self.hashed.clone(),
            },
        }
    }
}

/// One certificate between lines that say whose it is and how it came there.
fn commented(subject: &str, pem: &[u8]) -> Vec<u8> {
    let subject = comment_text(subject);
    let first = format!("# Added by `ucr run --inject-ca`: {subject}\n");
    let last = format!("# End of what `ucr run --inject-ca` added: {subject}\n");
    [first.as_bytes(), pem, last.as_bytes()].concat()
}

/// The bundle that the task's environment names; a relative path begins at its working directory.
fn named_bundle(process: &Process) -> Option<PathBuf> {
    let variables = process.env().as_ref()?;
    let path = variables
        .iter()
        .find_map(|variable| variable.strip_prefix(BUNDLE_VARIABLE))?;
    (!path.is_empty()).then(|| process.cwd().join(path))
}

/// Says which mounts cover a bundle: what is mounted is not ours to change.
fn say_hidden(spec: &Spec, named: Option<&Path>, ui: &Ui) {
    for mount in spec.mounts().iter().flatten() {
        let at = mount.destination();
        let mut bundles = BUNDLES.iter().map(Path::new).chain(named);
        if let Some(bundle) = bundles.find(|bundle| bundle.starts_with(at)) {
            ui.say(&format!(
                "ucr: --inject-ca adds nothing to {bundle:?}, as {at:?} is mounted there"
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s18_a_subject_stays_in_its_line_whatever_it_says() {
        let long = format!("CN=a\n-----BEGIN CERTIFICATE-----{}", "\u{e9}".repeat(300));
        let text = String::from_utf8(commented(&long, b"PEM\n")).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!((lines.len(), lines[1]), (3, "PEM"));
        for line in [lines[0], lines[2]] {
            assert!(line.starts_with("# ") && line.len() < 254, "{line}");
            assert!(line.is_ascii() && line.contains(r"CN=a\u{a}----"), "{line}");
        }
    }

    #[test]
    fn the_named_bundle_is_that_of_the_environment() {
        let named = |variable: &str| {
            let mut process = Process::default();
            let env = ["A=b".to_owned(), variable.to_owned()];
            process.set_env(Some(env.into())).set_cwd("/srv".into());
            named_bundle(&process)
        };
        assert_eq!(named("SSL_CERT_FILE=/a/b"), Some("/a/b".into()));
        assert_eq!(named("SSL_CERT_FILE=a/b"), Some("/srv/a/b".into()));
        assert_eq!(named("SSL_CERT_FILE="), None);
        assert_eq!(named("SSL_CERT_FILES=/a"), None);
    }
}
