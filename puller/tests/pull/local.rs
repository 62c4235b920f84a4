//! Images in files: layouts and archives, as others write them and as nobody should.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

use serde_json::json;
use test_support::{
    Compression, Entry, Image, ImageBuilder, ImageFiles, ImageIndex, Layer, LayerBuilder,
    MediaTypes, Stored, blob_file, need_command,
};
use ucr_images::{Deadline, ErrorKind, ImageName, Platform, Store, StoredImage};
use ucr_puller::{Budget, Error, Event, LocalRequest, Progress, pull_local};

use crate::bench::{Bench, Failed, assert_contains, bulky, image, layer, names};

/// A store, and a place for what it is to be filled from.
struct Desk {
    temp: tempfile::TempDir,
    copy_limit: u64,
}

impl Desk {
    fn new() -> Self {
        Self {
            temp: tempfile::tempdir().unwrap(),
            copy_limit: 1 << 30,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.temp.path().join(name)
    }

    fn store(&self) -> Store {
        Store::open(&self.path("store")).unwrap()
    }

    /// Writes a directory `dir`.
    fn directory(&self, files: &ImageFiles) -> PathBuf {
        let path = self.path("dir");
        files.write(&path);
        path
    }

    /// Writes an archive `tar`.
    fn archive(&self, files: &ImageFiles, compression: Compression) -> PathBuf {
        let path = self.path("tar");
        let bytes = files.archive().compress(compression).bytes;
        File::create(&path).unwrap().write_all(&bytes).unwrap();
        path
    }

    fn request(&self, name: &str, platform: &Platform) -> LocalRequest {
        let parsed: ImageName = name.parse().unwrap();
        let ImageName::Local(name) = parsed.in_directory(self.temp.path()) else {
            panic!("{name} is of a registry");
        };
        LocalRequest {
            name,
            platform: platform.clone(),
            copy_limit: self.copy_limit,
            budget: Budget::default(),
            deadline: Deadline::default(),
        }
    }

    fn try_pull(&self, name: &str, platform: &Platform) -> Result<StoredImage, Error> {
        let pulled = pull_local(&self.store(), &self.request(name, platform), &());
        for name in ["tmp", "trash"] {
            assert_eq!(names(&self.path("store").join(name)), [""; 0], "{name}");
        }
        pulled
    }

    #[track_caller]
    fn pull(&self, name: &str) -> StoredImage {
        let pulled = self.try_pull(name, &Platform::host());
        pulled.unwrap_or_else(|error| panic!("{}", crate::bench::chain(&error)))
    }

    #[track_caller]
    fn fail(&self, name: &str) -> Failed {
        match self.try_pull(name, &Platform::host()) {
            Ok(image) => panic!("it was pulled: {image:?}"),
            Err(error) => Failed::new(error),
        }
    }

    fn layers(&self) -> Vec<String> {
        names(&self.path("store/layers/sha256"))
    }
}

fn two_layers() -> [Layer; 2] {
    [bulky("a", 300_000), layer().file("b", "top").build()]
}

fn make_fifo(path: &Path) {
    let made = Command::new("mkfifo").arg(path).status();
    assert!(made.unwrap().success());
}

#[track_caller]
fn assert_is(pulled: &StoredImage, image: &Image) {
    assert_eq!(pulled.id.to_string(), image.image_id());
    assert_eq!(pulled.lower.len(), image.layers.len());
    let top = std::fs::read(pulled.lower[0].join("b")).unwrap();
    assert_eq!(top, b"top");
}

#[test]
fn a_layout_is_pulled_and_known_by_its_own_manifest() {
    let image = image(two_layers());
    let desk = Desk::new();
    desk.directory(&ImageFiles::of(&image));
    let pulled = desk.pull("oci:dir");
    assert_is(&pulled, &image);
    assert_eq!(pulled.manifest.to_string(), image.manifest.digest);
}

#[test]
fn w22_every_kind_of_archive_in_every_compression_holds_the_same_image() {
    let layers = two_layers();
    let image = image(layers.clone());
    let tags = ["r.example/app:1"];
    let kinds = [
        ("oci-archive", ImageFiles::of(&image)),
        (
            "docker-archive",
            ImageFiles::docker_save(&image, &layers, &tags),
        ),
        (
            "docker-archive",
            ImageFiles::docker_save_with_layout(&image, &tags),
        ),
        (
            "oci-archive",
            ImageFiles::docker_save_with_layout(&image, &tags),
        ),
    ];
    for (kind, files) in kinds {
        for compression in [
            Compression::Plain,
            Compression::Gzip,
            Compression::Zstd,
            Compression::Xz,
            Compression::Bzip2,
        ] {
            let desk = Desk::new();
            desk.archive(&files, compression);
            assert_is(&desk.pull(&format!("{kind}:tar")), &image);
        }
    }
}

#[test]
fn an_archive_may_come_by_a_pipe() {
    let image = image(two_layers());
    let desk = Desk::new();
    let pipe = desk.path("pipe");
    let bytes = ImageFiles::of(&image).archive().bytes;
    make_fifo(&pipe);
    std::thread::scope(|scope| {
        scope.spawn(|| File::create(&pipe).unwrap().write_all(&bytes).unwrap());
        assert_is(&desk.pull("oci-archive:pipe"), &image);
    });
}

#[test]
fn an_archive_that_is_copied_is_bounded() {
    let image = image(two_layers());
    let desk = Desk {
        copy_limit: 100_000,
        ..Desk::new()
    };
    desk.archive(&ImageFiles::of(&image), Compression::Gzip);
    let failed = desk.fail("oci-archive:tar");
    assert_eq!(failed.kind, ErrorKind::Refused);
    assert_contains(&failed.text, "the archive has more than 100000 bytes");
    // One that is read in place needs no copy.
    desk.archive(&ImageFiles::of(&image), Compression::Plain);
    assert_is(&desk.pull("oci-archive:tar"), &image);
}

#[test]
fn a_layer_that_occurs_twice_is_a_link_in_what_docker_saves() {
    let one = layer().file("b", "top").build();
    let layers = [one.clone(), bulky("x", 1000), one];
    let image = image(layers.clone());
    let desk = Desk::new();
    let files = ImageFiles::docker_save(&image, &layers, &["app"]);
    desk.archive(&files, Compression::Plain);
    let pulled = desk.pull("docker-archive:tar:app");
    assert_eq!(pulled.id.to_string(), image.image_id());
    assert_eq!(pulled.lower.len(), 2);
}

#[test]
fn compressed_layers_under_any_name_are_known_by_what_they_hold() {
    let plain = bulky("b", 5000);
    let image = image([plain.clone()]);
    let desk = Desk::new();
    for compression in [Compression::Gzip, Compression::Zstd, Compression::Xz] {
        let blob = plain.compress(compression);
        let files = ImageFiles::default()
            .file("config.json", &image.config.bytes)
            .file("some/layer", &blob.bytes)
            .docker_manifest(&[("config.json", &[], &["some/layer".to_owned()])]);
        desk.archive(&files, Compression::Plain);
        let pulled = desk.pull("docker-archive:tar");
        assert_eq!(pulled.id.to_string(), image.image_id());
    }
}

#[test]
fn an_image_is_chosen_by_tag_or_number_when_there_are_several() {
    let [one, two] = ["one", "two"].map(|name| image([layer().file(name, "x").build()]));
    let files = ImageFiles::layout()
        .image(&one, Some("one"))
        .image(&two, Some("r.example/team/app:2.0"));
    let desk = Desk::new();
    desk.directory(&files);
    for (name, image) in [
        ("oci:dir:one", &one),
        ("oci:dir:r.example/team/app:2.0", &two),
        ("oci:dir:@0", &one),
        ("oci:dir:@1", &two),
    ] {
        assert_eq!(desk.pull(name).id.to_string(), image.image_id(), "{name}");
    }
    let failed = desk.fail("oci:dir");
    assert_eq!(failed.kind, ErrorKind::Refused);
    assert_contains(
        &failed.text,
        "put one of these behind the path: one r.example/team/app:2.0",
    );
    for name in ["oci:dir:three", "oci:dir:@2"] {
        let failed = desk.fail(name);
        assert_eq!(failed.kind, ErrorKind::NotFound);
        assert_contains(&failed.text, "only one r.example/team/app:2.0");
    }
}

#[test]
fn an_image_is_chosen_among_those_that_docker_saved_together() {
    let images = ["one", "two"].map(|name| image([layer().file(name, "x").build()]));
    let layers = images
        .each_ref()
        .map(|image| [blob_file(&image.layers[0].digest)]);
    let configs = images.each_ref().map(|image| blob_file(image.image_id()));
    let both = images
        .iter()
        .fold(ImageFiles::layout(), |files, image| {
            files.image(image, None)
        })
        .docker_manifest(&[
            (&configs[0], &["busybox:1", "other"], &layers[0]),
            (&configs[1], &["r.example/two:2"], &layers[1]),
        ]);
    let desk = Desk::new();
    desk.archive(&both, Compression::Plain);
    for (name, number) in [
        ("docker-archive:tar:busybox:1", 0),
        ("docker-archive:tar:docker.io/library/other:latest", 0),
        ("docker-archive:tar:r.example/two:2", 1),
        ("docker-archive:tar:@1", 1),
    ] {
        let pulled = desk.pull(name);
        assert_eq!(pulled.id.to_string(), images[number].image_id(), "{name}");
    }
    let failed = desk.fail("docker-archive:tar");
    assert_contains(&failed.text, "docker.io/library/busybox:1 r.example/two:2");
    assert_eq!(
        desk.fail("docker-archive:tar:three").kind,
        ErrorKind::NotFound
    );
}

#[test]
fn the_image_for_the_platform_is_found_in_an_index_within() {
    let on = |architecture: &str| {
        let only = layer().file(architecture, "x").build();
        ImageBuilder::new()
            .platform("linux", architecture)
            .layer(only)
            .build()
    };
    let index = ImageIndex::new(MediaTypes::Oci, vec![on("arm64"), on("s390x")]);
    let desk = Desk::new();
    desk.directory(&ImageFiles::layout().index(&index, Some("both")));
    for (platform, number) in [("linux/s390x", 1), ("linux/arm64", 0)] {
        let pulled = desk
            .try_pull("oci:dir:both", &platform.parse().unwrap())
            .unwrap();
        assert_eq!(pulled.id.to_string(), index.images[number].image_id());
    }
    let error = desk
        .try_pull("oci:dir:both", &"linux/riscv64".parse().unwrap())
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Platform);
}

