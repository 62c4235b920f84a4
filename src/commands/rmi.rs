//! `ucr rmi` and `ucr unpin`: taking away names and pins, and what nobody needs then.

use std::process::ExitCode;

use clap::Args;
use ucr_images::Store;
use ucr_images::store::{Catalog, Error, ImageEntry};

use crate::command_error::CommandError;
use crate::settings::{Settings, need_root};
use crate::ui::Ui;
use crate::{remains, shown};

/// What to remove.
#[derive(Debug, Args)]
pub struct RmiArgs {
    /// Remove all names of an ID, and the last name of an image that is pinned or in use too
    #[arg(short, long)]
    force: bool,
    /// Images, by name or ID
    #[arg(value_name = "IMAGE", required = true)]
    images: Vec<String>,
}

/// Which pins to take away.
#[derive(Debug, Args)]
pub struct UnpinArgs {
    /// Names given with `ucr pull --pin`
    #[arg(value_name = "NAME", required = true)]
    names: Vec<String>,
}

/// Runs `ucr rmi`; what cannot be removed does not keep the rest.
pub(crate) fn rmi(args: &RmiArgs, settings: &Settings, ui: &Ui) -> Result<ExitCode, CommandError> {
    need_root("ucr rmi", "the store is closed to all but root")?;
    let mut code = ExitCode::SUCCESS;
    for wanted in &args.images {
        // Opened for each: what the one before removed is not there any more.
        if let Err(error) = remove(wanted, args.force, settings, ui) {
            code = error.report(ui);
        }
    }
    Ok(code)
}

fn remove(wanted: &str, force: bool, settings: &Settings, ui: &Ui) -> Result<(), CommandError> {
    let missing = || {
        let root = settings.root.display();
        CommandError::sentence(format!("{wanted:?} is not in the store {root}"))
            .hint("ucr images shows what is")
    };
    // What a dead container has of it would keep it.
    remains::clear(settings, ui);
    let store = Store::open_existing(&settings.root).map_err(CommandError::new)?;
    let store = store.ok_or_else(missing)?;
    let catalog = store.catalog().map_err(CommandError::new)?;
    let found = catalog.find(wanted).map_err(CommandError::new)?;
    if found.is_empty() {
        return Err(missing());
    }
    check_names(wanted, &found, force)?;
    for entry in found {
        untag(&store, &catalog, entry, force, ui)?;
    }
    Ok(())
}

/// Refuses an ID that goes by several names, as Docker does.
fn check_names(wanted: &str, found: &[&ImageEntry], force: bool) -> Result<(), CommandError> {
    let mut names: Vec<_> = found.iter().map(|entry| entry.reference()).collect();
    names.dedup();
    if force || names.len() == 1 {
        return Ok(());
    }
    let names = shown::text(&names.join(", "));
    Err(
        CommandError::sentence(format!("{wanted:?} has several names: {names}"))
            .hint("one of the names, or -f for all of them"),
    )
}

fn untag(
    store: &Store,
    catalog: &Catalog,
    entry: &ImageEntry,
    force: bool,
    ui: &Ui,
) -> Result<(), CommandError> {
    let untagged = store.untag(entry, force).map_err(|error| {
        let hint = match &error {
            Error::Kept { pin: Some(pin), .. } => Some(format!("ucr unpin {}", shown::text(pin))),
            Error::Kept { pin: None, .. } => {
                Some("ucr rmi -f: a container keeps what it uses until it ends".to_owned())
            }
            _ => None,
        };
        CommandError::new(error).hints(hint)
    })?;
    let several = catalog
        .images
        .iter()
        .filter(|other| other.reference() == entry.reference());
    let platform = match several.count() {
        1 => String::new(),
        _ => format!(" ({})", entry.platform()),
    };
    let reference = shown::text(entry.reference());
    ui.print(&format!("Untagged: {reference}{platform}"))?;
    if let Some(image) = untagged.image {
        ui.print(&format!("Deleted: {image}"))?;
    }
    for removed in &untagged.removed {
        let (tree, size) = (&removed.tree, shown::size(removed.bytes));
        ui.print(&format!("Deleted: {tree} ({size})"))?;
    }
    if let Some(user) = untagged.user {
        ui.say(&format!(
            "ucr: {} is using it; what it needs goes with the first ucr gc after its end",
            shown::text(&user)
        ));
    }
    Ok(())
}

/// Runs `ucr unpin`.
pub(crate) fn unpin(
    args: &UnpinArgs,
    settings: &Settings,
    ui: &Ui,
) -> Result<ExitCode, CommandError> {
    need_root("ucr unpin", "the store is closed to all but root")?;
    let store = Store::open_existing(&settings.root).map_err(CommandError::new)?;
    let mut code = ExitCode::SUCCESS;
    for name in &args.names {
        let unpinned = store.as_ref().map(|store| store.unpin(name)).transpose();
        if unpinned.map_err(CommandError::new)? != Some(true) {
            let error = CommandError::sentence(format!("there is no pin {name:?}"));
            code = error.hint("ucr images shows them").report(ui);
        }
    }
    Ok(code)
}
