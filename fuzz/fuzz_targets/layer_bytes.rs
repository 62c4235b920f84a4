//! Any bytes as a layer.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ucr_fuzz::layers;

fuzz_target!(|bytes: &[u8]| layers::layer_bytes(bytes));
