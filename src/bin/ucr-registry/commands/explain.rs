//! `ucr explain`: what a pull would do, and why, without pulling.
//!
//! Fetches documents of the image alone, and writes nothing. Whatever cannot be found out is
//! shown with the reason, and the rest all the same.

mod shown;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use clap::Args;
use ucr::command_error::{CommandError, explained};
use ucr::credential::CredentialArgs;
use ucr::image_arg::image_name;
use ucr::output_format::FormatArgs;
use ucr::settings::Settings;
use ucr::ui::Ui;
use ucr_certs::HostPort;
use ucr_credentials::{CredentialSource, CredentialSources};
use ucr_images::registries::Transport;
use ucr_images::{
    Deadline, ImageName, LocalName, Platform, Reference, Registries, Store, StoredImage,
};
use ucr_puller::http::Patience;
use ucr_puller::registry::{Endpoint, Role};
use ucr_puller::{Event, Kept, LocalRequest, Progress, Request, Survey};
use ucr_sys::Dir;

use crate::budget::BudgetArgs;
use crate::trust::{InsecureArgs, RegistryArgs, Trust, TrustArgs};

/// What to explain.
#[derive(Debug, Args)]
pub(crate) struct ExplainArgs {
    /// Platform to explain for, as OS/ARCH[/VARIANT] [default: this machine's]
    #[arg(long, value_name = "PLATFORM")]
    platform: Option<Platform>,
    #[command(flatten)]
    credential: CredentialArgs,
    #[command(flatten)]
    trust: TrustArgs,
    #[command(flatten)]
    insecure: InsecureArgs,
    #[command(flatten)]
    registry: RegistryArgs,
    #[command(flatten)]
    budget: BudgetArgs,
    #[command(flatten)]
    format: FormatArgs,
    /// Image, as [docker://]HOST[:PORT]/PATH[:TAG][@DIGEST], oci:DIR[:TAG],
    /// oci-archive:FILE[:TAG] or docker-archive:FILE[:NAME]
    #[arg(value_name = "IMAGE", value_parser = image_name)]
    image: ImageName,
}

/// All that was found out; what could not be is there as the reason why.
struct Explanation {
    image: ImageName,
    platform: Platform,
    /// Of an image of a registry, whom a pull would ask.
    asked: Option<Asked>,
    survey: Result<Survey, CommandError>,
    store: StoreView,
}

/// Who would be asked, and as whom.
struct Asked {
    reference: Reference,
    endpoints: Result<Vec<Place>, String>,
    /// Where credentials are looked for, in this order.
    credential_places: Vec<String>,
    /// What mirrors said that did not help.
    passed_over: Vec<String>,
}

/// One who would be asked.
struct Place {
    endpoint: Endpoint,
    address: String,
    proxy: Option<String>,
    /// Where trusted certificates are looked for; nothing for plain HTTP.
    trust: Vec<String>,
    /// As whom it would be asked; nobody in particular where there is no credential.
    credential: Result<Option<String>, String>,
}

/// What the store says.
struct StoreView {
    path: PathBuf,
    /// Why it cannot be read, if so.
    unreadable: Option<String>,
    image: Option<StoredImage>,
    free: Option<u64>,
}

