//! Foreign layers: fetched from their publishers where that is asked for, and never as anybody.

use std::sync::Arc;

use serde_json::json;
use test_support::fake_registry::{Fault, Recorded};
use test_support::{ClientAuth, FakeRegistry, Image, ImageBuilder, TestCa, TestProxy};
use ucr_images::registries::{Admission, RegistrySettings};
use ucr_images::{ErrorKind, ForeignLayers, Registries, Secret, StoredImage};
use ucr_puller::http::{HostTrust, Identity, Proxies, Ranges, Settings, Verification};
use ucr_puller::{Budget, Kept, Limit, Request, pull, survey};

use crate::bench::{Bench, Failed, assert_contains, bulky};
use crate::policy::Policy;

const SECRET: &str = "open-sesame-7f3a";
/// The name of the registry, and those of two publishers.
const REGISTRY: &str = "registry.example";
const PUBLISHER: &str = "layers.example";
const OTHER: &str = "other.example";

/// A registry and two publishers, each known by a name, and a proxy that knows where they are.
struct World {
    bench: Bench,
    publisher: FakeRegistry,
    other: FakeRegistry,
    proxy: TestProxy,
    image: Image,
}

/// Where the layer is at a host.
fn at(host: &str, image: &Image) -> String {
    format!("https://{host}{}?x=y", path(image))
}

fn path(image: &Image) -> String {
    format!("/v2/files/blobs/{}", image.layers[0].digest)
}

/// An image whose only layer is foreign, and to be had from these places.
fn image(urls: &[String]) -> Image {
    let urls = json!(urls);
    ImageBuilder::new()
        .layer(bulky("f", 300_000))
        .cmd(&["true"])
        .edit_manifest(move |manifest| {
            let kind = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip";
            manifest["layers"][0]["mediaType"] = json!(kind);
            manifest["layers"][0]["urls"] = urls;
        })
        .build()
}

impl World {
    /// With an image whose layer is to be had from what `places` makes of it.
    fn new(places: impl FnOnce(&Image) -> Vec<String>) -> Self {
        let image = image(&places(&image(&[])));
        let bench = Bench::new();
        let server = |name: &str| FakeRegistry::with_tls(bench.ca.issue(&[name]).server_config());
        let (registry, publisher, other) = (server(REGISTRY), server(PUBLISHER), server(OTHER));
        registry.put("app", "1", &image);
        let proxy = TestProxy::http();
        let names = [REGISTRY, PUBLISHER, OTHER];
        for (name, server) in names.iter().zip([&registry, &publisher, &other]) {
            proxy.route(&format!("{name}:443"), server.address());
            let bytes = image.layers[0].bytes.clone();
            server.put_blob("files", &image.layers[0].digest, bytes);
        }
        Self {
            bench: Bench { registry, ..bench },
            publisher,
            other,
            proxy,
            image,
        }
    }

    fn at_the_publisher() -> Self {
        Self::new(|image| vec![at(PUBLISHER, image)])
    }

    fn request(&self) -> Request {
        Request {
            reference: format!("{REGISTRY}/app:1").parse().unwrap(),
            foreign: ForeignLayers::Fetched,
            ..self.bench.request("app:1")
        }
    }

    /// As somebody whom the registry knows.
    fn request_as_alice(&self) -> Request {
        let auths = json!({
            REGISTRY: {"username": "alice", "password": SECRET},
            PUBLISHER: {"username": "alice", "password": SECRET},
        });
        Request {
            credentials: self.bench.request_with(&auths).credentials,
            ..self.request()
        }
    }

    fn settings(&self, store: &ucr_images::Store) -> Settings {
        Settings {
            proxies: Proxies::parse("https_proxy", &self.proxy.url(), "").unwrap(),
            ..self.bench.settings(store)
        }
    }

    fn try_pull(
        &self,
        request: &Request,
        change: impl FnOnce(&mut Settings),
    ) -> Result<StoredImage, Failed> {
        let store = self.bench.store();
        let mut settings = self.settings(&store);
        change(&mut settings);
        pull(&store, settings, request, &()).map_err(Failed::new)
    }

    #[track_caller]
    fn pull(&self, request: &Request) -> StoredImage {
        let pulled = self.try_pull(request, |_| ());
        pulled.unwrap_or_else(|failed| panic!("{}", failed.text))
    }

