//! Where a credential comes from, when it is looked for, and whom it is for.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;
use test_support::fake_registry::{Fault, Recorded, Response, TokenField};
use test_support::{FakeRegistry, Image};
use ucr_credentials::{AuthFile, Error, Found, Generation, Presence};
use ucr_credentials::{CredentialSource, CredentialSources};
use ucr_images::registries::RegistrySettings;
use ucr_images::{Credential, ErrorKind, Registries, RegistryHost};
use ucr_puller::{Event, Kept, Progress, Request, may_have, survey};

use crate::bench::{Bench, assert_contains, bulky, image, layer};

const SECRET: &str = "open-sesame-7f3a";

fn small() -> Image {
    image([layer().file("f", "x").build()])
}

/// Counts how often it is asked, and has another secret each time.
#[derive(Debug, Default)]
struct Counting(AtomicUsize);

impl CredentialSource for Counting {
    fn find(&self, _: &RegistryHost, repository: &str) -> Result<Option<Found>, Error> {
        assert_eq!(repository, "app");
        let count = self.0.fetch_add(1, Ordering::SeqCst) + 1;
        Ok(Some(Found {
            credential: Credential::login("alice", format!("secret {count}")),
            source: "the test".to_owned(),
        }))
    }
}

fn counted(bench: &Bench) -> (Arc<Counting>, Request) {
    let source = Arc::new(Counting::default());
    let request = Request {
        credentials: source.clone(),
        ..bench.request("app:1")
    };
    (source, request)
}

#[test]
fn a_credential_is_looked_for_when_it_is_wanted_and_once() {
    let bench = Bench::serving(&image((0..8).map(|n| bulky(&format!("f{n}"), 3000))));
    let (source, request) = counted(&bench);
    bench.pull_with(&request, &()).unwrap();
    assert_eq!(source.0.load(Ordering::SeqCst), 0);

    let bench = Bench::serving(&image((0..8).map(|n| bulky(&format!("f{n}"), 3000))));
    let (source, request) = counted(&bench);
    let credential = Some(("alice", "secret 1"));
    bench.registry.require_bearer(credential, TokenField::Token);
    bench.pull_with(&request, &()).unwrap();
    assert_eq!(source.0.load(Ordering::SeqCst), 1);
}

#[test]
fn p34_what_expired_is_looked_for_again() {
    let bench = Bench::serving(&small());
    let (source, request) = counted(&bench);
    bench.registry.require_basic("alice", "secret 1");
    bench.registry.respond("/blobs/", |request| {
        use base64::Engine as _;
        let second = base64::engine::general_purpose::STANDARD.encode("alice:secret 2");
        assert_ne!(request.header("authorization"), Some(second.as_str()));
        Response::error(403, "DENIED", "Your authorization token has expired.")
    });
    let failed = bench.fail_with(&request);
    // The second secret is no good either, as the registry was told of the first.
    assert_eq!(failed.kind, ErrorKind::CredentialRejected);
    assert_eq!(source.0.load(Ordering::SeqCst), 2);
    bench.registry.heal();
    bench.registry.require_basic("alice", "secret 3");
    bench.pull_with(&request, &()).unwrap();
}

#[test]
fn the_entry_with_the_longest_path_is_used_and_said() {
    let bench = Bench::serving(&small());
    bench.registry.require_basic("team", SECRET);
    let host = bench.registry.host();
    let entry = |user: &str| json!({"username": user, "password": SECRET});
    let request = bench.request_with(&json!({
        &host: entry("host"),
        format!("{host}/app"): entry("team"),
        format!("{host}/app/x"): entry("deeper"),
    }));
    bench.pull_with(&request, &()).unwrap();
    let failed = bench.fail_again(&bench.request_with(&json!({ &host: entry("host") })));
    assert_eq!(failed.kind, ErrorKind::CredentialRejected);
    let said = format!("principal \"host\" from the test's file, entry {host}");
    assert_contains(&failed.text, &said);
}

#[test]
fn a_file_that_cannot_be_understood_is_named_and_nothing_sent() {
    let bench = Bench::serving(&small());
    bench.registry.require_basic("alice", SECRET);
    let path = bench.temp.path().join("auth.json");
    std::io::Write::write_all(&mut std::fs::File::create(&path).unwrap(), b"{\"auths\":{").unwrap();
    let file = AuthFile {
        shown: "~/auth.json".to_owned(),
        generation: Generation::Config,
        presence: Presence::Usual,
        path,
    };
    let request = Request {
        credentials: Arc::new(CredentialSources::default().file(file)),
        ..bench.request("app:1")
    };
    let failed = bench.fail_with(&request);
    assert_contains(
        &failed.text,
        "the credentials in ~/auth.json cannot be understood: line 1",
    );
    assert_eq!(bench.registry.count(""), 1);
}

