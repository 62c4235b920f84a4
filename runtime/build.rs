//! Gives both executables the identity of the code that they share.
//!
//! The plan is a private format between one build of `ucr` and the same build
//! of `ucr-init`: this hash of everything that defines it keeps others apart.
//!
//! Makes the program of Docker's default system call filter too, so that an
//! ordinary start has nothing to compile.

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
    #[cfg(feature = "launch")]
    make_default_filter()?;
    Ok(())
}

/// Writes `default.bpf` for the machine that this is built for.
#[cfg(feature = "launch")]
#[expect(
    clippy::disallowed_methods,
    reason = "cargo tells a build script by the environment"
)]
fn make_default_filter() -> std::io::Result<()> {
    use std::io::{Error, Write};
    use ucr_seccomp::{GRANTED_BY_DEFAULT, ScmpArch, default_profile};

    let variable = |name| std::env::var(name).map_err(Error::other);
    let machine = match variable("CARGO_CFG_TARGET_ARCH")?.as_str() {
        "x86_64" => ScmpArch::X8664,
        "aarch64" => ScmpArch::Aarch64,
        other => return Err(Error::other(format!("ucr does not run on {other}"))),
    };
    let filter = default_profile(machine, GRANTED_BY_DEFAULT);
    let program = filter.compile().map_err(Error::other)?;
    let path = Path::new(&variable("OUT_DIR")?).join("default.bpf");
    std::fs::File::create(path)?.write_all(&program)
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
