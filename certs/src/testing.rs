//! Certificates and files for the tests, made by the `openssl` command.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::crt::Input;
use crate::error::Error;
use crate::trust_store::{Added, Addition, Dates, Scope, TrustStore};
use crate::x509::Timestamp;

/// A directory in which `openssl` is run.
pub(crate) struct Workshop(TempDir);

impl Workshop {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Runs `openssl` with arguments separated by spaces; `+` in one stands for a space.
    pub(crate) fn openssl(&self, arguments: &str) {
        let output = Command::new("openssl")
            .args(
                arguments
                    .split(' ')
                    .map(|argument| argument.replace('+', " ")),
            )
            .current_dir(self.0.path())
            .output()
            .expect("scripts/test installs openssl");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "openssl {arguments}: {stderr}");
    }

    /// Makes a self-signed CA as `NAME.pem` with its key as `NAME.key`.
    pub(crate) fn ca(&self, name: &str) -> PathBuf {
        self.openssl(&format!(
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 \
             -keyout {name}.key -out {name}.pem -subj /O=Test/CN={name}"
        ));
        self.path(&format!("{name}.pem"))
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap()
    }

    pub(crate) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::io::Write::write_all(&mut std::fs::File::create(&path).unwrap(), bytes.as_ref())
            .unwrap();
        path
    }

    pub(crate) fn input(&self, name: &str) -> Input {
        Input::read(&self.path(name)).unwrap()
    }
}

/// Adds all certificates of `inputs`, whatever their dates.
pub(crate) fn add(store: &TrustStore, inputs: &[Input], scope: Scope) -> Vec<Added> {
    let addition = Addition {
        inputs,
        scope,
        name: None,
        by: None,
        now: Timestamp::from_unix(0),
        dates: Dates::Ignored,
    };
    store.add(&addition).unwrap()
}

/// The whole chain of an error in one line, without the directory of the test.
pub(crate) fn explain(error: &Error, directory: &Path) -> String {
    let mut text = error.to_string();
    let mut next = std::error::Error::source(error);
    while let Some(source) = next {
        text = format!("{text}: {source}");
        next = source.source();
    }
    let directory = directory.display().to_string();
    text.replace(&format!("{}/", directory.trim_end_matches('/')), "")
}
