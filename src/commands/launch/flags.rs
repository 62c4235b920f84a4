//! A container of a task in the words of `ucr run`.
//!
//! So that every limit, mount and privilege of a task goes the way that people's go, and is
//! checked there.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::Parser as _;
use ucr_executor::task::{self, Container, Limit, Seccomp, VolumeSource};
use ucr_images::ImageConfig;

use super::prepared::Prepared;
use crate::cli::Start;
use crate::command_error::CommandError;
use crate::commands::run::RunArgs;

/// The least memory of a task in MiB, as Mesos and its Docker containerizer have it.
const LEAST_MEMORY: f64 = 32.0;
/// The least weight of its processors.
const LEAST_SHARES: f64 = 2.0;
/// A period of the scheduler's in microseconds.
const PERIOD: f64 = 100_000.0;
/// The least time in it.
const LEAST_QUOTA: f64 = 1_000.0;

/// Flags that can be given more than once.
const LISTS: [&str; 23] = [
    "add-host",
    "cap-add",
    "cap-drop",
    "cdi-spec-dir",
    "device",
    "device-read-bps",
    "device-read-iops",
    "device-write-bps",
    "device-write-iops",
    "dns",
    "dns-option",
    "dns-search",
    "env",
    "env-file",
    "group-add",
    "label",
    "mount",
    "security-opt",
    "sysctl",
    "tmpfs",
    "ulimit",
    "volume",
    "volumes-from",
];

/// What the agent says of all tasks.
#[derive(Clone, Debug, Default)]
pub(super) struct Agent {
    /// Whether processors are a limit, and not only a weight (`--cgroups_enable_cfs`).
    pub(super) limits_cpus: bool,
    /// Whether memory limits hold for swap too (`--cgroups_limit_swap`).
    pub(super) limits_swap: bool,
    /// Below which missing directories of the host are made.
    pub(super) made: Vec<PathBuf>,
}

/// What a container is made of.
#[derive(Debug)]
pub(super) struct Made<'a> {
    /// Its part of the task.
    pub(super) container: &'a Container,
    /// Its image's configuration.
    pub(super) config: &'a ImageConfig,
    /// The image, as it is named.
    pub(super) image: &'a str,
    /// The command, merged with the image's.
    pub(super) command: &'a [String],
    /// Variables, the last of a name winning.
    pub(super) env: &'a [(String, String)],
    /// Its directory on this host.
    pub(super) sandbox: &'a Path,
    /// Where it sees that.
    pub(super) inside: &'a Path,
    /// Its volumes that are directories of the sandbox, by where they are in it.
    pub(super) own: &'a [(PathBuf, PathBuf)],
    /// That of the task, of which a pod's containers have parts.
    pub(super) shared: &'a [(String, PathBuf)],
    /// What people attached to the task.
    pub(super) labels: &'a [(String, String)],
    /// What the container is called.
    pub(super) name: &'a str,
    /// What the agent says.
    pub(super) agent: Agent,
    /// Its network, in the words of `--network`.
    pub(super) network: &'a str,
}

/// Makes a command line of `ucr run` out of it, and reads it.
pub(super) fn run_args(made: &Made<'_>) -> Result<Box<RunArgs<Prepared>>, CommandError> {
    let mut flags = Flags::default();
    flags.about(made);
    flags.resources(made)?;
    flags.privileges(made.container)?;
    flags.volumes(made)?;
    parameters(&mut flags, made)?;
    flags.env(made.env);
    flags.value("--network", made.network);
    // The command is whole: what of the image belongs to it is in it.
    flags.value("--entrypoint", "");
    let words = [OsString::from("--"), made.image.into()];
    let command = made.command.iter().map(OsString::from);
    let all = flags.0.iter().cloned().chain(words).chain(command);
    parse(all).map_err(|why| {
        let path = &made.container.path;
        CommandError::sentence(format!("{path}: {why}"))
    })
}

fn parse(words: impl Iterator<Item = OsString>) -> Result<Box<RunArgs<Prepared>>, String> {
    let line = ["ucr", "run"].map(OsString::from).into_iter().chain(words);
    match Start::<Prepared>::try_parse_from(line) {
        Ok(start) => Ok(start.into_parts().1),
        Err(error) => Err(first_line(&error.to_string())),
    }
}

/// What clap says, without how the command line looks, which nobody typed.
fn first_line(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    line.trim_start_matches("error: ").to_owned()
}

/// Words of a command line.
#[derive(Debug, Default)]
struct Flags(Vec<OsString>);

impl Flags {
    fn value(&mut self, flag: &str, value: impl AsRef<std::ffi::OsStr>) {
        let mut word = OsString::from(flag);
        word.push("=");
        word.push(value);
        self.0.push(word);
    }

    fn word(&mut self, flag: &str) {
        self.0.push(flag.into());
    }