    #[track_caller]
    fn fail(&self, request: &Request) -> Failed {
        let failed = self.try_pull(request, |_| ());
        let failed = failed.map(|image| panic!("it was pulled: {image:?}"));
        self.bench.assert_nothing_left();
        failed.unwrap_or_else(|failed| failed)
    }

    /// What was asked of the registry for the layer as its own.
    fn own_blob(&self) -> usize {
        let own = format!("/v2/app/blobs/{}", self.image.layers[0].digest);
        self.bench.registry.count(&own)
    }
}

#[track_caller]
fn assert_nobody_came(server: &FakeRegistry) {
    assert_eq!(server.count(""), 0);
}

/// Nothing that came to the server said who asks.
#[track_caller]
fn assert_anonymous(server: &FakeRegistry) {
    for recorded in server.requests("") {
        for name in ["authorization", "proxy-authorization", "cookie"] {
            assert_eq!(recorded.request.header(name), None);
        }
    }
}

#[test]
fn p72_an_image_with_one_is_refused_before_anything_of_it_is_fetched() {
    let world = World::at_the_publisher();
    let failed = world.fail(&Request {
        foreign: ForeignLayers::Refused,
        ..world.request()
    });
    assert_eq!(failed.kind, ErrorKind::Refused);
    assert!(failed.error.is_of_foreign_layer(), "{}", failed.text);
    assert_nobody_came(&world.publisher);
    assert_eq!(world.bench.registry.count("/blobs/"), 0);
}

#[test]
fn s70_it_is_fetched_from_its_publisher_as_nobody() {
    let world = World::at_the_publisher();
    world.bench.registry.require_basic("alice", SECRET);
    let request = world.request_as_alice();
    let pulled = world.pull(&request);
    assert_eq!(pulled.config.diff_ids().len(), 1);
    assert_eq!((world.publisher.count(""), world.own_blob()), (1, 0));
    assert_anonymous(&world.publisher);
    // It is there now, like any other layer.
    let asked = world.bench.registry.count("");
    world.pull(&request);
    assert_eq!(world.publisher.count(""), 1);
    assert_eq!(world.bench.registry.count(""), asked + 1);
}

#[test]
fn s70_a_publisher_that_asks_for_a_proof_gets_none() {
    for bearer in [false, true] {
        let world = World::at_the_publisher();
        world.bench.registry.require_basic("alice", SECRET);
        match bearer {
            false => world.publisher.require_basic("alice", SECRET),
            true => world
                .publisher
                .require_bearer_from(&format!("https://{OTHER}/token")),
        }
        let failed = world.fail(&world.request_as_alice());
        assert_eq!(failed.kind, ErrorKind::Registry, "{}", failed.text);
        assert_contains(&failed.text, "HTTP 401");
        assert_contains(
            &failed.text,
            &format!("https://{PUBLISHER}/v2/files/blobs/"),
        );
        assert!(!failed.text.contains("x=y"), "{}", failed.text);
        assert_anonymous(&world.publisher);
        assert_nobody_came(&world.other);
    }
}

#[test]
fn s70_the_registrys_own_host_gets_none_either_where_a_manifest_names_it() {
    let world = World::new(|image| vec![at(REGISTRY, image)]);
    world.bench.registry.require_basic("alice", SECRET);
    let failed = world.fail(&world.request_as_alice());
    assert_contains(&failed.text, "HTTP 401");
    let named = world.bench.registry.requests(&path(&world.image));
    assert_eq!(named.len(), 1);
    assert_eq!(named[0].request.header("authorization"), None);
}

