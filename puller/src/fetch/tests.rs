//! Files as servers have them, well and ill, into a sandbox.

use std::cell::RefCell;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tempfile::TempDir;
use test_support::fake_registry::{Ending, Fault, Framing, Request, Response};
use test_support::{Compression, FakeRegistry, LayerBuilder, TestCa};
use ucr_images::ErrorKind;

use super::*;
use crate::http::{HostTrust, Patience, Proxies, Ranges, TrustPolicy, Verification};

#[derive(Debug)]
struct Trusting(Arc<HostTrust>);

impl TrustPolicy for Trusting {
    fn for_host(&self, _host: &str, _port: u16) -> Arc<HostTrust> {
        self.0.clone()
    }
}

/// What was told, in words.
#[derive(Debug, Default)]
struct Notes(RefCell<Vec<String>>);

impl Watcher for Notes {
    fn event(&self, event: Event<'_>) {
        let text = match event {
            Event::Bytes { .. } => return,
            event => format!("{event:?}"),
        };
        self.0.borrow_mut().push(text);
    }
}

impl Notes {
    fn has(&self, text: &str) -> bool {
        self.0.borrow().iter().any(|note| note.contains(text))
    }
}

/// A sandbox, a web server, and who fetches.
struct Bench {
    temp: TempDir,
    ca: TestCa,
    server: FakeRegistry,
    notes: Notes,
    patience: Patience,
    budget: Budget,
    limit: Option<u64>,
}

impl Bench {
    fn new() -> Self {
        let ca = TestCa::new("fetch");
        let server = FakeRegistry::https(&ca);
        Self::with(ca, server)
    }

