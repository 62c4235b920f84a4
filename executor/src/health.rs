//! How the health of a container is told: what is checked, when, and what follows of it.
//!
//! The supervisor of a task is to stay small. `ucr launch` starts `ucr-registry health`, which has
//! libcurl, writes one [`Request`] as JSON, a line, to its standard input and leaves that open, and
//! reads a [`Told`] as JSON for each line of its standard output. The helper ends when its standard
//! input does, or whoever started it.

mod course;

pub use course::{Course, Outcome};

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use ucr_images::image::{Healthcheck, Test};

use crate::task::{self, Command, HealthCheck, ProbePort};

/// What is checked, of which container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// The ID of the container, in which commands run.
    pub container: String,
    /// The executable `ucr`.
    pub ucr: PathBuf,
    /// What stands before `exec` on its command line: `--root` and `--state` with their values.
    pub arguments: Vec<String>,
    /// The network namespace from which is asked, `/proc/<pid>/ns/net` say; none is this one.
    pub network: Option<PathBuf>,
    /// The checks, all side by side.
    pub checks: Vec<Check>,
}

/// A check, with nothing left to look up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Check {
    /// What is done.
    pub probe: Probe,
    /// From the begin to the first.
    pub delay: Duration,
    /// From the end of one to the next.
    pub interval: Duration,
    /// After which it has failed.
    pub timeout: Duration,
    /// From the begin, while failures do not count and it was never healthy.
    pub grace: Duration,
    /// Failures one after the other that kill; none for never. 0 kills as 1 does.
    pub kill_after: Option<u32>,
}

/// What a check does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Probe {
    /// Runs a command in the container, as `ucr exec` does: with its variables, user and directory.
    Command {
        /// The program and its arguments.
        arguments: Vec<String>,
        /// The directory, where it is another than the container's.
        directory: Option<String>,
    },
    /// Asks a web server.
    Http {
        /// Whether by TLS.
        tls: bool,
        /// Where.
        address: SocketAddr,
        /// The path, and query; begins with a slash.
        path: String,
    },
    /// Connects.
    Tcp {
        /// Where.
        address: SocketAddr,
    },
}

/// A line of what the helper tells: a failure that counts, the first success, and the first one
/// after failures.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Told {
    /// Which check, by its place in [`Request::checks`].
    pub check: usize,
    /// Whether it is healthy.
    pub healthy: bool,
    /// How many failures there were one after the other, with this one.
    pub consecutive: u32,
    /// Whether that is as many as kill the task.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub kill: bool,
    /// What it was found by: the HTTP status, or the exit code of the command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<i32>,
    /// The same in words, in one line.
    pub message: String,
}

/// A check that cannot be done as it is written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// It is of a port that the task does not have.
    #[error("{path}: the task has no {port}")]
    NoPort {
        /// Where the document says so.
        path: String,
        /// Which one.
        port: ShownPort,
    },
    /// It runs nothing.
    #[error("{path}: there is no command to run")]
    NoCommand {
        /// Where the document says so.
        path: String,
    },
}

/// The port of a check, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShownPort(pub ProbePort);

impl fmt::Display for ShownPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            ProbePort::Number(number) => write!(f, "port {number}"),
            ProbePort::Index(index) => write!(f, "port with index {index}"),
        }
    }
}

impl Check {
    /// The check of a task, where `address` knows at which address a port is asked: the loopback
    /// for the network of the host, the container's own for others. Its second argument is whether
    /// by version 6 of IP.
    ///
    /// # Errors
    /// A port that there is not, and a command that is none.
    pub fn resolve(
        check: &HealthCheck,
        address: impl Fn(ProbePort, bool) -> Option<SocketAddr>,
    ) -> Result<Self, Error> {
        let address = |port: ProbePort, ipv6: bool| {
            let path = check.path.clone();
            let port_shown = ShownPort(port);
            address(port, ipv6).ok_or(Error::NoPort {
                path,
                port: port_shown,
            })
        };
        let probe = match &check.probe {
            task::Probe::Command(command) => {
                let arguments = arguments(command);
                if arguments.is_empty() {
                    let path = check.path.clone();
                    return Err(Error::NoCommand { path });
                }
                Probe::Command {
                    arguments,
                    directory: command.directory.clone(),
                }
            }
            task::Probe::Http {
                tls,
                port,
                path,
                ipv6,
            } => Probe::Http {
                tls: *tls,
                address: address(*port, *ipv6)?,
                path: with_slash(path),
            },
            task::Probe::Tcp { port, ipv6 } => Probe::Tcp {
                address: address(*port, *ipv6)?,
            },
        };
        Ok(Self {
            probe,
            delay: check.delay,
            interval: check.interval,
            timeout: check.timeout,
            grace: check.grace,
            kill_after: check.kill_after,
        })
    }
}

/// The check that an image asks for. It never kills, as with Docker: whoever runs the task may
/// have it do so after [`Healthcheck::retries`] failures.
pub fn of_image(check: &Healthcheck) -> HealthCheck {
    let command = match &check.test {
        Test::Command(words) => Command {
            arguments: words.clone(),
            ..Command::default()
        },
        Test::Shell(line) => Command {
            shell: true,
            value: Some(line.clone()),
            ..Command::default()
        },
    };
    HealthCheck {
        path: "HEALTHCHECK of the image".to_owned(),
        probe: task::Probe::Command(command),
        // Docker's first check comes after the interval, too.
        delay: check.interval,
        interval: check.interval,
        timeout: check.timeout,
        grace: check.start_period,
        kill_after: None,
    }
}

