//! A person at a terminal, with a command on it.

use std::fs::File;
use std::io::{Read, Write};
use std::process::{Child, Command};

use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

/// A terminal and the command that it belongs to.
#[derive(Debug)]
pub(crate) struct Screen {
    keyboard: File,
    child: Child,
    seen: String,
}

impl Screen {
    /// Starts `command` on a terminal of 33 lines of 77 characters, which is its session's.
    pub(crate) fn start(command: &Command) -> Self {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = openpt(flags).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let slave = ioctl_tiocgptpeer(&master, flags).unwrap();
        let mut on_terminal = Command::new("setsid");
        if let Some(directory) = command.get_current_dir() {
            on_terminal.current_dir(directory);
        }
        on_terminal
            .env_clear()
            .arg("--ctty")
            .arg(command.get_program())
            .args(command.get_args());
        for (name, value) in command.get_envs() {
            on_terminal.env(name, value.unwrap());
        }
        let clone = || slave.try_clone().unwrap();
        on_terminal.stdin(clone()).stdout(clone()).stderr(clone());
        let screen = Self {
            keyboard: File::from(master),
            seen: String::new(),
            child: {
                tcsetwinsize(&slave, size(33, 77)).unwrap();
                on_terminal.spawn().unwrap()
            },
        };
        drop(on_terminal);
        screen
    }

    /// Makes it another size.
    pub(crate) fn resize(&self, rows: u16, columns: u16) {
        tcsetwinsize(&self.keyboard, size(rows, columns)).unwrap();
    }

    /// Strikes keys.
    pub(crate) fn strike(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits until `text` is shown.
    #[track_caller]
    pub(crate) fn until(&mut self, text: &str) {
        while !self.seen.contains(text) {
            assert!(self.look(), "it ended without {text:?}: {:?}", self.seen);
        }
    }

    /// Sends the command a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits for the end of all who have the terminal; returns the exit code and all that was shown.
    pub(crate) fn finish(mut self) -> (Option<i32>, String) {
        while self.look() {}
        let code = self.child.wait().unwrap().code();
        (code, std::mem::take(&mut self.seen))
    }

    /// Reads what is shown next; false at the end, which is an error of the terminal's, `EIO`.
    fn look(&mut self) -> bool {
        let mut bytes = [0; 4096];
        let Ok(length @ 1..) = self.keyboard.read(&mut bytes) else {
            return false;
        };
        self.seen
            .push_str(&String::from_utf8_lossy(&bytes[..length]));
        true
    }
}

/// A test that fails leaves nothing that runs.
impl Drop for Screen {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

fn size(rows: u16, columns: u16) -> Winsize {
    Winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    }
}