#[test]
fn what_is_as_it_was_is_not_read_again() {
    let image = image(two_layers());
    let desk = Desk::new();
    let directory = desk.directory(&ImageFiles::of(&image));
    desk.pull("oci:dir");
    std::fs::remove_file(directory.join(blob_file(&image.layers[0].digest))).unwrap();
    assert_is(&desk.pull("oci:dir"), &image);
    // Another name has not been shown to hold it.
    assert_eq!(desk.fail("oci:dir:@0").kind, ErrorKind::NotFound);
}

#[test]
fn a_directory_that_changes_is_another_image() {
    let (old, new) = (
        image(two_layers()),
        image([layer().file("b", "top").build()]),
    );
    let desk = Desk::new();
    desk.directory(&ImageFiles::of(&old));
    assert_is(&desk.pull("oci:dir"), &old);
    desk.directory(&ImageFiles::of(&new));
    assert_is(&desk.pull("oci:dir"), &new);
}

#[test]
fn only_who_holds_the_bytes_may_have_a_layer_of_the_store() {
    let image = image(two_layers());
    let bench = Bench::serving(&image);
    bench.pull("app:1");
    let desk = Desk {
        temp: bench.temp,
        copy_limit: 0,
    };
    let layer = blob_file(&image.layers[0].digest);
    let files = ImageFiles::of(&image);
    desk.directory(&files.clone().without(&layer));
    assert_eq!(desk.fail("oci:dir").kind, ErrorKind::NotFound);
    desk.directory(&files.clone().file(&layer, b"something else"));
    assert_eq!(desk.fail("oci:dir").kind, ErrorKind::Integrity);
    desk.directory(&files);
    assert_is(&desk.pull("oci:dir"), &image);
}

