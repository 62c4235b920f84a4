//! `ucr inspect`: everything about a container or an image, as JSON.

use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};
use ucr_images::Store;
use ucr_images::store::ImageEntry;

use super::containers::inspected;
use super::images::store_to_read;
use crate::command_error::CommandError;
use crate::settings::Settings;
use crate::shown;
use crate::ui::Ui;

/// What to show.
#[derive(Debug, Args)]
pub struct InspectArgs {
    /// What to look for [default: a container, then an image]
    #[arg(long = "type", value_enum, value_name = "TYPE")]
    kind: Option<Kind>,
    /// How to write the result: it is JSON in any case
    #[arg(short, long, value_name = "FORMAT", value_parser = ["json"], hide = true)]
    format: Option<String>,
    /// Containers and images, by name or ID
    #[arg(value_name = "NAME", required = true)]
    names: Vec<String>,
}

/// What can be inspected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Kind {
    /// A container that runs, or ended within the last day
    Container,
    /// An image of the store
    Image,
}

/// Runs `ucr inspect`; the keys are those of `docker inspect`.
pub(crate) fn inspect(
    args: &InspectArgs,
    settings: &Settings,
    ui: &Ui,
) -> Result<ExitCode, CommandError> {
    let found = args.names.iter().map(|name| {
        let container = match args.kind {
            Some(Kind::Image) => None,
            None | Some(Kind::Container) => inspected(settings, name, ui)?,
        };
        match (container, args.kind) {
            (Some(facts), _) => Ok(facts),
            (None, Some(Kind::Container)) => Err(missing_container(name)),
            (None, _) => image(name, args.kind, settings),
        }
    });
    let found = found.collect::<Result<Vec<_>, _>>()?;
    ui.print(&format!("{:#}", Value::from(found)))?;
    Ok(ExitCode::SUCCESS)
}

fn missing_container(name: &str) -> CommandError {
    CommandError::sentence(format!("there is no container {name:?}"))
        .hint("ucr ps --all shows those there are")
}

/// Everything about an image of the store.
fn image(wanted: &str, kind: Option<Kind>, settings: &Settings) -> Result<Value, CommandError> {
    let missing = || {
        let root = settings.root.display();
        let missing = match kind {
            Some(_) => format!("{wanted:?} is not in the store {root}"),
            None => format!("{wanted:?} is no container, and is not in the store {root}"),
        };
        CommandError::sentence(missing).hint("ucr images shows what is")
    };
    let store = store_to_read("ucr inspect", settings)?.ok_or_else(missing)?;
    let catalog = store.catalog().map_err(CommandError::new)?;
    let entries = catalog.find(wanted).map_err(CommandError::new)?;
    let first = entries.first().ok_or_else(missing)?;
    let of_image: Vec<_> = catalog
        .images
        .iter()
        .filter(|entry| entry.id() == first.id())
        .collect();
    facts(&store, first, &of_image)
}

fn facts(
    store: &Store,
    entry: &ImageEntry,
    of_image: &[&ImageEntry],
) -> Result<Value, CommandError> {
    let document = store.configuration(entry).map_err(CommandError::new)?;
    let document: Value = document
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .unwrap_or_default();
    let digests = of_image
        .iter()
        .map(|entry| format!("{}@{}", entry.name_and_tag().0, entry.resolved()));
    let mut digests: Vec<_> = digests.collect();
    digests.sort();
    digests.dedup();
    let tags = of_image.iter().map(|entry| entry.reference());
    let layers = entry.config().map(|config| config.diff_ids());
    let layers = layers.unwrap_or_default().iter().map(ToString::to_string);
    let pins = of_image.iter().flat_map(|entry| &entry.pins);
    let mut pins: Vec<_> = pins.collect();
    pins.dedup();
    Ok(json!({
        "Id": entry.id().to_string(),
        "RepoTags": tags.filter(|name| !name.contains('@')).collect::<Vec<_>>(),
        "RepoDigests": digests,
        "Created": document["created"],
        "Author": document["author"],
        "Architecture": document["architecture"],
        "Variant": document["variant"],
        "Os": document["os"],
        "Config": document["config"],
        "RootFS": {"Type": "layers", "Layers": layers.collect::<Vec<_>>()},
        "Size": entry.bytes,
        "Metadata": {
            "Platform": entry.platform(),
            "Manifest": entry.manifest().to_string(),
            "Pulled": entry.pulled().map(shown::time),
            "LastUsed": shown::time(entry.last_used),
            "Private": entry.is_private(),
            "Complete": entry.is_whole,
            "Pins": pins,
        },
        "Store": {
            "Root": store.path(),
            "Lower": store.stack_of(entry).map_err(CommandError::new)?,
        },
    }))
}
