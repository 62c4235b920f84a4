//! What a task needs before it can start: files in its sandbox, and its images in the store.
//!
//! `ucr launch` has no libcurl. It starts `ucr-registry prepare`, writes one [`Request`] as JSON to
//! its standard input, and reads one [`Answer`] as JSON, a line, from its standard output. Both
//! executables are of one build: this is no format for anybody else.
//!
//! The request holds secrets. It goes through a pipe, never into a file, an argument or a variable.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use ucr_images::Secret;

use crate::task;

/// What is to be there before a task starts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// The sandboxes, each with what is fetched into it: before any image, since what comes may
    /// hold the credential for one.
    pub sandboxes: Vec<Sandbox>,
    /// The images, of containers and of volumes.
    pub images: Vec<Image>,
    /// The agent's own `config.json`, asked last; whoever set the agent up named it.
    pub docker_config: Option<PathBuf>,
    /// What is kept of what was fetched, for others who want it.
    pub cache: Cache,
}

/// A sandbox, and what is fetched into it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sandbox {
    /// The directory, absolute; it is there.
    pub path: PathBuf,
    /// Whose the files are to be.
    pub uid: u32,
    /// Whose group's.
    pub gid: u32,
    /// What is fetched, in order.
    pub fetch: Vec<File>,
    /// The most bytes that all of it may take; none for what the disk has.
    pub limit: Option<u64>,
}

/// A file that is fetched: [`task::Uri`] for the way to the helper.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// Where the document says so.
    pub path: String,
    /// The URI, which may hold a password or a signature.
    #[serde(with = "exposed")]
    pub uri: Secret,
    /// Whether an archive is unpacked, too.
    pub extract: bool,
    /// Whether it can be run; then it is not unpacked.
    pub executable: bool,
    /// Whether others who want it may have the same copy.
    pub cache: bool,
    /// Its name below the sandbox; none is the last part of the URI.
    pub output: Option<PathBuf>,
}

impl From<&task::Uri> for File {
    fn from(uri: &task::Uri) -> Self {
        Self {
            path: uri.path.clone(),
            uri: Secret::new(&uri.value),
            extract: uri.extract,
            executable: uri.executable,
            cache: uri.cache,
            output: uri.output.clone(),
        }
    }
}

/// An image that must be in the store, and may be given to this task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Image {
    /// Where the document names it.
    pub path: String,
    /// Its reference, as it was written.
    pub reference: String,
    /// When its registry is asked.
    pub pull: Pull,
    /// As whom, where the task says so itself.
    pub credential: Option<Credential>,
    /// The sandbox whose `.docker/config.json` and `.dockercfg` count, by its place in
    /// [`Request::sandboxes`].
    pub sandbox: Option<usize>,
}

/// When a registry is asked for an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pull {
    /// Each time.
    Always,
    /// When the image is not in the store, or not for everybody.
    Missing,
    /// Only whether this task may have what the store has.
    Never,
}

/// As whom an image is asked for, with the secret itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Credential {
    /// A principal and its password.
    Login {
        /// The name.
        principal: String,
        /// The password.
        #[serde(with = "exposed")]
        secret: Secret,
    },
    /// The text of a `config.json` of Docker's.
    Config(#[serde(with = "exposed")] Secret),
}

/// What is kept of what was fetched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cache {
    /// Where; none is `fetched` in the store.
    pub directory: Option<PathBuf>,
    /// The most bytes that it may hold.
    pub limit: u64,
}

impl Default for Cache {
    /// As Mesos has it (`--fetcher_cache_size`).
    fn default() -> Self {
        Self {
            directory: None,
            limit: 2 * 1024 * 1024 * 1024,
        }
    }
}

/// What came of a [`Request`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// All is there.
    Ready(Ready),
    /// Something is not.
    Failed(Failed),
}

