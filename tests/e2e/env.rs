//! A hermetic environment for one test.

use std::ffi::OsStr;
use std::fs::{DirBuilder, OpenOptions};
use std::io::Write;
use std::ops::Deref;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;
use test_support::{Image, RealRegistry, TestCa};

use crate::binaries;
use crate::leftovers;
use crate::output::{Output, Running};

/// Who signed the registry's certificate.
pub(crate) const CA_NAME: &str = "Example Corp private CA";

/// The image that [`TestEnv::with_image`] pushes and pulls.
pub(crate) const APP: &str = "team/app:1";

/// A store, a state directory and a trust store of its own.
///
/// `ucr` sees of the test's environment nothing but `PATH`. When it is dropped,
/// nothing of what was run in it may be left.
#[derive(Debug)]
pub(crate) struct Home {
    directory: TempDir,
}

/// The same, and a private registry.
#[derive(Debug)]
pub(crate) struct TestEnv {
    pub(crate) ca: TestCa,
    pub(crate) registry: RealRegistry,
    home: Home,
}

impl TestEnv {
    /// With a registry whose CA nobody trusts.
    pub(crate) fn untrusting() -> Self {
        let ca = TestCa::new(CA_NAME);
        let env = Self {
            registry: RealRegistry::start(&ca),
            ca,
            home: Home::new(),
        };
        env.write("ca.crt", env.ca.der());
        env.write("ca.pem", env.ca.pem());
        env.write_secret("secret", RealRegistry::PASSWORD);
        env
    }

    /// With a registry whose CA was added, in DER.
    pub(crate) fn new() -> Self {
        let env = Self::untrusting();
        env.ucr(&["certs", "add", &env.shown("ca.crt")]).ok();
        env
    }

    /// With `image` pulled from the registry as [`APP`].
    pub(crate) fn with_image(image: &Image) -> Self {
        let env = Self::new();
        env.push(image, APP);
        env.pull(APP).ok();
        env
    }

    /// Pushes an image; `name` is `REPOSITORY:TAG`.
    pub(crate) fn push(&self, image: &Image, name: &str) {
        let (repository, tag) = name.split_once(':').unwrap();
        self.registry.push(image, repository, tag);
    }

    /// The reference of `name` in the registry.
    pub(crate) fn reference(&self, name: &str) -> String {
        format!("{}/{name}", self.registry.host())
    }
}

impl Home {
    /// With nothing in it.
    pub(crate) fn new() -> Self {
        let directory = tempfile::Builder::new().prefix("ucr-e2e-").tempdir();
        Self {
            directory: directory.unwrap(),
        }
    }

    /// A path in the environment's own directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The same as text, for an argument.
    pub(crate) fn shown(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    /// The store.
    pub(crate) fn root(&self) -> PathBuf {
        self.path("root")
    }

    /// The state of the running containers.
    pub(crate) fn state(&self) -> PathBuf {
        self.path("state")
    }

    /// The added certificates.
    pub(crate) fn certs_dir(&self) -> PathBuf {
        self.path("certs")
    }

    /// Writes a file into the environment's own directory.
    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        self.put(name, content.as_ref(), 0o644)
    }

    /// Writes a file that only its owner reads.
    pub(crate) fn write_secret(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        self.put(name, content.as_ref(), 0o600)
    }

    fn put(&self, name: &str, content: &[u8], mode: u32) -> PathBuf {
        let path = self.path(name);
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(mode);
        options.open(&path).unwrap().write_all(content).unwrap();
        path
    }

    /// Makes a directory in the environment's own.
    pub(crate) fn make_dir(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        DirBuilder::new().mode(0o755).create(&path).unwrap();
        path
    }

