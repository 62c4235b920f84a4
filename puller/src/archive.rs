//! A layer's bytes: decompressed, read as tar, and applied to an empty directory.
//!
//! Every byte here is hostile. The result is a directory in the form that
//! overlayfs stacks: whiteouts are 0:0 character devices, opaque directories
//! carry `trusted.overlay.opaque`. What overlayfs cannot express in one layer
//! alone is reported to the caller ([`Applied`]).

mod decompress;
mod error;
mod metadata;
mod parents;
mod path;
mod strict;
mod tar;
#[cfg(test)]
mod tests;
mod whiteout;
mod writer;

pub(crate) use decompress::decompress;
pub use error::Error;
pub(crate) use writer::{Applied, apply};
