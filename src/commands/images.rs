//! `ucr images`: what is in the store, by name.

use std::process::ExitCode;
use std::time::SystemTime;

use clap::Args;
use serde_json::{Value, json};
use ucr_images::Store;
use ucr_images::store::{Catalog, ImageEntry};

use crate::command_error::CommandError;
use crate::output_format::{FormatArgs, columns};
use crate::settings::Settings;
use crate::shown;
use crate::ui::Ui;

/// How to list.
#[derive(Debug, Args)]
pub struct ImagesArgs {
    /// Print image IDs only
    #[arg(short, long, conflicts_with = "format")]
    quiet: bool,
    /// Show the digests of the manifests too
    #[arg(long)]
    digests: bool,
    #[command(flatten)]
    format: FormatArgs,
}

/// Runs `ucr images`.
pub(crate) fn images(
    args: &ImagesArgs,
    settings: &Settings,
    ui: &Ui,
) -> Result<ExitCode, CommandError> {
    let catalog = match store_to_read("ucr images", settings)? {
        Some(store) => store.catalog().map_err(CommandError::new)?,
        None => Catalog::default(),
    };
    if args.quiet {
        let mut seen = Vec::new();
        for entry in &catalog.images {
            if !seen.contains(&entry.id()) {
                seen.push(entry.id());
                ui.print(entry.id().short())?;
            }
        }
        return Ok(ExitCode::SUCCESS);
    }
    let json = || catalog.images.iter().map(facts).collect::<Value>();
    args.format
        .write(ui, || table(&catalog, args.digests), json)?;
    if !catalog.images.is_empty() && args.format.is_for_people() {
        let (count, bytes) = (catalog.images.len(), shown::size(catalog.bytes));
        let images = if count == 1 { "image" } else { "images" };
        ui.say(&format!(
            "{count} {images}, {bytes} in all: layers that they share are counted once"
        ));
    }
    for file in &catalog.unreadable {
        ui.say(&format!(
            "ucr: the record refs/{file} cannot be read, ignoring; ucr verify --repair removes it"
        ));
    }
    Ok(ExitCode::SUCCESS)
}

/// The store, if there is one; a caller who may not read it is told so in one line.
pub fn store_to_read(command: &str, settings: &Settings) -> Result<Option<Store>, CommandError> {
    let opened = Store::open_existing(&settings.root);
    opened.map_err(|error| {
        if ucr_sys::is_root() {
            return CommandError::new(error);
        }
        let root = settings.root.display();
        CommandError::sentence(format!(
            "{command} cannot read the store {root}, which is closed to all but its owner"
        ))
        .hint("the same as root, or with --root another store")
    })
}

fn table(catalog: &Catalog, with_digests: bool) -> Vec<String> {
    let now = SystemTime::now();
    let head = [
        "REPOSITORY",
        "TAG",
        "DIGEST",
        "IMAGE ID",
        "CREATED",
        "PULLED",
        "SIZE",
        "LAST USED",
        "PINNED",
    ];
    let mut rows = vec![head.map(str::to_owned)];
    rows.extend(catalog.images.iter().map(|entry| row(entry, now)));
    if with_digests {
        return columns(&rows);
    }
    let rows: Vec<_> = rows
        .into_iter()
        .map(
            |[repository, tag, _, id, created, pulled, size, used, pinned]| {
                [repository, tag, id, created, pulled, size, used, pinned]
            },
        )
        .collect();
    columns(&rows)
}

fn row(entry: &ImageEntry, now: SystemTime) -> [String; 9] {
    let (repository, tag) = entry.name_and_tag();
    let pulled = entry.pulled().map(|pulled| shown::ago(pulled, now));
    let unknown = || "-".to_owned();
    let size = match entry.is_whole {
        true => shown::size(entry.bytes),
        false => "incomplete".to_owned(),
    };
    [
        shown::text(repository),
        shown::text(tag.unwrap_or("<none>")),
        entry.resolved().to_string(),
        entry.id().short().to_owned(),
        created(entry).unwrap_or_else(unknown),
        pulled.unwrap_or_else(unknown),
        size,
        shown::ago(entry.last_used, now),
        match entry.pins.is_empty() {
            true => unknown(),
            false => shown::text(&entry.pins.join(", ")),
        },
    ]
}

/// The day that the image says it was made on.
fn created(entry: &ImageEntry) -> Option<String> {
    let created = entry.config()?.created()?;
    let day = created.get(..10)?;
    let is_day = day
        .bytes()
        .all(|byte| byte.is_ascii_digit() || byte == b'-');
    is_day.then(|| day.to_owned())
}

fn facts(entry: &ImageEntry) -> Value {
    let (repository, tag) = entry.name_and_tag();
    json!({
        "reference": entry.reference(),
        "repository": repository,
        "tag": tag,
        "platform": entry.platform(),
        "id": entry.id().to_string(),
        "digest": entry.resolved().to_string(),
        "manifest": entry.manifest().to_string(),
        "created": entry.config().and_then(|config| config.created()),
        "pulled": entry.pulled().map(shown::time),
        "lastUsed": shown::time(entry.last_used),
        "size": entry.bytes,
        "complete": entry.is_whole,
        "private": entry.is_private(),
        "pins": entry.pins,
    })
}
