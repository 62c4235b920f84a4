//! Credential helpers: programs that keep credentials elsewhere (docker-credential-helpers).
//!
//! `docker-credential-NAME get` takes the registry's name on standard input and answers one
//! JSON object. Its environment is ours: helpers find their own configuration there.

use std::io::{Read, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use serde::Deserialize;
use ucr_images::{Credential, Deadline, RegistryHost, Secret};

use crate::config::TOKEN_USER;
use crate::error::Error;

/// How long a helper may take: some ask a service of a cloud.
const PATIENCE: Duration = Duration::from_secs(60);
/// The most that a helper may answer.
const LIMIT: u64 = 1024 * 1024;
/// The most of a helper's words that is quoted.
const QUOTED: usize = 400;
/// What a helper says, with a failure, when it has nothing for that registry.
const NOT_FOUND: &str = "credentials not found";
/// What helpers know Docker Hub by.
const DOCKER_HUB: &str = "https://index.docker.io/v1/";

/// A helper, and who says that it has the credential.
#[derive(Debug, Clone, Copy)]
pub(super) struct Helper<'a> {
    /// The program.
    pub(super) program: &'a str,
    /// The file that names it.
    pub(super) file: &'a str,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default, rename = "Username")]
    username: String,
    #[serde(default, rename = "Secret")]
    secret: String,
}

/// What came of a helper.
struct Ended {
    success: bool,
    output: Vec<u8>,
    complaint: Vec<u8>,
}

impl Helper<'_> {
    /// Asks for the credential of a registry; `None` when the helper has none.
    ///
    /// # Errors
    /// A helper that is missing, fails, says something else or takes too long.
    pub(super) fn get(
        self,
        host: &RegistryHost,
        deadline: Deadline,
    ) -> Result<Option<Credential>, Error> {
        self.get_within(host, deadline.shorten(PATIENCE))
    }

    fn get_within(
        self,
        host: &RegistryHost,
        patience: Duration,
    ) -> Result<Option<Credential>, Error> {
        let shown = || {
            (
                self.program.to_owned(),
                self.file.to_owned(),
                host.to_string(),
            )
        };
        let child = Command::new(self.program)
            .arg("get")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|source| {
                let (program, file, host) = shown();
                Error::HelperStart {
                    program,
                    file,
                    host,
                    source,
                }
            })?;
        let server = if host.is_docker_hub() {
            DOCKER_HUB.to_owned()
        } else {
            host.to_string()
        };
        let read = converse(child, &server, patience).and_then(|ended| understand(&ended));
        read.map_err(|why| {
            let (program, file, host) = shown();
            Error::Helper {
                program,
                file,
                host,
                why,
            }
        })
    }
}

/// Tells a helper the registry's name and takes what it says until it has ended.
fn converse(mut child: Child, server: &str, patience: Duration) -> Result<Ended, String> {
    let deadline = Instant::now() + patience;
    if let Some(stdin) = child.stdin.take() {
        tell(stdin, server.to_owned());
    }
    let output = child.stdout.take().map(listen);
    let complaint = child.stderr.take().map(listen);
    let heard =
        hear(output, deadline).and_then(|output| Some((output, hear(complaint, deadline)?)));
    let left = deadline.saturating_duration_since(Instant::now());
    let ended = heard.map(|heard| (heard, ucr_sys::child::wait_for(&mut child, left)));
    match ended {
        Some(((output, complaint), Ok(Some(status)))) => Ok(Ended {
            success: status.success(),
            output,
            complaint,
        }),
        Some((_, Err(error))) => Err(error.to_string()),
        None | Some((_, Ok(None))) => {
            // It may have ended just now; then there is nobody to kill.
            let _ = child.kill();
            let _ = child.wait();
            Err(format!("it did not answer within {patience:.0?}"))
        }
    }
}

/// One that does not read what it is told may still answer; it closes the pipe by ending.
fn tell(mut stdin: ChildStdin, server: String) {
    thread::spawn(move || drop(stdin.write_all(server.as_bytes())));
}

/// Reads in a thread of its own, so that waiting for it can end.
fn listen(pipe: impl Read + Send + 'static) -> Receiver<Vec<u8>> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        // What could be read counts; the rest shows in what it is understood as.
        let _ = pipe.take(LIMIT + 1).read_to_end(&mut bytes);
        // Nobody listens any more when it took too long.
        let _ = sender.send(bytes);
    });
    receiver
}

fn hear(pipe: Option<Receiver<Vec<u8>>>, deadline: Instant) -> Option<Vec<u8>> {
    let left = deadline.saturating_duration_since(Instant::now());
    pipe.map_or_else(|| Some(Vec::new()), |pipe| pipe.recv_timeout(left).ok())
}

