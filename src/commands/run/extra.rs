//! What a task of an executor's has that no flag of `ucr run` says.

use std::path::PathBuf;

use ucr_images::{ImageName, Platform, Store};
use ucr_runtime::launch::ImageVolume;
use ucr_runtime::network::{Connected, Joining};

use crate::command_error::CommandError;
use crate::report::Failure;
use crate::store::store_failed;

/// Whose files a container begins with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Files {
    /// Those of its image.
    #[default]
    OfImage,
    /// Those of this machine.
    OfHost,
}

/// What no flag says. Nothing of it is the usual.
#[derive(Debug, Default)]
pub(crate) struct Extra<'a> {
    /// Whose files it begins with.
    pub(crate) files: Files,
    /// What it is connected to already, and its way in.
    pub(crate) network: Option<(&'a Connected, Joining)>,
    /// Secrets that it finds in files, by path.
    pub(crate) secrets: Vec<(PathBuf, Vec<u8>)>,
    /// Directories in it that become its user's.
    pub(crate) given: Vec<PathBuf>,
    /// Images that are mounted in it, by path.
    pub(crate) images: Vec<(PathBuf, ImageName)>,
}

impl Extra<'_> {
    /// The layers of its images, which nobody removes from here on.
    pub(super) fn images(&self, store: &Store) -> Result<Vec<ImageVolume>, CommandError> {
        let layers = self.images.iter().map(|(path, name)| {
            let image = store.image_to_use(name, &Platform::host());
            let image = image.map_err(store_failed)?.ok_or_else(|| {
                let text =
                    format!("the image {name} was in the store a moment ago, and is not any more");
                CommandError::sentence(text).told_as(Failure::NOT_CACHED)
            })?;
            Ok(ImageVolume {
                path: path.clone(),
                lower: image.lower,
            })
        });
        layers.collect()
    }
}