/// Pulls a layout whose one file is replaced, and checks that nothing of it stays.
#[track_caller]
fn with_file(name: &str, content: &[u8]) -> Failed {
    let image = image(two_layers());
    let desk = Desk::new();
    desk.directory(&ImageFiles::of(&image).file(name, content));
    let failed = desk.fail("oci:dir");
    assert_eq!(names(&desk.path("store/refs")), [""; 0]);
    failed
}

#[test]
fn p66_every_file_of_a_layout_is_what_its_name_says() {
    let image = image(two_layers());
    let wrong = |bytes: &[u8]| {
        let mut bytes = bytes.to_vec();
        bytes[10] ^= 1;
        bytes
    };
    for (digest, bytes) in [
        (&image.manifest.digest, &image.manifest.bytes),
        (&image.config.digest, &image.config.bytes),
        (&image.layers[0].digest, &image.layers[0].bytes),
    ] {
        let failed = with_file(&blob_file(digest), &wrong(bytes));
        assert_eq!(failed.kind, ErrorKind::Integrity, "{}", failed.text);
        assert_contains(&failed.text, "is not what it is named");
        assert!(!failed.text.contains("registry"), "{}", failed.text);
        let failed = with_file(&blob_file(digest), b"short");
        assert_eq!(failed.kind, ErrorKind::Integrity, "{}", failed.text);
        assert!(!failed.text.contains("registry"), "{}", failed.text);
    }
}

