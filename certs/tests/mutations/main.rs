//! Seeds of every kind of input, mutated by chance that is the same in each run.
//!
//! The quick brother of the fuzz targets, which need a build of their own; both
//! check the same [`laws`] and begin with the same seeds.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot be set up has failed"
)]

pub mod laws;

use tempfile::TempDir;
use test_support::mutations::{check, seeds};

/// What the beginnings of interesting inputs are made of.
const TOKENS: [&[u8]; 12] = [
    b"\n-----BEGIN CERTIFICATE-----\n",
    b"\n-----END CERTIFICATE-----\n",
    b"-----BEGIN TRUSTED CERTIFICATE-----",
    b"PKCS7",
    b"\r\n",
    b"\x30\x80",
    b"\x30\x82\xff\xff",
    b"\x30\x84\xff\xff\xff\xff",
    b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02",
    b"\0\0",
    b":443",
    b"[::]",
];

#[test]
fn mutated_certificates_are_refused_or_stay_what_they_are() {
    check(laws::certificates, &seeds("certificates"), &TOKENS, 20_000);
}

#[test]
fn mutated_files_of_the_store_are_listed_by_their_fingerprint_or_not_at_all() {
    let directory = TempDir::new().unwrap();
    let law = |bytes: &[u8]| laws::store_file(directory.path(), bytes);
    check(law, &seeds("store_file"), &TOKENS, 500);
}

#[test]
fn mutated_hosts_are_refused_or_stay_what_they_are() {
    let law = |bytes: &[u8]| laws::host(&String::from_utf8_lossy(bytes));
    check(law, &seeds("host"), &TOKENS, 20_000);
}