    fn with(ca: TestCa, server: FakeRegistry) -> Self {
        let temp = tempfile::tempdir().unwrap();
        for name in ["sandbox", "empty"] {
            fs::create_dir(temp.path().join(name)).unwrap();
        }
        Self {
            temp,
            ca,
            server,
            notes: Notes::default(),
            patience: Patience {
                first_delay: Duration::from_millis(1),
                ..Patience::default()
            },
            budget: Budget::default(),
            limit: None,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.temp.path().join("sandbox").join(name)
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    fn settings(&self) -> Settings {
        Settings {
            trust: Arc::new(Trusting(Arc::new(HostTrust {
                trusted_pem: self.ca.pem().into_bytes().into(),
                identity: None,
                verification: Verification::Full,
            }))),
            proxies: Proxies::default(),
            empty_ca_path: self.temp.path().join("empty"),
            user_agent: "ucr".to_owned(),
            connect_timeout: Duration::from_secs(30),
            patience: self.patience,
            ranges: Ranges::Never,
        }
    }

    fn cache(&self, limit: u64) -> Cache {
        Cache::open(self.temp.path().join("cache"), limit).unwrap()
    }

    fn sandbox(&self) -> Sandbox {
        let root = File::open(self.path("")).unwrap();
        Sandbox::new(root.into(), owner(), self.limit)
    }

    fn fetch_with(&self, wanted: &Wanted<'_>, cache: Option<&Cache>) -> Result<Fetched, Error> {
        let teller = Teller(&self.notes);
        let fetcher = Fetcher::new(self.settings(), self.budget.clone(), cache, &teller);
        fetcher.fetch(wanted, &mut self.sandbox())
    }

    fn fetch(&self, uri: &str) -> Result<Fetched, Error> {
        self.fetch_with(&wanted(&Secret::new(uri), Purpose::Unpacked), None)
    }

    fn fetch_to(&self, uri: &str, output: &str) -> Result<Fetched, Error> {
        let uri = Secret::new(uri);
        let wanted = Wanted {
            output: Some(Path::new(output)),
            ..wanted(&uri, Purpose::Unpacked)
        };
        self.fetch_with(&wanted, None)
    }

    fn fetch_cached(&self, uri: &str, cache: &Cache) -> Fetched {
        let uri = Secret::new(uri);
        let wanted = Wanted {
            sharing: Sharing::Cached,
            ..wanted(&uri, Purpose::Kept)
        };
        self.fetch_with(&wanted, Some(cache)).unwrap()
    }

    #[track_caller]
    fn fails(&self, uri: &str, kind: ErrorKind) -> String {
        let error = self.fetch(uri).unwrap_err();
        assert_eq!(error.kind(), kind, "{error:?}");
        chain(&error)
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let source = error.source().map(chain).unwrap_or_default();
    format!("{error}: {source}")
}

fn wanted(uri: &Secret, purpose: Purpose) -> Wanted<'_> {
    Wanted {
        uri,
        output: None,
        purpose,
        sharing: Sharing::Own,
    }
}

fn owner() -> Owner {
    // As root another's, so that it shows whose a file is.
    match ucr_sys::user_id() {
        0 => Owner { uid: 77, gid: 78 },
        uid => Owner {
            uid,
            gid: ucr_sys::group_id(),
        },
    }
}

/// A file as honest servers have it: conditions and parts by its tag, where it has one.
fn answer(request: &Request, tag: Option<&str>, content: &[u8]) -> Response {
    let response = |status, body: &[u8]| {
        let response = Response::new(status, "application/octet-stream", body.to_vec());
        match tag {
            Some(tag) => response.header("ETag", tag),
            None => response,
        }
    };
    if tag.is_some() && request.header("if-none-match") == tag {
        return response(304, b"");
    }
    let from = request.header("range").and_then(|range| {
        let from = range.strip_prefix("bytes=")?.strip_suffix('-')?;
        from.parse::<usize>().ok()
    });
    match from {
        Some(from) if tag.is_some() && request.header("if-range") == tag => {
            let last = content.len() - 1;
            let range = format!("bytes {from}-{last}/{}", content.len());
            response(206, &content[from..]).header("Content-Range", &range)
        }
        _ => response(200, content),
    }
}

fn serve(server: &FakeRegistry, path: &str, tag: Option<&'static str>, content: &[u8]) {
    let content = content.to_vec();
    server.respond(path, move |request| answer(request, tag, &content));
}

/// The connection ends after so many bytes of what is told to be more.
fn cut(response: Response, keep: usize) -> Response {
    let whole = response.body.len();
    let mut body = response.body;
    body.truncate(keep);
    Response {
        framing: Framing::Claimed(whole),
        ending: Ending::Cut,
        body,
        ..response
    }
}

fn tgz(builder: LayerBuilder) -> Vec<u8> {
    builder.build().compress(Compression::Gzip).bytes
}

#[test]
fn a_file_is_the_owners_under_the_last_part_of_its_uri() {
    let bench = Bench::new();
    serve(&bench.server, "/d/app.conf", None, b"content");
    let fetched = bench
        .fetch(&bench.server.url("/d/app.conf?sig=wonderland"))
        .unwrap();
    let expected = Fetched {
        name: "app.conf".into(),
        size: 7,
        unpacked: None,
        cached: false,
    };
    assert_eq!(fetched, expected);
    assert_eq!(bench.text("app.conf"), "content");
    let facts = bench.path("app.conf").metadata().unwrap();
    assert_eq!((facts.uid(), facts.gid()), (owner().uid, owner().gid));
    assert_eq!(facts.mode() & 0o7777, 0o644);
    // What is not an archive is told of, and no query is.
    assert!(bench.notes.has("not unpacked"));
    assert!(!bench.notes.has("wonderland"));
}

#[test]
fn an_empty_file_is_a_file() {
    let bench = Bench::new();
    serve(&bench.server, "/empty", None, b"");
    assert_eq!(bench.fetch(&bench.server.url("/empty")).unwrap().size, 0);
    assert_eq!(bench.text("empty"), "");
}

#[test]
fn what_is_in_clear_is_fetched_as_well() {
    let bench = Bench::with(TestCa::new("fetch"), FakeRegistry::http());
    serve(&bench.server, "/f", None, b"clear");
    bench.fetch(&bench.server.url("/f")).unwrap();
    assert_eq!(bench.text("f"), "clear");
}

#[test]
fn a_server_that_is_not_trusted_gives_nothing() {
    let mut bench = Bench::new();
    serve(&bench.server, "/f", None, b"x");
    bench.ca = TestCa::new("another");
    bench.fails(&bench.server.url("/f"), ErrorKind::Untrusted);
    assert_eq!(bench.server.count("/f"), 0);
    assert!(!bench.path("f").exists());
}

#[test]
fn a_local_file_is_copied_if_the_tasks_user_may_read_it() {
    let bench = Bench::new();
    let file = bench.temp.path().join("local.conf");
    fs::set_permissions(bench.temp.path(), fs::Permissions::from_mode(0o755)).unwrap();
    File::create(&file).unwrap().write_all(b"local").unwrap();
    let uri = format!("file://{}", file.display());
    bench.fetch(&uri).unwrap();
    assert_eq!(bench.text("local.conf"), "local");
    bench.fetch(file.to_str().unwrap()).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o000)).unwrap();
    let said = bench.fails(&uri, ErrorKind::Refused);
    assert!(said.contains("the task's user cannot have"), "{said}");
    bench.fails("file:///no/such", ErrorKind::NotFound);
    for special in ["/dev/zero", "/tmp"] {
        bench.fails(special, ErrorKind::Refused);
    }
}