#[test]
fn p66_a_layer_of_another_diff_id_is_refused_and_harms_nobody() {
    // S83: the configuration claims a layer that the store has.
    let (popular, own) = (bulky("popular", 2000), bulky("own", 2000));
    let desk = Desk::new();
    desk.directory(&ImageFiles::of(&image([popular.clone()])));
    let stored = desk.pull("oci:dir");
    let claimed = popular.diff_id;
    let hostile = ImageBuilder::new()
        .layer(own.clone())
        .edit_config(move |config| config["rootfs"]["diff_ids"][0] = json!(claimed))
        .build();
    desk.directory(&ImageFiles::of(&hostile));
    assert_eq!(desk.fail("oci:dir").kind, ErrorKind::Integrity);
    let saved = ImageFiles::docker_save(&hostile, &[own], &["x"]);
    desk.archive(&saved, Compression::Plain);
    assert_eq!(desk.fail("docker-archive:tar").kind, ErrorKind::Integrity);
    assert_eq!(desk.layers().len(), 1);
    assert!(stored.lower[0].join("popular").exists());
}

#[test]
fn a_layout_of_another_version_or_without_its_files_is_refused() {
    let marker = with_file("oci-layout", br#"{"imageLayoutVersion":"2.0.0"}"#);
    assert_contains(
        &marker.text,
        "an OCI layout of version \"2.0.0\"; ucr knows 1.0.0",
    );
    assert_eq!(with_file("oci-layout", b"{}").kind, ErrorKind::Refused);
    assert_eq!(with_file("index.json", b"[]").kind, ErrorKind::Refused);
    let empty = br#"{"schemaVersion":2,"manifests":[]}"#;
    assert_eq!(with_file("index.json", empty).kind, ErrorKind::NotFound);
    let large = vec![b' '; (4 << 20) + 1];
    let large = with_file("index.json", &large);
    assert_contains(&large.text, "at most 4194304 are taken");
    let image = image(two_layers());
    for missing in ["oci-layout", "index.json"] {
        let desk = Desk::new();
        desk.directory(&ImageFiles::of(&image).without(missing));
        let failed = desk.fail("oci:dir");
        assert_eq!(failed.kind, ErrorKind::NotFound);
        assert_contains(&failed.text, &format!("it has no file \"{missing}\""));
    }
    let failed = Desk::new().fail("oci:nothing");
    assert_eq!(failed.kind, ErrorKind::NotFound);
    assert_contains(&failed.text, "/nothing");
}

#[test]
fn p69_an_index_within_is_not_followed_for_ever() {
    let deepest = Stored::new(
        "application/vnd.oci.image.index.v1+json",
        br#"{"schemaVersion":2,"manifests":[]}"#.to_vec(),
    );
    let files = ImageFiles::layout();
    let (files, outermost) = (0..10).fold((files, deepest), |(files, inner), _| {
        let entry = json!({"mediaType": inner.media_type, "digest": inner.digest,
            "size": inner.bytes.len()});
        let outer = json!({"schemaVersion": 2, "manifests": [entry]}).to_string();
        let files = files.file(&blob_file(&inner.digest), &inner.bytes);
        (files, Stored::new(&inner.media_type, outer.into_bytes()))
    });
    let files = files.file(&blob_file(&outermost.digest), &outermost.bytes);
    let desk = Desk::new();
    desk.directory(&files.listed(&outermost, None));
    assert_contains(&desk.fail("oci:dir").text, "more than 3 deep");
}

/// Replaces a file of a layout by something else, and pulls it.
#[track_caller]
fn in_place_of(name: &str, make: impl FnOnce(&Path)) -> Failed {
    let image = image(two_layers());
    let name = match name {
        "layer" => blob_file(&image.layers[0].digest),
        name => name.to_owned(),
    };
    let desk = Desk::new();
    let path = desk.directory(&ImageFiles::of(&image)).join(name);
    std::fs::remove_file(&path).unwrap();
    make(&path);
    desk.fail("oci:dir")
}

#[test]
fn s43_links_out_of_a_layout_are_not_followed() {
    let secret = tempfile::NamedTempFile::new().unwrap();
    for name in ["oci-layout", "index.json", "layer"] {
        let absolute = in_place_of(name, |path| {
            std::os::unix::fs::symlink(secret.path(), path).unwrap();
        });
        assert_eq!(absolute.kind, ErrorKind::NotFound, "{}", absolute.text);
        let climbing = in_place_of(name, |path| {
            let target = format!("../../../../../..{}", secret.path().display());
            std::os::unix::fs::symlink(target, path).unwrap();
        });
        assert_eq!(climbing.kind, ErrorKind::NotFound, "{}", climbing.text);
    }
}

#[test]
fn s43_what_is_no_regular_file_is_not_read() {
    let fifo = |path: &Path| {
        make_fifo(path);
    };
    for name in ["index.json", "layer"] {
        assert_contains(&in_place_of(name, fifo).text, "is no regular file");
        let directory = in_place_of(name, |path| std::fs::create_dir(path).unwrap());
        assert_contains(&directory.text, "is no regular file");
    }
}

#[test]
fn a_link_within_a_layout_is_followed() {
    let image = image(two_layers());
    let desk = Desk::new();
    let layer = blob_file(&image.layers[0].digest);
    let files = ImageFiles::of(&image)
        .without(&layer)
        .file("shared/layer", &image.layers[0].bytes)
        .symlink(&layer, "../../shared/layer");
    desk.directory(&files);
    assert_is(&desk.pull("oci:dir"), &image);
}

/// Pulls an archive of these bytes, which must fail.
#[track_caller]
fn fail_archive(kind: &str, archive: LayerBuilder) -> Failed {
    let desk = Desk::new();
    let path = desk.path("tar");
    File::create(path)
        .unwrap()
        .write_all(&archive.build().bytes)
        .unwrap();
    let failed = desk.fail(&format!("{kind}:tar"));
    assert!(desk.layers().is_empty());
    failed
}

#[test]
fn s50_members_that_lead_elsewhere_are_refused() {
    let manifest =
        |name: &str| json!([{"Config": name, "Layers": [], "RepoTags": null}]).to_string();
    for name in [
        "/etc/shadow",
        "../../etc/shadow",
        "a/../../x",
        "nothing",
        "",
    ] {
        let archive = layer().file("manifest.json", manifest(name));
        let failed = fail_archive("docker-archive", archive);
        assert_eq!(
            crate::local::refused(&failed),
            Some(()),
            "{name}: {}",
            failed.text
        );
    }
    for (link, said) in [
        ("/etc/shadow", "leads out of the archive"),
        ("../../../etc/shadow", "leads out of the archive"),
        ("link", "is a link that leads nowhere"),
    ] {
        let archive = layer()
            .file("manifest.json", manifest("link"))
            .symlink("link", link);
        assert_contains(&fail_archive("docker-archive", archive).text, said);
    }
    let fifo = layer()
        .file("manifest.json", manifest("fifo"))
        .entry(Entry::fifo("fifo"));
    assert_contains(
        &fail_archive("docker-archive", fifo).text,
        "is no regular file",
    );
    for name in ["/manifest.json", "../manifest.json"] {
        let failed = fail_archive("docker-archive", layer().file(name, "[]"));
        assert_contains(&failed.text, "its name");
    }
    let twice = layer()
        .file("manifest.json", "[]")
        .file("./manifest.json", "[]");
    assert_contains(
        &fail_archive("docker-archive", twice).text,
        "it is there twice",
    );
}

/// Nothing of the host was read: it is not there, or not allowed.
fn refused(failed: &Failed) -> Option<()> {
    matches!(failed.kind, ErrorKind::NotFound | ErrorKind::Refused).then_some(())
}

#[test]
fn s81_lists_of_docker_that_make_no_sense_are_refused() {
    for text in [
        "",
        "{}",
        "null",
        "[[]]",
        "[{}]",
        r#"[{"Config":1,"Layers":[]}]"#,
        r#"[{"Config":"c","Config":"c","Layers":[]}]"#,
    ] {
        let failed = fail_archive("docker-archive", layer().file("manifest.json", text));
        assert_eq!(failed.kind, ErrorKind::Refused, "{text}: {}", failed.text);
    }
    let none = fail_archive("docker-archive", layer().file("manifest.json", "[]"));
    assert_eq!(none.kind, ErrorKind::NotFound);
    let other = fail_archive("docker-archive", layer().file("some", "file"));
    assert_contains(&other.text, "it has no file \"manifest.json\"");
    let image = image(two_layers());
    let few = layer().file("c", &image.config.bytes).file(
        "manifest.json",
        json!([{"Config": "c", "Layers": []}]).to_string(),
    );
    assert_contains(&fail_archive("docker-archive", few).text, "0 layers");
    let named = format!("{}.json", "a".repeat(64));
    let wrong = layer().file(&named, &image.config.bytes).file(
        "manifest.json",
        json!([{"Config": named, "Layers": []}]).to_string(),
    );
    assert_eq!(
        fail_archive("docker-archive", wrong).kind,
        ErrorKind::Integrity
    );
}

#[test]
fn l99_an_archive_that_was_cut_short_or_is_none_is_refused() {
    let image = image(two_layers());
    let whole = ImageFiles::of(&image).archive();
    let desk = Desk::new();
    for (kind, bytes) in [
        ("oci-archive", &whole.bytes[..whole.bytes.len() / 2]),
        (
            "oci-archive",
            &whole.compress(Compression::Gzip).bytes[..100_000],
        ),
        ("docker-archive", &b"this is no archive"[..]),
        ("oci-archive", &b""[..]),
    ] {
        File::create(desk.path("tar"))
            .unwrap()
            .write_all(bytes)
            .unwrap();
        desk.fail(&format!("{kind}:tar"));
    }
    assert!(desk.layers().is_empty());
}

#[test]
fn l113_l120_an_app_container_image_is_refused() {
    let manifest = json!({"acKind": "ImageManifest", "acVersion": "0.8.11", "name": "example/app"});
    let image = layer()
        .file("manifest", manifest.to_string())
        .dir("rootfs", 0o755)
        .file("rootfs/f", "x")
        .build();
    let desk = Desk::new();
    for compression in [Compression::Plain, Compression::Gzip] {
        let bytes = image.compress(compression).bytes;
        let mut file = File::create(desk.path("app.aci")).unwrap();
        file.write_all(&bytes).unwrap();
        for kind in ["oci-archive", "docker-archive"] {
            let failed = desk.fail(&format!("{kind}:app.aci"));
            assert_contains(&failed.text, "app.aci: it has no file");
        }
    }
    assert!(desk.layers().is_empty());
    for name in [
        "appc://example.com/app",
        "appc://example.com/app:1.0,os=linux",
        "./app.aci",
        "/srv/app.aci",
        "https://example.com/app.aci",
    ] {
        assert!(name.parse::<ImageName>().is_err(), "{name}");
    }
}

#[test]
fn two_processes_that_pull_the_same_files_make_each_layer_once() {
    let image = image((0..6).map(|n| bulky(&format!("f{n}"), 400_000)));
    let desk = Desk::new();
    desk.directory(&ImageFiles::of(&image));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let request = desk.request("oci:dir", &Platform::host());
                pull_local(&desk.store(), &request, &()).unwrap();
            });
        }
    });
    assert_eq!(desk.layers().len(), 6);
    assert_eq!(desk.pull("oci:dir").lower.len(), 6);
}

