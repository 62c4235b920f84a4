//! Debian's `docker-registry`, with TLS and a password, on loopback.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tempfile::TempDir;

use crate::ca::TestCa;
use crate::http_client::HttpClient;
use crate::image::{Image, ImageIndex, Stored};
use crate::schema1::Schema1Image;

/// The registry says that it listens within this time, or never.
const PATIENCE: Duration = Duration::from_secs(60);
/// Another process may take the free port first.
const ATTEMPTS: usize = 5;

/// A running `docker-registry`; it is killed when this is dropped.
#[derive(Debug)]
pub struct RealRegistry {
    host: String,
    client: HttpClient,
    authorization: String,
    process: Process,
    directory: TempDir,
}

impl RealRegistry {
    /// The user who may push and pull.
    pub const USER: &str = "tester";
    /// The password of that user.
    pub const PASSWORD: &str = "correct horse battery staple";

    /// Starts a registry with an empty storage and a certificate from `ca`.
    ///
    /// # Panics
    ///
    /// When `docker-registry` or `htpasswd` is missing; see `need_command!`.
    pub fn start(ca: &TestCa) -> Self {
        Self::start_as(ca, &[], (Self::USER, Self::PASSWORD))
    }

    /// Starts one that is known by `names` too, to whom a proxy leads, and lets `user` in with
    /// `password`.
    ///
    /// # Panics
    ///
    /// As [`Self::start`].
    pub fn start_as(ca: &TestCa, names: &[&str], (user, password): (&str, &str)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let issued = ca.issue(&[&["localhost", "127.0.0.1"], names].concat());
        put(
            &directory.path().join("server.pem"),
            issued.certificate.as_bytes(),
        );
        put(&directory.path().join("server.key"), issued.key.as_bytes());
        put(
            &directory.path().join("htpasswd"),
            &htpasswd(user, password),
        );

        let (host, process) = (0..ATTEMPTS)
            .find_map(|_| Process::start(directory.path()))
            .expect("docker-registry starts");
        let client = HttpClient::https(&host, &ca.pem());
        let credential = STANDARD.encode(format!("{user}:{password}"));
        let authorization = format!("Basic {credential}");
        Self {
            host,
            client,
            authorization,
            process,
            directory,
        }
    }

    /// `127.0.0.1:PORT`, as it stands in an image reference.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The directory that it stores in, to damage what is there.
    pub fn storage(&self) -> std::path::PathBuf {
        self.directory.path().join("storage")
    }

    /// Pushes an image under a tag.
    pub fn push(&self, image: &Image, repository: &str, tag: &str) {
        for (digest, bytes) in image.blobs() {
            self.push_blob(repository, &digest, &bytes);
        }
        self.push_manifest(repository, tag, &image.manifest);
    }

    /// Pushes an image of schema 1 under the tag that it names.
    pub fn push_schema1(&self, image: &Schema1Image, repository: &str, tag: &str) {
        for (digest, bytes) in image.blobs() {
            self.push_blob(repository, &digest, &bytes);
        }
        self.push_manifest(repository, tag, &image.manifest);
    }

    /// Pushes an index, and first the images in it.
    pub fn push_index(&self, index: &ImageIndex, repository: &str, tag: &str) {
        for image in &index.images {
            self.push(image, repository, &image.manifest.digest);
        }
        self.push_manifest(repository, tag, &index.document);
    }

    /// How many requests so far have `pattern` in `METHOD /path?query`.
    ///
    /// The registry logs a request when its answer is complete, so a test asks
    /// after the client is done; `at_least` of them are waited for.
    #[track_caller]
    pub fn count(&self, pattern: &str, at_least: usize) -> usize {
        self.process.log.wait(|lines| {
            let count = lines
                .iter()
                .filter(|line| is_request(line, pattern))
                .count();
            (count >= at_least).then_some(count)
        })
    }

