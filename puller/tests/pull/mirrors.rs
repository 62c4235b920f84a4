//! Mirrors before their registry, what makes one be passed over, and registries that are blocked.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::Mutex;

use test_support::fake_registry::{Ending, Fault, Framing, Response};
use test_support::{FakeRegistry, Image, TestCa};
use ucr_images::registries::{Admission, RegistrySettings};
use ucr_images::{Digest, ErrorKind, Registries};
use ucr_puller::registry::Visitor;
use ucr_puller::{Event, Progress, Request};

use crate::bench::{Bench, assert_contains, bulky, image, layer};

fn small() -> Image {
    image([layer().file("f", "x").build()])
}

fn mirrors(places: &[&str]) -> RegistrySettings {
    RegistrySettings {
        mirrors: places.iter().map(|place| place.parse().unwrap()).collect(),
        ..RegistrySettings::default()
    }
}

fn blocked() -> RegistrySettings {
    RegistrySettings {
        admission: Admission::Blocked,
        ..RegistrySettings::default()
    }
}

/// Settings for the bench's own registry.
fn registries(bench: &Bench, settings: RegistrySettings) -> Registries {
    let mut registries = Registries::default();
    registries.insert(bench.registry.host().parse().unwrap(), settings);
    registries
}

fn request(bench: &Bench, registries: Registries) -> Request {
    Request {
        registries,
        ..bench.request("app:1")
    }
}

/// Which mirrors did not help.
#[derive(Default)]
struct Passed(Mutex<Vec<String>>);

impl Progress for Passed {
    fn event(&self, event: Event<'_>) {
        if let Event::MirrorPassedOver { endpoint, error } = event {
            let line = format!("{endpoint}: {error}");
            self.0.lock().unwrap().push(line);
        }
    }
}

#[test]
fn a_mirror_that_has_it_is_asked_alone() {
    let bench = Bench::new();
    let mirror = FakeRegistry::https(&bench.ca);
    mirror.put("team/copies/app", "1", &small());
    let place = format!("{}/team/copies", mirror.host());
    let request = request(&bench, registries(&bench, mirrors(&[&place])));
    let image = bench.pull_with(&request, &()).unwrap();
    assert_eq!(bench.registry.count(""), 0);
    // It is named after its registry, wherever it came from.
    assert!(image.id.to_string().starts_with("sha256:"));
    let stored = bench.store().image(&request.reference, &request.platform);
    assert!(stored.unwrap().is_some());
}

#[test]
fn docker_hub_has_mirrors_by_its_own_name() {
    let bench = Bench::new();
    bench.registry.put("hub/library/busybox", "1", &small());
    let mut registries = Registries::default();
    let place = format!("{}/hub", bench.registry.host());
    registries.insert("index.docker.io".parse().unwrap(), mirrors(&[&place]));
    let request = Request {
        reference: "busybox:1".parse().unwrap(),
        registries,
        ..bench.request("app:1")
    };
    bench.pull_with(&request, &()).unwrap();
}

/// What is wrong with a mirror, and what is said of it.
fn troubles() -> Vec<(&'static str, Fault, &'static str)> {
    let portal = Fault::Html;
    let wrong = Fault::WrongBytes;
    vec![
        (
            "/manifests/",
            Fault::Status(404),
            "does not exist (HTTP 404",
        ),
        (
            "/manifests/",
            Fault::Status(403),
            "is forbidden for anonymous",
        ),
        ("/manifests/", Fault::Status(500), "failed (HTTP 500"),
        ("/manifests/", Fault::Status(429), "failed (HTTP 429"),
        ("/manifests/", portal, "sent something else"),
        ("/blobs/", Fault::Status(404), "does not exist"),
        ("/blobs/", wrong, "sent something else"),
    ]
}

#[test]
fn p62_a_mirror_that_does_not_have_it_is_passed_over_with_a_note() {
    for (pattern, fault, said) in troubles() {
        let image = small();
        let bench = Bench::serving(&image);
        let mirror = FakeRegistry::https(&bench.ca);
        mirror.put("app", "1", &image);
        // The configuration is what a route fetches; layers are for whoever streams them.
        let pattern = match pattern {
            "/blobs/" => format!("/blobs/{}", image.config.digest),
            pattern => pattern.to_owned(),
        };
        mirror.fault(&pattern, fault);
        let passed = Passed::default();
        let request = request(&bench, registries(&bench, mirrors(&[&mirror.host()])));
        bench.pull_with(&request, &passed).unwrap();
        let passed = passed.0.into_inner().unwrap();
        assert_contains(&passed[0], &format!("the mirror {}/app: ", mirror.host()));
        assert_contains(&passed[0], said);
    }
}

