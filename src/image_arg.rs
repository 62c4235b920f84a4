//! The argument that names an image, wherever it is.

use std::error::Error;

use ucr_images::ImageName;

/// Reads the name of an image; a path in it counts from the working directory.
///
/// # Errors
/// Text that names none, and a working directory that is gone.
pub fn image_name(text: &str) -> Result<ImageName, Box<dyn Error + Send + Sync>> {
    let name: ImageName = text.parse()?;
    match name {
        ImageName::Registry(_) => Ok(name),
        ImageName::Local(_) => Ok(name.in_directory(&std::env::current_dir()?)),
    }
}
