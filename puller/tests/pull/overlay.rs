//! What several layers look like through the kernel's overlayfs.
//!
//! Each case is an image that is pulled, stacked by a real mount, and compared
//! with what should be seen. Where umoci is installed, which unpacks one layer
//! over the other, it has to agree.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::json;
use test_support::{Entry, Image, Layer, has_command, need_command, need_root, tree};

use crate::bench::{Bench, Failed, image, layer, without_times};

/// Layers mounted in a mount namespace of their own, which ends with this.
struct Mounted {
    keeper: Child,
    root: PathBuf,
}

impl Mounted {
    fn new(lower: &[PathBuf], temp: &Path) -> Self {
        let (root, empty) = (temp.join("merged"), temp.join("empty"));
        for dir in [&root, &empty] {
            std::fs::create_dir_all(dir).unwrap();
        }
        // A single directory is no stack for overlayfs.
        let lower: Vec<_> = lower
            .iter()
            .chain([&empty])
            .map(|dir| dir.to_str().unwrap())
            .collect();
        let mut keeper = Command::new("unshare")
            .args(["--mount", "--propagation", "private", "sh", "-c"])
            .arg("mount -t overlay overlay -o \"ro,lowerdir=$0\" \"$1\" && echo mounted && read line")
            .arg(lower.join(":"))
            .arg(&root)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = String::new();
        let output = keeper.stdout.take().unwrap();
        BufReader::new(output).read_line(&mut said).unwrap();
        assert_eq!(said, "mounted\n");
        let root = format!("/proc/{}/root{}", keeper.id(), root.display());
        Self {
            keeper,
            root: root.into(),
        }
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // The end of its input is the end of the keeper, and of its namespace.
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
    }
}

/// What an image of these layers looks like, the lowest first: a line for each path.
#[track_caller]
fn merged(layers: impl IntoIterator<Item = Layer>) -> Vec<String> {
    let image = image(layers);
    let bench = Bench::serving(&image);
    let pulled = bench.pull("app:1");
    let mounted = Mounted::new(&pulled.lower, bench.temp.path());
    let seen = shape(&mounted.root);
    if has_command("umoci") {
        let theirs = unpack_by_umoci(&image, bench.temp.path());
        assert_eq!(seen, theirs, "umoci has it otherwise");
    }
    seen
}

/// A tree without its root, whose attributes are the writable layer's, and without times.
fn shape(root: &Path) -> Vec<String> {
    let lines = without_times(&tree(root));
    let own = |line: &&str| !line.starts_with("/ ");
    lines.lines().filter(own).map(short).collect()
}

fn short(line: &str) -> String {
    let words = line
        .split(' ')
        .filter(|word| !word.starts_with("size=") && !word.starts_with("sha256:"));
    words.collect::<Vec<_>>().join(" ")
}