#[test]
fn what_can_be_run_is_not_unpacked() {
    let bench = Bench::new();
    let archive = tgz(LayerBuilder::new().file("inner", "x"));
    serve(&bench.server, "/run.tgz", None, &archive);
    let uri = Secret::new(bench.server.url("/run.tgz"));
    let wanted = wanted(&uri, Purpose::Executable);
    let fetched = bench.fetch_with(&wanted, None).unwrap();
    assert_eq!(fetched.unpacked, None);
    let mode = bench.path("run.tgz").metadata().unwrap().mode();
    assert_eq!(mode & 0o7777, 0o755);
    assert!(!bench.path("inner").exists());
}

#[test]
fn an_archive_is_unpacked_into_the_sandbox_and_stays_beside_it() {
    let bench = Bench::new();
    let archive = tgz(LayerBuilder::new().file("d/inner", "x"));
    serve(&bench.server, "/docker.tar.gz", None, &archive);
    let fetched = bench
        .fetch_to(&bench.server.url("/docker.tar.gz"), "sub/a.tar.gz")
        .unwrap();
    assert_eq!(fetched.unpacked, Some(1));
    assert_eq!(bench.text("d/inner"), "x");
    assert_eq!(fs::read(bench.path("sub/a.tar.gz")).unwrap(), archive);
    let made = bench.path("sub").metadata().unwrap();
    assert_eq!((made.uid(), made.mode() & 0o7777), (owner().uid, 0o755));
}

#[test]
fn a_compressed_file_loses_the_end_of_its_name() {
    let bench = Bench::new();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(b"lines").unwrap();
    serve(&bench.server, "/data.csv.gz", None, &gzip.finish().unwrap());
    let fetched = bench.fetch(&bench.server.url("/data.csv.gz")).unwrap();
    assert_eq!(fetched.unpacked, Some(1));
    assert_eq!(bench.text("data.csv"), "lines");
    assert!(bench.path("data.csv.gz").exists());
}

#[test]
fn an_archive_of_another_kind_than_its_name_says_is_told_of() {
    let bench = Bench::new();
    let archive = tgz(LayerBuilder::new().file("inner", "x"));
    serve(&bench.server, "/a.zip", None, &archive);
    bench.fetch(&bench.server.url("/a.zip")).unwrap();
    assert_eq!(bench.text("inner"), "x");
    assert!(bench.notes.has("another kind"));
    serve(&bench.server, "/login.tgz", None, b"<!DOCTYPE html>");
    bench.fails(&bench.server.url("/login.tgz"), ErrorKind::Refused);
}

#[test]
fn a_hostile_archive_is_refused_by_its_entry() {
    let bench = Bench::new();
    let archive = tgz(LayerBuilder::new().file("../evil", "x"));
    serve(&bench.server, "/a.tgz", None, &archive);
    let said = bench.fails(&bench.server.url("/a.tgz"), ErrorKind::Refused);
    assert!(said.contains("\"../evil\" is refused: it climbs"), "{said}");
    assert!(!bench.temp.path().join("evil").exists());
}

#[test]
fn a_name_that_leads_out_of_the_sandbox_is_refused_before_anything_is_asked() {
    let bench = Bench::new();
    serve(&bench.server, "/f", None, b"x");
    for output in ["../f", "/etc/f", "a/../../f", "..", ".", "", "a/.."] {
        let error = bench.fetch_to(&bench.server.url("/f"), output).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Refused, "{output}");
    }
    assert_eq!(bench.server.count(""), 0);
}

