//! What is known of a container, as people and programs read it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use ucr_runtime::control::Container;
use ucr_runtime::oci::plan::IdMapping;
use ucr_runtime::state::{self, Ended, Found, Record, Status};
use ucr_runtime::volumes::{Kind, Volume};

use super::{look_for, network};
use crate::command_error::CommandError;
use crate::settings::Settings;
use crate::ui::Ui;
use crate::{remains, shown};

/// How a container is, in Docker's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// It is being set up.
    Created,
    /// Its task runs.
    Running,
    /// Its processes stand still.
    Paused,
    /// It has ended.
    Exited,
}

impl State {
    /// All words for it.
    pub(super) const WORDS: [&str; 4] = ["created", "running", "paused", "exited"];

    /// How a container is now.
    pub(super) fn of(found: &Found, settings: &Settings) -> Self {
        let Found::Alive(record) = found else {
            return Self::Exited;
        };
        // One that was killed, and of which something is left that cannot be removed.
        if !state::is_alive(&settings.state, &record.id).unwrap_or(true) {
            return Self::Exited;
        }
        let frozen = || {
            let container = Container::open(&settings.state, record);
            container.is_ok_and(|open| open.is_some_and(|container| container.is_frozen()))
        };
        match record.status {
            Status::Creating => Self::Created,
            Status::Running if frozen() => Self::Paused,
            Status::Running => Self::Running,
        }
    }

    /// In one word.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Exited => "exited",
        }
    }

    /// For people, with since when.
    pub(crate) fn sentence(self, found: &Found, now: SystemTime) -> String {
        let since = |nanoseconds: u64| shown::ago(time(nanoseconds), now).replace(" ago", "");
        match (self, found) {
            (Self::Created, _) => "Created".to_owned(),
            (Self::Exited, Found::Alive(_)) => "Dead".to_owned(),
            (_, Found::Alive(record)) => {
                let paused = if self == Self::Paused {
                    " (Paused)"
                } else {
                    ""
                };
                let begun = record.started.unwrap_or(record.created);
                format!("Up {}{paused}", since(begun))
            }
            (_, Found::Ended(ended)) => {
                let ago = shown::ago(time(ended.finished), now);
                format!("Exited ({}) {ago}", ended.exit_code)
            }
        }
    }
}

/// What is known of it, alive or not.
pub(super) fn record(found: &Found) -> &Record {
    match found {
        Found::Alive(record) => record,
        Found::Ended(ended) => &ended.record,
    }
}

/// A time of the state, which counts nanoseconds since 1970.
pub(super) fn time(nanoseconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_nanos(nanoseconds)
}

/// What `ucr inspect` shows of a container, if there is one of that name.
pub(crate) fn inspected(
    settings: &Settings,
    wanted: &str,
    ui: &Ui,
) -> Result<Option<Value>, CommandError> {
    // To others the state is closed; images are not.
    if !ucr_sys::is_root() {
        return Ok(None);
    }
    remains::clear(settings, ui);
    match look_for(settings, wanted) {
        Ok(found) => Ok(Some(facts(&found, settings))),
        Err(_none) => Ok(None),
    }
}

/// Ranges of ids as podman shows them.
fn shown_ids(ranges: &[IdMapping]) -> Vec<String> {
    let shown = |range: &IdMapping| format!("{}:{}:{}", range.inside, range.outside, range.count);
    ranges.iter().map(shown).collect()
}

/// A volume with Docker's keys; one of the image has no place of the host's that could be told.
fn mount(volume: &Volume) -> Value {
    match &volume.kind {
        Kind::Bind { source, options } => json!({
            "Type": "bind",
            "Source": source,
            "Destination": volume.target,
            "Mode": options.join(","),
            "RW": !options.iter().any(|option| option == "ro"),
        }),
        Kind::Image { read_only } => json!({
            "Type": "volume",
            "Destination": volume.target,
            "RW": !read_only,
        }),
    }
}

/// What it may use of the host.
fn host_config(record: &Record) -> Value {
    let host = &record.about.host;
    json!({
        "Memory": host.memory,
        "NanoCpus": host.nano_cpus,
        "PidsLimit": host.pids,
        "NetworkMode": host.network,
        "Privileged": host.privileged,
        "ReadonlyRootfs": host.read_only,
        "CapAdd": host.cap_add,
        "CapDrop": host.cap_drop,
        "UsernsMode": if record.ids.is_some() { "private" } else { "host" },
        "IDMappings": record.ids.as_ref().map(|ids| json!({
            "UidMap": shown_ids(&ids.uids),
            "GidMap": shown_ids(&ids.gids),
        })),
    })
}

/// With the keys of `docker container inspect`, and one of podman's.
pub(super) fn facts(found: &Found, settings: &Settings) -> Value {
    let record = record(found);
    let host = &record.about.host;
    let state = State::of(found, settings);
    let ended = match found {
        Found::Ended(ended) => Some(ended),
        Found::Alive(_) => None,
    };
    let (program, arguments) = match record.about.command.split_first() {
        Some((program, arguments)) => (program.as_str(), arguments),
        None => ("", &[][..]),
    };
    let pid = match found {
        Found::Alive(record) if state != State::Exited => record.task_now(),
        Found::Alive(_) | Found::Ended(_) => None,
    };
    json!({
        "Id": record.id.as_str(),
        "Name": record.name,
        "Created": shown::time(time(record.created)),
        "Path": program,
        "Args": arguments,
        "Image": record.about.image_id,
        "State": {
            "Status": state.word(),
            "Running": matches!(state, State::Running | State::Paused),
            "Paused": state == State::Paused,
            "OOMKilled": ended.is_some_and(|ended| ended.out_of_memory),
            "Pid": pid.unwrap_or(0),
            "ExitCode": ended.map(|ended| ended.exit_code),
            "Signal": ended.and_then(|ended| ended.signal),
            "Error": ended.and_then(|ended| ended.error.as_deref()),
            "StartedAt": record.started.map(|started| shown::time(time(started))),
            "FinishedAt": ended.map(|ended: &Ended| shown::time(time(ended.finished))),
        },
        "Config": {
            "Image": record.about.image,
            "Cmd": record.about.command,
            "User": host.user,
            "WorkingDir": host.directory,
            "Labels": record.about.labels,
            "StopSignal": record.about.stop.signal,
            "StopTimeout": record.about.stop.seconds,
        },
        "HostConfig": host_config(record),
        "NetworkSettings": network::settings(&record.network),
        "Mounts": record.volumes.all.iter().map(mount).collect::<Value>(),
        // They go with it.
        "Cgroups": ended.is_none().then_some(&record.cgroups),
    })
}