fn unpack_by_umoci(image: &Image, temp: &Path) -> Vec<String> {
    let layout = temp.join("layout");
    let write = |name: &str, bytes: &[u8]| {
        let path = layout.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::File::create(path)
            .unwrap()
            .write_all(bytes)
            .unwrap();
    };
    let manifest = (image.manifest.digest.clone(), image.manifest.bytes.clone());
    for (digest, bytes) in image.blobs().into_iter().chain([manifest]) {
        write(&format!("blobs/{}", digest.replace(':', "/")), &bytes);
    }
    let index = json!({"schemaVersion": 2, "manifests": [{
        "mediaType": image.manifest.media_type,
        "digest": image.manifest.digest,
        "size": image.manifest.bytes.len(),
        "annotations": {"org.opencontainers.image.ref.name": "t"},
    }]});
    write("index.json", index.to_string().as_bytes());
    write("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#);
    let target = temp.join("theirs");
    let output = Command::new("umoci")
        .args(["raw", "unpack", "--image"])
        .arg(format!("{}:t", layout.display()))
        .arg(&target)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    shape(&target)
}

#[track_caller]
fn refused(layers: impl IntoIterator<Item = Layer>) -> Failed {
    let bench = Bench::serving(&image(layers));
    let failed = bench.fail("app:1");
    assert_eq!(failed.kind, ucr_images::ErrorKind::Refused);
    failed
}

/// A merged `/usr` as distributions have it.
fn usr_merged() -> Layer {
    layer()
        .dir("usr", 0o755)
        .dir("usr/lib", 0o750)
        .file("usr/lib/old", "old")
        .symlink("lib", "usr/lib")
        .build()
}

macro_rules! need_overlay {
    () => {
        need_root!();
        need_command!("unshare", "mount");
    };
}

#[test]
fn l13_a_file_below_a_lower_layers_link_stands_where_the_link_leads() {
    need_overlay!();
    let seen = merged([usr_merged(), layer().file("lib/new", "new").build()]);
    let expected = [
        "/lib symlink 0777 0:0 -> usr/lib",
        "/usr dir 0755 0:0",
        "/usr/lib dir 0750 0:0",
        "/usr/lib/new file 0644 0:0",
        "/usr/lib/old file 0644 0:0",
    ];
    assert_eq!(seen, expected);
}

#[test]
fn l13_a_whole_tree_below_a_link_keeps_its_attributes_and_whiteouts() {
    need_overlay!();
    let lower = layer()
        .dir("usr", 0o755)
        .dir("usr/lib", 0o755)
        .dir("usr/lib/systemd", 0o711)
        .dir("usr/lib/plain", 0o700)
        .file("usr/lib/plain/old", "old")
        .file("usr/lib/gone", "x")
        .file("usr/lib/replaced", "old")
        .symlink("lib", "/usr/lib")
        .build();
    let upper = layer()
        .entry(Entry::dir("lib/systemd").mode(0o750).owner(3, 4))
        .file("lib/systemd/unit", "x")
        .file("lib/plain/new", "x")
        .file("lib/made/here", "x")
        .entry(Entry::file("lib/replaced", "new").mode(0o4755))
        .symlink("lib/link", "systemd")
        .whiteout("lib/gone")
        .build();
    let seen = merged([lower, upper]);
    let expected = [
        "/lib symlink 0777 0:0 -> /usr/lib",
        "/usr dir 0755 0:0",
        "/usr/lib dir 0755 0:0",
        "/usr/lib/link symlink 0777 0:0 -> systemd",
        "/usr/lib/made dir 0755 0:0",
        "/usr/lib/made/here file 0644 0:0",
        "/usr/lib/plain dir 0700 0:0",
        "/usr/lib/plain/new file 0644 0:0",
        "/usr/lib/plain/old file 0644 0:0",
        "/usr/lib/replaced file 4755 0:0",
        "/usr/lib/systemd dir 0750 3:4",
        "/usr/lib/systemd/unit file 0644 0:0",
    ];
    assert_eq!(seen, expected);
}

#[test]
fn l13_of_several_layers_the_highest_counts() {
    need_overlay!();
    let seen = merged([
        usr_merged(),
        layer()
            .file("lib/x", "1")
            .file("lib/y", "1")
            .file("lib/z", "1")
            .build(),
        layer()
            .entry(Entry::file("lib/x", "22").mode(0o600))
            .build(),
        layer().whiteout("lib/y").file("unrelated", "").build(),
        layer()
            .entry(Entry::file("usr/lib/z", "333").mode(0o755))
            .build(),
    ]);
    let expected = [
        "/lib symlink 0777 0:0 -> usr/lib",
        "/unrelated file 0644 0:0",
        "/usr dir 0755 0:0",
        "/usr/lib dir 0750 0:0",
        "/usr/lib/old file 0644 0:0",
        "/usr/lib/x file 0600 0:0",
        "/usr/lib/z file 0755 0:0",
    ];
    assert_eq!(seen, expected);
}

#[test]
fn l13_a_chain_of_links_and_a_target_that_is_not_there() {
    need_overlay!();
    let lower = layer()
        .symlink("a", "b/../c")
        .dir("b", 0o755)
        .symlink("c", "/deep/er")
        .build();
    let seen = merged([lower, layer().file("a/f", "x").build()]);
    let expected = [
        "/a symlink 0777 0:0 -> b/../c",
        "/b dir 0755 0:0",
        "/c symlink 0777 0:0 -> /deep/er",
        "/deep dir 0755 0:0",
        "/deep/er dir 0755 0:0",
        "/deep/er/f file 0644 0:0",
    ];
    assert_eq!(seen, expected);
}

#[test]
fn l13_a_link_that_climbs_out_stays_inside() {
    need_overlay!();
    let lower = layer()
        .dir("etc", 0o755)
        .symlink("l", "../../../etc")
        .build();
    let seen = merged([lower, layer().file("l/passwd", "x").build()]);
    let expected = [
        "/etc dir 0755 0:0",
        "/etc/passwd file 0644 0:0",
        "/l symlink 0777 0:0 -> ../../../etc",
    ];
    assert_eq!(seen, expected);
}

#[test]
fn l13_a_described_directory_replaces_a_link() {
    need_overlay!();
    let seen = merged([
        usr_merged(),
        layer().dir("lib", 0o700).file("lib/new", "x").build(),
    ]);
    let expected = [
        "/lib dir 0700 0:0",
        "/lib/new file 0644 0:0",
        "/usr dir 0755 0:0",
        "/usr/lib dir 0750 0:0",
        "/usr/lib/old file 0644 0:0",
    ];
    assert_eq!(seen, expected);
}

#[test]
fn l13_what_no_layer_on_top_can_mend_is_refused() {
    need_root!();
    let loops = layer().symlink("a", "b").symlink("b", "a").build();
    let said = refused([loops, layer().file("a/x", "x").build()]).text;
    assert!(
        said.contains("cannot be stacked at \"a\": it is a loop of links"),
        "{said}"
    );

    let to_file = layer().file("f", "").symlink("a", "f").build();
    let said = refused([to_file, layer().file("a/x", "x").build()]).text;
    assert!(said.contains("it links to what is no directory"), "{said}");

    let upper = || layer().file("lib/x", "x").build();
    let said = refused([usr_merged(), upper(), layer().dir("lib", 0o755).build()]).text;
    assert!(
        said.contains("a higher layer has something else there"),
        "{said}"
    );

    let opaque = layer().file("lib/d/x", "x").opaque("lib/d").build();
    let said = refused([usr_merged(), opaque]).text;
    assert!(said.contains("it is opaque, and below a link"), "{said}");

    let twice = layer().file("lib/x", "1").file("usr/lib/x", "2").build();
    let said = refused([usr_merged(), twice]).text;
    assert!(said.contains("one layer has it twice"), "{said}");
}

#[test]
fn l82_l84_implied_directories_look_as_the_lower_layer_has_them() {
    need_overlay!();
    let lower = layer()
        .dir("tmp", 0o1777)
        .dir("root", 0o700)
        .entry(Entry::dir("var").owner(5, 6).xattr("user.x", "y"))
        .dir("var/lib", 0o711)
        .build();
    let upper = layer()
        .file("tmp/x", "")
        .file("root/.profile", "")
        .file("var/lib/db/f", "")
        .build();
    let seen = merged([lower, upper]);
    let expected = [
        "/root dir 0700 0:0",
        "/root/.profile file 0644 0:0",
        "/tmp dir 1777 0:0",
        "/tmp/x file 0644 0:0",
        "/var dir 0755 5:6 user.x=y",
        "/var/lib dir 0711 0:0",
        "/var/lib/db dir 0755 0:0",
        "/var/lib/db/f file 0644 0:0",
    ];
    assert_eq!(seen, expected);
}

#[test]
fn l36_l40_whiteouts_hide_and_leave_no_ghosts() {
    need_overlay!();
    let lower = layer()
        .dir("d", 0o755)
        .file("d/f", "")
        .file("d/kept", "")
        .dir("tree", 0o755)
        .file("tree/f", "")
        .symlink("link", "d")
        .build();
    let upper = layer()
        .whiteout("d/f")
        .whiteout("tree")
        .whiteout("link")
        .build();
    assert_eq!(
        merged([lower, upper]),
        ["/d dir 0755 0:0", "/d/kept file 0644 0:0"]
    );
}

#[test]
fn l42_whiteouts_of_nothing_leave_no_ghosts() {
    need_overlay!();
    let lower = layer().dir("a", 0o755).whiteout("none").build();
    let upper = layer()
        .dir("a", 0o755)
        .whiteout("a/none")
        .whiteout("nothing")
        .build();
    assert_eq!(merged([lower, upper]), ["/a dir 0755 0:0"]);
}

#[test]
fn l43_l44_l45_a_layer_hides_lower_layers_and_not_itself() {
    need_overlay!();
    let lower = layer()
        .file("f", "old")
        .file("g", "old")
        .dir("d", 0o700)
        .file("d/old", "")
        .build();
    let upper = layer()
        .whiteout("f")
        .entry(Entry::file("f", "new").mode(0o600))
        .entry(Entry::file("g", "new").mode(0o600))
        .whiteout("g")
        .whiteout("d")
        .file("d/new", "")
        .build();
    let expected = [
        "/d dir 0755 0:0",
        "/d/new file 0644 0:0",
        "/f file 0600 0:0",
        "/g file 0600 0:0",
    ];
    assert_eq!(merged([lower, upper]), expected);
}

#[test]
fn l46_l49_an_opaque_directory_shows_only_its_own() {
    need_overlay!();
    let lower = layer()
        .dir("d", 0o755)
        .file("d/old", "")
        .dir("d/sub", 0o755)
        .file("d/sub/old", "")
        .build();
    let upper = layer()
        .dir("d", 0o711)
        .file("d/new", "")
        .opaque("d")
        .whiteout("d/old")
        .dir("d/sub", 0o755)
        .whiteout("d/sub/old")
        .build();
    let expected = [
        "/d dir 0711 0:0",
        "/d/new file 0644 0:0",
        "/d/sub dir 0755 0:0",
    ];
    assert_eq!(merged([lower, upper]), expected);
}

#[test]
fn l47_an_opaque_root_cuts_the_stack() {
    need_overlay!();
    let lower = layer().dir("tmp", 0o1777).file("old", "").build();
    let upper = layer().opaque("").file("tmp/new", "").build();
    let top = layer().file("top", "").build();
    let image = image([lower, upper, top]);
    let bench = Bench::serving(&image);
    let pulled = bench.pull("app:1");
    let mounted = Mounted::new(&pulled.lower, bench.temp.path());
    let expected = [
        "/tmp dir 0755 0:0",
        "/tmp/new file 0644 0:0",
        "/top file 0644 0:0",
    ];
    assert_eq!(shape(&mounted.root), expected);
}

#[test]
fn l112_a_layer_that_occurs_twice_counts_where_it_is_highest() {
    need_overlay!();
    let (one, two) = (
        layer().file("f", "one").build(),
        layer().whiteout("f").file("g", "two").build(),
    );
    let seen = merged([one.clone(), two, one]);
    assert_eq!(seen, ["/f file 0644 0:0", "/g file 0644 0:0"]);
}

#[test]
fn l112_an_empty_layer_and_thirty_others_are_stacked() {
    need_overlay!();
    let numbered = (0..30).map(|n| layer().file(&format!("f{n:02}"), n.to_string()).build());
    let seen = merged(numbered.chain([layer().build()]));
    assert_eq!(seen.len(), 30);
}
