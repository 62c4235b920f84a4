//! Containers from a busybox layer, and what the tests ask about them.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use oci_spec::runtime::{Mount, Spec};
use tempfile::TempDir;
use ucr_runtime::plan::Additions;

const APPLETS: [&str; 40] = [
    "cat", "chmod", "chown", "cp", "dd", "df", "echo", "env", "false", "grep", "hostname", "id",
    "ifconfig", "kill", "ln", "ls", "mkdir", "mknod", "mount", "mv", "printf", "ps", "pwd",
    "readlink", "rm", "rmdir", "sed", "seq", "sh", "sleep", "sort", "stat", "tail", "test",
    "touch", "tr", "true", "umount", "wc", "head",
];

/// Whether the tests that need namespaces can run; says why not.
pub(crate) fn privileged() -> bool {
    let root = std::fs::metadata("/proc/self").is_ok_and(|stat| {
        use std::os::unix::fs::MetadataExt;
        stat.uid() == 0
    });
    let busybox = busybox().is_some();
    if !root || !busybox {
        eprintln!("skipped: needs root ({root}) and the package busybox-static ({busybox})");
    }
    root && busybox
}

fn busybox() -> Option<PathBuf> {
    ["/bin/busybox", "/usr/bin/busybox"]
        .map(PathBuf::from)
        .into_iter()
        .find(|path| path.exists())
}

/// A container to be: change what the test is about, then run it.
pub(crate) struct Container {
    pub(crate) temp: TempDir,
    pub(crate) id: String,
    pub(crate) name: Option<String>,
    pub(crate) spec: Spec,
    pub(crate) user: Option<String>,
    pub(crate) unconfined: bool,
    pub(crate) lower: Vec<PathBuf>,
    pub(crate) additions: Option<Additions>,
    pub(crate) held: Vec<PathBuf>,
    pub(crate) remove_at_exit: Vec<PathBuf>,
    state_root: PathBuf,
}