#[test]
fn a_file_is_never_written_through_a_link_that_another_brought() {
    let bench = Bench::new();
    let outside = bench.temp.path().join("outside");
    fs::create_dir(&outside).unwrap();
    File::create(outside.join("f"))
        .unwrap()
        .write_all(b"kept")
        .unwrap();
    symlink(&outside, bench.path("way")).unwrap();
    symlink(outside.join("f"), bench.path("f")).unwrap();
    serve(&bench.server, "/f", None, b"new");
    let uri = bench.server.url("/f");
    let error = bench.fetch_to(&uri, "way/f").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused, "{error:?}");
    bench.fetch(&uri).unwrap();
    assert_eq!(bench.text("f"), "new");
    assert_eq!(fs::read(outside.join("f")).unwrap(), b"kept");
}

#[test]
fn redirects_are_followed_but_never_out_of_tls() {
    let bench = Bench::new();
    let other = FakeRegistry::https(&bench.ca);
    serve(&other, "/real", None, b"there");
    let to = Fault::Redirect(302, other.url("/real"));
    bench.server.fault("/f", to);
    bench.fetch(&bench.server.url("/f")).unwrap();
    assert_eq!(bench.text("f"), "there");
    let clear = FakeRegistry::http();
    bench
        .server
        .fault("/g", Fault::Redirect(302, clear.url("/real")));
    let said = bench.fails(&bench.server.url("/g"), ErrorKind::Refused);
    assert!(said.contains("not https"), "{said}");
    assert_eq!(clear.count(""), 0);
    bench.server.fault(
        "/local",
        Fault::Redirect(302, "file:///etc/passwd".to_owned()),
    );
    bench.fails(&bench.server.url("/local"), ErrorKind::Refused);
    bench
        .server
        .fault("/loop", Fault::Redirect(302, bench.server.url("/loop")));
    bench.fails(&bench.server.url("/loop"), ErrorKind::Refused);
    assert_eq!(bench.server.count("/loop"), 11);
}

#[test]
fn s48_a_password_goes_to_its_host_alone_and_shows_nowhere() {
    let bench = Bench::new();
    let other = FakeRegistry::https(&bench.ca);
    serve(&other, "/f", None, b"x");
    bench
        .server
        .fault("/f", Fault::RedirectToBase(other.url("")));
    let uri = bench
        .server
        .url("/f")
        .replace("https://", "https://alice:wonderland@");
    bench.fetch(&uri).unwrap();
    let sent = |server: &FakeRegistry| {
        let asked = server.requests("/f").remove(0).request;
        asked.header("authorization").map(str::to_owned)
    };
    let login = ucr_images::Login {
        principal: "alice".to_owned(),
        secret: Secret::new("wonderland"),
    };
    assert_eq!(sent(&bench.server).as_deref(), Some(login.basic().expose()));
    assert_eq!(sent(&other), None);
    other.fault("/gone", Fault::Status(404));
    let gone = other
        .url("/gone")
        .replace("https://", "https://alice:wonderland@");
    let said = bench.fails(&gone, ErrorKind::NotFound);
    assert!(
        !said.contains("wonderland") && !bench.notes.has("wonderland"),
        "{said}"
    );
}

#[test]
fn what_a_server_says_is_told_apart() {
    let mut bench = Bench::new();
    bench.patience.retries = 0;
    for (status, kind) in [
        (401, ErrorKind::CredentialMissing),
        (403, ErrorKind::CredentialRejected),
        (404, ErrorKind::NotFound),
        (410, ErrorKind::NotFound),
        (429, ErrorKind::RateLimited),
        (503, ErrorKind::Unavailable),
        (418, ErrorKind::Registry),
        (304, ErrorKind::Registry),
        (206, ErrorKind::Registry),
    ] {
        let path = format!("/{status}");
        bench.server.fault(&path, Fault::Status(status));
        bench.fails(&bench.server.url(&path), kind);
        assert!(!bench.path(&path[1..]).exists());
    }
}

#[test]
fn what_may_pass_is_tried_again_and_told() {
    let bench = Bench::new();
    bench.server.fault_times("/f", Fault::Status(503), 2);
    serve(&bench.server, "/f", None, b"at last");
    bench.fetch(&bench.server.url("/f")).unwrap();
    assert_eq!(bench.text("f"), "at last");
    assert!(bench.notes.has("HTTP status 503"));
}

