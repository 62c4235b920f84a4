//! Where a container of a task gets its image from: the store, as it was made ready before.

use clap::Args;
use ucr_images::{Reference, Store, StoredImage};

use crate::command_error::CommandError;
use crate::report::Failure;
use crate::settings::Settings;
use crate::source::{ImageArgs, Inject, Puller, Source, Told};
use crate::ui::Ui;

/// Only what is in the store. That it may be had by who asks was made sure of before, too.
#[derive(Debug, Args)]
pub(super) struct Prepared {
    #[command(flatten)]
    image: ImageArgs,
}

impl Source for Prepared {
    fn image(&self) -> &ImageArgs {
        &self.image
    }

    fn puller(&self) -> Result<&dyn Puller, CommandError> {
        let text = "the image was in the store a moment ago, and is not any more";
        Err(CommandError::sentence(text).told_as(Failure::NOT_CACHED))
    }

    fn check_access(
        &self,
        _there: (&Reference, &StoredImage),
        _store: &Store,
        _settings: &Settings,
        _told: Told<'_>,
    ) -> Result<(), CommandError> {
        Ok(())
    }

    fn certificates(&self, _settings: &Settings, _ui: &Ui) -> Result<Option<Inject>, CommandError> {
        Ok(None)
    }
}
