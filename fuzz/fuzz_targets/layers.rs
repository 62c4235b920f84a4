//! Layers made of any bytes, unpacked and compared with a model of what they mean.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ucr_fuzz::layers;

fuzz_target!(|bytes: &[u8]| layers::layers(bytes));