    fn about(&mut self, made: &Made<'_>) {
        let container = made.container;
        self.value("--name", made.name);
        self.value("--pull", "never");
        for (key, value) in made.labels {
            self.value("--label", format!("{key}={value}"));
        }
        if let Some(hostname) = &container.hostname {
            self.value("--hostname", hostname);
        }
        if let Some(user) = &container.user {
            self.value("--user", user);
        }
        let directory = container.command.directory.as_deref();
        match (directory, made.config.working_dir()) {
            (Some(directory), _) => self.value("--workdir", directory),
            (None, "") => self.value("--workdir", made.inside),
            (None, _) => {}
        }
        if container.terminal.is_some() {
            self.word("--tty");
        }
    }

    /// Mesos' own arithmetic (cgroups/subsystems/{cpu,memory}.cpp).
    fn resources(&mut self, made: &Made<'_>) -> Result<(), CommandError> {
        let (resources, agent) = (made.container.resources, &made.agent);
        let shares = (1024.0 * resources.cpus).floor().max(LEAST_SHARES);
        self.value("--cpu-shares", whole(shares.min(262_144.0)));
        let cpus = match resources.cpus_limit {
            None => agent.limits_cpus.then_some(resources.cpus),
            Some(Limit::Unlimited) => None,
            Some(Limit::To(cpus)) => Some(cpus),
        };
        if let Some(cpus) = cpus {
            self.value("--cpu-period", whole(PERIOD));
            self.value("--cpu-quota", whole((PERIOD * cpus).max(LEAST_QUOTA)));
        }
        let soft = resources.mem.max(LEAST_MEMORY);
        let hard = match resources.mem_limit {
            None => Some(soft),
            Some(Limit::Unlimited) => None,
            Some(Limit::To(limit)) => Some(limit.floor().max(LEAST_MEMORY)),
        };
        self.value("--memory-reservation", format!("{}m", whole(soft)));
        if let Some(hard) = hard {
            self.value("--memory", format!("{}m", whole(hard)));
            if agent.limits_swap {
                self.value("--memory-swap", format!("{}m", whole(hard)));
            }
        }
        // Who may use more than it asked for goes first when there is none left.
        if hard.is_none_or(|hard| hard > soft) {
            let total = megabytes(ucr_sys::memory_total());
            let adjustment = (1000.0 - 1000.0 * soft / total).clamp(0.0, 1000.0);
            self.value("--oom-score-adj", whole(adjustment));
        }
        Ok(())
    }

    fn privileges(&mut self, container: &Container) -> Result<(), CommandError> {
        let linux = &container.linux;
        if container.privileged {
            self.word("--privileged");
        }
        let sets = (&linux.effective, &linux.bounding);
        if let (Some(effective), Some(bounding)) = sets
            && !has_same(effective, bounding)
        {
            let path = &container.path;
            let text = format!("{path}: the bounding capabilities have to be those in force");
            return Err(CommandError::sentence(text));
        }
        // Alone, each of the two stands for both, as with Mesos.
        if let Some(effective) = sets.0.as_ref().or(sets.1.as_ref()) {
            self.value("--cap-drop", "ALL");
            for name in effective {
                self.value("--cap-add", name);
            }
        }
        match &linux.seccomp {
            Seccomp::Default => {}
            Seccomp::Unconfined => self.value("--security-opt", "seccomp=unconfined"),
            Seccomp::Profile(path) => self.value("--security-opt", format!("seccomp={path}")),
        }
        if let Some(size) = linux.shm_size {
            self.value("--shm-size", format!("{size}m"));
        }
        for (name, limit) in &linux.rlimits {
            let limit = match limit {
                Some((soft, hard)) => format!("{soft}:{hard}"),
                None => "-1".to_owned(),
            };
            self.value("--ulimit", format!("{name}={limit}"));
        }
        Ok(())
    }

    fn volumes(&mut self, made: &Made<'_>) -> Result<(), CommandError> {
        // With the files of the host it is where it is.
        if made.inside != made.sandbox {
            self.bind(made.sandbox, made.inside, false);
        }
        for volume in &made.container.volumes {
            let source = match &volume.source {
                VolumeSource::Host(path) => host(made, path, volume)?,
                VolumeSource::Sandbox(below) => own(made, below),
                VolumeSource::Shared(name) => shared(made, name, volume)?,
                // These are given to the container in other ways.
                VolumeSource::Secret(_) | VolumeSource::Image(_) => continue,
            };
            let target = made.inside.join(&volume.target);
            self.bind(&source, &target, volume.read_only);
        }
        Ok(())
    }

    /// A file or directory of the host, in the form that has no trouble with what is in its name.
    fn bind(&mut self, source: &Path, target: &Path, read_only: bool) {
        let has_colon = |path: &Path| path.as_os_str().as_encoded_bytes().contains(&b':');
        let (flag, parts) = if has_colon(source) || has_colon(target) {
            let read_only = if read_only { ",readonly" } else { "" };
            ("--mount", ["type=bind,source=", ",target=", read_only])
        } else {
            ("--volume", ["", ":", if read_only { ":ro" } else { "" }])
        };
        let [before, between, behind] = parts;
        let mut value = OsString::from(before);
        value.push(source);
        value.push(between);
        value.push(target);
        value.push(behind);
        self.value(flag, value);
    }

