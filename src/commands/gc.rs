//! `ucr gc`: making room in the store.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};
use ucr_images::Store;
use ucr_images::store::{Collected, Limits, Mode, Room};

use crate::command_error::CommandError;
use crate::gc_config::{age, room, size};
use crate::output_format::FormatArgs;
use crate::settings::{Settings, need_root};
use crate::ui::Ui;
use crate::{remains, shown};

/// What is to go.
#[derive(Debug, Args)]
pub struct GcArgs {
    /// Only say what would go
    #[arg(long)]
    dry_run: bool,
    /// Remove images, those not used for longest first, until so much of the disk is free
    #[arg(long, value_name = "SIZE|N%", value_parser = room)]
    keep_free: Option<Room>,
    /// Remove images, those not used for longest first, until the rest has no more than this
    #[arg(long, value_name = "SIZE", value_parser = size)]
    max_size: Option<u64>,
    /// Remove images that were not used for so long, such as 30d
    #[arg(long, value_name = "TIME", value_parser = age)]
    max_age: Option<Duration>,
    #[command(flatten)]
    format: FormatArgs,
}

/// Runs `ucr gc`; without a limit only what no image needs goes.
pub(crate) fn gc(args: &GcArgs, settings: &Settings, ui: &Ui) -> Result<ExitCode, CommandError> {
    need_root("ucr gc", "the store is closed to all but root")?;
    let limits = Limits {
        keep_free: args.keep_free,
        max_size: args.max_size,
        max_age: args.max_age,
    };
    let mode = match args.dry_run {
        true => Mode::DryRun,
        false => Mode::Remove,
    };
    // First: what dead ones use still would stay.
    remains::clear(settings, ui);
    let store = Store::open_existing(&settings.root).map_err(CommandError::new)?;
    let collected = store.map(|store| store.collect(&limits, mode)).transpose();
    let collected = collected.map_err(CommandError::new)?.unwrap_or_default();
    let facts = || facts(&collected, mode);
    args.format.write(ui, || lines(&collected, mode), facts)?;
    for (image, by) in &collected.kept {
        let (image, by) = (shown::text(image), shown::text(by));
        ui.say(&format!("ucr: {image} stays: {by} needs it"));
    }
    Ok(ExitCode::SUCCESS)
}

/// Makes room at the end of a pull, where the configuration has a mark and it is passed.
///
/// That it could not be made is no reason for the pull to fail.
pub fn collect_if_over(store: &Store, settings: &Settings, ui: &Ui) {
    let Some(limits) = settings.gc.limits() else {
        return;
    };
    let collected = store.is_over(&limits).and_then(|is_over| match is_over {
        true => store.collect(&limits, Mode::Remove).map(Some),
        false => Ok(None),
    });
    match collected {
        Ok(Some(collected)) if !collected.trees.is_empty() || !collected.images.is_empty() => {
            let (count, bytes) = (collected.images.len(), shown::size(collected.bytes()));
            ui.say(&format!(
                "ucr: made room as configured: {count} images removed, {bytes} freed"
            ));
        }
        Ok(_) => {}
        Err(error) => ui.say_ignored(&CommandError::new(error)),
    }
}

fn lines(collected: &Collected, mode: Mode) -> Vec<String> {
    let (done, freed) = match mode {
        Mode::Remove => ("removed", "freed"),
        Mode::DryRun => ("would remove", "would free"),
    };
    let images = collected.images.iter().map(|name| shown::text(name));
    let mut lines: Vec<_> = images.map(|name| format!("{done} image {name}")).collect();
    lines.extend(collected.trees.iter().map(|removed| {
        let (tree, size) = (&removed.tree, shown::size(removed.bytes));
        format!("{done} {tree} ({size})")
    }));
    if collected.partial_bytes > 0 {
        let size = shown::size(collected.partial_bytes);
        lines.push(format!(
            "{done} parts of blobs that nobody is fetching ({size})"
        ));
    }
    lines.push(format!("{freed} {}", shown::size(collected.bytes())));
    lines
}

fn facts(collected: &Collected, mode: Mode) -> Value {
    let layer = |removed: &ucr_images::store::Removed| {
        let (kind, _) = crate::store::kind_and_digest(&removed.tree);
        let digest = removed.tree.digest().to_string();
        json!({"kind": kind, "digest": digest, "bytes": removed.bytes})
    };
    let kept = collected.kept.iter();
    json!({
        "dryRun": mode == Mode::DryRun,
        "images": collected.images,
        "layers": collected.trees.iter().map(layer).collect::<Vec<_>>(),
        "partialBytes": collected.partial_bytes,
        "bytes": collected.bytes(),
        "kept": kept.map(|(image, by)| json!({"image": image, "by": by})).collect::<Vec<_>>(),
    })
}
