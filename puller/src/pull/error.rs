//! What can go wrong in a pull, and in one layer of it.

use ucr_images::{Digest, another_ucr, archive, image, store};

use crate::budget::Exceeded;
use crate::http::ShownUrl;
use crate::{http, local, registry};

/// Why an image was not pulled.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PullError {
    /// The registry did not give what was asked for.
    #[error(transparent)]
    Registry(#[from] registry::Error),
    /// A document of the image is refused.
    #[error(transparent)]
    Image(#[from] image::Error),
    /// The image's files on this machine are refused.
    #[error(transparent)]
    Local(#[from] local::Error),
    /// Transfers failed as a whole.
    #[error(transparent)]
    Http(#[from] http::Error),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The manifest is not the one that was asked for.
    #[error(
        "the registry sent another manifest than the one asked for: expected {expected}, got {actual}"
    )]
    ManifestDigest {
        /// What was asked for.
        expected: Digest,
        /// What came.
        actual: Digest,
    },
    /// The configuration is not the one of the manifest.
    #[error(
        "the registry sent another configuration than the manifest names: expected {expected}, got {actual}"
    )]
    ConfigDigest {
        /// What the manifest names.
        expected: Digest,
        /// What came.
        actual: Digest,
    },
    /// The configuration has not the size that the manifest says, or too much.
    #[error("the configuration has {} bytes where the manifest says {declared} (at most {limit} are taken)", .actual.map_or("more".to_owned(), |n| n.to_string()))]
    ConfigSize {
        /// What the manifest says.
        declared: u64,
        /// What came, if it was asked for at all.
        actual: Option<u64>,
        /// The most that is taken.
        limit: u64,
    },
    /// It would take more than it may, or than there is.
    #[error(transparent)]
    Budget(#[from] Exceeded),
    /// A layer failed.
    #[error("layer {digest}")]
    Layer {
        /// The layer, as the registry has it.
        digest: Digest,
        /// Why.
        source: Box<LayerError>,
    },
    /// The time that there was is over.
    #[error("it was not done before the deadline")]
    Deadline,
    /// Another process was waited for until the deadline.
    #[error("layer {digest} was not done before the deadline by {}, which is pulling it", another_ucr(*.holder))]
    WaitedTooLong {
        /// The layer, as the registry has it.
        digest: Digest,
        /// The process that is making it, where it has said so.
        holder: Option<u32>,
    },
    /// What was just put into the store is not there.
    #[error("the image was removed from the store while it was being pulled")]
    Vanished,
}

impl PullError {
    /// The same, after the deadline: whatever reading files said then is that there was no time.
    pub(super) fn too_late(self) -> Self {
        match self {
            Self::Local(_) | Self::Layer { .. } => Self::Deadline,
            error => error,
        }
    }
}

/// Why a layer was not fetched and unpacked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LayerError {
    /// The registry did not give it.
    #[error(transparent)]
    Registry(#[from] registry::Error),
    /// It did not arrive.
    #[error(transparent)]
    Http(#[from] http::Error),
    /// Its file on this machine is refused.
    #[error(transparent)]
    Local(#[from] local::Error),
    /// It has not as many bytes as it should.
    #[error("{} came where {declared} were declared", came(*.actual, *.declared))]
    Size {
        /// What the manifest says, or for one that does not, the registry itself when asked.
        declared: u64,
        /// How many came; one more than declared stands for any number more.
        actual: u64,
    },
    /// No place that the manifest names for a foreign layer gave it; this is the last of them.
    #[error("it is a foreign layer, and {}did not give it{}", shown(.url.as_ref()), before(.others))]
    Outside {
        /// The place.
        url: Option<ShownUrl>,
        /// What became of those before it.
        others: Vec<String>,
        /// What became of this one.
        source: Box<Self>,
    },
    /// A failure would pass, but not in time.
    #[error("{why}, and asking again in {wait:.0?} would be past the deadline")]
    TooLate {
        /// What happened.
        why: String,
        /// How long would have to be waited.
        wait: std::time::Duration,
    },
    /// The server gives neither the parts that it is asked for nor the whole.
    #[error("another part came than the one asked for, and the whole is not sent")]
    Parts,
    /// Its bytes are not those that the manifest names.
    #[error("other bytes came than the manifest names: expected {expected}, got {actual}")]
    Digest {
        /// What the manifest names.
        expected: Digest,
        /// What came.
        actual: Digest,
    },
    /// Uncompressed, it is not what the configuration names.
    #[error(
        "its content is not what the configuration names: expected diff ID {expected}, got {actual}"
    )]
    DiffId {
        /// What the configuration names.
        expected: Digest,
        /// What came.
        actual: Digest,
    },
    /// It cannot be unpacked.
    #[error(transparent)]
    Archive(#[from] archive::Error),
    /// It turned into more than it may, or than there is room for.
    #[error(transparent)]
    Budget(#[from] Exceeded),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// There is no directory to unpack it in.
    #[error("cannot make a directory to unpack it in")]
    Prepare(#[source] ucr_sys::Error),
    /// The files for what is fetched of it cannot be used.
    #[error("cannot keep what is fetched of it")]
    Spool(#[source] ucr_sys::Error),
    /// There is no thread to unpack it.
    #[error("cannot start a thread to unpack it")]
    Thread(#[source] std::io::Error),
}

impl LayerError {
    /// Whether other bytes came than the manifest names.
    pub(super) fn is_of_content(&self) -> bool {
        matches!(self.of_place(), Self::Size { .. } | Self::Digest { .. })
    }

    /// What the last place did, whatever others did before.
    pub(crate) fn of_place(&self) -> &Self {
        match self {
            Self::Outside { source, .. } => source.of_place(),
            error => error,
        }
    }

    /// Whether what came before it is worth keeping for the next who tries.
    pub(super) fn may_be_resumed(&self) -> bool {
        matches!(
            self.of_place(),
            Self::Http(_) | Self::Registry(_) | Self::TooLate { .. }
        )
    }
}

fn shown(url: Option<&ShownUrl>) -> String {
    url.map_or_else(String::new, |url| format!("{url} "))
}

fn before(others: &[String]) -> String {
    match others {
        [] => String::new(),
        others => format!(", after {}", others.join(", ")),
    }
}

fn came(actual: u64, declared: u64) -> String {
    if actual > declared {
        "more bytes".to_owned()
    } else {
        format!("{actual} bytes")
    }
}
