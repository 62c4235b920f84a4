//! A registry, a store, and what is checked after every pull.

use std::error::Error as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use test_support::{FakeRegistry, Image, ImageBuilder, Layer, LayerBuilder, TestCa, tree};
use ucr_credentials::CredentialSources;
use ucr_credentials::{AuthConfig, Found};
use ucr_images::{Credential, ErrorKind, ForeignLayers, Platform, Registries, Store, StoredImage};
use ucr_puller::http::{Patience, Peer, Proxies, Ranges, Settings};
use ucr_puller::{Budget, Error, Progress, Request, pull};

use crate::policy::Policy;

/// A store, and a registry to fill it from.
pub(crate) struct Bench {
    pub(crate) temp: tempfile::TempDir,
    pub(crate) ca: TestCa,
    pub(crate) registry: FakeRegistry,
}

/// How a pull failed: what kind, and the whole chain of messages.
#[derive(Debug)]
pub(crate) struct Failed {
    pub(crate) kind: ErrorKind,
    pub(crate) text: String,
    pub(crate) error: Error,
}

impl Failed {
    /// Host and port of the server whose certificate was refused.
    pub(crate) fn untrusted_server(&self) -> Option<String> {
        let untrusted = self.error.untrusted()?;
        (untrusted.peer == Peer::Server).then(|| format!("{}:{}", untrusted.host, untrusted.port))
    }

    pub(crate) fn new(error: Error) -> Self {
        Self {
            kind: error.kind(),
            text: chain(&error),
            error,
        }
    }
}

impl Bench {
    pub(crate) fn new() -> Self {
        let ca = TestCa::new("bench");
        let registry = FakeRegistry::https(&ca);
        Self {
            temp: tempfile::tempdir().unwrap(),
            ca,
            registry,
        }
    }

    /// A bench whose registry has `image` as `app:1`.
    pub(crate) fn serving(image: &Image) -> Self {
        let bench = Self::new();
        bench.registry.put("app", "1", image);
        bench
    }

    pub(crate) fn store_path(&self) -> PathBuf {
        self.temp.path().join("store")
    }

    pub(crate) fn store(&self) -> Store {
        Store::open(&self.store_path()).unwrap()
    }

    pub(crate) fn request(&self, name: &str) -> Request {
        Request {
            reference: format!("{}/{name}", self.registry.host()).parse().unwrap(),
            platform: Platform::host(),
            credentials: Arc::new(()),
            registries: Registries::default(),
            budget: Budget::default(),
            foreign: ForeignLayers::default(),
        }
    }

    pub(crate) fn settings(&self, store: &Store) -> Settings {
        settings(store, &self.ca.pem())
    }

    pub(crate) fn pull_with(
        &self,
        request: &Request,
        progress: &dyn Progress,
    ) -> Result<StoredImage, Error> {
        let store = self.store();
        pull(&store, self.settings(&store), request, progress)
    }

    /// Pulls with settings that `change` has changed.
    pub(crate) fn pull_changed(
        &self,
        request: &Request,
        change: impl FnOnce(&mut Settings),
        progress: &dyn Progress,
    ) -> Result<StoredImage, Failed> {
        let store = self.store();
        let mut settings = self.settings(&store);
        change(&mut settings);
        pull(&store, settings, request, progress).map_err(Failed::new)
    }

    /// Pulls, trusting as `policy` says.
    pub(crate) fn pull_by(&self, policy: Policy, request: &Request) -> Result<(), Failed> {
        let store = self.store();
        let settings = Settings {
            trust: Arc::new(policy),
            ..self.settings(&store)
        };
        let pulled = pull(&store, settings, request, &());
        pulled.map(|_| ()).map_err(Failed::new)
    }

    #[track_caller]
    pub(crate) fn pull(&self, name: &str) -> StoredImage {
        self.pull_with(&self.request(name), &())
            .unwrap_or_else(|error| panic!("{}", chain(&error)))
    }

    #[track_caller]
    pub(crate) fn pull_as(&self, principal: &str, secret: &str) -> StoredImage {
        let request = self.request_as(principal, secret);
        self.pull_with(&request, &())
            .unwrap_or_else(|error| panic!("{}", chain(&error)))
    }

    pub(crate) fn request_as(&self, principal: &str, secret: &str) -> Request {
        let host = self.registry.host().parse().unwrap();
        let found = Found {
            credential: Credential::login(principal, secret),
            source: "the test".to_owned(),
        };
        Request {
            credentials: Arc::new(CredentialSources::default().given(host, found)),
            ..self.request("app:1")
        }
    }

    /// A request with what this document says as the only source of credentials.
    pub(crate) fn request_with(&self, auths: &serde_json::Value) -> Request {
        let document = serde_json::json!({ "auths": auths }).to_string();
        let config = AuthConfig::parse(document.as_bytes()).unwrap();
        let sources = CredentialSources::default().config("the test's file", config);
        Request {
            credentials: Arc::new(sources),
            ..self.request("app:1")
        }
    }