/// The address of a server that is not there any more.
fn nobody() -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap().to_string()
}

#[test]
fn s74_a_mirror_that_is_unreachable_or_not_trusted_is_passed_over_once() {
    let bench = Bench::serving(&small());
    let stranger = FakeRegistry::https(&TestCa::new("stranger"));
    let (gone, plain) = (nobody(), FakeRegistry::http());
    let hosts = [gone, stranger.host(), plain.host()];
    let places: Vec<_> = hosts.iter().map(String::as_str).collect();
    let passed = Passed::default();
    let request = request(&bench, registries(&bench, mirrors(&places)));
    bench.pull_with(&request, &passed).unwrap();
    let passed = passed.0.into_inner().unwrap();
    assert_eq!(passed.len(), 3, "{passed:?}");
    for (line, said) in passed
        .iter()
        .zip(["cannot connect", "not trusted", "no TLS session"])
    {
        assert_contains(line, said);
    }
    assert_eq!((stranger.count(""), plain.count("")), (0, 0));
}

#[test]
fn p64_when_nobody_has_it_everybody_is_named_with_what_they_said() {
    let bench = Bench::new();
    let mirror = FakeRegistry::https(&bench.ca);
    mirror.fault("/manifests/", Fault::Status(503));
    let gone = nobody();
    let settings = mirrors(&[&gone, &mirror.host()]);
    let failed = bench.fail_with(&request(&bench, registries(&bench, settings)));
    assert_eq!(failed.kind, ErrorKind::NotFound);
    for said in [
        format!("the mirror {gone}/app did not help (cannot connect to {gone}"),
        format!("the mirror {}/app did not help (", mirror.host()),
        "HTTP 503".to_owned(),
        format!(
            "{} does not exist",
            bench.registry.url("/v2/app/manifests/1")
        ),
    ] {
        assert_contains(&failed.text, &said);
    }
}

#[test]
fn s78_a_mirror_cannot_put_another_image_in_place_of_a_digest() {
    let image = small();
    let bench = Bench::serving(&image);
    let mirror = FakeRegistry::https(&bench.ca);
    let other = self::image([layer().file("f", "other").build()]);
    let digest = image.manifest.digest;
    mirror.put("app", &digest, &other);
    let request = Request {
        reference: format!("{}/app@{digest}", bench.registry.host())
            .parse()
            .unwrap(),
        ..request(&bench, registries(&bench, mirrors(&[&mirror.host()])))
    };
    let passed = Passed::default();
    bench.pull_with(&request, &passed).unwrap();
    assert!(mirror.count("/manifests/") > 0);
    assert_contains(&passed.0.into_inner().unwrap()[0], "sent something else");
}

#[test]
fn s86_who_is_blocked_is_not_talked_to_at_all() {
    let bench = Bench::serving(&small());
    let failed = bench.fail_with(&request(&bench, registries(&bench, blocked())));
    assert_eq!(failed.kind, ErrorKind::Blocked);
    let said = format!("{} is blocked by the configuration", bench.registry.host());
    assert_contains(&failed.text, &said);
    assert_eq!(bench.registry.connections(), 0);
}

#[test]
fn s86_nor_as_a_mirror_or_by_a_redirect_or_for_a_token() {
    let bench = Bench::serving(&small());
    let evil = FakeRegistry::https(&bench.ca);
    evil.put("app", "1", &small());
    let mut registries = registries(&bench, RegistrySettings::default());
    registries.insert(evil.host().parse().unwrap(), blocked());
    let said = format!("{} is blocked by the configuration", evil.host());

    let away = Fault::RedirectToBase(evil.url(""));
    bench.registry.fault("/blobs/", away);
    let failed = bench.fail_with(&request(&bench, registries.clone()));
    assert_contains(&failed.text, &said);

    bench.registry.heal();
    bench.registry.require_bearer_from(&evil.url("/token"));
    let failed = bench.fail_with(&request(&bench, registries.clone()));
    assert_contains(&failed.text, &said);

    let host = bench.registry.host().parse().unwrap();
    registries.insert(host, mirrors(&[&evil.host()]));
    let failed = bench.fail_with(&request(&bench, registries));
    assert_contains(&failed.text, &said);
    assert_eq!(evil.connections(), 0);
}