/// Pulls `name` into a store with little time.
fn hurry(desk: &Desk, store: &Store, name: &str, progress: &dyn Progress) -> Failed {
    let request = LocalRequest {
        deadline: Deadline::within(Duration::from_millis(200)),
        ..desk.request(name, &Platform::host())
    };
    Failed::new(pull_local(store, &request, progress).unwrap_err())
}

#[test]
fn a_pipe_into_which_nobody_writes_is_waited_for_until_the_deadline() {
    let desk = Desk::new();
    let pipe = desk.path("pipe");
    make_fifo(&pipe);
    // First one that nobody opens, then one into which somebody has written a part.
    let failed = hurry(&desk, &desk.store(), "oci-archive:pipe", &());
    assert_eq!(failed.kind, ErrorKind::Deadline, "{}", failed.text);
    let mut writer = File::options().read(true).write(true).open(&pipe).unwrap();
    writer.write_all(&[0; 512]).unwrap();
    let failed = hurry(&desk, &desk.store(), "oci-archive:pipe", &());
    assert_eq!(failed.kind, ErrorKind::Deadline, "{}", failed.text);
    assert!(desk.layers().is_empty());
}

/// Notes who is waited for.
#[derive(Default)]
struct Waits(Mutex<Vec<Option<u32>>>);