    fn push_blob(&self, repository: &str, digest: &str, bytes: &[u8]) {
        let started = self.send(
            "POST",
            &format!("/v2/{repository}/blobs/uploads/"),
            &[],
            b"",
        );
        assert_eq!(
            started.status,
            202,
            "{}",
            String::from_utf8_lossy(&started.body)
        );
        let location = started.header("location").unwrap();
        let target = location
            .split_once(&self.host)
            .map_or(location, |(_, target)| target);
        let join = if target.contains('?') { '&' } else { '?' };
        let target = format!("{target}{join}digest={digest}");
        let binary = [("Content-Type", "application/octet-stream")];
        let done = self.send("PUT", &target, &binary, bytes);
        assert_eq!(done.status, 201, "{}", String::from_utf8_lossy(&done.body));
    }

    fn push_manifest(&self, repository: &str, reference: &str, manifest: &Stored) {
        let target = format!("/v2/{repository}/manifests/{reference}");
        let kind = [("Content-Type", manifest.media_type.as_str())];
        let done = self.send("PUT", &target, &kind, &manifest.bytes);
        assert_eq!(done.status, 201, "{}", String::from_utf8_lossy(&done.body));
    }

    fn send(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> crate::http_client::HttpResponse {
        let headers = [headers, &[("Authorization", self.authorization.as_str())]].concat();
        self.client.send(method, target, &headers, body).unwrap()
    }
}

/// The child, and the threads that read what it says.
#[derive(Debug)]
struct Process {
    child: Child,
    log: Arc<Log>,
    readers: Vec<JoinHandle<()>>,
}

impl Process {
    /// Starts it on a free port; `None` when that was taken in the meantime.
    fn start(directory: &Path) -> Option<(String, Self)> {
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let host = free.local_addr().unwrap().to_string();
        let config = directory.join("config.yml");
        put(&config, configuration(directory, &host).as_bytes());
        drop(free);
        let mut child = Command::new("docker-registry")
            .arg("serve")
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("docker-registry is installed");
        let log = Arc::new(Log::default());
        let readers = vec![
            follow(child.stdout.take().unwrap(), log.clone()),
            follow(child.stderr.take().unwrap(), log.clone()),
        ];
        let process = Self {
            child,
            log,
            readers,
        };
        let listens = process.log.wait(|lines| {
            let said = |text| lines.iter().any(|line| line.contains(text));
            if said("listening on") {
                Some(true)
            } else {
                said(ENDED).then_some(false)
            }
        });
        listens.then_some((host, process))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself; either way it is reaped.
        let _ = self.child.kill();
        let _ = self.child.wait();
        for reader in self.readers.drain(..) {
            let _ = reader.join();
        }
    }
}

/// Stands in the log where an output of the registry ended.
const ENDED: &str = "<end of output>";

#[derive(Debug, Default)]
struct Log {
    lines: Mutex<Vec<String>>,
    grown: Condvar,
}

impl Log {
    /// Waits until `find` finds what it looks for.
    #[track_caller]
    fn wait<T>(&self, mut find: impl FnMut(&[String]) -> Option<T>) -> T {
        let mut found = None;
        let lines = self.lines.lock().unwrap();
        let (lines, _) = self
            .grown
            .wait_timeout_while(lines, PATIENCE, |lines| {
                found = find(lines);
                found.is_none()
            })
            .unwrap();
        found.unwrap_or_else(|| panic!("the registry only said:\n{}", lines.join("\n")))
    }
}

fn follow(output: impl std::io::Read + Send + 'static, log: Arc<Log>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let lines = BufReader::new(output).lines().map_while(Result::ok);
        for line in lines.chain([ENDED.to_owned()]) {
            log.lines.lock().unwrap().push(line);
            log.grown.notify_all();
        }
    })
}

/// Whether a line of the access log (Apache's combined format) has the pattern
/// in its request.
fn is_request(line: &str, pattern: &str) -> bool {
    let request = line.split('"').nth(1).unwrap_or_default();
    request.contains(" HTTP/") && request.contains(pattern)
}

