//! A process with all that came of it, as `ps --forest` has them.

use std::collections::HashMap;
use std::fs;
use std::os::fd::{AsFd, OwnedFd};

use crate::process::{self, KILL};
use crate::{Error, Result};

/// signal(7); the same number on all machines but those of MIPS, Alpha and SPARC.
const STOP: i32 = libc::SIGSTOP;

/// Processes that were found, each stopped.
#[derive(Default)]
struct Family {
    found: HashMap<i32, OwnedFd>,
    failed: Option<Error>,
}

/// Kills process `pid` with its children, theirs, and so on, whatever namespaces they are in.
///
/// Each is stopped before its children are looked for, and they are looked for until there are no
/// new ones. Only what has left its parents before, a daemon, is not found.
///
/// # Errors
/// When a process cannot be signalled; the others are killed none the less.
pub fn kill_with_descendants(pid: i32) -> Result<()> {
    let mut family = Family::default();
    family.stop(pid, None);
    // A signal is not there at once: whoever was making a child has made it.
    while family.grow() {}
    let Family { found, mut failed } = family;
    for pidfd in found.values() {
        if let Err(error) = process::send_signal(pidfd.as_fd(), KILL) {
            failed.get_or_insert(error);
        }
    }
    failed.map_or(Ok(()), Err)
}

impl Family {
    /// Stops a process and takes it in, if it is still the child of `parent`.
    fn stop(&mut self, pid: i32, parent: Option<i32>) {
        let pidfd = match process::open(pid) {
            Ok(Some(pidfd)) => pidfd,
            Ok(None) => return,
            Err(error) => {
                self.failed.get_or_insert(error);
                return;
            }
        };
        // The number may be another's by now.
        if parent.is_some() && process::parent_of(pid) != parent {
            return;
        }
        if let Err(error) = process::send_signal(pidfd.as_fd(), STOP) {
            self.failed.get_or_insert(error);
        }
        self.found.insert(pid, pidfd);
    }

    /// Takes in the children of all; whether there were new ones.
    fn grow(&mut self) -> bool {
        let before = self.found.len();
        let parents: Vec<i32> = self.found.keys().copied().collect();
        for parent in parents {
            for child in children_of(parent) {
                if !self.found.contains_key(&child) {
                    self.stop(child, Some(parent));
                }
            }
        }
        self.found.len() > before
    }
}

/// The children of all threads of a process, proc_pid_task_tid_children(5); none of one that is
/// gone.
fn children_of(pid: i32) -> Vec<i32> {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return Vec::new();
    };
    let lists = threads
        .flatten()
        .filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    lists
        .flat_map(|list| {
            let numbers = list.split_ascii_whitespace();
            numbers
                .filter_map(|number| number.parse().ok())
                .collect::<Vec<i32>>()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader};
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_process_goes_with_its_children_and_theirs() {
        // The innermost says its number, and nobody of them ends by itself.
        let script = "sh -c 'sh -c \"echo \\$\\$; exec sleep 1000\" & wait' & wait";
        let mut shell = Command::new("setsid")
            .args(["sh", "-c", script])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(shell.stdout.take().unwrap());
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        let innermost: i32 = line.trim().parse().unwrap();
        let pidfd = process::open(innermost).unwrap().unwrap();
        kill_with_descendants(shell.id().cast_signed()).unwrap();
        assert!(!shell.wait().unwrap().success());
        // Readable once it has ended, pidfd_open(2).
        let patience = std::time::Duration::from_secs(60);
        assert!(crate::ready::is_readable_within(pidfd.as_fd(), Some(patience)).unwrap());
    }

    #[test]
    fn a_process_that_is_gone_is_no_error() {
        let mut child = Command::new("true").spawn().unwrap();
        let pid = child.id().cast_signed();
        child.wait().unwrap();
        kill_with_descendants(pid).unwrap();
    }
}
