//! The laws that the fuzz targets check; those of the tests in `certs/tests/mutations` and
//! `puller/tests/pull/mutations`.

#[path = "../../certs/tests/mutations/laws.rs"]
pub mod laws;
#[path = "../../puller/tests/pull/laws.rs"]
pub mod pull_laws;
