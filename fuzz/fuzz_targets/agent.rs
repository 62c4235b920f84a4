//! Lines of settings, as DC/OS has them for agents and Marathon.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ucr_fuzz::task_laws;

fuzz_target!(|bytes: &[u8]| task_laws::agent(bytes));
