//! What a container or a pull must not leave behind.

use std::fs::File;
use std::path::{Path, PathBuf};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
/// The folders of the state that are empty when nothing runs.
const STATE: [&str; 5] = ["containers", "names", "userns", "networks", "netns"];

/// Waits until nobody gives a network back any more: who does has its record's lock.
pub(crate) fn wait_for_networks(state: &Path) {
    for path in entries(&state.join("networks")) {
        // One that is gone is given back.
        if let Ok(file) = File::open(&path) {
            file.lock().unwrap();
        }
    }
}

/// Finds everything below `directory`, and everywhere else, that should be gone.
pub(crate) fn find(root: &Path, state: &Path) -> Vec<String> {
    wait_for_networks(state);
    let folders = ["tmp", "trash", "containers", "leases"]
        .map(|name| root.join(name))
        .into_iter()
        .chain(STATE.map(|name| state.join(name)));
    let mut found: Vec<String> = folders
        .flat_map(|folder| entries(&folder))
        // Whoever looks for free ids or ports holds it, and nobody removes it.
        .filter(|path| !path.ends_with("userns/lock") && !path.ends_with("networks/lock"))
        .map(|path| path.display().to_string())
        .collect();
    wait_for_settlers(root);
    let users = users_of(root).into_iter().chain(users_of(state));
    found.extend(users.map(|user| user.shown()));
    found
}

/// Waits for the copies of `ucr` that write a store through to the disk, beyond the end of the
/// task as they should; a minute is enough for any disk, and those that hang are found then.
fn wait_for_settlers(root: &Path) {
    let settles = |user: &User| {
        let program = std::fs::read_link(format!("/proc/{}/exe", user.pid));
        program.is_ok_and(|path| path.ends_with("ucr") || path.ends_with("ucr-registry"))
    };
    for user in users_of(root).into_iter().filter(settles) {
        let pid = Pid::from_raw(user.pid).unwrap();
        // One that is gone by now need not be waited for.
        if let Ok(pidfd) = pidfd_open(pid, PidfdFlags::empty()) {
            let minute = Timespec {
                tv_sec: 60,
                tv_nsec: 0,
            };
            let mut ended = [PollFd::new(&pidfd, PollFlags::IN)];
            poll(&mut ended, Some(&minute)).unwrap();
        }
    }
}

/// A process that uses a directory.
struct User {
    pid: i32,
    command: String,
}

impl User {
    fn shown(&self) -> String {
        format!("process {} ({})", self.pid, self.command)
    }
}

/// Directories of the cgroup `id` in any hierarchy.
pub(crate) fn cgroups(id: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut pending = vec![PathBuf::from("/sys/fs/cgroup")];
    while let Some(folder) = pending.pop() {
        for path in entries(&folder) {
            if path.is_symlink() || !path.is_dir() {
                continue;
            }
            if path.file_name().is_some_and(|name| name == id) {
                found.push(path.clone());
            }
            pending.push(path);
        }
    }
    found
}

/// What stands in a directory; nothing where there is none, or no more.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    entries
        .map_while(Result::ok)
        .map(|entry| entry.path())
        .collect()
}

/// Processes that have a mount from `directory` in their view, or a file of it open.
fn users_of(directory: &Path) -> Vec<User> {
    let shown = directory.to_str().unwrap();
    let mut found = Vec::new();
    for process in entries(Path::new("/proc")) {
        let name = process.file_name().unwrap().to_string_lossy().into_owned();
        let Ok(pid) = name.parse::<i32>() else {
            continue;
        };
        if name == std::process::id().to_string() {
            continue;
        }
        // A process that ends meanwhile has neither.
        let mounts = std::fs::read_to_string(process.join("mountinfo")).unwrap_or_default();
        let mut links = entries(&process.join("fd"));
        links.extend(["cwd", "root", "exe"].map(|link| process.join(link)));
        let opens = |link: &PathBuf| {
            std::fs::read_link(link).is_ok_and(|target| target.starts_with(directory))
        };
        if mounts.contains(shown) || links.iter().any(opens) {
            let command = std::fs::read_to_string(process.join("cmdline")).unwrap_or_default();
            found.push(User {
                pid,
                command: command.replace('\0', " "),
            });
        }
    }
    found
}
