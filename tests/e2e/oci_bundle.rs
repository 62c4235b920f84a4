//! A bundle with busybox in it, and the verbs of an OCI runtime applied to it.

use std::fs::File;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::binaries;
use crate::leftovers;
use crate::output::Output;

/// What the root file system has besides busybox itself.
const APPLETS: [&str; 24] = [
    "cat", "chmod", "chown", "echo", "env", "false", "grep", "hostname", "id", "kill", "ls",
    "mkdir", "mknod", "mount", "readlink", "rm", "sh", "sleep", "stat", "test", "touch", "true",
    "umount", "wc",
];

/// Returns from the test, with the reason printed, where containers cannot run.
macro_rules! needs_containers {
    () => {
        test_support::need_root!();
        test_support::need_command!("busybox");
    };
}
pub(crate) use needs_containers;

/// A container to be: change its configuration, then use the verbs.
///
/// When it is dropped it is deleted, and nothing of it may be left.
#[derive(Debug)]
pub(crate) struct Bundle {
    temp: TempDir,
    pub(crate) id: String,
    pub(crate) config: Value,
}

impl Bundle {
    /// One that runs `script` in its shell, isolated as `ucr oci spec` has it.
    pub(crate) fn sh(script: &str) -> Self {
        Self::new(&["/bin/sh", "-c", script])
    }

    /// One that runs a program.
    pub(crate) fn new(words: &[&str]) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let temp = tempfile::Builder::new()
            .prefix("ucr-oci-")
            .tempdir()
            .unwrap();
        let bin = temp.path().join("rootfs/bin");
        std::fs::create_dir_all(&bin).unwrap();
        let busybox = ["/bin/busybox", "/usr/bin/busybox"].map(Path::new);
        let busybox = busybox.into_iter().find(|path| path.exists()).unwrap();
        std::fs::copy(busybox, bin.join("busybox")).unwrap();
        for applet in APPLETS {
            symlink("busybox", bin.join(applet)).unwrap();
        }
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let mut bundle = Self {
            id: format!("oci-{}-{count}", std::process::id()),
            config: Value::Null,
            temp,
        };
        bundle.verb(&["spec", "--bundle", &bundle.shown("")]).ok();
        let text = std::fs::read(bundle.path("config.json")).unwrap();
        bundle.config = serde_json::from_slice(&text).unwrap();
        bundle.config["process"]["terminal"] = json!(false);
        bundle.config["process"]["args"] = json!(words);
        bundle.config["process"]["env"] = json!(["PATH=/bin"]);
        bundle.config["root"]["readonly"] = json!(false);
        bundle
    }

    /// A path in the bundle.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.temp.path().join(name)
    }

    /// The same as text.
    pub(crate) fn shown(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    /// What is in a file of the bundle.
    pub(crate) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    /// Writes a file of the bundle.
    pub(crate) fn write(&self, name: &str, text: &str) {
        let mut file = File::create(self.path(name)).unwrap();
        std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
    }

    /// Adds `mount` to the configuration.
    pub(crate) fn mount(mut self, mount: Value) -> Self {
        self.config["mounts"].as_array_mut().unwrap().push(mount);
        self
    }

    /// Replaces the namespace of `kind`, or adds it; with `Null` it is taken away.
    pub(crate) fn namespace(mut self, kind: &str, namespace: Value) -> Self {
        let all = self.config["linux"]["namespaces"].as_array_mut().unwrap();
        all.retain(|one| one["type"] != kind);
        if !namespace.is_null() {
            all.push(namespace);
        }
        self
    }

    /// The command that calls a verb.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(binaries::ucr());
        command
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        command
            .args(["oci", "--root", &self.shown("state")])
            .args(words);
        command
    }

    /// Calls a verb.
    pub(crate) fn verb(&self, words: &[&str]) -> Output {
        Output::of(&mut self.command(words))
    }

    /// Writes the configuration.
    pub(crate) fn save(&self) {
        let file = File::create(self.path("config.json")).unwrap();
        serde_json::to_writer(file, &self.config).unwrap();
    }

    /// Creates the container, its output going to the file `out`.
    pub(crate) fn create(&self, flags: &[&str]) -> Output {
        self.save();
        let mut command = self.command(&["create", "--bundle", &self.shown("")]);
        let open = |name| File::create(self.path(name)).unwrap();
        let status = command
            .args(flags)
            .arg(&self.id)
            .stdin(Stdio::null())
            .stdout(open("out"))
            .stderr(open("err"))
            .status();
        Output {
            code: status.unwrap().code().unwrap(),
            stdout: self.read("out"),
            stderr: self.read("err"),
        }
    }

    /// Creates and starts it, waits for its end, and deletes it.
    pub(crate) fn run(&self, flags: &[&str]) -> Output {
        self.save();
        let bundle = self.shown("");
        let words = [&["run", "--bundle", &bundle], flags, &[&self.id]].concat();
        self.verb(&words)
    }

    /// Its state.
    pub(crate) fn state(&self) -> Value {
        let output = self.verb(&["state", &self.id]).ok();
        serde_json::from_str(&output.stdout).unwrap()
    }

    /// Its status.
    pub(crate) fn status(&self) -> String {
        self.state()["status"].as_str().unwrap().to_owned()
    }

    /// Waits until its first process has ended.
    pub(crate) fn wait(&self) {
        let pid = self.state()["pid"].as_i64().unwrap();
        let pid = i32::try_from(pid).unwrap();
        if let Ok(Some(pidfd)) = ucr_sys::process::open(pid) {
            use std::os::fd::AsFd;
            ucr_sys::ready::wait_readable([pidfd.as_fd()]).unwrap();
        }
    }
}

impl Drop for Bundle {
    fn drop(&mut self) {
        let deleted = self.verb(&["delete", "--force", &self.id]);
        if std::thread::panicking() {
            return;
        }
        deleted.ok();
        assert_eq!(leftovers::cgroups(&self.id), Vec::<PathBuf>::new());
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(!mounts.contains(&self.shown("")), "{mounts}");
    }
}
