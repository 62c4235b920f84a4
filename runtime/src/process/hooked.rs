//! The hooks of a supervised container: the supervisor runs those outside, pid 1 those inside.
//!
//! None runs once the root is entered: what could be found there is the image's, and pid 1 has
//! privileges that are not for it.

use ucr_sys::process::Child;

use super::protocol::{Channel, Message};
use crate::failure::{Cause, During, Failure, Step};
use crate::oci::container::{State, Status};
use crate::oci::hooks::{self, Hook, Moment};
use crate::plan::{Hooked, Plan};

/// In pid 1: has the supervisor run what is to run outside, then runs `createContainer`.
pub(super) fn before_entering(plan: &Plan, channel: &Channel) -> Result<(), Failure> {
    let Some(hooked) = &plan.hooks else {
        return Ok(());
    };
    if !hooked.hooks.prestart.is_empty() || !hooked.hooks.create_runtime.is_empty() {
        channel.send(&Message::Hooks).during(Step::Hooks, "")?;
        if !channel.wait_for_go().during(Step::Hooks, "")? {
            return Err(Failure::new(Step::Hooks, "", Cause::Orphaned));
        }
    }
    let pid = i32::try_from(std::process::id()).unwrap_or_default();
    let state = state(plan, hooked, (Status::Created, pid));
    let moment = Moment::CreateContainer;
    hooks::run(moment, &hooked.hooks.create_container, &state).map_err(|error| {
        let said = Cause::Ended(error.to_string());
        Failure::new(Step::Hooks, moment.name(), said)
    })
}

/// In the supervisor, while pid 1 waits: `prestart`, then `createRuntime`.
pub(super) fn outside(plan: &Plan, init: &Child) -> Result<(), hooks::Error> {
    let Some(hooked) = &plan.hooks else {
        return Ok(());
    };
    let state = state(plan, hooked, (Status::Created, number(init)));
    hooks::run(Moment::Prestart, &hooked.hooks.prestart, &state)?;
    hooks::run(Moment::CreateRuntime, &hooked.hooks.create_runtime, &state)
}

/// In the supervisor, once the task runs: `poststart`.
pub(super) fn started(plan: &Plan, init: &Child) -> Result<(), hooks::Error> {
    let Some(hooked) = &plan.hooks else {
        return Ok(());
    };
    let state = state(plan, hooked, (Status::Running, number(init)));
    hooks::run(Moment::Poststart, &hooked.hooks.poststart, &state)
}

/// In the supervisor, when nothing is left but the state: `poststop`, each, and what failed of it.
pub(super) fn stopped(plan: &Plan) -> Vec<hooks::Error> {
    let Some(hooked) = &plan.hooks else {
        return Vec::new();
    };
    let state = state(plan, hooked, (Status::Stopped, 0));
    let one = |hook: &Hook| hooks::run(Moment::Poststop, std::slice::from_ref(hook), &state).err();
    hooked.hooks.poststop.iter().filter_map(one).collect()
}

fn number(init: &Child) -> i32 {
    init.pid.as_raw_nonzero().get()
}

fn state(plan: &Plan, hooked: &Hooked, (status, pid): (Status, i32)) -> String {
    State::new(&plan.id, &hooked.about, status, pid).json()
}
