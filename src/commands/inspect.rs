//! `ucr inspect`: everything about an image, as JSON.

use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};
use ucr_puller::Store;
use ucr_puller::store::ImageEntry;

use super::images::store_to_read;
use crate::command_error::CommandError;
use crate::settings::Settings;
use crate::shown;
use crate::ui::Ui;

/// What to show.
#[derive(Debug, Args)]
pub(crate) struct InspectArgs {
    /// Images, by name or ID
    #[arg(value_name = "IMAGE", required = true)]
    images: Vec<String>,
}

/// Runs `ucr inspect`; the keys are those of `docker image inspect`.
pub(crate) fn inspect(
    args: &InspectArgs,
    settings: &Settings,
    ui: &Ui,
) -> Result<ExitCode, CommandError> {
    let store = store_to_read("ucr inspect", settings)?;
    let missing = |wanted: &str| {
        let root = settings.root.display();
        CommandError::sentence(format!("{wanted:?} is not in the store {root}"))
            .hint("ucr images shows what is")
    };
    let Some(store) = store else {
        return Err(missing(&args.images[0]));
    };
    let catalog = store.catalog().map_err(CommandError::new)?;
    let mut found = Vec::new();
    for wanted in &args.images {
        let entries = catalog.find(wanted).map_err(CommandError::new)?;
        let Some(first) = entries.first() else {
            return Err(missing(wanted));
        };
        let of_image: Vec<_> = catalog
            .images
            .iter()
            .filter(|entry| entry.id() == first.id())
            .collect();
        found.push(facts(&store, first, &of_image)?);
    }
    ui.print(&format!("{:#}", Value::from(found)))?;
    Ok(ExitCode::SUCCESS)
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