/// What is executed for a command: a line by the shell, a program by itself.
fn arguments(command: &Command) -> Vec<String> {
    let arguments = command.arguments.iter().cloned();
    match (&command.value, command.shell) {
        (Some(line), true) => ["/bin/sh", "-c", line].map(str::to_owned).to_vec(),
        // As Mesos has it, the first argument is what the program is called by, not its own.
        (Some(program), false) => {
            let given = arguments.skip(1);
            std::iter::once(program.clone()).chain(given).collect()
        }
        (None, _) => arguments.collect(),
    }
}

fn with_slash(path: &str) -> String {
    match path.starts_with('/') {
        true => path.to_owned(),
        false => format!("/{path}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(probe: task::Probe) -> HealthCheck {
        HealthCheck {
            path: "healthChecks[0]".to_owned(),
            probe,
            delay: Duration::from_secs(1),
            interval: Duration::from_secs(2),
            timeout: Duration::from_secs(3),
            grace: Duration::from_secs(4),
            kill_after: Some(5),
        }
    }

    fn resolve(probe: task::Probe) -> Result<Probe, Error> {
        let address = |port, ipv6| match port {
            ProbePort::Index(0) if ipv6 => "[::1]:31000".parse().ok(),
            ProbePort::Index(0) => "127.0.0.1:31000".parse().ok(),
            ProbePort::Number(number) => Some(SocketAddr::from(([10, 0, 0, 2], number))),
            ProbePort::Index(_) => None,
        };
        Check::resolve(&of(probe), address).map(|check| check.probe)
    }

    #[test]
    fn ports_become_addresses_and_one_that_there_is_not_is_named() {
        let http = |port, path: &str| task::Probe::Http {
            tls: true,
            port,
            path: path.to_owned(),
            ipv6: true,
        };
        let found = resolve(http(ProbePort::Index(0), "ping?x=1")).unwrap();
        let expected = Probe::Http {
            tls: true,
            address: "[::1]:31000".parse().unwrap(),
            path: "/ping?x=1".to_owned(),
        };
        assert_eq!(found, expected);
        let tcp = task::Probe::Tcp {
            port: ProbePort::Number(80),
            ipv6: false,
        };
        let address = "10.0.0.2:80".parse().unwrap();
        assert_eq!(resolve(tcp), Ok(Probe::Tcp { address }));
        let missing = resolve(http(ProbePort::Index(1), "/")).unwrap_err();
        let said = "healthChecks[0]: the task has no port with index 1";
        assert_eq!(missing.to_string(), said);
    }

    #[test]
    fn a_line_is_for_the_shell_and_a_program_has_its_arguments() {
        let command = |shell, value: Option<&str>, arguments: &[&str]| {
            let probe = task::Probe::Command(Command {
                shell,
                value: value.map(str::to_owned),
                arguments: arguments.iter().map(|one| (*one).to_owned()).collect(),
                directory: None,
            });
            resolve(probe).map(|probe| match probe {
                Probe::Command { arguments, .. } => arguments.join(" "),
                other => panic!("{other:?}"),
            })
        };
        let line = command(true, Some("a && b"), &["c"]).unwrap();
        assert_eq!(line, "/bin/sh -c a && b");
        assert_eq!(command(false, Some("/a"), &["a", "b"]).unwrap(), "/a b");
        assert_eq!(command(false, Some("/a"), &[]).unwrap(), "/a");
        assert_eq!(command(false, None, &["/a", "b"]).unwrap(), "/a b");
        assert!(matches!(
            command(false, None, &[]),
            Err(Error::NoCommand { .. })
        ));
    }

    #[test]
    fn the_check_of_an_image_is_one_of_a_command_that_never_kills() {
        let healthcheck = |test| Healthcheck {
            test,
            interval: Duration::from_secs(5),
            timeout: Duration::from_secs(6),
            start_period: Duration::from_secs(7),
            retries: 8,
        };
        let found = of_image(&healthcheck(Test::Shell("a && b".to_owned())));
        let check = Check::resolve(&found, |_, _| None).unwrap();
        let line = ["/bin/sh", "-c", "a && b"].map(str::to_owned).to_vec();
        let expected = Check {
            probe: Probe::Command {
                arguments: line,
                directory: None,
            },
            delay: Duration::from_secs(5),
            interval: Duration::from_secs(5),
            timeout: Duration::from_secs(6),
            grace: Duration::from_secs(7),
            kill_after: None,
        };
        assert_eq!(check, expected);
        let words = vec!["/probe".to_owned(), "-x".to_owned()];
        let found = of_image(&healthcheck(Test::Command(words.clone())));
        let check = Check::resolve(&found, |_, _| None).unwrap();
        let expected = Probe::Command {
            arguments: words,
            directory: None,
        };
        assert_eq!(check.probe, expected);
    }

    #[test]
    fn what_is_asked_comes_through_the_pipe_as_it_was() {
        let tcp = task::Probe::Tcp {
            port: ProbePort::Number(80),
            ipv6: false,
        };
        let address = |_, _| "127.0.0.1:80".parse().ok();
        let request = Request {
            container: "c".to_owned(),
            ucr: "/usr/bin/ucr".into(),
            arguments: vec!["--root".to_owned(), "/r".to_owned()],
            network: Some("/proc/7/ns/net".into()),
            checks: vec![Check::resolve(&of(tcp), address).unwrap()],
        };
        let json = serde_json::to_string(&request).unwrap();
        assert_eq!(serde_json::from_str::<Request>(&json).unwrap(), request);
    }
}