/// Runs `ucr explain`; exit code 0 only when a pull would get as far as the layers, for all that is
/// known.
pub(crate) fn explain(
    args: &ExplainArgs,
    settings: &Settings,
    ui: &Ui,
) -> Result<ExitCode, CommandError> {
    let explanation = Explanation::of(args, settings, ui)?;
    args.format
        .write(ui, || explanation.lines(), || explanation.as_json())?;
    Ok(match explanation.is_promising() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

impl Explanation {
    fn of(args: &ExplainArgs, settings: &Settings, ui: &Ui) -> Result<Self, CommandError> {
        let platform = args.platform.clone().unwrap_or_else(Platform::host);
        let (store, unreadable) = match Store::open_existing(&settings.root) {
            Ok(store) => (store, None),
            Err(error) => (None, Some(explained(&error))),
        };
        let store = store.as_ref();
        let (asked, survey) = match &args.image {
            ImageName::Registry(reference) => {
                let wanted = (reference, &platform);
                let (asked, survey) = ask(args, wanted, store, (settings, ui))?;
                (Some(asked), survey)
            }
            ImageName::Local(name) => (None, look(args, (name, &platform), store, settings)),
        };
        let wanted = (&args.image, &platform);
        Ok(Self {
            store: StoreView::of(settings, store, unreadable, wanted),
            image: args.image.clone(),
            platform,
            asked,
            survey,
        })
    }

    /// Bytes that a pull would have to fetch.
    fn missing(&self) -> Option<u64> {
        self.sum(|size, kept| size.saturating_sub(kept))
    }

    /// Room that a pull takes at the least: for what comes, and as much as a layer has unpacked.
    fn needed(&self) -> Option<u64> {
        self.sum(|size, kept| size.saturating_sub(kept).saturating_add(size))
    }

    /// The sum over the layers that are not there, of their size and what is kept of it; `None`
    /// where one's size is not known.
    fn sum(&self, of: impl Fn(u64, u64) -> u64) -> Option<u64> {
        let layers = &self.survey.as_ref().ok()?.layers;
        let parts = layers.iter().map(|layer| match layer.kept {
            Kept::Whole(_) => Some(0),
            Kept::Unproved(_) => layer.size.map(|size| of(size, 0)),
            Kept::Part(kept) => layer.size.map(|size| of(size, kept)),
        });
        let parts = parts.collect::<Option<Vec<_>>>()?;
        Some(parts.into_iter().fold(0, u64::saturating_add))
    }

    /// Whether a pull would get as far as the layers, as far as that is known.
    fn is_promising(&self) -> bool {
        let admitted = |survey: &Survey| survey.refused.is_none();
        self.survey.as_ref().is_ok_and(admitted) && self.is_enough() != Some(false)
    }

    /// Whether a pull would begin to fetch, as far as room and limits are concerned.
    fn is_enough(&self) -> Option<bool> {
        let survey = self.survey.as_ref().ok()?;
        let (needed, free) = (self.needed()?, self.store.free?);
        Some(survey.refused.is_none() && needed <= free)
    }
}

/// What a pull from files would find.
fn look(
    args: &ExplainArgs,
    (name, platform): (&LocalName, &Platform),
    store: Option<&Store>,
    settings: &Settings,
) -> Result<Survey, CommandError> {
    let request = LocalRequest {
        name: name.clone(),
        platform: platform.clone(),
        copy_limit: 0,
        budget: args.budget.budget(&settings.pull),
        deadline: Deadline::default(),
    };
    ucr_puller::survey_local(store, &request).map_err(|error| {
        let failure = crate::report::failure(&error);
        CommandError::new(error).told_as(failure)
    })
}

/// What a registry says, and what would be asked of whom.
fn ask(
    args: &ExplainArgs,
    (reference, platform): (&Reference, &Platform),
    store: Option<&Store>,
    (settings, ui): (&Settings, &Ui),
) -> Result<(Asked, Result<Survey, CommandError>), CommandError> {
    let trust = Arc::new(args.insecure.load_if_any(&args.trust, settings, ui)?);
    let registries = args.registry.registries(settings, ui);
    args.credential.warn(ui);
    let credentials = args.credential.sources(reference)?;
    let endpoints = places(reference, &registries, &credentials, &trust);
    let request = Request {
        reference: reference.clone(),
        platform: platform.clone(),
        credentials: Arc::new(credentials),
        registries,
        budget: args.budget.budget(&settings.pull),
        foreign: args.registry.foreign(settings),
    };
    let mut transport = trust.transport_without_store();
    transport.patience = Patience::none();
    let passed_over = PassedOver::default();
    let survey = ucr_puller::survey(store, transport, &request, &passed_over);
    let asked = Asked {
        reference: request.reference,
        endpoints,
        credential_places: args.credential.places(),
        passed_over: passed_over.into_lines(),
    };
    Ok((asked, survey.map_err(|error| failed(error, &trust))))
}

fn failed(error: ucr_puller::Error, trust: &Trust) -> CommandError {
    let advice = error.http().map(|error| trust.advice(error));
    let failure = crate::report::failure(&error);
    let hint = error.registry().and_then(ucr_puller::registry::Error::hint);
    let foreign = RegistryArgs::foreign_advice(&error);
    CommandError::new(error)
        .told_as(failure)
        .hints(foreign.map(str::to_owned))
        .advised(advice.unwrap_or_default())
        .hints(hint)
}

/// Who would be asked, in this order.
fn places(
    reference: &Reference,
    registries: &Registries,
    credentials: &CredentialSources,
    trust: &Trust,
) -> Result<Vec<Place>, String> {
    let endpoints = ucr_puller::registry::endpoints(registries, reference);
    let endpoints = endpoints.map_err(|error| explained(&error))?;
    let place = |endpoint| Place::of(endpoint, credentials, trust);
    Ok(endpoints.into_iter().map(place).collect())
}

impl Place {
    fn of(endpoint: Endpoint, credentials: &CredentialSources, trust: &Trust) -> Self {
        let host = endpoint.host();
        let (scheme, usual) = match endpoint.transport() {
            Transport::Https => ("https", 443),
            Transport::PlainHttp => ("http", 80),
        };
        let server = HostPort::new(host.api_name(), host.port().unwrap_or(usual)).ok();
        let trusted = server
            .as_ref()
            .filter(|_| endpoint.transport() == Transport::Https);
        let sources = trusted.map(|server| trust.of(server));
        let sources = sources.iter().flat_map(|trust| trust.bundle.sources());
        let credential = match endpoint.transport() {
            Transport::Https => credentials.find(host, endpoint.repository()),
            // None is ever sent there.
            Transport::PlainHttp => Ok(None),
        };
        Self {
            address: format!("{scheme}://{}", host.api()),
            proxy: server.as_ref().and_then(|server| trust.proxy_to(server)),
            trust: sources.map(ToString::to_string).collect(),
            credential: credential
                .map(|found| found.map(|found| found.to_string()))
                .map_err(|error| explained(&error)),
            endpoint,
        }
    }

    fn role(&self) -> &'static str {
        match self.endpoint.role() {
            Role::Mirror => "mirror",
            Role::Registry => "registry",
        }
    }
}

impl StoreView {
    fn of(
        settings: &Settings,
        store: Option<&Store>,
        unreadable: Option<String>,
        (name, platform): (&ImageName, &Platform),
    ) -> Self {
        let image = store.map(|store| store.image(name, platform));
        let (image, unreadable) = match image.transpose() {
            Ok(image) => (image.flatten(), unreadable),
            Err(error) => (None, Some(explained(&error))),
        };
        // Where there is no store yet, it would be made in the nearest directory that is there.
        let mut ancestors = settings.root.ancestors();
        let nearest = ancestors.find_map(|path| Dir::open(path).ok());
        Self {
            path: settings.root.clone(),
            unreadable,
            image,
            free: nearest.and_then(|dir| dir.room().ok()?.free_bytes),
        }
    }
}

/// Notes which mirrors did not help.
#[derive(Default)]
struct PassedOver(Mutex<Vec<String>>);

impl PassedOver {
    fn into_lines(self) -> Vec<String> {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Progress for PassedOver {
    fn event(&self, event: Event<'_>) {
        if let Event::MirrorPassedOver { endpoint, error } = event {
            let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let line = format!("{endpoint} did not help: {}", explained(error));
            // Each document is asked for: once is enough to know.
            if !lines.contains(&line) {
                lines.push(line);
            }
        }
    }
}