/// What is there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ready {
    /// The images, in the order of the request.
    pub images: Vec<PulledImage>,
    /// The files, in the order of the request, sandbox by sandbox.
    pub files: Vec<FetchedFile>,
}

/// An image that is in the store, and may be given to the task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PulledImage {
    /// Its reference in full, as the store knows it.
    pub reference: String,
    /// The digest of its manifest: what the name stood for when this task might have it.
    pub manifest: String,
    /// The digest of its configuration.
    pub id: String,
}

/// A file that was fetched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FetchedFile {
    /// Where it is, below its sandbox.
    pub name: PathBuf,
    /// How large it is.
    pub size: u64,
    /// How many files, directories and links were unpacked of it; none where it was not.
    pub unpacked: Option<u64>,
    /// Whether it came out of the cache.
    pub cached: bool,
}

/// Why something is not there. It was said on standard error, too.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failed {
    /// Where the document says what failed; empty where it is nothing of the document.
    pub path: String,
    /// The stable name of the failure, docs/report.md.
    pub code: String,
    /// What it happened at, by the name that reports have for it.
    pub phase: String,
    /// Whether the same may succeed later, or on another machine.
    pub retryable: bool,
    /// What happened, in one line.
    pub message: String,
    /// What else is known, and what to try: each line begins with `note: ` or `try: `.
    pub details: Vec<String>,
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// Secrets on their way through a pipe: written out, and hidden again when they are read.
mod exposed {
    use serde::{Deserialize, Deserializer, Serializer};
    use ucr_images::Secret;

    pub(super) fn serialize<S: Serializer>(secret: &Secret, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(secret.expose())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Secret, D::Error> {
        String::deserialize(from).map(Secret::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> Request {
        Request {
            sandboxes: vec![Sandbox {
                path: "/sandbox".into(),
                uid: 7,
                gid: 8,
                fetch: vec![File {
                    path: "fetch[0]".to_owned(),
                    uri: Secret::new("https://u:wonderland@h/f"),
                    extract: true,
                    executable: false,
                    cache: true,
                    output: Some("a/b".into()),
                }],
                limit: Some(9),
            }],
            images: [
                Credential::Login {
                    principal: "alice".to_owned(),
                    secret: Secret::new("wonderland"),
                },
                Credential::Config(Secret::new("{\"auths\":\"wonderland\"}")),
            ]
            .map(|credential| Image {
                path: "container".to_owned(),
                reference: "r.example/x".to_owned(),
                pull: Pull::Missing,
                credential: Some(credential),
                sandbox: Some(0),
            })
            .to_vec(),
            docker_config: None,
            cache: Cache::default(),
        }
    }

    #[test]
    fn what_is_asked_comes_through_the_pipe_as_it_was() {
        let json = serde_json::to_string(&request()).unwrap();
        assert_eq!(serde_json::from_str::<Request>(&json).unwrap(), request());
        let strange = json.replacen("\"images\"", "\"imagess\"", 1);
        assert!(serde_json::from_str::<Request>(&strange).is_err());
    }

    #[test]
    fn s48_what_is_asked_shows_no_secret_where_it_is_formatted() {
        assert!(!format!("{:?}", request()).contains("wonderland"));
    }

    #[test]
    fn an_answer_comes_back_as_it_was() {
        let ready = Answer::Ready(Ready {
            images: Vec::new(),
            files: vec![FetchedFile {
                name: "f".into(),
                size: 3,
                unpacked: Some(2),
                cached: true,
            }],
        });
        let failed = Answer::Failed(Failed {
            path: "fetch[0]".to_owned(),
            code: "not-found".to_owned(),
            phase: "fetch".to_owned(),
            retryable: false,
            message: "it is not there".to_owned(),
            details: vec!["try: another".to_owned()],
        });
        for answer in [ready, failed] {
            let json = serde_json::to_string(&answer).unwrap();
            assert_eq!(serde_json::from_str::<Answer>(&json).unwrap(), answer);
        }
    }
}