/// What a visitor is told of the image's digest.
fn digest(bench: &Bench) -> Result<Option<Digest>, ucr_puller::registry::Error> {
    let store = bench.store();
    let registries = Registries::default();
    let visitor = Visitor::new(bench.settings(&store), &registries, &());
    visitor.manifest_digest(&bench.request("app:1").reference)
}

#[test]
fn p62_a_digest_is_asked_for_by_head_and_a_refusal_of_that_not_believed() {
    let image = small();
    let bench = Bench::serving(&image);
    let expected: Digest = image.manifest.digest.parse().unwrap();
    assert_eq!(digest(&bench).unwrap(), Some(expected.clone()));
    assert_eq!(bench.registry.count("GET "), 0);
    for status in [400, 403, 404, 405] {
        bench.registry.fault("HEAD ", Fault::Status(status));
        assert_eq!(digest(&bench).unwrap(), Some(expected.clone()), "{status}");
        bench.registry.heal();
    }
    bench.registry.fault("/manifests/", Fault::Status(404));
    let absent = digest(&bench).unwrap_err();
    assert!(matches!(
        absent,
        ucr_puller::registry::Error::NotFound { .. }
    ));
    bench.registry.heal();
    bench.registry.fault("HEAD ", Fault::Status(500));
    assert!(digest(&bench).is_err());
}

#[test]
fn p68_a_digest_that_is_none_is_as_good_as_unsaid() {
    let bench = Bench::serving(&small());
    for value in ["", "sha256:12", "nonsense"] {
        let answer =
            Response::new(200, "application/json", "").header("Docker-Content-Digest", value);
        bench.registry.respond("HEAD ", move |_| answer.clone());
        assert_eq!(digest(&bench).unwrap(), None, "{value}");
        bench.registry.heal();
    }
}

/// A bench whose registry and mirror have an image of one large layer, and what the registry was
/// asked of that after a pull with a fault at the mirror's.
fn after_a_mirrors(fault: Option<Fault>) -> Vec<Option<String>> {
    let image = image([bulky("f", 400_000)]);
    let bench = Bench::serving(&image);
    let mirror = FakeRegistry::https(&bench.ca);
    mirror.put("app", "1", &image);
    let blob = format!("/blobs/{}", image.layers[0].digest);
    match fault {
        Some(fault) => mirror.fault(&blob, fault),
        None => mirror.respond(&blob, {
            // A front that is another's, and then nothing.
            let mut bytes = image.layers[0].bytes.clone();
            bytes[..200_000].fill(0);
            move |_| {
                let honest = Response::new(200, "application/octet-stream", bytes.clone());
                Response {
                    framing: Framing::Claimed(bytes.len()),
                    ending: Ending::Cut,
                    body: bytes[..200_000].to_vec(),
                    ..honest
                }
            }
        }),
    }
    let request = request(&bench, registries(&bench, mirrors(&[&mirror.host()])));
    bench
        .pull_with(&request, &())
        .unwrap_or_else(|error| panic!("{}", crate::bench::chain(&error)));
    assert!(mirror.count(&blob) >= 1);
    bench
        .registry
        .requests(&blob)
        .iter()
        .map(|recorded| recorded.request.header("range").map(str::to_owned))
        .collect()
}

#[test]
fn p62_a_layer_that_a_mirror_does_not_have_comes_from_the_registry() {
    assert_eq!(after_a_mirrors(Some(Fault::Status(404))), [None]);
    assert_eq!(after_a_mirrors(Some(Fault::Status(503))), [None]);
}

#[test]
fn p55_what_a_mirror_broke_off_the_registry_completes() {
    let asked = after_a_mirrors(Some(Fault::Truncate(200_000)));
    assert_eq!(asked, [Some("bytes=200000-".to_owned())]);
}

#[test]
fn p66_a_layer_that_a_mirror_spoils_comes_from_the_registry() {
    assert_eq!(after_a_mirrors(Some(Fault::WrongBytes)), [None]);
}

#[test]
fn p51_a_mirror_that_sends_more_than_there_is_is_passed_over() {
    assert_eq!(after_a_mirrors(Some(Fault::Resize(2_000_000))), [None]);
}

#[test]
fn p66_what_a_lying_mirror_began_the_registry_does_not_answer_for() {
    assert_eq!(
        after_a_mirrors(None),
        [Some("bytes=200000-".to_owned()), None]
    );
}