    /// `ucr` in this environment.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.tool(binaries::ucr());
        command.args(arguments);
        command
    }

    /// Another program in this environment: what it starts finds the same.
    pub(crate) fn tool(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env(
                "PATH",
                "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            )
            .env("UCR_ROOT", self.root())
            .env("UCR_STATE", self.state())
            .env("UCR_CERTS_DIR", self.certs_dir())
            .current_dir(self.directory.path())
            .stdin(Stdio::null());
        command
    }

    /// A shell that runs `script` with `ucr` as `"$UCR"`, and `arguments`.
    pub(crate) fn shell(&self, script: &str, arguments: &[&str]) -> Command {
        let mut command = self.tool("sh");
        command
            .env("UCR", binaries::ucr())
            .args(["-ec", script, "sh"])
            .args(arguments);
        command
    }

    /// The same shell in a mount namespace of its own.
    pub(crate) fn shell_with_own_mounts(&self, script: &str, arguments: &[&str]) -> Command {
        let mut command = self.tool("unshare");
        command
            .env("UCR", binaries::ucr())
            .args(["--mount", "--propagation", "private", "sh", "-ec", script])
            .arg("sh")
            .args(arguments);
        command
    }

    /// Runs `ucr` to its end.
    pub(crate) fn ucr(&self, arguments: &[&str]) -> Output {
        Output::of(&mut self.command(arguments))
    }
}

impl TestEnv {
    /// `ucr pull` with `flags` of `name` from the registry, as the user who may.
    pub(crate) fn pull_command(&self, flags: &[&str], name: &str) -> Command {
        let mut command = self.command(&["pull", "--principal", RealRegistry::USER]);
        command.arg("--secret-file").arg(self.path("secret"));
        command.args(flags).arg(self.reference(name));
        command
    }

    /// Pulls `name` to its end.
    pub(crate) fn pull(&self, name: &str) -> Output {
        self.pull_with(&[], name)
    }

    /// Pulls `name` with `flags` to its end.
    pub(crate) fn pull_with(&self, flags: &[&str], name: &str) -> Output {
        Output::of(&mut self.pull_command(flags, name))
    }

    /// `ucr run` with `flags` of [`APP`], which was pulled before, as the user who may.
    pub(crate) fn run_command(&self, flags: &[&str], words: &[&str]) -> Command {
        let mut command = self.command(&["run", "--pull", "never"]);
        command.args(flags).arg(self.reference(APP)).args(words);
        self.as_user(&mut command);
        command
    }

    /// Gives `command` the credential of the user who may.
    pub(crate) fn as_user<'c>(&self, command: &'c mut Command) -> &'c mut Command {
        command
            .env("UCR_PRINCIPAL", RealRegistry::USER)
            .env("UCR_SECRET", RealRegistry::PASSWORD)
    }

    /// Runs a container to its end.
    pub(crate) fn run(&self, flags: &[&str], words: &[&str]) -> Output {
        Output::of(&mut self.run_command(flags, words))
    }

    /// Runs a shell script in a container to its end.
    pub(crate) fn run_sh(&self, flags: &[&str], script: &str) -> Output {
        self.run(flags, &["sh", "-c", script])
    }

    /// Starts a shell script in a container and waits until it says `ready`.
    pub(crate) fn start_sh(&self, flags: &[&str], script: &str) -> Running {
        let mut running = Running::spawn(&mut self.run_command(flags, &["sh", "-c", script]));
        running.until("ready");
        running
    }
}

impl Home {
    /// The records of the containers that the state directory knows.
    pub(crate) fn containers(&self) -> Vec<serde_json::Value> {
        let Ok(entries) = std::fs::read_dir(self.state().join("containers")) else {
            return Vec::new();
        };
        entries
            .map(|entry| std::fs::read_to_string(entry.unwrap().path().join("record")).unwrap())
            // What is behind the last of the whole lines is being written.
            .map(|text| text.rsplit_once('\n').unwrap().0.to_owned())
            .map(|lines| serde_json::from_str(lines.lines().last().unwrap()).unwrap())
            .collect()
    }

    /// What containers and pulls left behind.
    pub(crate) fn leftovers(&self) -> Vec<String> {
        leftovers::find(&self.root(), &self.state())
    }
}

impl Deref for TestEnv {
    type Target = Home;

    fn deref(&self) -> &Home {
        &self.home
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert_eq!(self.leftovers(), Vec::<String>::new());
        }
    }
}

/// Makes `command` run as a user of no privileges, nobody.
pub(crate) fn as_nobody(env: &Home, program: &Path, arguments: &[&str]) -> Command {
    let mut command = env.tool("setpriv");
    command
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(program)
        .args(arguments);
    command
}
