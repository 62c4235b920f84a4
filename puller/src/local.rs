//! Images in files: an OCI layout, an archive of one, or what `docker save` writes.
//!
//! Owns how their documents and layers are found; what they say is read and
//! judged by `image`, as if a registry had sent it. Whoever wrote the files is
//! distrusted as much: names are resolved inside the layout and nowhere else, a
//! file that is no regular one is not read, and nothing is taken that has not
//! the digest by which it is known.

mod archive;
mod docker;
mod error;
mod files;
mod layout;

use std::collections::HashMap;
use std::io::BufReader;

pub use error::Error;

pub(crate) use self::archive::Spool;

use ucr_images::image::{Manifest, Resolved};
use ucr_images::{Digest, LocalFormat, LocalName, Place, Platform};

use self::files::{Files, Section};

/// The most that a document of an image may hold, as with registries.
const DOCUMENT_LIMIT: u64 = 4 * 1024 * 1024;
/// Bytes of a layer that are read at once.
const BUFFER: usize = 128 * 1024;

/// An image that was found, with its manifest verified or, for an archive of Docker's, made.
#[derive(Debug)]
pub(crate) struct LocalImage {
    /// The manifest.
    pub(crate) resolved: Resolved<Manifest>,
    /// The bytes of the configuration, verified.
    pub(crate) config: Vec<u8>,
    files: Files,
    /// The names of the layers' files, where they are not what the layout makes of the digest.
    layers: HashMap<Digest, String>,
}

impl LocalImage {
    /// Finds the image of a name; an archive that cannot be read in place is copied to `spool`,
    /// and refused where there is none.
    ///
    /// # Errors
    /// Everything that keeps the image from being found or trusted; the layers are not yet read.
    pub(crate) fn open(
        name: &LocalName,
        platform: &Platform,
        spool: Option<&Spool<'_>>,
    ) -> Result<Self, Error> {
        let files = match (&name.place, name.format) {
            (Place::Path(path), LocalFormat::OciLayout) => Files::directory(path)?,
            (place, _) => archive::open(place, spool)?,
        };
        let is_docker = match name.format {
            LocalFormat::DockerArchive => true,
            LocalFormat::OciLayout | LocalFormat::OciArchive => false,
            LocalFormat::AnyArchive => !files.has(layout::MARKER),
        };
        if is_docker {
            docker::open(files, &name.choice)
        } else {
            layout::open(files, &name.choice, platform)
        }
    }

    /// The bytes of one of the manifest's layers, to be verified by who reads them.
    pub(crate) fn layer(&self, digest: &Digest) -> Result<BufReader<Section>, Error> {
        let section = match self.layers.get(digest) {
            Some(name) => self.files.open(name)?,
            None => self.files.open(&layout::blob_name(digest))?,
        };
        Ok(BufReader::with_capacity(BUFFER, section))
    }
}