    #[track_caller]
    pub(crate) fn fail(&self, name: &str) -> Failed {
        self.fail_with(&self.request(name))
    }

    /// Pulls, which must fail, and checks that nothing of the failure stays.
    #[track_caller]
    pub(crate) fn fail_with(&self, request: &Request) -> Failed {
        let error = match self.pull_with(request, &()) {
            Ok(image) => panic!("it was pulled: {image:?}"),
            Err(error) => error,
        };
        self.assert_nothing_left();
        Failed::new(error)
    }

    /// Pulls into another store, which must fail.
    #[track_caller]
    pub(crate) fn fail_again(&self, request: &Request) -> Failed {
        let store = Store::open(&self.temp.path().join("another")).unwrap();
        match pull(&store, self.settings(&store), request, &()) {
            Ok(image) => panic!("it was pulled: {image:?}"),
            Err(error) => Failed::new(error),
        }
    }

    /// Nothing is staged or thrown away, and no name leads to an image.
    #[track_caller]
    pub(crate) fn assert_nothing_left(&self) {
        for name in ["tmp", "trash", "refs"] {
            assert_eq!(names(&self.store_path().join(name)), [""; 0], "{name}");
        }
    }

    /// The diff IDs of the layers that can be seen, in hex.
    pub(crate) fn layers(&self) -> Vec<String> {
        names(&self.store_path().join("layers/sha256"))
    }

    /// What the store keeps, without times: the same whenever the same was pulled.
    pub(crate) fn kept(&self) -> String {
        kept(&self.store_path())
    }

    /// Takes all faults back and pulls again: the result must be that of a pull without faults.
    #[track_caller]
    pub(crate) fn assert_heals(&self, request: &Request) {
        self.registry.heal();
        self.pull_with(request, &())
            .unwrap_or_else(|error| panic!("still: {}", chain(&error)));
        let clean = self.temp.path().join("clean");
        let store = Store::open(&clean).unwrap();
        pull(&store, self.settings(&store), request, &()).unwrap();
        assert_eq!(self.kept(), kept(&clean));
        ucr_sys::Dir::open(self.temp.path())
            .unwrap()
            .remove_tree("clean")
            .unwrap();
    }
}

pub(crate) fn settings(store: &Store, trusted: &str) -> Settings {
    Settings {
        trust: Arc::new(Policy::of(trusted)),
        proxies: Proxies::default(),
        empty_ca_path: store.empty_dir(),
        user_agent: "ucr-test".to_owned(),
        connect_timeout: Duration::from_secs(30),
        patience: Patience::none(),
        ranges: Ranges::Never,
    }
}

fn kept(store: &Path) -> String {
    let parts = ["layers", "fixups", "images"];
    let trees = parts.map(|part| format!("{part}\n{}", tree(&store.join(part))));
    // A record says when its image was pulled.
    without_times(&trees.concat()) + &names(&store.join("refs")).join("\n")
}

/// A tree's text without the times.
pub(crate) fn without_times(tree: &str) -> String {
    let without = |line: &str| {
        let words = line.split(' ').filter(|word| !word.starts_with("mtime="));
        words.collect::<Vec<_>>().join(" ") + "\n"
    };
    tree.lines().map(without).collect()
}

pub(crate) fn names(directory: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(directory) else {
        return Vec::new();
    };
    let name = |entry: std::io::Result<std::fs::DirEntry>| {
        entry.unwrap().file_name().into_string().unwrap()
    };
    let mut names: Vec<_> = entries.map(name).collect();
    names.sort();
    names
}

pub(crate) fn chain(error: &Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        text = format!("{text}: {error}");
        next = error.source();
    }
    text
}

pub(crate) fn layer() -> LayerBuilder {
    LayerBuilder::new()
}

/// A layer with one file that has this name and about so many bytes, not compressible.
pub(crate) fn bulky(name: &str, size: usize) -> Layer {
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64 ^ name.bytes().map(u64::from).sum::<u64>();
    let content: Vec<u8> = std::iter::repeat_with(|| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed.to_le_bytes()
    })
    .take(size / 8)
    .flatten()
    .collect();
    layer().file(name, content).build()
}

/// An image of these layers, the lowest first.
pub(crate) fn image(layers: impl IntoIterator<Item = Layer>) -> Image {
    let builder = layers
        .into_iter()
        .fold(ImageBuilder::new(), ImageBuilder::layer);
    builder.cmd(&["true"]).build()
}

#[track_caller]
pub(crate) fn assert_contains(text: &str, part: &str) {
    assert!(text.contains(part), "{part:?} is not in {text:?}");
}