/// A registry and a mirror of it, each with a password of its own.
fn mirrored() -> (Bench, FakeRegistry, Registries) {
    let bench = Bench::serving(&small());
    let mirror = FakeRegistry::https(&bench.ca);
    mirror.put("copies/app", "1", &small());
    bench.registry.require_basic("alice", SECRET);
    mirror.require_basic("bob", "of the mirror");
    let mut registries = Registries::default();
    let settings = RegistrySettings {
        mirrors: vec![format!("{}/copies", mirror.host()).parse().unwrap()],
        ..RegistrySettings::default()
    };
    registries.insert(bench.registry.host().parse().unwrap(), settings);
    (bench, mirror, registries)
}

fn authorized(registry: &FakeRegistry) -> usize {
    let all = registry.requests("");
    let with = |one: &&_| -> bool {
        let one: &test_support::fake_registry::Recorded = one;
        one.request.header("authorization").is_some()
    };
    all.iter().filter(with).count()
}

#[test]
fn s73_what_is_given_for_a_registry_is_not_for_its_mirror() {
    let (bench, mirror, registries) = mirrored();
    let request = Request {
        registries,
        ..bench.request_as("alice", SECRET)
    };
    bench.pull_with(&request, &()).unwrap();
    assert_eq!(authorized(&mirror), 0);
    assert!(mirror.count("/manifests/") > 0);
    assert!(authorized(&bench.registry) > 0);
}

#[test]
fn p41_each_is_asked_with_its_own_credential() {
    let (bench, mirror, registries) = mirrored();
    let request = Request {
        registries,
        ..bench.request_with(&json!({
            bench.registry.host(): {"username": "alice", "password": SECRET},
            format!("{}/copies", mirror.host()): {"username": "bob", "password": "of the mirror"},
        }))
    };
    bench.pull_with(&request, &()).unwrap();
    assert_eq!(bench.registry.count(""), 0);
    assert!(authorized(&mirror) > 0);
}

#[test]
fn a_cached_pull_as_somebody_is_one_question() {
    let bench = Bench::serving(&small());
    bench.registry.require_basic("alice", SECRET);
    bench.pull_as("alice", SECRET);
    let before = bench.registry.count("");
    bench.pull_as("alice", SECRET);
    let asked = &bench.registry.requests("")[before..];
    let [asked] = asked else { panic!("{asked:?}") };
    assert_eq!(asked.request.method, "HEAD");
    assert!(asked.request.header("authorization").is_some());
}

#[test]
fn a_cached_pull_with_a_token_is_two() {
    let bench = Bench::serving(&small());
    let alice = Some(("alice", SECRET));
    bench.registry.require_bearer(alice, TokenField::Token);
    bench.pull_as("alice", SECRET);
    let before = bench.registry.count("");
    bench.pull_as("alice", SECRET);
    let asked = bench.registry.requests("");
    let seen: Vec<_> = asked[before..]
        .iter()
        .map(|one| one.request.method.as_str())
        .collect();
    assert_eq!(seen, ["GET", "HEAD"]);
}

#[test]
fn a_proof_that_is_brought_unasked_and_not_taken_is_forgotten() {
    let bench = Bench::serving(&small());
    bench.registry.require_basic("alice", SECRET);
    bench.pull_as("alice", SECRET);
    // Another secret: it is refused, nothing else is told than before.
    let guess = bench.request_as("alice", "guessed");
    let refused = bench.pull_with(&guess, &()).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::CredentialRejected);
    // Tokens from now on.
    let alice = Some(("alice", SECRET));
    bench.registry.require_bearer(alice, TokenField::Token);
    bench.pull_as("alice", SECRET);
}

#[test]
fn a_registry_that_lets_in_anybody_by_now_is_asked_without_a_proof_again() {
    let bench = Bench::serving(&small());
    bench.registry.require_basic("alice", SECRET);
    let digest = bench.pull_as("alice", SECRET).manifest.to_string();
    bench.registry.require_nothing();
    bench
        .registry
        .respond("HEAD /v2/app/manifests/", move |request| {
            match request.header("authorization") {
                Some(_) => Response::error(401, "UNAUTHORIZED", "no such user"),
                None => {
                    Response::new(200, "text/plain", "").header("Docker-Content-Digest", &digest)
                }
            }
        });
    let before = bench.registry.count("");
    bench.pull_as("alice", SECRET);
    assert_eq!(bench.registry.count("") - before, 2);
}

