//! Pulling from a registry over TLS, by the public API, and what the store has then.
//!
//! One binary for all of them: libcurl and OpenSSL are linked once.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot be set up has failed"
)]

mod access;
mod bench;
mod concurrency;
mod content;
mod credentials;
mod documents;
mod greeting;
mod handshakes;
mod hosts;
mod identity;
mod insecure;
mod local;
mod mirrors;
mod overlay;
mod plain_http;
mod policy;
mod proxies;
mod redirects;
mod resuming;
mod retries;
mod tokens;
mod trust;