fn configuration(directory: &Path, host: &str) -> String {
    let directory = directory.display();
    format!(
        "version: 0.1
log: {{level: info, formatter: text, accesslog: {{disabled: false}}}}
storage:
  filesystem: {{rootdirectory: {directory}/storage}}
  delete: {{enabled: true}}
http:
  addr: {host}
  secret: not-a-secret
  tls: {{certificate: {directory}/server.pem, key: {directory}/server.key}}
compatibility:
  schema1: {{enabled: true}}
auth:
  htpasswd: {{realm: test, path: {directory}/htpasswd}}
"
    )
}

/// Makes a bcrypt line, the only kind that the registry reads.
fn htpasswd(user: &str, password: &str) -> Vec<u8> {
    let mut child = Command::new("htpasswd")
        .args(["-niB", user])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("apache2-utils is installed");
    child
        .stdin
        .take()
        .unwrap()
        .write_all(password.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    output.stdout
}

#[expect(
    clippy::disallowed_methods,
    reason = "the files of a process of the test's own, by path"
)]
pub(crate) fn put(path: &Path, bytes: &[u8]) {
    std::fs::write(path, bytes).unwrap();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::{ImageBuilder, MediaTypes};
    use crate::layer::LayerBuilder;
    use crate::schema1::Schema1Builder;

    #[test]
    fn keeps_what_is_pushed_and_counts_requests() {
        crate::need_command!("docker-registry", "htpasswd");
        let ca = TestCa::new("real");
        let registry = RealRegistry::start(&ca);
        let layer = LayerBuilder::new().file("x", "y").build();
        let image = ImageBuilder::new().layer(layer).build();
        registry.push(&image, "team/app", "1");

        let stranger = HttpClient::https(registry.host(), &ca.pem());
        assert_eq!(
            stranger.get("/v2/team/app/manifests/1").unwrap().status,
            401
        );

        let accept = [("Accept", image.manifest.media_type.as_str())];
        let got = registry.send("GET", "/v2/team/app/manifests/1", &accept, b"");
        assert_eq!((got.status, got.body), (200, image.manifest.bytes.clone()));
        let blob = &image.layers[0];
        let got = registry.send(
            "GET",
            &format!("/v2/team/app/blobs/{}", blob.digest),
            &[],
            b"",
        );
        assert_eq!((got.status, &got.body), (200, &blob.bytes));
        assert_eq!(registry.count("GET /v2/team/app/blobs/", 1), 1);
        assert_eq!(registry.count("GET /v2/other", 0), 0);
    }

    #[test]
    fn takes_images_of_schema_1_whose_signature_is_good() {
        crate::need_command!("docker-registry", "htpasswd");
        let registry = RealRegistry::start(&TestCa::new("real"));
        let layer = LayerBuilder::new().file("x", "y").build();
        let image = Schema1Builder::new("team/app", "1").layer(&layer).empty();
        let image = image.signed();
        registry.push_schema1(&image, "team/app", "1");
        let accept = [("Accept", image.manifest.media_type.as_str())];
        let got = registry.send("GET", "/v2/team/app/manifests/1", &accept, b"");
        let digest = got.header("docker-content-digest");
        assert_eq!((got.status, digest), (200, Some(&*image.manifest.digest)));
    }

    #[test]
    fn takes_docker_lists_of_platforms() {
        crate::need_command!("docker-registry", "htpasswd");
        let registry = RealRegistry::start(&TestCa::new("real"));
        let image = |arch| {
            ImageBuilder::new()
                .media_types(MediaTypes::Docker)
                .platform("linux", arch)
        };
        let images = vec![image("amd64").build(), image("arm64").build()];
        registry.push_index(&ImageIndex::new(MediaTypes::Docker, images), "app", "multi");
        assert!(
            registry
                .storage()
                .join("docker/registry/v2/repositories/app")
                .is_dir()
        );
    }
}
