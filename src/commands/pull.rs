//! `ucr pull`: an image from its registry into the store.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use ucr_puller::{
    Budget, Error, ErrorKind, Platform, Reference, Request, Store, StoredImage, registry,
};

use super::gc::collect_if_over;
use crate::command_error::CommandError;
use crate::credential::CredentialArgs;
use crate::gc_config::age;
use crate::patience::PatienceArgs;
use crate::progress;
use crate::settings::{Settings, need_root};
use crate::trust::{InsecureArgs, RegistryArgs, Trust, TrustArgs};
use crate::ui::Ui;

/// What to pull.
#[derive(Debug, Args)]
pub(crate) struct PullArgs {
    #[command(flatten)]
    source: SourceArgs,
    /// Keep the image whatever becomes of its name, until ucr unpin NAME
    #[arg(long, value_name = "NAME")]
    pin: Option<String>,
    /// Let the pin end by itself after this time, such as 1h or 30d
    #[arg(long, value_name = "TIME", requires = "pin", value_parser = age)]
    ttl: Option<Duration>,
    /// Image, as [docker://]HOST[:PORT]/PATH[:TAG][@DIGEST]
    #[arg(value_name = "IMAGE")]
    image: Reference,
}

/// How to get an image, for every command that may have to.
#[derive(Debug, Args)]
pub(crate) struct SourceArgs {
    /// Platform to pull when the image has several, as OS/ARCH[/VARIANT] [default: this machine's]
    #[arg(long, value_name = "PLATFORM")]
    platform: Option<Platform>,
    #[command(flatten)]
    access: AccessArgs,
}

/// As whom to ask registries, and whom to trust.
#[derive(Debug, Args)]
pub(crate) struct AccessArgs {
    #[command(flatten)]
    credential: CredentialArgs,
    #[command(flatten)]
    trust: TrustArgs,
    #[command(flatten)]
    insecure: InsecureArgs,
    #[command(flatten)]
    patience: PatienceArgs,
    #[command(flatten)]
    registry: RegistryArgs,
    /// Show no progress
    #[arg(short, long)]
    quiet: bool,
}

impl SourceArgs {
    /// The platform that was asked for, or this machine's.
    pub(crate) fn platform(&self) -> Platform {
        self.platform.clone().unwrap_or_else(Platform::host)
    }

    /// Pulls `reference` into the store.
    pub(crate) fn pull(
        &self,
        reference: &Reference,
        store: &Store,
        settings: &Settings,
        ui: &Ui,
    ) -> Result<StoredImage, CommandError> {
        let wanted = (reference, &self.platform());
        self.access.pull(wanted, store, settings, ui)
    }

    /// Makes sure that an image which is in the store may be had by who asks.
    ///
    /// # Errors
    /// When its registry would not let them have it, or cannot be asked.
    pub(crate) fn check_access(
        &self,
        (reference, image): (&Reference, &StoredImage),
        store: &Store,
        settings: &Settings,
        ui: &Ui,
    ) -> Result<(), CommandError> {
        let wanted = (reference, &self.platform());
        self.access.check((wanted, image), store, settings, ui)
    }
}

impl AccessArgs {
    /// Pulls a reference for a platform into the store.
    pub(crate) fn pull(
        &self,
        (reference, platform): (&Reference, &Platform),
        store: &Store,
        settings: &Settings,
        ui: &Ui,
    ) -> Result<StoredImage, CommandError> {
        let trust = Arc::new(self.insecure.load(&self.trust, settings, ui)?);
        let request = self.request((reference, platform), settings, ui)?;
        let mut transport = trust.transport(store.empty_dir());
        self.patience.apply(&mut transport);
        let progress = progress::choose(self.quiet, *ui, &reference.to_string());
        let pulled = ucr_puller::pull(store, transport, &request, &*progress);
        drop(progress);
        pulled.map_err(|error| advise(error, reference, store, &trust))
    }
}

impl AccessArgs {
    fn request(
        &self,
        (reference, platform): (&Reference, &Platform),
        settings: &Settings,
        ui: &Ui,
    ) -> Result<Request, CommandError> {
        Ok(Request {
            reference: reference.clone(),
            platform: platform.clone(),
            credentials: Arc::new(self.credential.sources(reference, ui)?),
            registries: self.registry.registries(settings, ui),
            budget: Budget::default(),
        })
    }

