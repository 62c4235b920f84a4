//! `ucr verify`: whether the store still holds what was put into it, and mending what it does not.

use std::collections::BTreeMap;
use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};
use ucr::command_error::CommandError;
use ucr::commands::images::store_to_read;
use ucr::output_format::FormatArgs;
use ucr::report::Report;
use ucr::settings::{Settings, need_root};
use ucr::shown;
use ucr::store::kind_and_digest;
use ucr::ui::Ui;
use ucr_images::store::{Catalog, Depth, ImageEntry, Object, Problem, TakenOut, Trouble, Verified};
use ucr_images::{Digest, Reference, Store};

use super::pull::AccessArgs;

/// What to verify, and whether to mend it.
#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// Look at every file of every layer, not at records and presence only
    #[arg(long)]
    deep: bool,
    /// Take out what is bad and pull it again, by digest
    #[arg(long)]
    repair: bool,
    #[command(flatten)]
    access: AccessArgs,
    #[command(flatten)]
    format: FormatArgs,
    /// Images, by name or ID [default: everything in the store]
    #[arg(value_name = "IMAGE")]
    images: Vec<String>,
}

/// What is wrong, and what became of it.
struct Case {
    problem: Problem,
    /// Why it was not mended, or that it was.
    mended: Result<(), String>,
    /// Whether it is out of the store.
    taken_out: bool,
}

/// Runs `ucr verify`; exit code 1 says that something is damaged and was not mended.
pub(crate) fn verify(
    args: &VerifyArgs,
    settings: &Settings,
    ui: &Ui,
) -> Result<ExitCode, CommandError> {
    need_root("ucr verify", "the store is closed to all but root")?;
    let Some(store) = store_to_read("ucr verify", settings)? else {
        let root = settings.root.display();
        return Err(CommandError::sentence(format!("there is no store {root}")));
    };
    let catalog = store.catalog().map_err(CommandError::new)?;
    let chosen = choose(args, &catalog)?;
    let verified = look(args, &store, &chosen)?;
    let summary = summary(&verified);
    let mut cases: Vec<Case> = verified.problems.into_iter().map(Case::new).collect();
    if args.repair {
        let mut repair = Repair {
            args,
            store: &store,
            catalog: &catalog,
            settings,
            ui,
        };
        repair.run(&mut cases)?;
    }
    args.format.write(
        ui,
        || cases.iter().flat_map(Case::lines).collect(),
        || json!({"checked": summary.1, "problems": cases.iter().map(Case::facts).collect::<Vec<_>>()}),
    )?;
    if args.format.is_for_people() {
        ui.say(&summary.0);
    }
    let is_bad = |case: &Case| case.problem.trouble.is_damage() && case.mended.is_err();
    Ok(match cases.iter().any(is_bad) {
        true => ExitCode::FAILURE,
        false => ExitCode::SUCCESS,
    })
}

fn choose<'c>(
    args: &VerifyArgs,
    catalog: &'c Catalog,
) -> Result<Option<Vec<&'c ImageEntry>>, CommandError> {
    if args.images.is_empty() {
        return Ok(None);
    }
    let mut chosen = Vec::new();
    for wanted in &args.images {
        let found = catalog.find(wanted).map_err(CommandError::new)?;
        if found.is_empty() {
            let text = format!("{wanted:?} is not in the store");
            return Err(CommandError::sentence(text).hint("ucr images shows what is"));
        }
        chosen.extend(found);
    }
    Ok(Some(chosen))
}

fn look(
    args: &VerifyArgs,
    store: &Store,
    chosen: &Option<Vec<&ImageEntry>>,
) -> Result<Verified, CommandError> {
    let depth = match args.deep {
        true => Depth::Deep,
        false => Depth::Records,
    };
    let verified = store.verify(chosen.as_deref(), depth);
    verified.map_err(CommandError::new)
}

/// What was looked at, for people and for programs.
fn summary(verified: &Verified) -> (String, Value) {
    let Verified {
        images,
        trees,
        objects,
        bytes,
        ..
    } = verified;
    let damage = match verified.has_damage() {
        true => "damage was found",
        false => "no damage",
    };
    let read = match objects {
        0 => String::new(),
        _ => format!(
            ", {objects} files and directories with {}",
            shown::size(*bytes)
        ),
    };
    (
        format!("verified {images} images, {trees} layers{read}: {damage}"),
        json!({"images": images, "layers": trees, "objects": objects, "bytes": bytes}),
    )
}

impl Case {
    fn new(problem: Problem) -> Self {
        Self {
            problem,
            mended: Err(String::new()),
            taken_out: false,
        }
    }