    /// Takes away what was said with a flag that can be given once only.
    fn forget(&mut self, flag: &str) {
        let is_flag = |word: &OsString| {
            let text = word.to_string_lossy();
            text.split('=').next() == Some(flag)
        };
        self.0.retain(|word| !is_flag(word));
    }

    fn env(&mut self, env: &[(String, String)]) {
        for (name, value) in env {
            self.value("--env", format!("{name}={value}"));
        }
    }
}

/// A file or directory of the host, made if the agent says so (`--host_path_volume_force_creation`).
fn host(made: &Made<'_>, path: &Path, volume: &task::Volume) -> Result<PathBuf, CommandError> {
    let refused = |why: &str| {
        let (at, path) = (&volume.path, path.display());
        CommandError::sentence(format!("{at}: cannot mount {path} of this host: {why}"))
    };
    let may_be_made = || {
        let mut folders = made.agent.made.iter();
        folders.any(|folder| path.starts_with(folder))
    };
    match path.metadata() {
        Ok(_) => Ok(path.to_owned()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && may_be_made() => {
            let made = std::fs::create_dir_all(path);
            made.map_err(|error| refused(&ucr_sys::reason(&error)))?;
            Ok(path.to_owned())
        }
        Err(error) => Err(refused(&ucr_sys::reason(&error))),
    }
}

/// The directory of the host that a volume in the sandbox is.
fn own(made: &Made<'_>, below: &Path) -> PathBuf {
    let found = made.own.iter().find(|(one, _)| one == below);
    found.map_or_else(|| made.sandbox.join(below), |(_, path)| path.clone())
}

fn shared(made: &Made<'_>, name: &str, volume: &task::Volume) -> Result<PathBuf, CommandError> {
    let found = made.shared.iter().find(|(one, _)| one == name);
    found.map(|(_, path)| path.clone()).ok_or_else(|| {
        let path = &volume.path;
        CommandError::sentence(format!("{path}: the pod has no volume \"{name}\""))
    })
}

/// Docker's own flags: those that `ucr run` has too, each on its own so that the one that is
/// wrong is named.
fn parameters(flags: &mut Flags, made: &Made<'_>) -> Result<(), CommandError> {
    for parameter in &made.container.parameters {
        let refused = |why: &str| {
            let path = &parameter.path;
            let key = parameter.key.escape_debug();
            CommandError::sentence(format!("{path}: \"{key}\" {why}"))
        };
        if let Some(instead) = said_elsewhere(&parameter.key) {
            return Err(refused(instead));
        }
        let mut one = Flags::default();
        let flag = format!("--{}", parameter.key);
        match (is_switch(&parameter.key), parameter.value.as_str()) {
            (true, "true" | "") => one.word(&flag),
            (true, "false") => continue,
            (true, _) => return Err(refused("is either true or false")),
            (false, value) => one.value(&flag, value),
        }
        let image = ["--", "r.example/i"].map(OsString::from);
        let words = one.0.iter().cloned().chain(image);
        parse(words).map_err(|why| {
            if why.contains("unexpected argument") {
                refused("is no parameter that ucr has: ucr run --help lists those there are")
            } else {
                refused(&format!("cannot be used: {why}"))
            }
        })?;
        // As docker does with what its command line says twice: the later one holds.
        if !LISTS.contains(&parameter.key.as_str()) {
            flags.forget(&flag);
        }
        flags.0.append(&mut one.0);
    }
    Ok(())
}

/// Whether both lists name the same, in any order.
fn has_same(one: &[String], other: &[String]) -> bool {
    one.iter().all(|name| other.contains(name)) && other.iter().all(|name| one.contains(name))
}

/// Flags of docker's without a value.
fn is_switch(key: &str) -> bool {
    matches!(
        key,
        "init" | "no-init" | "privileged" | "read-only" | "tty" | "rm" | "interactive"
    )
}

/// What a definition says in another place, or what is not a task's to say.
fn said_elsewhere(key: &str) -> Option<&'static str> {
    Some(match key {
        "name" => "is given by the executor (MESOS-8497)",
        "net" | "network" | "publish" | "p" | "P" | "publish-all" => {
            "is said by networks and portMappings"
        }
        "entrypoint" => "is what cmd and args are for",
        "detach" | "d" => "would leave the task alone: it is waited for",
        "pull" => "is said by forcePullImage",
        "report" | "status-fd" | "platform" | "principal" | "secret-file" | "help" => {
            "is no parameter of a container"
        }
        _ => return None,
    })
}

/// Bytes in MiB.
fn megabytes(bytes: u64) -> f64 {
    // A machine has fewer than 2^32 of them.
    f64::from(u32::try_from(bytes >> 20).unwrap_or(u32::MAX))
}

/// A number as the command line has it.
fn whole(number: f64) -> String {
    format!("{number:.0}")
}
