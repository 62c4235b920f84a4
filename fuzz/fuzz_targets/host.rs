//! The text of a host with or without a port.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ucr_fuzz::laws;

fuzz_target!(|text: &str| laws::host(text));
