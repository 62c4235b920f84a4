//! What the tests of several crates share: a CA, images and layers, hostile
//! ones too, a registry that fails on demand, and a real one.
//!
//! Everything here panics when it cannot do its work, because a test that
//! cannot be set up has failed. Nothing sleeps: what has to be waited for is
//! waited for on a condition, with a limit.

#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that cannot be set up fails"
)]

mod black_hole;
mod busybox;
mod ca;
mod client_auth;
pub mod fake_registry;
mod http_client;
mod image;
mod layer;
mod local_image;
pub mod mutations;
mod openssl_server;
mod proxy;
mod real_registry;
mod schema1;
mod skip;
mod tree;

pub use black_hole::BlackHole;
pub use busybox::busybox_layer;
pub use ca::{Issued, TestCa, Validity};
pub use client_auth::ClientAuth;
pub use fake_registry::FakeRegistry;
pub use http_client::{HttpClient, HttpResponse};
pub use image::{Image, ImageBuilder, ImageIndex, MediaTypes, Stored, sha256_digest};
pub use layer::{Blob, Checksum, Compression, Entry, Layer, LayerBuilder, Magic};
pub use local_image::{ImageFiles, blob_file};
pub use openssl_server::OpensslServer;
pub use proxy::TestProxy;
pub use real_registry::RealRegistry;
pub use schema1::{Schema1Builder, Schema1Image};
pub use skip::{has_command, is_root};
pub use tree::{Sentinel, tree};
