//! A layer's bytes: decompressed, read as tar, and applied to an empty directory.
//!
//! Every byte here is hostile. The result is a directory in the form that
//! overlayfs stacks: whiteouts are 0:0 character devices, opaque directories
//! carry `trusted.overlay.opaque`. What overlayfs cannot express in one layer
//! alone is reported to the caller ([`Applied`]). What was unpacked is written down
//! in an index on the way ([`index`]).

mod check;
pub mod compare;
mod decompress;
mod describe;
mod error;
pub mod extract;
pub mod index;
mod members;
mod metadata;
mod parents;
mod path;
mod strict;
mod tar;
#[cfg(test)]
mod tests;
mod whiteout;
mod writer;

pub use check::{Checked, check_layer};
pub use compare::{Difference, Fault};
pub use decompress::{Decompressed, decompress, decompress_in};
pub use describe::describe;
pub use error::Error;
pub use members::{Member, members, plain_name};
pub use writer::{Applied, apply};