#[test]
fn a_transfer_that_breaks_off_is_gone_on_with() {
    let bench = Bench::new();
    let content: Vec<u8> = (0..100_000_u32).flat_map(u32::to_le_bytes).collect();
    let tag = Some("\"one\"");
    let whole = content.clone();
    bench.server.respond("/f", move |request| {
        let response = answer(request, tag, &whole);
        // The first brings a part, each later one a part of the rest.
        match response.body.len() {
            left if left > 100_000 => cut(response, 100_000),
            _ => response,
        }
    });
    bench.fetch(&bench.server.url("/f")).unwrap();
    assert!(fs::read(bench.path("f")).unwrap() == content);
    let asked = bench.server.requests("/f");
    let ranges: Vec<_> = asked
        .iter()
        .map(|one| one.request.header("range"))
        .collect();
    let expected = [
        None,
        Some("bytes=100000-"),
        Some("bytes=200000-"),
        Some("bytes=300000-"),
    ];
    assert_eq!(ranges, expected);
}

#[test]
fn what_cannot_be_gone_on_with_begins_anew() {
    let content = vec![7; 200_000];
    // Without a tag; with another tag than before; and with another part than was asked for.
    for case in 0..3 {
        let bench = Bench::new();
        let (whole, asked) = (content.clone(), AtomicUsize::new(0));
        bench.server.respond("/f", move |request| {
            let first = asked.fetch_add(1, Ordering::SeqCst) == 0;
            let tag = match (case, first) {
                (0, _) => None,
                (1, false) => Some("\"new\""),
                _ => Some("\"old\""),
            };
            let response = answer(request, tag, &whole);
            match (first, case, response.status) {
                (true, ..) => cut(response, 100_000),
                (_, 2, 206) => response.header("Content-Range", "bytes 5-9/200000"),
                _ => response,
            }
        });
        bench.fetch(&bench.server.url("/f")).unwrap();
        assert!(fs::read(bench.path("f")).unwrap() == content, "{case}");
    }
}

#[test]
fn a_transfer_in_which_nothing_comes_any_more_is_given_up() {
    let mut bench = Bench::new();
    bench.patience.retries = 0;
    bench.patience.stalled_after = Duration::from_secs(1);
    let digest = test_support::sha256_digest(b"some bytes");
    bench.server.put_blob("x", &digest, b"some bytes".to_vec());
    let gate = bench.server.gate("/blobs/", 4);
    let uri = bench.server.url(&format!("/v2/x/blobs/{digest}"));
    bench.fails(&uri, ErrorKind::Timeout);
    drop(gate);
}

#[test]
fn a_deadline_ends_it_all() {
    let mut bench = Bench::new();
    bench.patience.deadline = Deadline::within(Duration::ZERO);
    serve(&bench.server, "/f", None, b"x");
    bench.fails(&bench.server.url("/f"), ErrorKind::Deadline);
    let file = bench.temp.path().join("local");
    File::create(&file).unwrap();
    fs::set_permissions(bench.temp.path(), fs::Permissions::from_mode(0o755)).unwrap();
    bench.fails(file.to_str().unwrap(), ErrorKind::Deadline);
}

#[test]
fn what_is_too_large_is_given_up_while_it_comes() {
    let mut bench = Bench::new();
    serve(&bench.server, "/f", None, &[0; 100_000]);
    let uri = bench.server.url("/f");
    bench.limit = Some(99_999);
    bench.fails(&uri, ErrorKind::Budget);
    bench.limit = None;
    bench.budget.max_bytes = Some(99_999);
    bench.fails(&uri, ErrorKind::Budget);
    assert_eq!(fs::read_dir(bench.path("")).unwrap().count(), 0);
    bench.budget.max_bytes = Some(100_000);
    bench.fetch(&uri).unwrap();
}

#[test]
fn what_is_unpacked_counts_against_the_sandbox_too() {
    let mut bench = Bench::new();
    let archive = tgz(LayerBuilder::new().file("zeros", vec![0; 100_000]));
    serve(&bench.server, "/a.tgz", None, &archive);
    bench.limit = Some(archive.len() as u64 + 99_999);
    bench.fails(&bench.server.url("/a.tgz"), ErrorKind::Budget);
    bench.limit = Some(archive.len() as u64 + 100_000);
    bench.fetch(&bench.server.url("/a.tgz")).unwrap();
}