#[test]
fn p34_what_was_brought_unasked_and_expires_is_looked_for_again() {
    let bench = Bench::serving(&small());
    bench.registry.require_basic("alice", "secret 1");
    bench.pull_with(&counted(&bench).1, &()).unwrap();
    let changed = image([layer().file("g", "y").build()]);
    bench.registry.put("app", "1", &changed);
    bench.registry.require_nothing();
    let expired = |_: &_| Response::error(403, "DENIED", "Your authorization token has expired.");
    let expired = Fault::Respond(Arc::new(expired));
    let manifest = "GET /v2/app/manifests/";
    bench.registry.fault_times(manifest, expired, 1);
    let (source, request) = counted(&bench);
    bench.pull_with(&request, &()).unwrap();
    assert_eq!(source.0.load(Ordering::SeqCst), 2);
    let asked = bench.registry.requests(manifest);
    let [.., before, after] = &asked[..] else {
        panic!("{asked:?}")
    };
    let proof = |one: &Recorded| one.request.header("authorization").map(str::to_owned);
    assert!(proof(after).is_some() && proof(before) != proof(after));
}

#[test]
fn who_was_refused_by_a_mirror_was_not_let_in() {
    for is_down in [false, true] {
        let bench = Bench::serving(&small());
        let mirror = FakeRegistry::https(&bench.ca);
        let held = format!("{}/app:1", mirror.host());
        mirror.put("app", "1", &small());
        mirror.require_basic("alice", SECRET);
        let with = |secret: &str| {
            let entry = json!({"username": "alice", "password": secret});
            bench.request_with(&json!({ mirror.host(): entry }))
        };
        let of_mirror = |secret: &str| Request {
            reference: held.parse().unwrap(),
            ..with(secret)
        };
        let image = bench.pull_with(&of_mirror(SECRET), &()).unwrap();
        let store = bench.store();
        let ttl = std::time::Duration::from_secs(600);
        let may_have = |secret| may_have((&store, &image), &of_mirror(secret), ttl).unwrap();
        assert!(may_have(SECRET) && !may_have("guessed"));
        // The registry has the same for everybody, and is asked behind the mirror.
        let mut registries = Registries::default();
        let settings = RegistrySettings {
            mirrors: vec![mirror.host().parse().unwrap()],
            ..RegistrySettings::default()
        };
        registries.insert(bench.registry.host().parse().unwrap(), settings);
        let public = Request {
            registries,
            ..with("guessed")
        };
        bench.pull_with(&public, &()).unwrap();
        if is_down {
            mirror.fault("", Fault::Reset);
        }
        bench.pull_with(&public, &()).unwrap();
        assert!(!may_have("guessed"));
    }
}

#[test]
fn who_has_no_credential_brings_none() {
    let bench = Bench::serving(&small());
    bench.registry.require_basic("alice", SECRET);
    bench.pull_as("alice", SECRET);
    let before = bench.registry.count("");
    let refused = bench.pull_with(&bench.request("app:1"), &()).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::CredentialMissing);
    let asked = &bench.registry.requests("")[before..];
    assert!(
        asked
            .iter()
            .all(|one| one.request.header("authorization").is_none())
    );
}

/// Counts the layers that are fetched although they are there.
#[derive(Debug, Default)]
struct Proving(AtomicUsize);

impl Progress for Proving {
    fn event(&self, event: Event<'_>) {
        if let Event::LayerProving { .. } = event {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
}

#[test]
fn w6_a_layer_that_needed_a_credential_is_had_elsewhere_by_fetching_it_only() {
    let image = small();
    let bench = Bench::serving(&image);
    bench.registry.require_basic("alice", SECRET);
    bench.pull_as("alice", SECRET);
    let layer = format!("/blobs/{}", image.layers[0].digest);
    let of = |registry: &FakeRegistry| Request {
        reference: format!("{}/app:1", registry.host()).parse().unwrap(),
        ..bench.request("app:1")
    };
    // Who only knows its digest gets nothing of it.
    let knowing = FakeRegistry::https(&bench.ca);
    knowing.put("app", "1", &image);
    knowing.fault(&layer, Fault::Status(404));
    let failed = bench.pull_with(&of(&knowing), &()).unwrap_err();
    assert_eq!(failed.kind(), ErrorKind::NotFound, "{failed}");

    let having = FakeRegistry::https(&bench.ca);
    having.put("app", "1", &image);
    let kept = || {
        let store = bench.store();
        let found = survey(Some(&store), bench.settings(&store), &of(&having), &());
        found.unwrap().layers[0].kept
    };
    assert!(matches!(kept(), Kept::Unproved(_)), "{:?}", kept());
    let proving = Proving::default();
    bench.pull_with(&of(&having), &proving).unwrap();
    assert_eq!((having.count(&layer), proving.0.into_inner()), (1, 1));
    assert!(matches!(kept(), Kept::Whole(_)), "{:?}", kept());
    bench.pull_with(&of(&having), &()).unwrap();
    assert_eq!(having.count(&layer), 1);
}
