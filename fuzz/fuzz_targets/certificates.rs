//! Bytes that should hold certificates.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ucr_fuzz::laws;

fuzz_target!(|bytes: &[u8]| laws::certificates(bytes));
