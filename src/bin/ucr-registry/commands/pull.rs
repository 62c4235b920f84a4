//! `ucr pull`: an image from its registry, or from files, into the store.

use std::fmt;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use ucr::command_error::CommandError;
use ucr::commands::gc::collect_if_over;
use ucr::credential::CredentialArgs;
use ucr::gc_config::age;
use ucr::image_arg::image_name;
use ucr::progress_args::{Form, ProgressArgs};
use ucr::settings::{Settings, need_root};
use ucr::shown;
use ucr::source::{ImageArgs, Inject, Puller, Source, Told};
use ucr::store::{open_store, store_failed};
use ucr::ui::Ui;
use ucr_images::store::Stalled;
use ucr_images::{ErrorKind, ImageName, LocalName, Platform, Reference, Store, StoredImage, store};
use ucr_puller::http::Settings as Transport;
use ucr_puller::{Budget, Error, Event, LocalRequest, Progress, Request, registry};

use crate::budget::{self, BudgetArgs};
use crate::injected_certs::InjectedCerts;
use crate::patience::PatienceArgs;
use crate::progress::{watch, watch_settling};
use crate::report::{self, PullReport};
use crate::task_credentials::TaskCredentials;
use crate::trust::{InsecureArgs, RegistryArgs, Trust, TrustArgs, trust_stores};

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
    /// Image, as [docker://]HOST[:PORT]/PATH[:TAG][@DIGEST], oci:DIR[:TAG],
    /// oci-archive:FILE[:TAG], docker-archive:FILE[:NAME], or - for an archive on standard input
    #[arg(value_name = "IMAGE", value_parser = image_name)]
    image: ImageName,
}

/// How to get an image.
#[derive(Debug, Args)]
pub(crate) struct SourceArgs {
    #[command(flatten)]
    image: ImageArgs,
    #[command(flatten)]
    access: AccessArgs,
}

/// How to get an image, and what of this machine's trust a container of it gets.
#[derive(Debug, Args)]
pub(crate) struct RunSource {
    #[command(flatten)]
    source: SourceArgs,
    /// Add the certificates of `ucr certs add` to the container's own CA bundle
    #[arg(long)]
    inject_ca: bool,
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
    budget: BudgetArgs,
    #[command(flatten)]
    registry: RegistryArgs,
    #[command(flatten)]
    progress: ProgressArgs,
}

/// An image of a registry, and as whom it is asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted<'w> {
    /// Which image.
    pub(crate) reference: &'w Reference,
    /// For which platform.
    pub(crate) platform: &'w Platform,
    /// What the task that wants it says of that, where it is a task.
    pub(crate) credentials: Option<&'w TaskCredentials>,
}

impl<'w> From<(&'w Reference, &'w Platform)> for Wanted<'w> {
    fn from((reference, platform): (&'w Reference, &'w Platform)) -> Self {
        Self {
            reference,
            platform,
            credentials: None,
        }
    }
}

impl SourceArgs {
    /// Which platform, and who is told.
    pub(crate) fn image(&self) -> &ImageArgs {
        &self.image
    }

    /// As whom to ask, and whom to trust.
    pub(crate) fn access(&self) -> &AccessArgs {
        &self.access
    }
}

impl Puller for SourceArgs {
    fn pull(
        &self,
        name: &ImageName,
        store: &Store,
        settings: &Settings,
        told: Told<'_>,
    ) -> Result<StoredImage, CommandError> {
        let platform = self.image.platform();
        match name {
            ImageName::Registry(reference) => {
                let wanted = (reference, &platform).into();
                self.access.pull(wanted, store, settings, told)
            }
            ImageName::Local(name) => {
                self.access
                    .pull_local((name, &platform), store, settings, told)
            }
        }
    }
}

impl Source for RunSource {
    fn image(&self) -> &ImageArgs {
        &self.source.image
    }

    fn puller(&self) -> Result<&dyn Puller, CommandError> {
        Ok(&self.source)
    }

    fn check_access(
        &self,
        (reference, image): (&Reference, &StoredImage),
        store: &Store,
        settings: &Settings,
        (ui, _report): Told<'_>,
    ) -> Result<(), CommandError> {
        let SourceArgs {
            image: asked,
            access,
        } = &self.source;
        let platform = asked.platform();
        let wanted = (reference, &platform).into();
        access.check((wanted, image), store, settings, ui)
    }

