//! Where `run` gets an image from that it may not take out of the store as it is.

use std::path::PathBuf;

use clap::Args;
use oci_spec::runtime::Spec;
use ucr_credentials::was_let_in;
use ucr_images::registries::{Admission, Place};
use ucr_images::{ImageName, Platform, Reference, Store, StoredImage};
use ucr_runtime::plan::Additions;

use crate::beside;
use crate::command_error::CommandError;
use crate::credential::CredentialArgs;
use crate::progress_args::ProgressArgs;
use crate::report::{Report, ReportArgs};
use crate::settings::Settings;
use crate::ui::Ui;

/// Which of an image's platforms, and who is told what happens.
#[derive(Debug, Args)]
pub struct ImageArgs {
    /// Platform to pull when the image has several, as OS/ARCH[/VARIANT] [default: this machine's]
    #[arg(long, value_name = "PLATFORM")]
    platform: Option<Platform>,
    #[command(flatten)]
    report: ReportArgs,
}

impl ImageArgs {
    /// The platform that was asked for, or this machine's.
    pub fn platform(&self) -> Platform {
        self.platform.clone().unwrap_or_else(Platform::host)
    }

    /// Opens the report of a command about `image`.
    ///
    /// # Errors
    /// As [`ReportArgs::open`].
    pub fn report(&self, image: &ImageName) -> Result<Report, CommandError> {
        self.report.open(image.to_string())
    }

    /// Opens the report of a command about several images, or none.
    ///
    /// # Errors
    /// As [`ReportArgs::open`].
    pub fn report_of_several(&self) -> Result<Report, CommandError> {
        self.report.open("")
    }
}

/// Adds certificates to the files of a container that is made of this specification.
pub type Inject = Box<dyn Fn(&Spec, &Ui) -> Additions>;

/// Who is told of what a command does: a person, and a program.
pub type Told<'t> = (&'t Ui, &'t Report);

/// Who pulls images.
pub trait Puller {
    /// Pulls an image into the store.
    ///
    /// # Errors
    /// When it cannot be had.
    fn pull(
        &self,
        name: &ImageName,
        store: &Store,
        settings: &Settings,
        told: Told<'_>,
    ) -> Result<StoredImage, CommandError>;
}

/// How `run` gets what it cannot have by looking into the store, and the flags for it.
///
/// Asked before anything is read that can be read only once: it may become another program, which
/// reads it.
pub trait Source: Args {
    /// Which image, and who is told.
    fn image(&self) -> &ImageArgs;

    /// Who pulls what the store does not have.
    ///
    /// # Errors
    /// When that is nobody here.
    fn puller(&self) -> Result<&dyn Puller, CommandError>;

    /// Makes sure that an image which is in the store may be had by who asks.
    ///
    /// # Errors
    /// When its registry would not let them have it, or cannot be asked.
    fn check_access(
        &self,
        there: (&Reference, &StoredImage),
        store: &Store,
        settings: &Settings,
        told: Told<'_>,
    ) -> Result<(), CommandError>;

    /// What adds the trusted certificates to a container, if that was asked for.
    ///
    /// # Errors
    /// When they cannot be read.
    fn certificates(&self, settings: &Settings, ui: &Ui) -> Result<Option<Inject>, CommandError>;
}

/// Which CAfile trust in registries begins with.
#[derive(Debug, Args)]
pub struct CafileArgs {
    /// CAfile to trust instead of the distribution's; certificates added with `ucr certs add`
    /// are trusted as well [env: UCR_CAFILE=]
    #[arg(long, value_name = "FILE")]
    pub cafile: Option<PathBuf>,
}

/// Only what the store has, and may be had without asking: for everything else this process
/// becomes `ucr-registry`, which begins anew.
#[derive(Debug, Args)]
pub struct StoreOnly {
    #[command(flatten)]
    image: ImageArgs,
    #[command(flatten)]
    credential: CredentialArgs,
    // Nobody is asked here, so nothing has to be trusted, and nothing shows how it goes on.
    #[command(flatten)]
    _cafile: CafileArgs,
    #[command(flatten)]
    _progress: ProgressArgs,
}

impl StoreOnly {
    /// Why this process did not become `ucr-registry`.
    fn elsewhere(&self) -> CommandError {
        match self.image.report.pass_on() {
            Ok(()) => beside::become_registry(),
            Err(error) => error,
        }
    }

    /// Whether who asks was let in lately, as far as that can be told here.
    fn was_let_in(
        &self,
        reference: &Reference,
        store: &Store,
        settings: &Settings,
    ) -> Result<bool, CommandError> {
        let registries = &settings.registries;
        let Ok(places) = registries.places(reference) else {
            return Ok(false);
        };
        let is_blocked = |place: &Place| registries.admission(&place.host) == Admission::Blocked;
        if !self.credential.is_there_to_stay() || places.iter().any(is_blocked) {
            return Ok(false);
        }
        let sources = self.credential.sources(reference)?;
        // What cannot be read is for the other to say.
        let let_in = was_let_in(store, &places, &sources, settings.auth_cache_ttl);
        Ok(let_in.unwrap_or(false))
    }
}

impl Source for StoreOnly {
    fn image(&self) -> &ImageArgs {
        &self.image
    }

    fn puller(&self) -> Result<&dyn Puller, CommandError> {
        Err(self.elsewhere())
    }

    fn check_access(
        &self,
        (reference, image): (&Reference, &StoredImage),
        store: &Store,
        settings: &Settings,
        (ui, _report): Told<'_>,
    ) -> Result<(), CommandError> {
        if !image.private {
            return Ok(());
        }
        if !self.was_let_in(reference, store, settings)? {
            return Err(self.elsewhere());
        }
        self.credential.warn(ui);
        Ok(())
    }

    fn certificates(&self, _settings: &Settings, _ui: &Ui) -> Result<Option<Inject>, CommandError> {
        Ok(None)
    }
}
