//! The laws that the fuzz targets check; those of the tests in `certs/tests/mutations`,
//! `executor/tests/mutations` and `puller/tests/pull/mutations`.

// What the configuration's document needs of the program.
#[allow(dead_code)]
#[path = "../../src/gc_config.rs"]
mod gc_config;
#[path = "../../certs/tests/mutations/laws.rs"]
pub mod laws;
#[path = "../../puller/tests/pull/layers.rs"]
pub mod layers;
#[allow(dead_code)]
#[path = "../../src/network_config.rs"]
mod network_config;
#[path = "../../puller/tests/pull/laws.rs"]
pub mod pull_laws;
#[allow(dead_code)]
#[path = "../../src/quantity.rs"]
mod quantity;
#[path = "../../executor/tests/mutations/laws.rs"]
pub mod task_laws;