    fn check(
        &self,
        (wanted, image): ((&Reference, &Platform), &StoredImage),
        store: &Store,
        settings: &Settings,
        ui: &Ui,
    ) -> Result<(), CommandError> {
        if !image.private {
            return Ok(());
        }
        let request = self.request(wanted, settings, ui)?;
        let there = (store, image);
        let remembered = ucr_puller::may_have(there, &request, settings.auth_cache_ttl);
        if remembered.map_err(CommandError::new)? {
            return Ok(());
        }
        let trust = Arc::new(self.insecure.load(&self.trust, settings, ui)?);
        let mut transport = trust.transport(store.empty_dir());
        self.patience.apply(&mut transport);
        ucr_puller::check_access(there, transport, &request, &())
            .map_err(|error| advise(error, wanted.0, store, &trust))
    }
}

/// Runs `ucr pull`.
pub(crate) fn pull(
    args: &PullArgs,
    settings: &Settings,
    ui: &Ui,
) -> Result<ExitCode, CommandError> {
    need_root("ucr pull", "unpacked layers keep the owners of their files")?;
    let store = open_store(settings, ui)?;
    let pulled = args.source.pull(&args.image, &store, settings, ui);
    // What is whole of an image that is not is good for the next try, after a reboot too.
    let settled = store.settle().map_err(CommandError::new);
    let image = pulled?;
    settled?;
    store.settle_image(&image).map_err(CommandError::new)?;
    if let Some(pin) = &args.pin {
        let pinned = (&args.image, &args.source.platform());
        let pinned = store.pin(pin, pinned, args.ttl);
        pinned.map_err(CommandError::new)?;
    }
    collect_if_over(&store, settings, ui);
    ui.print(&image.id.to_string())?;
    Ok(ExitCode::SUCCESS)
}

/// Opens the store, cleaning up after processes that died.
pub(crate) fn open_store(settings: &Settings, ui: &Ui) -> Result<Store, CommandError> {
    let store = Store::open(&settings.root).map_err(CommandError::new)?;
    ignore(store.sweep(), ui);
    Ok(store)
}

/// Tells of a clean-up that failed, which is no reason not to go on: the next one tries again.
pub(crate) fn ignore(swept: Result<(), ucr_puller::store::Error>, ui: &Ui) {
    if let Err(error) = swept {
        ui.say_ignored(&CommandError::new(error));
    }
}

/// Adds to a failed pull what its reader may try.
fn advise(error: Error, reference: &Reference, store: &Store, trust: &Trust) -> CommandError {
    let kind = error.kind();
    let advice = error.http().map(|error| trust.advice(error));
    let hint = error.registry().and_then(registry::Error::hint);
    let anonymous = error
        .registry()
        .is_some_and(registry::Error::is_of_anonymous);
    let failed = CommandError::new(error)
        .advised(advice.unwrap_or_default())
        .hints(hint);
    let login = format!("ucr login {}", reference.registry());
    match kind {
        ErrorKind::CredentialMissing => failed
            .hint("--principal NAME --secret-file FILE, or $UCR_PRINCIPAL and $UCR_SECRET")
            .hint(login),
        ErrorKind::CredentialRejected if anonymous => failed
            .hint("--principal NAME --secret-file FILE: the registry lets nobody else have it")
            .hint(login),
        ErrorKind::CredentialRejected => {
            failed.hint("another principal or secret; this one may lack the right to pull")
        }
        ErrorKind::NotFound => failed
            .hint("check repository and tag; some registries hide what a credential may not see"),
        ErrorKind::Platform => failed.hint("--platform with one of these"),
        ErrorKind::Integrity => failed
            .hint("once more: a cache or proxy on the way may be at fault; nothing of it was kept"),
        ErrorKind::DiskFull => {
            let mebibytes = store.free_bytes().unwrap_or_default() / (1024 * 1024);
            let inodes = store.free_inodes().unwrap_or_default();
            let path = store.path().display();
            failed.hint(format!(
                "make room: now that the unfinished part is removed, \
                 {path} has {mebibytes} MiB and {inodes} inodes free"
            ))
        }
        _ => failed,
    }
}