#[test]
fn s70_no_client_certificate_is_shown_there() {
    let mut world = World::at_the_publisher();
    let clients = TestCa::new("clients");
    let asking = |auth| {
        let server = world.bench.ca.issue(&[PUBLISHER]);
        FakeRegistry::with_tls(server.server_config_asking(&clients, auth))
    };
    let client = clients.issue_client("agent-7");
    let identity = Identity {
        chain_pem: client.certificate.clone(),
        key_pem: Secret::new(&client.key),
    };
    let trust = HostTrust {
        trusted_pem: world.bench.ca.pem().into_bytes().into(),
        identity: Some(identity),
        verification: Verification::Full,
    };
    for (auth, may) in [(ClientAuth::Requested, true), (ClientAuth::Required, false)] {
        let publisher = asking(auth);
        let layer = &world.image.layers[0];
        publisher.put_blob("files", &layer.digest, layer.bytes.clone());
        let address = publisher.address();
        world.proxy.route(&format!("{PUBLISHER}:443"), address);
        let policy = Policy::of(&world.bench.ca.pem());
        let policy = policy.with(&format!("{PUBLISHER}:443"), trust.clone());
        let pulled = world.try_pull(&world.request(), |settings| {
            settings.trust = Arc::new(policy);
        });
        assert_eq!(pulled.is_ok(), may);
        if let Err(failed) = pulled {
            assert_eq!(failed.kind, ErrorKind::Tls, "{}", failed.text);
        }
        world.bench.temp = tempfile::tempdir().unwrap();
    }
}

#[test]
fn s86_places_inside_in_clear_or_with_a_user_are_never_asked() {
    let clear = FakeRegistry::http();
    let inside = FakeRegistry::https(&TestCa::new("inside"));
    let places = |image: &Image| {
        let path = path(image);
        vec![
            inside.url(&path),
            clear.url(&path),
            format!("https://localhost:{}{path}", inside.address().port()),
            format!("https://[::1]{path}"),
            format!("https://10.0.0.1{path}"),
            format!("https://169.254.169.254{path}"),
            format!("http://{PUBLISHER}{path}"),
            format!("https://u:p@{PUBLISHER}{path}"),
            "file:///etc/shadow".to_owned(),
        ]
    };
    let world = World::new(places);
    let failed = world.fail(&world.request());
    assert_eq!(failed.kind, ErrorKind::Refused);
    assert_contains(&failed.text, "none of its places may be asked");
    assert_nobody_came(&world.publisher);
    assert_eq!(world.bench.registry.count("/blobs/"), 0);
    // With a good one behind them that one is asked.
    let world = World::new(|image| [places(image), vec![at(PUBLISHER, image)]].concat());
    world.pull(&world.request());
    assert_eq!(world.publisher.count(""), 1);
    for server in [&clear, &inside] {
        assert_eq!(server.connections(), 0);
    }
    let connects = world.proxy.heads();
    let public = |head: &String| head.contains(".example:443");
    assert!(connects.iter().all(public), "{connects:?}");
}

#[test]
fn s86_a_blocked_host_is_no_place() {
    let world = World::at_the_publisher();
    let mut registries = Registries::default();
    let blocked = RegistrySettings {
        admission: Admission::Blocked,
        ..RegistrySettings::default()
    };
    registries.insert(PUBLISHER.parse().unwrap(), blocked);
    let failed = world.fail(&Request {
        registries,
        ..world.request()
    });
    assert_contains(&failed.text, "is blocked by the configuration");
    assert_nobody_came(&world.publisher);
}

#[test]
fn s86_a_publisher_sends_nobody_inside_or_into_the_clear() {
    let clear = FakeRegistry::http();
    let world = World::at_the_publisher();
    let inside = FakeRegistry::https(&world.bench.ca);
    for (target, said) in [
        (inside.url(&path(&world.image)), "inside this network"),
        (
            "https://169.254.169.254/x".to_owned(),
            "inside this network",
        ),
        ("https://localhost./x".to_owned(), "inside this network"),
        (clear.url("/x"), "which is not https"),
        (format!("http://{OTHER}/x"), "which is not https"),
    ] {
        world.publisher.heal();
        world.publisher.fault("", Fault::Redirect(307, target));
        let failed = world.fail(&world.request());
        assert_eq!(failed.kind, ErrorKind::Refused, "{}", failed.text);
        assert_contains(&failed.text, said);
    }
    assert_eq!((inside.connections(), clear.connections()), (0, 0));
}

#[test]
fn s71_where_a_publisher_sends_us_we_are_nobody_too() {
    for target in [OTHER, REGISTRY] {
        let world = World::at_the_publisher();
        world.bench.registry.require_basic("alice", SECRET);
        let redirect = Fault::RedirectToBase(format!("https://{target}"));
        world.publisher.fault("", redirect);
        let request = world.request_as_alice();
        if target == OTHER {
            world.pull(&request);
        } else {
            assert_contains(&world.fail(&request).text, "HTTP 401");
        }
        assert_anonymous(&world.publisher);
        assert_anonymous(&world.other);
        for recorded in world.bench.registry.requests("/v2/files/") {
            assert_eq!(recorded.request.header("authorization"), None);
        }
    }
}

