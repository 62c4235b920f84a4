//! Pulling from a registry over TLS, by the public API, and what the store has then.
//!
//! One binary for all of them: libcurl and OpenSSL are linked once.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot be set up has failed"
)]

// What the configuration's document needs of the program (see `laws`).
#[allow(dead_code, unreachable_pub, reason = "the document needs some of it")]
#[path = "../../../src/gc_config.rs"]
mod gc_config;
#[allow(dead_code, unreachable_pub, reason = "the document needs some of it")]
#[path = "../../../src/network_config.rs"]
mod network_config;
#[allow(dead_code, unreachable_pub, reason = "the document needs some of it")]
#[path = "../../../src/quantity.rs"]
mod quantity;

mod access;
mod bench;
mod budgets;
mod concurrency;
mod content;
mod credentials;
mod documents;
mod foreign;
mod greeting;
mod handshakes;
mod hosts;
mod http2;
mod identity;
mod insecure;
pub mod laws;
pub mod layers;
mod local;
mod mirrors;
mod mutations;
mod overlay;
mod plain_http;
mod policy;
mod proxies;
mod redirects;
mod resuming;
mod retries;
mod schema1;
mod tokens;
mod trust;
mod wire;
