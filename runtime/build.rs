//! Gives both executables the identity of the code that they share.
//!
//! The plan is a private format between one build of `ucr` and the same build
//! of `ucr-init`: this hash of everything that defines it keeps others apart.

use std::path::{Path, PathBuf};

fn main() -> std::io::Result<()> {
    let here = PathBuf::from(std::env!("CARGO_MANIFEST_DIR"));
    let mut files = vec![here.join("../Cargo.lock")];
    for sources in ["../sys/src", "src", "../init/src"] {
        println!("cargo::rerun-if-changed={sources}");
        collect(&here.join(sources), &mut files)?;
    }
    println!("cargo::rerun-if-changed=../Cargo.lock");
    files.sort();
    let mut hash = Fnv::new();
    for file in &files {
        if file.exists() {
            hash.add(&std::fs::read(file)?);
        }
    }
    println!("cargo::rustc-env=UCR_BUILD_ID={:032x}", hash.0);
    Ok(())
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}

/// FNV-1a with 128 bits: enough to tell builds apart, against nobody's malice.
struct Fnv(u128);

impl Fnv {
    fn new() -> Self {
        Self(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d)
    }

    fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u128::from(*byte)).wrapping_mul(0x0100_0000_0000_0000_0000_013B);
        }
    }
}