impl Progress for Waits {
    fn event(&self, event: Event<'_>) {
        if let Event::LayerWaiting { holder, .. } = event {
            self.0.lock().unwrap().push(holder);
        }
    }
}

#[test]
fn c8_a_layer_that_another_makes_is_waited_for_until_the_deadline() {
    let image = image([bulky("f", 400_000)]);
    let (bench, desk) = (Bench::serving(&image), Desk::new());
    desk.directory(&ImageFiles::of(&image));
    let first = format!("/blobs/{}", image.layers[0].digest);
    let gate = bench.registry.gate(&first, 200_000);
    let waits = Waits::default();
    let failed = std::thread::scope(|scope| {
        let leader = scope.spawn(|| bench.pull("app:1"));
        gate.wait_reached(1);
        let failed = hurry(&desk, &bench.store(), "oci:dir", &waits);
        gate.release();
        leader.join().unwrap();
        failed
    });
    assert_eq!(failed.kind, ErrorKind::Deadline, "{}", failed.text);
    let us = std::process::id();
    let named = format!("another ucr (process {us}), which is pulling it");
    assert_contains(&failed.text, &named);
    assert_eq!(*waits.0.lock().unwrap(), [Some(us)]);
}

#[test]
fn what_skopeo_writes_is_read() {
    need_command!("skopeo");
    let image = image(two_layers());
    let desk = Desk::new();
    desk.directory(&ImageFiles::layout().image(&image, Some("latest")));
    let place = |name: &str| desk.path(name).display().to_string();
    for (to, from) in [
        (
            format!("oci-archive:{}:r.example/x:1", place("oci.tar")),
            "oci-archive:oci.tar:r.example/x:1",
        ),
        (
            format!("docker-archive:{}:r.example/x:1", place("docker.tar")),
            "docker-archive:docker.tar:r.example/x:1",
        ),
        (
            format!("docker-archive:{}", place("bare.tar")),
            "docker-archive:bare.tar",
        ),
        (format!("oci:{}", place("other")), "oci:other"),
    ] {
        let copied = Command::new("skopeo")
            .args(["copy", "--quiet", "--insecure-policy"])
            .args([format!("oci:{}:latest", place("dir")), to])
            .output()
            .unwrap();
        assert!(copied.status.success(), "{copied:?}");
        let pulled = desk.pull(from);
        assert_eq!(pulled.lower.len(), 2, "{from}");
        assert_eq!(pulled.config.cmd(), ["true"]);
    }
}
