//! The store, as commands open it, and what is said when it fails.

use ucr_images::Store;
use ucr_images::store::{Error, Tree};

use crate::command_error::CommandError;
use crate::remains;
use crate::report::Failure;
use crate::settings::Settings;
use crate::ui::Ui;

/// What is said of a store that failed.
pub fn store_failed(error: Error) -> CommandError {
    let failure = Failure::from(&error);
    CommandError::new(error).told_as(failure)
}

/// Opens the store, cleaning up after processes that died.
pub fn open_store(settings: &Settings, ui: &Ui) -> Result<Store, CommandError> {
    remains::clear(settings, ui);
    let store = Store::open(&settings.root).map_err(store_failed)?;
    ignore(store.sweep(), ui);
    Ok(store)
}

/// Tells of a clean-up that failed, which is no reason not to go on: the next one tries again.
pub fn ignore(swept: Result<(), Error>, ui: &Ui) {
    if let Err(error) = swept {
        ui.say_ignored(&CommandError::new(error));
    }
}

/// What a tree is, in one word, and its digest.
pub fn kind_and_digest(tree: &Tree) -> (&'static str, String) {
    let kind = match tree {
        Tree::Layer(_) => "layer",
        Tree::Fixup(_) => "fixup",
    };
    (kind, tree.digest().to_string())
}
