//! How an image in files can be refused.

use std::io;
use std::path::PathBuf;

use ucr_images::{Digest, archive, image};

/// An image in files that is not there, or not what it should be.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The directory or archive cannot be opened.
    #[error("cannot open {}", shown_path(.path))]
    Open {
        /// Where it should be.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Standard input is not open.
    #[error("cannot read standard input")]
    Stdin(#[source] io::Error),
    /// The archive cannot be read or decompressed.
    #[error("cannot read the archive")]
    Read(#[source] io::Error),
    /// The archive is broken, or has members that no such archive has.
    #[error("the archive of the image is refused")]
    Archive(#[source] archive::Error),
    /// The copy that is made of an archive cannot be written.
    #[error("cannot copy the archive to the store")]
    Spool(#[source] ucr_sys::Error),
    /// The archive is larger than a copy of it may be.
    #[error("the archive has more than {limit} bytes when it is unpacked")]
    SpoolLimit {
        /// The most that is copied.
        limit: u64,
    },
    /// It is to be read only, and cannot be without a copy.
    #[error("it has to be copied out to be read: it is compressed as a whole, or no file")]
    NotInPlace,
    /// A file that the image needs is not there.
    #[error("it has no file \"{name}\"")]
    Missing {
        /// Which.
        name: String,
    },
    /// A file that the image needs cannot be read.
    #[error("cannot read its file \"{name}\"")]
    File {
        /// Which.
        name: String,
        /// What the system said.
        source: ucr_sys::Error,
    },
    /// A file that the image needs is none.
    #[error("its \"{name}\" {why}")]
    NoFile {
        /// Which.
        name: String,
        /// What it is.
        why: &'static str,
    },
    /// A document is larger than any.
    #[error("its file \"{name}\" has {size} bytes; at most {limit} are taken")]
    TooLarge {
        /// Which.
        name: String,
        /// How large it is.
        size: u64,
        /// The most that is taken.
        limit: u64,
    },
    /// A file has not the digest that it is known by.
    #[error("its file \"{name}\" is not what it is named: expected {expected}, got {actual}")]
    Digest {
        /// Which.
        name: String,
        /// What it should have.
        expected: Digest,
        /// What it has.
        actual: Digest,
    },
    /// A file has another size than the image says.
    #[error("its file \"{name}\" has {actual} bytes where the image says {declared}")]
    Size {
        /// Which.
        name: String,
        /// What the image says.
        declared: u64,
        /// What it has.
        actual: u64,
    },
    /// A document that only archives and layouts have is not what it should be.
    #[error("its file \"{name}\" is not what it should be")]
    Json {
        /// Which.
        name: &'static str,
        /// Where and why.
        source: serde_json::Error,
    },
    /// The layout is of a version that is not known.
    #[error("it is an OCI layout of version \"{}\"; ucr knows 1.0.0", .version.escape_default())]
    Version {
        /// What it says.
        version: String,
    },
    /// There are several images, and the name does not say which.
    #[error("it holds several images; put one of these behind the path: {}", .choices.join(" "))]
    Several {
        /// What may stand behind the path.
        choices: Vec<String>,
    },
    /// There is no image of that tag or number.
    #[error("it has no image \"{choice}\", only {}", listed(.choices))]
    NoSuchImage {
        /// What was asked for.
        choice: String,
        /// What may be asked for.
        choices: Vec<String>,
    },
    /// A document of the image is refused.
    #[error(transparent)]
    Image(#[from] image::Error),
}

fn shown_path(path: &std::path::Path) -> String {
    path.to_string_lossy().escape_debug().to_string()
}

fn listed(choices: &[String]) -> String {
    if choices.is_empty() {
        "no image at all".to_owned()
    } else {
        choices.join(" ")
    }
}
