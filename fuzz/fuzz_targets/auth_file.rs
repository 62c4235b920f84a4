//! A file with credentials, of docker or podman.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ucr_fuzz::pull_laws;

fuzz_target!(|bytes: &[u8]| pull_laws::auth_file(bytes));