    fn certificates(&self, settings: &Settings, ui: &Ui) -> Result<Option<Inject>, CommandError> {
        if !self.inject_ca {
            return Ok(None);
        }
        let certs = InjectedCerts::read(&trust_stores(settings), ui)?;
        let inject = |certs: InjectedCerts| -> Inject {
            Box::new(move |spec, ui| certs.additions(spec, ui))
        };
        Ok(certs.map(inject))
    }
}

impl AccessArgs {
    /// Pulls an image of a registry into the store.
    pub(crate) fn pull(
        &self,
        wanted: Wanted<'_>,
        store: &Store,
        settings: &Settings,
        (ui, report): Told<'_>,
    ) -> Result<StoredImage, CommandError> {
        let Wanted { reference, .. } = wanted;
        let trust = Arc::new(self.insecure.load(&self.trust, settings, ui)?);
        let request = self.request(wanted, settings, ui)?;
        let mut transport = trust.transport(store.empty_dir());
        self.patience.apply(&mut transport);
        let progress = watch(self.progress.form(*ui), *ui, &reference.to_string(), report);
        let pulled = ucr_puller::pull(store, transport, &request, &progress);
        drop(progress);
        pulled.map_err(|error| advise(error, reference, store, &trust))
    }
}

impl AccessArgs {
    /// How files are fetched that are of no image, where whom to trust is looked for only as it is
    /// needed; and what may be said of a failure.
    ///
    /// # Errors
    /// A CAfile or a proxy that cannot be used.
    pub(crate) fn transport(
        &self,
        store: &Store,
        settings: &Settings,
        ui: &Ui,
    ) -> Result<(Arc<Trust>, Transport), CommandError> {
        let trust = Arc::new(self.insecure.load_if_any(&self.trust, settings, ui)?);
        let mut transport = trust.transport(store.empty_dir());
        self.patience.apply(&mut transport);
        Ok((trust, transport))
    }

    /// What may come, and become of it.
    pub(crate) fn budget(&self, settings: &Settings) -> Budget {
        self.budget.budget(&settings.pull)
    }

    /// How progress is shown.
    pub(crate) fn form(&self, ui: &Ui) -> Form {
        self.progress.form(*ui)
    }

    /// Waits until an image is on the disk, whoever has pulled its layers.
    pub(crate) fn settle(
        &self,
        (name, image): (&dyn fmt::Display, &StoredImage),
        store: &Store,
        (ui, report): Told<'_>,
    ) -> Result<(), CommandError> {
        let progress = watch_settling(self.progress.form(*ui), *ui, &name.to_string(), report);
        let stalled = |Stalled { holder, since }| {
            progress.event(Event::SettlingStalled { holder, since });
        };
        let settled = store.settle_image(image, self.patience.deadline(), &stalled);
        settled.map_err(|error| match error {
            store::Error::WaitedTooLong { .. } => store_failed(error)
                .hint("--deadline with a longer time, or once more: the layers are in the store"),
            error => store_failed(error),
        })
    }

    /// Takes an image from files into the store.
    fn pull_local(
        &self,
        (name, platform): (&LocalName, &Platform),
        store: &Store,
        settings: &Settings,
        (ui, report): Told<'_>,
    ) -> Result<StoredImage, CommandError> {
        let request = LocalRequest {
            name: name.clone(),
            platform: platform.clone(),
            // What is copied is unpacked as well.
            copy_limit: store.free_bytes().map_or(u64::MAX, |free| free / 2),
            budget: self.budget.budget(&settings.pull),
            deadline: self.patience.deadline(),
        };
        let progress = watch(self.progress.form(*ui), *ui, &name.to_string(), report);
        let pulled = ucr_puller::pull_local(store, &request, &progress);
        drop(progress);
        pulled.map_err(|error| {
            let (kind, limit) = (error.kind(), error.limit());
            let failed = failed(error);
            match kind {
                ErrorKind::Platform => failed.hint("--platform with one of these"),
                ErrorKind::Budget => failed.hints(limit.map(budget::advice)),
                ErrorKind::DiskFull => failed.hint(room(store)),
                ErrorKind::Deadline => failed.hint("--deadline with a longer time"),
                _ => failed,
            }
        })
    }

    fn request(
        &self,
        wanted: Wanted<'_>,
        settings: &Settings,
        ui: &Ui,
    ) -> Result<Request, CommandError> {
        let Wanted {
            reference,
            platform,
            credentials: of_task,
        } = wanted;
        self.credential.warn(ui);
        let credentials = self.credential.sources(reference)?;
        let credentials = match of_task {
            Some(own) => own.add_to(credentials),
            None => credentials,
        };
        Ok(Request {
            reference: reference.clone(),
            platform: platform.clone(),
            credentials: Arc::new(credentials.until(self.patience.deadline())),
            registries: self.registry.registries(settings, ui),
            budget: self.budget.budget(&settings.pull),
            foreign: self.registry.foreign(settings),
        })
    }

