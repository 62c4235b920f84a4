//! One check: a command in the container, a web server that is asked, a port that is connected to.

use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use ucr::command_error::explained;
use ucr_executor::health::{Check, Outcome, Probe};
use ucr_puller::http;
use ucr_sys::child::{die_with_starter, wait_for};
use ucr_sys::descendants::kill_with_descendants;
use url::Url;

/// Longer than anybody waits, and the most that libcurl counts to (2^31 ms): a timeout of nothing is
/// none, as Mesos has it.
const FOREVER: Duration = Duration::from_secs(20 * 24 * 60 * 60);
/// How servers may tell us from others.
const USER_AGENT: &str = concat!("ucr-health/", env!("CARGO_PKG_VERSION"));

/// The container in which commands run, and how.
#[derive(Debug)]
pub(crate) struct Containers {
    /// Its ID.
    pub(crate) container: String,
    /// The executable `ucr`.
    pub(crate) ucr: PathBuf,
    /// What stands before `exec` on its command line.
    pub(crate) arguments: Vec<String>,
}

/// Does a check once.
pub(crate) fn check(check: &Check, containers: &Containers) -> Outcome {
    let timeout = match check.timeout {
        Duration::ZERO => FOREVER,
        timeout => timeout,
    };
    match &check.probe {
        Probe::Command {
            arguments,
            directory,
        } => {
            let command = containers.command(arguments, directory.as_deref());
            run(command, timeout)
        }
        Probe::Http { tls, address, path } => {
            let scheme = if *tls { "https" } else { "http" };
            ask(&format!("{scheme}://{address}{path}"), timeout)
        }
        Probe::Tcp { address } => connect(address, timeout),
    }
}

impl Containers {
    /// `ucr exec`, whose command has the container's variables, user and directory.
    fn command(&self, arguments: &[String], directory: Option<&str>) -> Command {
        let mut command = Command::new(&self.ucr);
        command.args(&self.arguments).arg("exec");
        if let Some(directory) = directory {
            command.args(["--workdir", directory]);
        }
        command.arg(&self.container).args(arguments);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        die_with_starter(&mut command);
        command
    }
}

fn ill(code: Option<i32>, message: impl Into<String>) -> Outcome {
    Outcome {
        healthy: false,
        code,
        message: message.into(),
    }
}

/// Runs a command to its end, or to that of its time.
fn run(mut command: Command, timeout: Duration) -> Outcome {
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => {
            let why = ucr_sys::reason(&error);
            return ill(None, format!("the command cannot be started: {why}"));
        }
    };
    match wait_for(&mut child, timeout) {
        Ok(Some(status)) => {
            let code = status.code();
            Outcome {
                healthy: status.success(),
                code,
                message: ended(code),
            }
        }
        Ok(None) => {
            let killed = kill_with_descendants(child.id().cast_signed());
            // Nothing keeps it any more, unless it could not be killed.
            let message = match killed.map(|()| child.wait()) {
                Ok(_) => format!("the command was not done within {timeout:?}"),
                Err(error) => format!("the command was not done within {timeout:?}, and {error}"),
            };
            ill(None, message)
        }
        Err(error) => ill(None, format!("the command cannot be waited for: {error}")),
    }
}

/// How a command ended, by the exit codes of `ucr exec`, which are Docker's.
fn ended(code: Option<i32>) -> String {
    match code {
        Some(125) => "the command cannot be run in the container (exit code 125)".to_owned(),
        Some(126) => "the command cannot be executed (exit code 126)".to_owned(),
        Some(127) => "there is no such command (exit code 127)".to_owned(),
        Some(code) => format!("the command ended with exit code {code}"),
        None => "the command was killed".to_owned(),
    }
}

/// Asks a web server; 200 to 399 is healthy.
fn ask(url: &str, timeout: Duration) -> Outcome {
    let url = match Url::parse(url) {
        Ok(url) => url,
        Err(error) => return ill(None, format!("{url} is no URL: {error}")),
    };
    match http::probe(&url, timeout, USER_AGENT) {
        Ok(http::Answered { status }) => Outcome {
            healthy: (200..400).contains(&status),
            code: Some(status.into()),
            message: format!("HTTP status {status}"),
        },
        Err(error) => ill(None, explained(&error)),
    }
}

