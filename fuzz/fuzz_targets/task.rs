//! A task, of whichever format.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ucr_fuzz::task_laws;

fuzz_target!(|bytes: &[u8]| task_laws::task(bytes));
