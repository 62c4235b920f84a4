//! The name of an image.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ucr_fuzz::pull_laws;

fuzz_target!(|text: &str| pull_laws::reference(text));