/// Connects, and no more.
fn connect(address: &SocketAddr, timeout: Duration) -> Outcome {
    match TcpStream::connect_timeout(address, timeout) {
        Ok(_) => Outcome {
            healthy: true,
            code: None,
            message: format!("{address} accepts connections"),
        },
        Err(error) => {
            let why = ucr_sys::reason(&error);
            ill(None, format!("cannot connect to {address}: {why}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader};
    use std::net::TcpListener;

    use test_support::fake_registry::{Fault, Response};
    use test_support::{FakeRegistry, TestCa};

    use super::*;

    const SOON: Duration = Duration::from_secs(60);

    fn of(probe: Probe, timeout: Duration) -> Outcome {
        let containers = Containers {
            container: "c".to_owned(),
            ucr: "sh".into(),
            // Instead of `ucr`: what stands behind "exec" in words of the test's own.
            arguments: vec!["-c".to_owned(), "shift; exec \"$@\"".to_owned()],
        };
        let checked = Check {
            probe,
            delay: Duration::ZERO,
            interval: Duration::ZERO,
            timeout,
            grace: Duration::ZERO,
            kill_after: None,
        };
        check(&checked, &containers)
    }

    fn http(server: &FakeRegistry, tls: bool, path: &str) -> Outcome {
        let probe = Probe::Http {
            tls,
            address: server.address(),
            path: path.to_owned(),
        };
        of(probe, SOON)
    }

    #[test]
    fn what_a_web_server_answers_from_200_to_399_is_healthy() {
        let server = FakeRegistry::http();
        for (status, healthy) in [
            (199, false),
            (200, true),
            (204, true),
            (304, true),
            (399, true),
            (400, false),
            (404, false),
            (503, false),
        ] {
            let path = format!("/{status}");
            server.respond(&path, move |_| Response::new(status, "text/plain", "x"));
            let found = http(&server, false, &path);
            // Nothing below 200 is an end.
            let expected = (status >= 200).then_some(i32::from(status));
            assert_eq!(found.healthy, healthy, "{found:?}");
            assert!(found.code == expected || status < 200, "{found:?}");
        }
    }

    #[test]
    fn a_server_whose_certificate_nobody_trusts_is_asked_none_the_less() {
        let server = FakeRegistry::https(&TestCa::new("nobody's"));
        server.respond("/ping", |_| Response::new(200, "text/plain", "pong"));
        let found = http(&server, true, "/ping?x=1");
        assert_eq!((found.healthy, found.code), (true, Some(200)), "{found:?}");
        let asked = server.requests("/ping").remove(0).request;
        assert_eq!(asked.header("user-agent"), Some(USER_AGENT));
        assert!(asked.header("authorization").is_none());
    }

    #[test]
    fn a_redirect_is_followed_on_the_same_host_and_else_an_answer() {
        let server = FakeRegistry::http();
        server.fault("/moved", Fault::Redirect(302, "/ill".to_owned()));
        server.fault("/ill", Fault::Status(503));
        assert_eq!(http(&server, false, "/moved").code, Some(503));
        server.fault(
            "/away",
            Fault::Redirect(302, "http://192.0.2.1/".to_owned()),
        );
        let found = http(&server, false, "/away");
        assert_eq!((found.healthy, found.code), (true, Some(302)));
        server.fault("/loop", Fault::Redirect(302, "/loop".to_owned()));
        assert!(!http(&server, false, "/loop").healthy);
    }

    #[test]
    fn a_body_that_does_not_end_is_not_waited_for() {
        let server = FakeRegistry::http();
        server.fault("/v2/", Fault::Huge(10 * 1024 * 1024));
        let found = http(&server, false, "/v2/");
        assert_eq!((found.healthy, found.code), (true, Some(200)), "{found:?}");
    }

    #[test]
    fn a_server_that_does_not_answer_in_time_is_ill() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let probe = Probe::Http {
            tls: false,
            address: listener.local_addr().unwrap(),
            path: "/".to_owned(),
        };
        let found = of(probe, Duration::from_millis(100));
        assert_eq!((found.healthy, found.code), (false, None), "{found:?}");
    }

    #[test]
    fn a_port_is_healthy_while_somebody_listens() {
        let listener = TcpListener::bind("[::1]:0").unwrap();
        let address = listener.local_addr().unwrap();
        assert!(of(Probe::Tcp { address }, SOON).healthy);
        drop(listener);
        let found = of(Probe::Tcp { address }, SOON);
        assert!(!found.healthy);
        assert!(found.message.contains("refused"), "{}", found.message);
    }

    fn command(words: &[&str], timeout: Duration) -> Outcome {
        let probe = Probe::Command {
            arguments: words.iter().map(|word| (*word).to_owned()).collect(),
            directory: None,
        };
        of(probe, timeout)
    }

    #[test]
    fn a_command_is_healthy_by_its_exit_code() {
        let found = command(&["true"], SOON);
        assert_eq!((found.healthy, found.code), (true, Some(0)), "{found:?}");
        let found = command(&["sh", "-c", "exit 7"], SOON);
        assert_eq!((found.healthy, found.code), (false, Some(7)));
        assert_eq!(found.message, "the command ended with exit code 7");
        assert_eq!(command(&["/no/such"], SOON).code, Some(127));
    }

    #[test]
    fn a_command_that_takes_too_long_is_killed_with_all_that_it_started() {
        let temp = tempfile::tempdir().unwrap();
        let fifo = temp.path().join("fifo");
        let made = Command::new("mkfifo").arg(&fifo).status().unwrap();
        assert!(made.success());
        let script = format!(
            "sh -c 'exec 3>{}; echo $$ >&3; exec sleep 1000' & wait",
            fifo.display()
        );
        let reader = std::thread::spawn(move || {
            let mut lines = BufReader::new(std::fs::File::open(fifo).unwrap());
            let mut line = String::new();
            lines.read_line(&mut line).unwrap();
            // Its end is that of all who can write.
            assert_eq!(lines.read_line(&mut line).unwrap(), 0);
        });
        let found = command(&["sh", "-c", &script], Duration::from_secs(2));
        assert_eq!((found.healthy, found.code), (false, None), "{found:?}");
        assert!(
            found.message.contains("not done within 2s"),
            "{}",
            found.message
        );
        reader.join().unwrap();
    }
}
