//! The laws that the fuzz targets check; those of the tests in `certs/tests/mutations`.

#[path = "../../certs/tests/mutations/laws.rs"]
pub mod laws;