fn understand(ended: &Ended) -> Result<Option<Credential>, String> {
    if ended.output.len() as u64 > LIMIT {
        return Err(format!("it answered more than {LIMIT} bytes"));
    }
    if !ended.success {
        // The protocol puts errors on standard output; not every helper knows.
        let words = quoted(&ended.output).or_else(|| quoted(&ended.complaint));
        return match words {
            Some(words) if words.contains(NOT_FOUND) => Ok(None),
            Some(words) => Err(format!("it says \"{words}\"")),
            None => Err("it failed without a word".to_owned()),
        };
    }
    // Whatever serde says of it might quote a secret.
    let answer: Answer = serde_json::from_slice(&ended.output)
        .map_err(|_quotes| "its answer is not the JSON of a credential".to_owned())?;
    Ok(match (answer.username.as_str(), answer.secret.as_str()) {
        ("", "") => None,
        (TOKEN_USER, _) => Some(Credential::IdentityToken(Secret::new(answer.secret))),
        _ => Some(Credential::login(answer.username, answer.secret)),
    })
}

fn quoted(bytes: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(bytes);
    let words: String = text.trim().chars().take(QUOTED).collect();
    Some(words.escape_debug().to_string()).filter(|words| !words.is_empty())
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;
    use std::os::unix::fs::OpenOptionsExt as _;

    use super::*;

    /// Runs a helper that is this shell script.
    fn get(script: &str, patience: Duration) -> Result<Option<Credential>, String> {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("docker-credential-test");
        let mut options = OpenOptions::new();
        let file = options.write(true).create(true).mode(0o755).open(&path);
        write!(file.unwrap(), "#!/bin/sh\n{script}\n").unwrap();
        let helper = Helper {
            program: path.to_str().unwrap(),
            file: "F",
        };
        let host = "r.example:5000".parse().unwrap();
        let got = helper.get_within(&host, patience);
        got.map_err(|error| error.to_string())
    }

    #[test]
    fn a_helper_is_told_the_registry_and_asked_for_its_credential() {
        let script =
            r#"read host; test "$1" = get; printf '{"Username":"alice","Secret":"%s"}' "$host""#;
        let expected = Credential::login("alice", "r.example:5000");
        assert_eq!(get(script, PATIENCE), Ok(Some(expected)));
        let token = r#"echo '{"ServerURL":"x","Username":"<token>","Secret":"t"}'"#;
        let expected = Credential::IdentityToken(Secret::new("t"));
        assert_eq!(get(token, PATIENCE), Ok(Some(expected)));
    }

    #[test]
    fn a_helper_that_has_nothing_is_no_error() {
        let not_found = "echo credentials not found in native keychain; exit 1";
        assert_eq!(get(not_found, PATIENCE), Ok(None));
        assert_eq!(
            get(r#"echo '{"Username":"","Secret":""}'"#, PATIENCE),
            Ok(None)
        );
    }

    #[test]
    fn a_helper_that_fails_is_named_with_its_words_and_without_a_secret() {
        for (script, said) in [
            ("echo no session; exit 3", "it says \"no session\""),
            (
                "printf 'bad\\033[2J' >&2; exit 1",
                "it says \"bad\\u{1b}[2J\"",
            ),
            ("exit 1", "without a word"),
            ("echo wonderland", "is not the JSON of a credential"),
            ("echo '{\"Username\":[\"wonderland\"]}'", "is not the JSON"),
            ("head -c 2000000 /dev/zero", "more than 1048576 bytes"),
        ] {
            let why = get(script, PATIENCE).unwrap_err();
            assert!(
                why.contains("docker-credential-test, which F names"),
                "{why}"
            );
            assert!(
                why.contains("r.example:5000") && why.contains(said),
                "{why}"
            );
            assert!(!why.contains("wonderland"), "{why}");
        }
    }

    #[test]
    fn a_helper_that_does_not_end_is_killed() {
        for script in [
            "exec tail -f /dev/null",
            "exec >/dev/null 2>&1; exec tail -f /dev/null",
        ] {
            let why = get(script, Duration::from_millis(200)).unwrap_err();
            assert!(why.contains("did not answer within"), "{why}");
        }
    }

    #[test]
    fn a_helper_that_is_not_installed_is_named() {
        let helper = Helper {
            program: "docker-credential-not-installed",
            file: "F",
        };
        let error = helper
            .get_within(&"r.example".parse().unwrap(), PATIENCE)
            .unwrap_err();
        assert!(matches!(error, Error::HelperStart { .. }), "{error}");
    }
}
