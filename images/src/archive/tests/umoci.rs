//! Comparison with umoci, which unpacks images by other code.

use std::path::Path;
use std::process::Command;

use serde_json::json;
use test_support::{Compression, ImageBuilder, need_command, need_root};

use super::*;

/// Numbers that are the same in every run (xorshift64*).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let high = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(high).unwrap() % limit
    }
}

/// A valid layer: every directory has an entry, and what is linked to is there.
fn random_layer(random: &mut Random) -> LayerBuilder {
    let mut builder = layer().entry(Entry::dir("./").mode(0o755).mtime(5_000_000));
    let mut dirs = vec![String::new()];
    let mut files = vec!["first".to_owned()];
    builder = builder.file("first", "content");
    for n in 0..120 {
        let dir = dirs[random.below(dirs.len())].clone();
        let long = if random.below(10) == 0 {
            "x".repeat(120)
        } else {
            String::new()
        };
        let name = format!("{dir}n{n}{long}");
        let entry = match random.below(8) {
            0 | 1 => {
                dirs.push(format!("{name}/"));
                Entry::dir(&name).mode([0o755, 0o700, 0o1777, 0o2755][random.below(4)])
            }
            2 | 3 => {
                files.push(name.clone());
                Entry::file(&name, "c".repeat(random.below(2000)))
                    .mode([0o644, 0o4755, 0o2711, 0][random.below(4)])
            }
            4 => Entry::symlink(
                &name,
                ["/etc/passwd", "../..", "n1", "nowhere"][random.below(4)],
            ),
            5 => Entry::hardlink(&name, &files[random.below(files.len())]),
            6 => Entry::fifo(&name).mode(0o600),
            _ => Entry::char_device(&name, 1, 3).mode(0o666),
        };
        let seconds = i128::try_from(random.below(2_000_000_000)).unwrap();
        let owner = i128::try_from(random.below(70_000)).unwrap();
        builder = builder.entry(entry.owner(owner, 5).mtime(seconds));
    }
    builder
}

/// Writes an image of one layer as an OCI layout (image-layout.md).
fn write_layout(layout: &Path, layer: &Layer) {
    let image = ImageBuilder::new()
        .layer_as(layer.clone(), Compression::Gzip)
        .build();
    let write = |name: &str, bytes: &[u8]| {
        use std::io::Write as _;
        let path = layout.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        File::create(path).unwrap().write_all(bytes).unwrap();
    };
    let blobs = image.blobs();
    let manifest = (image.manifest.digest.clone(), image.manifest.bytes.clone());
    for (digest, bytes) in blobs.into_iter().chain([manifest]) {
        write(&format!("blobs/{}", digest.replace(':', "/")), &bytes);
    }
    let index = json!({
        "schemaVersion": 2,
        "manifests": [{
            "mediaType": image.manifest.media_type,
            "digest": image.manifest.digest,
            "size": image.manifest.bytes.len(),
            "annotations": {"org.opencontainers.image.ref.name": "t"},
        }],
    });
    write("index.json", index.to_string().as_bytes());
    write("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#);
}

#[test]
fn what_umoci_unpacks_is_what_we_unpack() {
    need_root!();
    need_command!("umoci");
    for seed in 1..=4 {
        let layer = random_layer(&mut Random(seed)).build();
        let case = Case::new();
        case.apply(&layer).unwrap();
        let layout = case.temp.path().join("layout");
        write_layout(&layout, &layer);
        let theirs = case.temp.path().join("theirs");
        let output = Command::new("umoci")
            .args(["raw", "unpack", "--image"])
            .arg(format!("{}:t", layout.display()))
            .arg(&theirs)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
        let (ours, theirs) = (tree(&case.root()), tree(&theirs));
        for (our, their) in ours.lines().zip(theirs.lines()) {
            assert_eq!(our, their, "seed {seed}");
        }
        assert_eq!(ours.lines().count(), theirs.lines().count());
    }
}
