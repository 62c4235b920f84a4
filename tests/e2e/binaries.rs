//! The executables under test, side by side as they are installed.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::SystemTime;

use rustix::fs::{FlockOperation, flock};

/// `ucr`, with `ucr-init` of the same sources beside it.
///
/// Cargo builds `ucr` for these tests but not the other package's executable.
/// Whatever changes `ucr-init` changes the build ID in `ucr` too, so one that is
/// younger than `ucr` is of the same sources: that costs each test two `stat`s.
pub(crate) fn ucr() -> &'static Path {
    static READY: OnceLock<PathBuf> = OnceLock::new();
    READY.get_or_init(|| {
        let ucr = PathBuf::from(env!("CARGO_BIN_EXE_ucr"));
        let init = ucr.with_file_name("ucr-init");
        if !is_younger(&init, &ucr) {
            let lock = File::create(ucr.with_file_name(".ucr-init.lock")).unwrap();
            flock(&lock, FlockOperation::LockExclusive).unwrap();
            // Another test may have built it while this one waited.
            if !is_younger(&init, &ucr) {
                build_init(&init);
            }
        }
        ucr
    })
}

fn is_younger(this: &Path, that: &Path) -> bool {
    let modified = |path: &Path| path.metadata().and_then(|data| data.modified());
    modified(this).unwrap_or(SystemTime::UNIX_EPOCH) > modified(that).unwrap()
}

/// Builds it in the way of `scripts/build`, and puts it in its place by a rename.
fn build_init(init: &Path) {
    let release = init.parent().unwrap();
    let target = release.parent().unwrap();
    let built = Command::new(env!("CARGO"))
        .args(["build", "--profile", "init", "--package", "ucr-init"])
        .arg("--target-dir")
        .arg(target)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(built.status.success(), "{built:?}");
    let new = release.join(".ucr-init.new");
    std::fs::copy(target.join("init/ucr-init"), &new).unwrap();
    std::fs::rename(&new, init).unwrap();
}