#[test]
fn what_is_cached_is_asked_for_once_more_and_comes_once() {
    let bench = Bench::new();
    let cache = bench.cache(1 << 20);
    serve(&bench.server, "/f", Some("\"one\""), b"content");
    let uri = bench.server.url("/f");
    assert!(!bench.fetch_cached(&uri, &cache).cached);
    fs::remove_file(bench.path("f")).unwrap();
    let again = bench.fetch_cached(&uri, &cache);
    assert!(again.cached);
    assert_eq!((again.size, bench.text("f").as_str()), (7, "content"));
    let statuses: Vec<_> = bench
        .server
        .requests("/f")
        .iter()
        .map(|one| one.status)
        .collect();
    assert_eq!(statuses, [200, 304]);
    let facts = bench.path("f").metadata().unwrap();
    assert_eq!((facts.uid(), facts.mode() & 0o7777), (owner().uid, 0o644));
}

#[test]
fn what_has_changed_is_fetched_again() {
    let bench = Bench::new();
    let cache = bench.cache(1 << 20);
    let tag = Arc::new(Mutex::new("\"one\""));
    let now = tag.clone();
    bench.server.respond("/f", move |request| {
        let tag = *now.lock().unwrap();
        answer(request, Some(tag), tag.as_bytes())
    });
    let uri = bench.server.url("/f");
    bench.fetch_cached(&uri, &cache);
    *tag.lock().unwrap() = "\"two\"";
    assert!(!bench.fetch_cached(&uri, &cache).cached);
    assert_eq!(bench.text("f"), "\"two\"");
}

#[test]
fn what_has_no_tag_and_no_date_is_fetched_each_time() {
    let bench = Bench::new();
    let cache = bench.cache(1 << 20);
    serve(&bench.server, "/f", None, b"content");
    for _ in 0..2 {
        assert!(!bench.fetch_cached(&bench.server.url("/f"), &cache).cached);
    }
}

#[test]
fn what_a_password_gives_is_not_cached() {
    let bench = Bench::new();
    let cache = bench.cache(1 << 20);
    serve(&bench.server, "/f", Some("\"one\""), b"content");
    let uri = bench.server.url("/f").replace("https://", "https://u:p@");
    for _ in 0..2 {
        assert!(!bench.fetch_cached(&uri, &cache).cached);
    }
    assert_eq!(
        fs::read_dir(bench.temp.path().join("cache"))
            .unwrap()
            .count(),
        0
    );
    assert!(bench.notes.has("not cached"));
}

#[test]
fn a_copy_that_is_torn_or_a_record_that_is_nonsense_is_no_copy() {
    let bench = Bench::new();
    let cache = bench.cache(1 << 20);
    serve(&bench.server, "/f", Some("\"one\""), b"content");
    let uri = bench.server.url("/f");
    let damage = |ending: &str| {
        for entry in fs::read_dir(bench.temp.path().join("cache")).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            let is_content = !name.contains('.');
            if (ending.is_empty() && is_content) || (!ending.is_empty() && name.ends_with(ending)) {
                File::create(path).unwrap().write_all(b"{").unwrap();
            }
        }
    };
    bench.fetch_cached(&uri, &cache);
    for ending in ["", ".json"] {
        damage(ending);
        assert!(!bench.fetch_cached(&uri, &cache).cached, "{ending}");
        assert_eq!(bench.text("f"), "content");
    }
}

