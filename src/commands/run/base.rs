//! What a container's files are: those of an image, or the host's.

use std::path::Path;

use ucr_images::{ImageConfig, ImageName, StoredImage};
use ucr_runtime::launch::Rootfs;

/// Where a container begins.
#[derive(Debug)]
pub(super) enum Base {
    /// With an image.
    Image(Box<StoredImage>),
    /// With the files of this machine, and a configuration that says nothing.
    Host(Box<ImageConfig>),
}

impl Base {
    /// The image's configuration.
    pub(super) fn config(&self) -> &ImageConfig {
        match self {
            Self::Image(image) => &image.config,
            Self::Host(config) => config,
        }
    }

    /// How people know the image that was asked for as `name`, and its ID; empty where there is
    /// none.
    pub(super) fn names(&self, name: &ImageName) -> (String, String) {
        match self {
            Self::Image(image) => (name.to_string(), image.id.to_string()),
            Self::Host(_) => (String::new(), String::new()),
        }
    }

    /// The root file system of a container whose own directory is `work_dir`.
    pub(super) fn rootfs(&self, work_dir: &Path) -> Rootfs {
        let work_dir = work_dir.to_owned();
        match self {
            Self::Image(image) => Rootfs::Overlay {
                lower: image.lower.clone(),
                work_dir,
            },
            Self::Host(_) => Rootfs::Host { work_dir },
        }
    }
}
