//! `ucr ps`: which containers there are.

use std::process::ExitCode;
use std::time::SystemTime;

use clap::Args;
use serde_json::Value;
use ucr_runtime::state::{self, Found};

use super::facts::{self, State, record, time};
use super::network;
use crate::command_error::CommandError;
use crate::output_format::{FormatArgs, columns};
use crate::settings::{Settings, need_root};
use crate::ui::Ui;
use crate::{remains, shown};

/// Characters of an ID that are shown, as Docker does.
const SHORT: usize = 12;
/// Characters of a command that are shown.
const COMMAND: usize = 20;

/// Which to list, and how.
#[derive(Debug, Args)]
pub struct PsArgs {
    /// Also those that ended within the last day
    #[arg(short, long)]
    all: bool,
    /// Print container IDs only
    #[arg(short, long, conflicts_with = "format")]
    quiet: bool,
    /// Show IDs and commands in full
    #[arg(long)]
    no_trunc: bool,
    /// Only those with this: name=NAME, id=ID, label=KEY[=VALUE], status=STATUS, ancestor=IMAGE
    #[arg(short, long, value_name = "KEY=VALUE", value_parser = filter)]
    filter: Vec<Filter>,
    #[command(flatten)]
    format: FormatArgs,
}

/// What a container must be to be listed.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Filter {
    Name(String),
    Id(String),
    Label(String, Option<String>),
    Status(String),
    Image(String),
}

fn filter(text: &str) -> Result<Filter, String> {
    let (key, value) = text.split_once('=').ok_or("it is not KEY=VALUE")?;
    match key {
        "name" => Ok(Filter::Name(value.to_owned())),
        "id" => Ok(Filter::Id(value.to_owned())),
        "status" if State::WORDS.contains(&value) => Ok(Filter::Status(value.to_owned())),
        "status" => {
            let words = State::WORDS.join(", ");
            Err(format!("the status \"{value}\" is none of {words}"))
        }
        "ancestor" => Ok(Filter::Image(value.to_owned())),
        "label" => Ok(match value.split_once('=') {
            Some((key, value)) => Filter::Label(key.to_owned(), Some(value.to_owned())),
            None => Filter::Label(value.to_owned(), None),
        }),
        _ => Err(format!(
            "\"{key}\" is none of name, id, label, status, ancestor"
        )),
    }
}

/// Runs `ucr ps`.
pub(crate) fn ps(args: &PsArgs, settings: &Settings, ui: &Ui) -> Result<ExitCode, CommandError> {
    need_root(
        "ucr ps",
        "the state of containers is closed to all but root",
    )?;
    remains::clear(settings, ui);
    let found = wanted(args, settings)?;
    if args.quiet {
        for (one, _) in &found {
            ui.print(&id(args, one))?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let json = || found.iter().map(|(one, _)| facts::facts(one, settings));
    args.format
        .write(ui, || table(args, &found), || json().collect::<Value>())?;
    Ok(ExitCode::SUCCESS)
}

/// Those that are to be listed, the latest first.
fn wanted(args: &PsArgs, settings: &Settings) -> Result<Vec<(Found, State)>, CommandError> {
    let alive = state::list(&settings.state).map_err(CommandError::new)?;
    let dead =
        |record: &state::Record| !state::is_alive(&settings.state, &record.id).unwrap_or(true);
    // Of those something is left that could not be removed.
    let alive = alive.into_iter().rev().filter(|record| !dead(record));
    let mut found: Vec<Found> = alive.map(Found::Alive).collect();
    let asks_for_ended =
        |filter: &Filter| matches!(filter, Filter::Status(status) if status == "exited");
    if args.all || args.filter.iter().any(asks_for_ended) {
        let ended = state::list_ended(&settings.state).map_err(CommandError::new)?;
        found.extend(ended.into_iter().map(Found::Ended));
    }
    let with_state = found.into_iter().map(|one| {
        let state = State::of(&one, settings);
        (one, state)
    });
    let fits = |(one, state): &(Found, State)| {
        let record = record(one);
        args.filter.iter().all(|filter| match filter {
            Filter::Name(name) => record
                .name
                .as_deref()
                .is_some_and(|own| own.contains(name.as_str())),
            Filter::Id(id) => record.id.as_str().starts_with(id.as_str()),
            Filter::Status(status) => state.word() == status,
            Filter::Image(image) => record.about.image == *image || record.about.image_id == *image,
            Filter::Label(key, value) => {
                let own = record.about.labels.get(key);
                own.is_some_and(|own| value.as_ref().is_none_or(|value| own == value))
            }
        })
    };
    Ok(with_state.filter(fits).collect())
}

fn id(args: &PsArgs, found: &Found) -> String {
    let id = record(found).id.as_str();
    let length = if args.no_trunc { id.len() } else { SHORT };
    id.chars().take(length).collect()
}

fn table(args: &PsArgs, found: &[(Found, State)]) -> Vec<String> {
    let now = SystemTime::now();
    let head = [
        "CONTAINER ID",
        "IMAGE",
        "COMMAND",
        "CREATED",
        "STATUS",
        "PORTS",
        "NAMES",
    ];
    let mut rows = vec![head.map(str::to_owned)];
    rows.extend(found.iter().map(|(one, state)| {
        let record = record(one);
        [
            id(args, one),
            shown::text(&record.about.image),
            command(args, &record.about.command),
            shown::ago(time(record.created), now),
            state.sentence(one, now),
            ports(one),
            record.name.clone().unwrap_or_default(),
        ]
    }));
    columns(&rows)
}

/// Of one that has ended nothing leads anywhere.
fn ports(found: &Found) -> String {
    match found {
        Found::Alive(record) => network::ports(&record.network),
        Found::Ended(_) => String::new(),
    }
}

/// A command as Docker shows it: in quotes, and not too long.
fn command(args: &PsArgs, words: &[String]) -> String {
    let whole = shown::text(&words.join(" "));
    let cut = match whole.chars().count() > COMMAND && !args.no_trunc {
        true => whole.chars().take(COMMAND - 1).chain(['…']).collect(),
        false => whole,
    };
    format!("\"{cut}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_read_strictly() {
        assert_eq!(filter("name=web"), Ok(Filter::Name("web".into())));
        let label = Filter::Label("a".into(), Some("b=c".into()));
        assert_eq!(filter("label=a=b=c"), Ok(label));
        assert_eq!(filter("label=a"), Ok(Filter::Label("a".into(), None)));
        for wrong in ["name", "color=red", ""] {
            assert!(filter(wrong).is_err(), "{wrong}");
        }
    }
}