#[test]
fn many_who_want_the_same_fetch_it_once() {
    let bench = Bench::new();
    let (settings, cache) = (bench.settings(), bench.cache(1 << 20));
    serve(&bench.server, "/f", None, &[5; 300_000]);
    let uri = Secret::new(bench.server.url("/f"));
    // They all want it before the first has it: who holds the place lets it go when all wait.
    let held = cache
        .lock(uri.expose(), Deadline::default(), &|| {})
        .unwrap();
    let waiting = AtomicUsize::new(0);
    let (told, all_wait) = std::sync::mpsc::channel();
    std::thread::scope(|threads| {
        for number in 0..8 {
            let (settings, cache, uri, told) = (settings.clone(), &cache, &uri, told.clone());
            let (bench_path, waiting) = (bench.path(&format!("{number}")), &waiting);
            threads.spawn(move || {
                #[derive(Debug)]
                struct Waiting<'w>(&'w AtomicUsize, std::sync::mpsc::Sender<()>);
                impl Watcher for Waiting<'_> {
                    fn event(&self, event: Event<'_>) {
                        if matches!(event, Event::Waiting { .. })
                            && self.0.fetch_add(1, Ordering::SeqCst) == 7
                        {
                            self.1.send(()).unwrap();
                        }
                    }
                }
                fs::create_dir(&bench_path).unwrap();
                let root = File::open(&bench_path).unwrap();
                let mut sandbox = Sandbox::new(root.into(), owner(), None);
                let watcher = Waiting(waiting, told);
                let teller = Teller(&watcher);
                let budget = Budget::default();
                let fetcher = Fetcher::new(settings, budget, Some(cache), &teller);
                let wanted = Wanted {
                    sharing: Sharing::Cached,
                    ..wanted(uri, Purpose::Kept)
                };
                fetcher.fetch(&wanted, &mut sandbox).unwrap();
                assert_eq!(fs::read(bench_path.join("f")).unwrap(), [5; 300_000]);
            });
        }
        all_wait.recv().unwrap();
        drop(held);
    });
    assert_eq!(bench.server.count("/f"), 1);
}

#[test]
fn who_waits_for_another_does_not_wait_beyond_the_deadline() {
    let mut bench = Bench::new();
    let cache = bench.cache(1 << 20);
    serve(&bench.server, "/f", None, b"x");
    let uri = Secret::new(bench.server.url("/f"));
    let _held = cache
        .lock(uri.expose(), Deadline::default(), &|| {})
        .unwrap();
    bench.patience.deadline = Deadline::within(Duration::from_millis(20));
    let wanted = Wanted {
        sharing: Sharing::Cached,
        ..wanted(&uri, Purpose::Kept)
    };
    let error = bench.fetch_with(&wanted, Some(&cache)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Deadline);
    assert!(bench.notes.has("Waiting"));
}

#[test]
fn the_cache_forgets_what_was_not_used_for_longest() {
    let bench = Bench::new();
    let cache = bench.cache(2500);
    for name in ["a", "b", "c"] {
        serve(
            &bench.server,
            &format!("/{name}"),
            Some("\"1\""),
            &[1; 1000],
        );
    }
    let fetch = |name: &str| {
        let uri = bench.server.url(&format!("/{name}"));
        bench.fetch_cached(&uri, &cache).cached
    };
    assert!(!fetch("a") && !fetch("b"));
    // Used again, so that b is what goes for c.
    assert!(fetch("a"));
    assert!(!fetch("c"));
    assert!(fetch("a") && fetch("c"));
    assert!(!fetch("b"));
}

#[test]
fn what_is_larger_than_the_cache_is_fetched_and_not_kept() {
    let bench = Bench::new();
    let cache = bench.cache(100);
    serve(&bench.server, "/f", Some("\"1\""), &[1; 1000]);
    for _ in 0..2 {
        let fetched = bench.fetch_cached(&bench.server.url("/f"), &cache);
        assert_eq!((fetched.cached, fetched.size), (false, 1000));
    }
    let names = fs::read_dir(bench.temp.path().join("cache")).unwrap();
    let names: Vec<_> = names.map(|entry| entry.unwrap().file_name()).collect();
    assert!(
        names
            .iter()
            .all(|name| name.to_str().unwrap().ends_with(".lock")),
        "{names:?}"
    );
}

#[test]
fn what_a_killed_process_left_of_a_file_is_swept() {
    let bench = Bench::new();
    let cache = bench.cache(1 << 20);
    serve(&bench.server, "/f", Some("\"1\""), b"content");
    let uri = bench.server.url("/f");
    let entry = cache.lock(&uri, Deadline::default(), &|| {}).unwrap();
    // As one that is killed does: the file stays.
    std::mem::forget(entry.begin().unwrap());
    drop(entry);
    let count = || {
        fs::read_dir(bench.temp.path().join("cache"))
            .unwrap()
            .count()
    };
    assert_eq!(count(), 2);
    bench.fetch_cached(&uri, &cache);
    // The file, its facts, its lock, and the lock of whoever makes room.
    assert_eq!(count(), 4);
}