#[test]
fn p66_what_comes_from_there_is_verified_and_the_next_place_asked() {
    let both = |image: &Image| vec![at(PUBLISHER, image), at(OTHER, image)];
    for fault in [
        Fault::WrongBytes,
        Fault::Resize(1000),
        Fault::Resize(400_000),
        Fault::Status(404),
        Fault::Status(503),
        Fault::Reset,
        Fault::Truncate(1000),
    ] {
        let world = World::new(both);
        world.publisher.fault("", fault.clone());
        world.pull(&world.request());
        assert!(world.other.count("") >= 1, "{fault:?}");
    }
    let world = World::new(both);
    world.publisher.fault("", Fault::Status(404));
    world.other.fault("", Fault::WrongBytes);
    let failed = world.fail(&world.request());
    assert_eq!(failed.kind, ErrorKind::Integrity, "{}", failed.text);
    for said in [PUBLISHER, OTHER, "HTTP 404", "other bytes came"] {
        assert_contains(&failed.text, said);
    }
    assert_eq!(world.own_blob(), 0);
    world.other.heal();
    world.pull(&world.request());
}

#[test]
fn c24_what_came_of_it_is_gone_on_with() {
    let world = World::at_the_publisher();
    world.publisher.fault("", Fault::Truncate(200_000));
    let failed = world.fail(&world.request());
    assert_eq!(failed.kind, ErrorKind::Network, "{}", failed.text);
    world.publisher.heal();
    world.pull(&world.request());
    let asked = world.publisher.requests("");
    let ranges: Vec<_> = asked
        .iter()
        .map(|one| one.request.header("range"))
        .collect();
    assert_eq!(ranges, [None, Some("bytes=200000-")]);
}

#[test]
fn s71_what_a_registry_began_for_somebody_is_not_completed_from_outside() {
    let world = World::at_the_publisher();
    let registry = &world.bench.registry;
    registry.require_basic("alice", SECRET);
    let own = ImageBuilder::new().layer(bulky("f", 300_000)).build();
    assert_eq!(own.layers[0].digest, world.image.layers[0].digest);
    registry.put("private", "1", &own);
    registry.fault("/v2/private/blobs/", Fault::Truncate(200_000));
    let private = Request {
        reference: format!("{REGISTRY}/private:1").parse().unwrap(),
        ..world.request_as_alice()
    };
    assert!(world.try_pull(&private, |_| ()).is_err());

    world.pull(&world.request_as_alice());
    let asked = world.publisher.requests("");
    let [asked] = &asked[..] else {
        panic!("{asked:?}")
    };
    assert_eq!(asked.request.header("range"), None);
}

#[test]
fn it_comes_in_parts_like_any_other() {
    let world = World::at_the_publisher();
    let in_parts = |settings: &mut Settings| settings.ranges = Ranges::Always(50_000);
    assert!(world.try_pull(&world.request(), in_parts).is_ok());
    let asked = world.publisher.requests("");
    let in_parts = |one: &&Recorded| one.request.header("range").is_some();
    assert!(asked.iter().filter(in_parts).count() >= 2, "{asked:?}");
}

#[test]
fn limits_are_those_of_other_layers() {
    let world = World::at_the_publisher();
    let budget = Budget {
        max_bytes: Some(100_000),
        ..Budget::default()
    };
    let failed = world.fail(&Request {
        budget,
        ..world.request()
    });
    assert_eq!(failed.error.limit(), Some(Limit::Bytes));
    assert_nobody_came(&world.publisher);
}

#[test]
fn where_it_would_be_fetched_from_is_told_before() {
    let world = World::at_the_publisher();
    let store = world.bench.store();
    let settings = world.settings(&store);
    let found = survey(Some(&store), settings, &world.request(), &()).unwrap();
    let place = found.layers[0].places[0].to_string();
    assert_eq!(
        place,
        format!("https://{PUBLISHER}{}?…", path(&world.image))
    );
    assert_eq!(found.layers[0].kept, Kept::Part(0));
    assert_nobody_came(&world.publisher);
}
