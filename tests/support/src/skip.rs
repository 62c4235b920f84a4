//! Leaving out a test that this machine cannot run, and saying so.

use std::os::unix::fs::PermissionsExt;

/// Whether this process has the effective user root.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Whether a command stands in one of the usual directories.
pub fn has_command(name: &str) -> bool {
    [
        "/usr/local/sbin",
        "/usr/local/bin",
        "/usr/sbin",
        "/usr/bin",
        "/sbin",
        "/bin",
    ]
    .iter()
    .any(|directory| {
        std::fs::metadata(format!("{directory}/{name}"))
            .is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
    })
}

/// Returns from the test, with a reason printed, unless it runs as root.
#[macro_export]
macro_rules! need_root {
    () => {
        if !$crate::is_root() {
            println!("skipped: needs root");
            return;
        }
    };
}

/// Returns from the test, with a reason printed, unless all commands are installed.
#[macro_export]
macro_rules! need_command {
    ($($name:expr),+ $(,)?) => {
        $(
            if !$crate::has_command($name) {
                println!("skipped: needs the command {}", $name);
                return;
            }
        )+
    };
}

#[cfg(test)]
mod tests {
    #[test]
    fn knows_what_is_installed() {
        assert!(super::has_command("sh"));
        assert!(!super::has_command("no-such-command"));
    }

    #[test]
    fn a_test_without_its_command_ends_early() {
        need_command!("sh", "no-such-command");
        panic!("went on without its command");
    }
}