/// How a container came out.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Container {
    /// A container of the busybox layer that runs `script` in its shell.
    pub(crate) fn sh(script: &str) -> Self {
        Self::new(&["/bin/sh", "-c", script])
    }

    pub(crate) fn new(arguments: &[&str]) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let temp = tempfile::tempdir().expect("tempdir");
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let id = format!("test-{}-{count}", std::process::id());
        let layer = temp.path().join("layer");
        make_layer(&layer);
        let mut container = Self {
            id,
            name: None,
            spec: ucr_runtime::spec::defaults(),
            user: None,
            unconfined: false,
            lower: vec![layer],
            additions: None,
            held: vec![],
            remove_at_exit: vec![],
            state_root: temp.path().join("state"),
            temp,
        };
        container.arguments(arguments);
        container.environment(&["PATH=/bin"]);
        container
    }

    pub(crate) fn arguments(&mut self, arguments: &[&str]) -> &mut Self {
        let arguments = arguments.iter().map(ToString::to_string).collect();
        self.spec
            .process_mut()
            .as_mut()
            .unwrap()
            .set_args(Some(arguments));
        self
    }

    pub(crate) fn environment(&mut self, entries: &[&str]) -> &mut Self {
        let entries = entries.iter().map(ToString::to_string).collect();
        self.spec
            .process_mut()
            .as_mut()
            .unwrap()
            .set_env(Some(entries));
        self
    }

    pub(crate) fn directory(&mut self, path: &str) -> &mut Self {
        self.spec
            .process_mut()
            .as_mut()
            .unwrap()
            .set_cwd(path.into());
        self
    }

    /// Merges JSON into the spec.
    pub(crate) fn patch(&mut self, json: serde_json::Value) -> &mut Self {
        let mut spec = serde_json::to_value(&self.spec).unwrap();
        merge(&mut spec, json);
        self.spec = serde_json::from_value(spec).unwrap();
        self
    }

    pub(crate) fn bind(&mut self, source: &Path, destination: &str, options: &[&str]) -> &mut Self {
        let mut mount = Mount::default();
        mount
            .set_source(Some(source.into()))
            .set_destination(destination.into())
            .set_typ(Some("bind".into()))
            .set_options(Some(options.iter().map(ToString::to_string).collect()));
        self.spec.mounts_mut().as_mut().unwrap().push(mount);
        self
    }

    pub(crate) fn without_namespace(&mut self, kind: &str) -> &mut Self {
        let linux = self.spec.linux_mut().as_mut().unwrap();
        let namespaces = linux.namespaces_mut().as_mut().unwrap();
        namespaces.retain(|namespace| namespace.typ().to_string() != kind);
        self
    }

    /// The layer, to put files into.
    pub(crate) fn layer(&self) -> &Path {
        &self.lower[0]
    }

    pub(crate) fn state_root(&self) -> PathBuf {
        self.state_root.clone()
    }

    /// Keeps its state where `other` does, as containers of one machine do.
    pub(crate) fn state_root_of(&mut self, other: &Self) {
        self.state_root = other.state_root();
    }

    pub(crate) fn work_dir(&self) -> PathBuf {
        self.temp.path().join("work").join(&self.id)
    }

    /// The command that launches it, its request written.
    pub(crate) fn command(&self) -> Command {
        std::fs::create_dir_all(self.work_dir()).expect("work dir");
        let request = serde_json::json!({
            "id": self.id, "name": self.name, "spec": self.spec, "user": self.user,
            "unconfined": self.unconfined,
            "lower": self.lower, "work_dir": self.work_dir(), "state_root": self.state_root(),
            "additions": self.additions, "held": self.held, "remove_at_exit": self.remove_at_exit,
            "init": option_env!("UCR_INIT"),
        });
        let path = self.temp.path().join("request.json");
        serde_json::to_writer(File::create(&path).expect("request"), &request).expect("write");
        let mut command = Command::new(launcher());
        command.arg(path).stdin(Stdio::null());
        command
    }

    /// As [`Self::command`], with `signals` ignored as nohup(1) does.
    pub(crate) fn command_ignoring(&self, signals: &str) -> Command {
        let inner = self.command();
        // The shell, as busybox' env, in the cgroup v2 guest, cannot do it.
        let mut command = Command::new("sh");
        command.args(["-c", &format!("trap '' {signals}; exec \"$@\""), "sh"]);
        command.arg(inner.get_program());
        command.args(inner.get_args()).stdin(Stdio::null());
        command
    }

    pub(crate) fn run(&self) -> Output {
        let output = self.command().output().expect("launcher");
        Output {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Starts it and waits for the line `ready` on its standard output.
    pub(crate) fn spawn_until_ready(&self) -> Running {
        Self::until_ready(self.command())
    }

    /// Starts `command` and waits for the line `ready` on its standard output.
    pub(crate) fn until_ready(mut command: Command) -> Running {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("launcher");
        let mut stdout = child.stdout.take().expect("stdout");
        let mut seen = Vec::new();
        let mut byte = [0];
        while !seen.ends_with(b"ready\n") {
            assert_eq!(
                stdout.read(&mut byte).expect("read"),
                1,
                "ended before it was ready"
            );
            seen.push(byte[0]);
        }
        Running { child, stdout }
    }

    /// Directories of this container in any cgroup hierarchy.
    pub(crate) fn cgroups(&self) -> Vec<PathBuf> {
        let list = Command::new("find")
            .args(["/sys/fs/cgroup", "-type", "d", "-name", &self.id])
            .output()
            .expect("find");
        String::from_utf8_lossy(&list.stdout)
            .lines()
            .map(PathBuf::from)
            .collect()
    }

    /// Asserts that nothing of it is left.
    pub(crate) fn assert_gone(&self) {
        self.assert_swept();
        assert!(!self.work_dir().exists(), "work directory left");
    }

    /// Asserts that what a sweep removes is not there.
    pub(crate) fn assert_swept(&self) {
        assert_eq!(self.cgroups(), Vec::<PathBuf>::new());
        let state = self.state_root().join("containers").join(&self.id);
        assert!(!state.exists(), "state left");
    }
}

/// A container that runs.
pub(crate) struct Running {
    pub(crate) child: Child,
    stdout: std::process::ChildStdout,
}

impl Running {
    pub(crate) fn kill(&self, signal: &str) {
        let pid = self.child.id().to_string();
        let status = Command::new("kill")
            .args(["-s", signal, &pid])
            .status()
            .expect("kill");
        assert!(status.success());
    }

    pub(crate) fn wait(mut self) -> Output {
        let mut stdout = String::new();
        self.stdout.read_to_string(&mut stdout).expect("stdout");
        let mut stderr = String::new();
        self.child
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut stderr)
            .expect("stderr");
        let code = self.child.wait().expect("wait").code().unwrap_or(-1);
        Output {
            code,
            stdout,
            stderr,
        }
    }
}

/// Puts an executable script into a layer.
pub(crate) fn script(path: &Path, text: &str) {
    write(path, text);
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o755)).expect("chmod");
}

/// Writes a file.
pub(crate) fn write(path: &Path, text: &str) {
    use std::io::Write;
    std::fs::create_dir_all(path.parent().expect("parent")).expect("mkdir");
    File::create(path)
        .expect("create")
        .write_all(text.as_bytes())
        .expect("write");
}

fn make_layer(layer: &Path) {
    for directory in ["bin", "etc", "tmp", "proc", "sys", "dev", "root"] {
        std::fs::create_dir_all(layer.join(directory)).expect("mkdir");
    }
    std::fs::set_permissions(layer.join("tmp"), PermissionsExt::from_mode(0o1777)).expect("chmod");
    std::fs::copy(busybox().expect("busybox"), layer.join("bin/busybox")).expect("copy");
    for applet in APPLETS {
        symlink("busybox", layer.join("bin").join(applet)).expect("symlink");
    }
    write(
        &layer.join("etc/passwd"),
        "root:x:0:0:root:/root:/bin/sh\nweb:x:1000:1001::/srv:/bin/sh\n",
    );
    write(
        &layer.join("etc/group"),
        "root:x:0:\nextra:x:50:web\nmore:x:51:web\nweb:x:1001:\n",
    );
}

pub(crate) fn launcher() -> PathBuf {
    let test = std::env::current_exe().expect("own path");
    test.parent()
        .and_then(Path::parent)
        .expect("target")
        .join("examples/launch")
}

fn merge(into: &mut serde_json::Value, from: serde_json::Value) {
    match (into, from) {
        (serde_json::Value::Object(into), serde_json::Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key).or_insert(serde_json::Value::Null), value);
            }
        }
        (into, from) => *into = from,
    }
}
