//! The configuration file.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ucr_fuzz::pull_laws;

fuzz_target!(|text: &str| pull_laws::configuration(text));