    fn lines(&self) -> Vec<String> {
        let Problem {
            object,
            trouble,
            images,
        } = &self.problem;
        let images: Vec<_> = images.iter().map(|name| shown::text(name)).collect();
        let of = match images.is_empty() {
            true => String::new(),
            false => format!(" of {}", images.join(", ")),
        };
        let became = match &self.mended {
            Ok(()) => "; repaired".to_owned(),
            Err(why) if why.is_empty() => String::new(),
            Err(why) if self.taken_out => {
                format!("; taken out, so that nobody runs it, and not fetched again: {why}")
            }
            Err(why) => format!("; not repaired: {why}"),
        };
        let mut lines = vec![format!("{object}{of}: {trouble}{became}")];
        if let Trouble::Damaged { faults, more } = trouble {
            let fault = |fault: &ucr_images::archive::Fault| {
                format!("  {}: {}", shown::path(&fault.path), fault.how)
            };
            lines.extend(faults.iter().map(fault));
            if *more > 0 {
                lines.push(format!("  and {more} more"));
            }
        }
        lines
    }

    fn facts(&self) -> Value {
        let Problem {
            object,
            trouble,
            images,
        } = &self.problem;
        let (kind, name) = match object {
            Object::Tree(tree) => kind_and_digest(tree),
            Object::Document(digest) => ("document", digest.to_string()),
            Object::Record(file) => ("record", file.clone()),
        };
        let mut facts = json!({
            "kind": kind,
            "name": name,
            "trouble": trouble.code(),
            "damage": trouble.is_damage(),
            "images": images,
            "repaired": self.mended.is_ok(),
        });
        if let Trouble::Damaged { faults, more } = trouble {
            let fault = |fault: &ucr_images::archive::Fault| json!({"path": shown::path(&fault.path), "fault": fault.how.code()});
            facts["faults"] = faults.iter().map(fault).collect();
            facts["moreFaults"] = json!(more);
        }
        if let Err(why) = &self.mended
            && !why.is_empty()
        {
            facts["notRepaired"] = json!(why);
        }
        facts
    }
}

/// Taking out what is bad, and pulling the images that need it.
struct Repair<'a> {
    args: &'a VerifyArgs,
    store: &'a Store,
    catalog: &'a Catalog,
    settings: &'a Settings,
    ui: &'a Ui,
}

impl Repair<'_> {
    fn run(&mut self, cases: &mut [Case]) -> Result<(), CommandError> {
        for case in cases
            .iter_mut()
            .filter(|case| case.problem.trouble.is_damage())
        {
            case.mended = self.take_out(&case.problem)?;
            case.taken_out = case.mended.is_ok();
        }
        let mut pulled: BTreeMap<(String, Digest), Result<(), String>> = BTreeMap::new();
        for case in cases.iter_mut().filter(|case| case.mended.is_ok()) {
            let names = &case.problem.images;
            let needing = self.catalog.images.iter();
            let needing = needing.filter(|entry| names.contains(entry.reference()));
            for entry in needing.filter(|entry| needs(entry, &case.problem.object)) {
                let key = (entry.platform().to_owned(), entry.manifest().clone());
                let outcome = pulled.entry(key).or_insert_with(|| self.pull(entry));
                case.mended = case.mended.clone().and(outcome.clone());
            }
        }
        Ok(())
    }

    /// Takes one bad thing out of the store, or says why not.
    fn take_out(&self, problem: &Problem) -> Result<Result<(), String>, CommandError> {
        if let Object::Tree(tree) = &problem.object {
            let taken = self.store.take_out(tree).map_err(CommandError::new)?;
            return Ok(match taken {
                TakenOut::Gone => Ok(()),
                TakenOut::InUse(user) => {
                    Err(format!("{} is using it; stop it first", shown::text(&user)))
                }
            });
        }
        let removed = self.store.remove_bad(&problem.object);
        removed.map_err(CommandError::new)?;
        Ok(Ok(()))
    }

    /// Pulls an image again by its digest, under no new name.
    fn pull(&self, entry: &ImageEntry) -> Result<(), String> {
        let exactly = format!("{}@{}", entry.name_and_tag().0, entry.manifest());
        let failed = |error: CommandError| error.message();
        let (Ok(reference), Ok(platform)) =
            (exactly.parse::<Reference>(), entry.platform().parse())
        else {
            return Err("it came from no registry; load it again".to_owned());
        };
        let wanted = (&reference, &platform);
        let pulled = self.args.access.pull(
            wanted.into(),
            self.store,
            self.settings,
            (self.ui, &Report::nobody()),
        );
        let image = pulled.map_err(failed)?;
        let named = reference.to_string();
        let had_it =
            self.catalog.images.iter().any(|entry| {
                entry.reference() == named && entry.platform() == platform.to_string()
            });
        if !had_it {
            let forgotten = self.store.forget_name(&reference, &platform);
            forgotten.map_err(|error| failed(CommandError::new(error)))?;
        }
        let wanted = (&reference as &dyn std::fmt::Display, &image);
        let told = (self.ui, &Report::nobody());
        let settled = self.args.access.settle(wanted, self.store, told);
        settled.map_err(failed)
    }
}

fn needs(entry: &ImageEntry, object: &Object) -> bool {
    match object {
        Object::Tree(tree) => entry.needs(tree),
        Object::Document(digest) => entry.manifest() == digest || entry.id() == digest,
        Object::Record(_) => false,
    }
}
