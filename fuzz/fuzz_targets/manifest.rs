//! A manifest, an index, or what is sent in place of one.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ucr_fuzz::pull_laws;

fuzz_target!(|bytes: &[u8]| pull_laws::manifest(bytes));
