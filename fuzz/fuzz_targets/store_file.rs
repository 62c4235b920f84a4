//! A file of the trust store, whose directory is in a temporary one that stays:
//! libFuzzer ends without unwinding.

#![no_main]

use std::path::PathBuf;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use ucr_fuzz::laws;

static DIRECTORY: LazyLock<PathBuf> = LazyLock::new(|| {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    directory.keep()
});

fuzz_target!(|bytes: &[u8]| laws::store_file(&DIRECTORY, bytes));
