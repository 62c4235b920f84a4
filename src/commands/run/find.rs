//! The image of a container: in the store, or pulled.

use ucr_images::{ImageName, Store, StoredImage};

use super::base::Base;
use super::{PullPolicy, RunArgs};
use crate::command_error::CommandError;
use crate::report::Failure;
use crate::settings::Settings;
use crate::source::{Puller, Source, Told};
use crate::store::{ignore, store_failed};

/// An image, as far as it was looked for.
pub(super) enum Image<'a> {
    /// There is none.
    Host,
    /// It is in the store, and may be had.
    Stored(Box<StoredImage>),
    /// It has to be pulled.
    Wanted(&'a dyn Puller),
}

/// Looks for the image in the store, or for who pulls it, as `--pull` says.
pub(super) fn find<'a, S: Source>(
    args: &'a RunArgs<S>,
    store: &Store,
    settings: &Settings,
    told: Told<'_>,
) -> Result<Image<'a>, CommandError> {
    let name = &args.container.words.image;
    // Files are looked at each time, which takes no longer than to look into the store.
    let asks_store = match name {
        ImageName::Registry(_) => args.pull != PullPolicy::Always,
        ImageName::Local(_) => args.pull == PullPolicy::Never,
    };
    if asks_store {
        let stored = store.image_to_use(name, &args.source.image().platform());
        if let Some(image) = stored.map_err(store_failed)? {
            if let ImageName::Registry(reference) = name {
                let there = (reference, &image);
                args.source.check_access(there, store, settings, told)?;
            }
            ignore(store.sweep_containers(), told.0);
            return Ok(Image::Stored(Box::new(image)));
        }
    }
    if args.pull == PullPolicy::Never {
        let text = format!("{} is not in the store {}", *name, store.path().display());
        return Err(CommandError::sentence(text)
            .told_as(Failure::NOT_CACHED)
            .hint(format!("ucr pull {}, or --pull missing", *name)));
    }
    args.source.puller().map(Image::Wanted)
}

/// What was found, once all of it is there.
pub(super) fn pulled(
    found: Image<'_>,
    name: &ImageName,
    store: &Store,
    settings: &Settings,
    (ui, report): Told<'_>,
) -> Result<Base, CommandError> {
    Ok(match found {
        Image::Host => Base::Host(Box::default()),
        Image::Stored(image) => Base::Image(image),
        Image::Wanted(puller) => {
            ignore(store.sweep(), ui);
            let image = puller.pull(name, store, settings, (ui, report))?;
            report.pulled(&image);
            Base::Image(Box::new(image))
        }
    })
}