    /// Makes sure that an image which is in the store may be had by who asks.
    pub(crate) fn check(
        &self,
        (wanted, image): (Wanted<'_>, &StoredImage),
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
        if remembered.map_err(failed)? {
            return Ok(());
        }
        let trust = Arc::new(self.insecure.load(&self.trust, settings, ui)?);
        let mut transport = trust.transport(store.empty_dir());
        self.patience.apply(&mut transport);
        ucr_puller::check_access(there, transport, &request, &())
            .map_err(|error| advise(error, wanted.reference, store, &trust))
    }
}

/// Runs `ucr pull`.
pub(crate) fn pull(
    args: &PullArgs,
    settings: &Settings,
    ui: &Ui,
) -> Result<ExitCode, CommandError> {
    let report = args.source.image.report(&args.image)?;
    let image = report.told(pull_and_settle(args, settings, (ui, &report)))?;
    report.pulled(&image);
    ui.print(&image.id.to_string())?;
    Ok(ExitCode::SUCCESS)
}

fn pull_and_settle(
    args: &PullArgs,
    settings: &Settings,
    (ui, report): Told<'_>,
) -> Result<StoredImage, CommandError> {
    need_root("ucr pull", "unpacked layers keep the owners of their files")?;
    let store = open_store(settings, ui)?;
    store.settle_early().map_err(store_failed)?;
    let told = (ui, report);
    let pulled = args.source.pull(&args.image, &store, settings, told);
    if pulled.is_ok() {
        PullReport::new(report).event(Event::Settling);
    }
    // What is whole of an image that is not is good for the next try, after a reboot too.
    let settled = store.settle().map_err(store_failed);
    let image = pulled?;
    settled?;
    args.source
        .access
        .settle((&args.image, &image), &store, told)?;
    if let Some(pin) = &args.pin {
        let (name, platform): (&dyn fmt::Display, _) = (&args.image, args.source.image.platform());
        let pinned = store.pin(pin, (name, &platform), args.ttl);
        pinned.map_err(store_failed)?;
    }
    collect_if_over(&store, settings, ui);
    Ok(image)
}

/// What is said of a pull that failed, where there is nothing to advise.
fn failed(error: Error) -> CommandError {
    let failure = report::failure(&error);
    CommandError::new(error).told_as(failure)
}

/// Adds to a failed pull what its reader may try.
fn advise(error: Error, reference: &Reference, store: &Store, trust: &Trust) -> CommandError {
    let kind = error.kind();
    let advice = error.http().map(|error| trust.advice(error));
    let hint = error.registry().and_then(registry::Error::hint);
    let limit = error.limit();
    let anonymous = error
        .registry()
        .is_some_and(registry::Error::is_of_anonymous);
    let foreign = RegistryArgs::foreign_advice(&error);
    let failed = failed(error)
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
        ErrorKind::Refused => failed.hints(foreign.map(str::to_owned)),
        ErrorKind::Integrity => failed
            .hint("once more: a cache or proxy on the way may be at fault; nothing of it was kept"),
        ErrorKind::Budget => failed.hints(limit.map(budget::advice)),
        ErrorKind::Deadline => failed.hint(
            "--deadline with a longer time; what came of the layers is kept, and gone on with",
        ),
        ErrorKind::RateLimited => failed
            .hint("--deadline TIME, such as 10m: as long as that the registry is waited for")
            .hint(format!("{login}, if it lets those it knows ask more often")),
        ErrorKind::Timeout | ErrorKind::Unavailable => failed.hint(
            "once more later: what came of the layers is kept, and gone on with",
        ),
        ErrorKind::Blocked => failed.hint(
            "another registry; \"blocked\" in the configuration says that this one is not to be used",
        ),
        ErrorKind::DiskFull => failed.hint(room(store)),
        _ => failed,
    }
}

/// What to do when the disk is full.
pub(crate) fn room(store: &Store) -> String {
    let bytes = store.free_bytes().map(shown::size);
    let inodes = store.free_inodes().map(|number| format!("{number} inodes"));
    let counted: Vec<_> = bytes.into_iter().chain(inodes).collect();
    let free = match counted.is_empty() {
        true => "room again".to_owned(),
        false => format!("{} free", counted.join(" and ")),
    };
    let path = store.path().display();
    format!("make room: {path} has {free}")
}
