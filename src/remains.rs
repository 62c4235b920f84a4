//! What containers left whose supervisor was killed, and who clears it away: any command that looks
//! at containers, makes one, or makes room.

use ucr_images::Store;
use ucr_runtime::state;

use crate::command_error::CommandError;
use crate::settings::Settings;
use crate::store::ignore;
use crate::ui::Ui;
use crate::{names, userns};

/// Clears away what those left who were killed: processes, cgroups, state, names, ids, and their
/// writable layers. What cannot be removed is told of; the next command tries again.
pub fn clear(settings: &Settings, ui: &Ui) {
    let swept = state::sweep(&settings.state);
    for failure in swept.failures {
        ui.say_ignored(&CommandError::new(failure));
    }
    clear_claims(settings, ui);
    // It costs more to look there, and nobody has anything there who has no state.
    if !swept.removed.is_empty() {
        match Store::open_existing(&settings.root) {
            Ok(store) => ignore(store.map_or(Ok(()), |store| store.sweep_containers()), ui),
            Err(error) => ui.say_ignored(&CommandError::new(error)),
        }
    }
}

/// Frees the names, ids and networks of those who were killed.
pub(crate) fn clear_claims(settings: &Settings, ui: &Ui) {
    if let Err(error) = ucr_runtime::network::sweep(&settings.state) {
        ui.say_ignored(&CommandError::new(error));
    }
    for swept in [names::sweep, userns::sweep] {
        if let Err(error) = swept(&settings.state) {
            ui.say_ignored(&error);
        }
    }
}
