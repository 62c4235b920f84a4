//! `ucr run`: a command in a new container.

mod about;
mod base;
mod cgroup;
mod devices;
mod extra;
mod find;
mod limits;
mod lookup;
mod mounts;
mod network;
mod ports;
mod privileges;
mod volume;
mod volumes_from;
mod words;

use std::convert::Infallible;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{ArgAction, Args};
use oci_spec::runtime::Spec;
use ucr_images::store::Container;
use ucr_images::{ImageConfig, Store};
use ucr_runtime::launch::{ImageVolume, Launch, UserRequest};
use ucr_runtime::network::{Connected, End, Joining, Network};
use ucr_runtime::plan::{About, HostConfig, PidOne};
use ucr_sys::process::{SingleThreaded, spawn_detached};
use ucr_sys::random_suffix;

use self::about::AboutArgs;
use self::base::Base;
use self::cgroup::CgroupArgs;
pub(crate) use self::devices::Devices;
pub(crate) use self::extra::{Extra, Files};
use self::find::{Image, find, pulled};
pub(crate) use self::limits::LimitArgs;
pub(crate) use self::lookup::LookupArgs;
pub(crate) use self::mounts::MountArgs;
pub(crate) use self::network::{NetworkArgs, failed};
pub(crate) use self::privileges::PrivilegeArgs;
pub(crate) use self::volumes_from::Borrowed;
pub(crate) use self::words::Words;
use super::begin;
use crate::cdi::Edits;
use crate::cli::Start;
use crate::command_error::CommandError;
use crate::container_spec::{self, Inputs};
use crate::env_args::EnvArgs;
use crate::held_file::HeldFile;
use crate::host_files::{HostFiles, Surroundings};
use crate::report::{Failure, Report};
use crate::security::Security;
use crate::settings::{Settings, need_root};
use crate::source::{Inject, Source, Told};
use crate::store::{ignore, store_failed};
use crate::streams::StreamArgs;
use crate::ui::Ui;
use crate::userns::{HeldIds, Owner, UsernsArgs};
use crate::{beside, names, quantity, remains};

/// Docker's exit code for "it did not come to the task".
const FAILED: u8 = 125;

/// What stands for the ID of a container that is not made.
const EXAMPLE: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// What to run, how to get it, and how isolated.
#[derive(Debug, Args)]
#[command(disable_help_flag = true)]
pub struct RunArgs<S: Args> {
    #[command(flatten)]
    source: S,
    /// When to pull the image
    #[arg(long, value_enum, default_value_t = PullPolicy::Missing, value_name = "WHEN")]
    pull: PullPolicy,
    #[command(flatten)]
    container: ContainerArgs,
    /// Print help: -h is the host name, as it is Docker's
    #[arg(long, action = ArgAction::Help)]
    help: Option<bool>,
}

/// What to run, and how isolated.
#[derive(Debug, Args)]
pub(crate) struct ContainerArgs {
    /// Name of the container, unique among the running ones
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    #[command(flatten)]
    pub(crate) streams: StreamArgs,
    /// Remove the container when it has ended, which always happens
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false", value_parser = quantity::switch, action = ArgAction::Set, hide_default_value = true, value_name = "BOOL")]
    rm: bool,
    #[command(flatten)]
    env: EnvArgs,
    /// Working directory inside the container
    #[arg(short, long, value_name = "DIR")]
    pub(crate) workdir: Option<String>,
    /// User to run as, by name or ID of the image, with or without a group
    #[arg(short, long, value_name = "USER[:GROUP]")]
    user: Option<String>,
    #[command(flatten)]
    pub(crate) mounts: MountArgs,
    /// Run a process of ours as the container's first, which reaps others and passes signals on; as
    /// it is; with false, the task itself
    #[arg(long, overrides_with = "no_init", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = quantity::switch, value_name = "BOOL")]
    init: Option<bool>,
    /// Pass signals on to the task; as it is
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = quantity::switched_on, value_name = "BOOL", hide = true)]
    sig_proxy: Option<bool>,
    /// Run the task itself as the container's first process
    #[arg(long)]
    no_init: bool,
    /// Host name inside the container
    #[arg(short = 'h', long, value_name = "NAME", value_parser = hostname)]
    hostname: Option<String>,
    /// Command to run instead of the image's entrypoint
    #[arg(long, value_name = "COMMAND")]
    pub(crate) entrypoint: Option<String>,
    /// Make the root file system read-only
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false", value_parser = quantity::switch, action = ArgAction::Set, hide_default_value = true, value_name = "BOOL")]
    pub(crate) read_only: bool,
    #[command(flatten)]
    about: AboutArgs,
    #[command(flatten)]
    pub(crate) privileges: PrivilegeArgs,
    #[command(flatten)]
    pub(crate) network: NetworkArgs,
    #[command(flatten)]
    lookup: LookupArgs,
    #[command(flatten)]
    userns: UsernsArgs,
    #[command(flatten)]
    pub(crate) limits: LimitArgs,
    #[command(flatten)]
    cgroup: CgroupArgs,
    #[command(flatten)]
    pub(crate) words: Words,
}

/// When to ask the registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum PullPolicy {
    /// Each time
    Always,
    /// When the image is not in the store
    Missing,
    /// Not at all
    Never,
}

/// A host name by RFC 1123, as long as the kernel takes it (sethostname(2)).
fn hostname(text: &str) -> Result<String, String> {
    let is_label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    if text.len() <= 64 && text.split('.').all(is_label) {
        Ok(text.to_owned())
    } else {
        Err("it is no host name of at most 64 letters, digits, \"-\" and \".\"".to_owned())
    }
}

/// What flags name that has to be read, which for a pipe is only once.
struct Given {
    env: Vec<String>,
    edits: Edits,
    devices: Devices,
    security: Security,
}

impl ContainerArgs {
    /// Reads what the flags name.
    fn read(&self, ui: &Ui) -> Result<Given, CommandError> {
        let env = self.env.resolve()?;
        let edits = self.privileges.edits(ui)?;
        Ok(Given {
            devices: self.privileges.devices(&edits)?,
            security: self.privileges.security()?,
            env,
            edits,
        })
    }

    /// What of the host the container may use, for who looks it up.
    fn host_config(&self, spec: &Spec, user: &str) -> HostConfig {
        let process = spec.process().as_ref();
        let directory = process.map(|process| process.cwd().display().to_string());
        let mut config = HostConfig {
            user: user.to_owned(),
            directory: directory.unwrap_or_default(),
            network: self.network.word(),
            read_only: self.read_only,
            ..HostConfig::default()
        };
        self.limits.tell(&mut config);
        self.privileges.tell(&mut config);
        config
    }

    /// What people will know the container by.
    fn about_of(&self, base: &Base, spec: &Spec) -> Result<About, CommandError> {
        let config = base.config();
        let names = base.names(&self.words.image);
        let mut about = self.about.of(names, config, spec)?;
        about.host = self.host_config(spec, self.user_of(config));
        Ok(about)
    }

    /// Who runs the task: whom the flags say, or the image, or root.
    fn user_of<'a>(&'a self, image: &'a ImageConfig) -> &'a str {
        match self.user.as_deref().unwrap_or(image.user()) {
            "" => "0",
            user => user,
        }
    }

    /// Who has the number 1 in the container.
    fn pid_one(&self) -> PidOne {
        if self.no_init || self.init == Some(false) {
            PidOne::Task
        } else {
            PidOne::Ours
        }
    }
}

/// Runs `ucr run` as its command line says.
///
/// # Errors
/// As [`run`].
pub fn from_line<S: Source>(line: Start<S>, ui: &Ui) -> Result<ExitCode, CommandError> {
    let (global, args) = line.into_parts();
    let settings = begin(global)?;
    run(&args, &settings, ui)
}

/// Runs `ucr run`; on success this process becomes the container's supervisor.
///
/// # Errors
/// When it does not come to that.
pub fn run<S: Source>(
    args: &RunArgs<S>,
    settings: &Settings,
    ui: &Ui,
) -> Result<ExitCode, CommandError> {
    let report = args.source.image().report(&args.container.words.image);
    let report = report.map_err(|error| error.code(FAILED))?;
    run_told(args, Extra::default(), settings, (ui, &report))
}

/// Runs `ucr run` with a report that is open already.
///
/// # Errors
/// As [`run`].
pub(crate) fn run_told<S: Source>(
    args: &RunArgs<S>,
    extra: Extra<'_>,
    settings: &Settings,
    (ui, report): Told<'_>,
) -> Result<ExitCode, CommandError> {
    match report.told(start(args, extra, settings, (ui, report))) {
        Err(error) => {
            // Who starts clears away for others once it is started.
            remains::clear(settings, ui);
            if let Ok(Some(store)) = Store::open_existing(&settings.root) {
                // Its own lease is nobody's by now.
                ignore(store.sweep_containers(), ui);
            }
            Err(error.code(FAILED))
        }
        Ok(never) => match never {},
    }
}

fn start<S: Source>(
    args: &RunArgs<S>,
    extra: Extra<'_>,
    settings: &Settings,
    (ui, report): Told<'_>,
) -> Result<Infallible, CommandError> {
    need_root(
        "ucr run",
        "namespaces, cgroups and mounts are root's to make",
    )?;
    let flags = &args.container;
    flags.streams.check()?;
    flags.mounts.check()?;
    flags.limits.check(flags.pid_one())?;
    flags.network.check()?;
    let init = beside::executable("ucr-init")?;
    remains::clear_claims(settings, ui);
    let name = flags.name.as_deref();
    let name = name.map(|name| take_name(name, settings, ui)).transpose()?;
    let id: String = (0..4).map(|_| random_suffix()).collect();
    let ids = flags.userns.hold(&id, &settings.state)?;
    let store = Store::open(&settings.root)
        .and_then(|store| store.or_write_below(&settings.state))
        .map_err(store_failed)?;
    store
        .reserve(&id, name.as_ref().map(HeldFile::name))
        .map_err(store_failed)?;
    let found = match extra.files {
        Files::OfImage => find(args, &store, settings, (ui, report))?,
        Files::OfHost => Image::Host,
    };
    let images = extra.images(&store)?;
    let given = flags.read(ui)?;
    let inject = args.source.certificates(settings, ui)?;
    let borrowed = flags.mounts.borrow(settings)?;
    let base = pulled(found, &flags.words.image, &store, settings, (ui, report))?;
    let container = store.container().map_err(store_failed)?;
    // Not before the lease is the container's: what it uses is not taken away from it.
    settle_aside(&store);
    let parts = Parts {
        base: &base,
        given: &given,
        borrowed: &borrowed,
        init: &init,
        container: &container,
        id: &id,
        name: name.as_ref(),
        ids: ids.as_ref(),
        inject: inject.as_ref(),
        report,
    };
    let rest = Rest {
        network: extra.network,
        images,
        secrets: extra.secrets,
        given: extra.given,
    };
    let launched = hand_over(flags, settings, &parts, rest, ui);
    // Still here: it did not come to a supervisor that would clean up.
    let removed = store.remove_container(&container);
    launched.and_then(|never| removed.map(|()| never).map_err(CommandError::new))
}

/// Takes a name, also from one that was killed and could not die, or has not been cleared away.
fn take_name(name: &str, settings: &Settings, ui: &Ui) -> Result<HeldFile, CommandError> {
    names::take(name, &settings.state).or_else(|_taken| {
        remains::clear(settings, ui);
        names::take(name, &settings.state)
    })
}

/// What of an [`Extra`] becomes the container's own.
struct Rest<'a> {
    network: Option<(&'a Connected, Joining)>,
    images: Vec<ImageVolume>,
    secrets: Vec<(PathBuf, Vec<u8>)>,
    given: Vec<PathBuf>,
}

/// What a launch needs besides flags and settings.
struct Parts<'a> {
    base: &'a Base,
    given: &'a Given,
    borrowed: &'a Borrowed,
    init: &'a Path,
    container: &'a Container,
    id: &'a str,
    name: Option<&'a HeldFile>,
    ids: Option<&'a HeldIds>,
    inject: Option<&'a Inject>,
    report: &'a Report,
}

impl Parts<'_> {
    /// The locks that the container keeps as long as it lives, and the files that go with it.
    fn locks(&self) -> std::io::Result<(Vec<OwnedFd>, Vec<PathBuf>)> {
        let mut held = vec![self.container.lease.try_clone()?];
        for lock in &self.container.held {
            held.push(lock.try_clone()?);
        }
        let mut files = vec![self.container.lease_file.clone()];
        for file in self.name.into_iter().chain(self.ids.map(HeldIds::file)) {
            held.push(file.lock()?);
            files.push(file.path());
        }
        Ok((held, files))
    }
}

/// Makes the plan and becomes the supervisor that carries it out.
fn hand_over(
    args: &ContainerArgs,
    settings: &Settings,
    parts: &Parts<'_>,
    rest: Rest<'_>,
    ui: &Ui,
) -> Result<Infallible, CommandError> {
    let Parts {
        base,
        container,
        id,
        ..
    } = *parts;
    let config = base.config();
    let hostname = hostname_inside(args, id);
    let holder = args.name.as_deref().unwrap_or(&id[..12]);
    let mut own = match rest.network {
        Some(_) => None,
        None => args.network.connect((id, holder), config, settings)?,
    };
    let (connected, joining) = joined(&mut own, rest.network)?;
    let host_files = host_files(args, &hostname, connected, ui)?;
    let mut spec = spec(args, parts, &hostname)?;
    let seccomp = parts.given.security.apply(&mut spec);
    let additions = parts.inject.map(|inject| inject(&spec, ui));
    let user = args.user_of(config);
    let volumes = args.mounts.volumes(config, parts.borrowed);
    let (held, remove_at_exit) = parts.locks()?;
    let about = args.about_of(base, &spec)?;
    args.about.write_cidfile(id)?;
    let launch = Launch {
        id: id.parse().map_err(CommandError::new)?,
        name: args.name.clone(),
        about,
        timeout: args.about.timeout(),
        pid_file: args.about.pid_file()?,
        spec,
        seccomp,
        user: UserRequest::Named(user.to_owned()),
        groups: args.privileges.groups(&parts.given.edits),
        pid_one: args.pid_one(),
        rootfs: base.rootfs(&container.dir),
        own_mounts: args.mounts.own(config, parts.borrowed, args.read_only),
        shared: parts.borrowed.shared(),
        images: rest.images,
        secrets: rest.secrets,
        given: rest.given,
        leases: parts.borrowed.leases(container, &volumes)?,
        volumes,
        devices: parts.given.devices.nodes().to_vec(),
        network: joining,
        hooks: parts.given.edits.hooks().clone(),
        texts: host_files.texts(),
        additions,
        state_root: settings.state.clone(),
        held,
        remove_at_exit,
        report: parts.report.hand_over()?,
        init: parts.init.to_owned(),
    };
    args.streams.close_input()?;
    tracing::debug!(id, image = %args.words.image, "launching");
    ucr_runtime::launch(launch).map_err(|error| {
        let failure = Failure::launch(error.code());
        CommandError::new(error).told_as(failure)
    })
}

/// The spec of a container of `image`, of which nothing is made.
///
/// # Errors
/// As [`run`], before its first effect.
pub(crate) fn explain<S: Source>(
    args: &RunArgs<S>,
    image: &ImageConfig,
    settings: &Settings,
    ui: &Ui,
) -> Result<Spec, CommandError> {
    let flags = &args.container;
    let given = flags.read(ui)?;
    let borrowed = flags.mounts.borrow(settings)?;
    let inputs = Inputs {
        image,
        args: flags,
        env: &given.env,
        hostname: &hostname_inside(flags, EXAMPLE),
        devices: &given.devices,
        edits: &given.edits,
        borrowed: &borrowed,
    };
    let mut spec = container_spec::build(&inputs)?;
    flags.cgroup.apply(&mut spec, EXAMPLE);
    Ok(spec)
}

/// The spec of the container, but for what filters its system calls.
fn spec(args: &ContainerArgs, parts: &Parts<'_>, hostname: &str) -> Result<Spec, CommandError> {
    let inputs = Inputs {
        image: parts.base.config(),
        args,
        env: &parts.given.env,
        hostname,
        devices: &parts.given.devices,
        edits: &parts.given.edits,
        borrowed: parts.borrowed,
    };
    let mut spec = container_spec::build(&inputs)?;
    if let Some(held) = parts.ids {
        held.ids().apply(&mut spec, sysfs_owner(args));
    }
    args.cgroup.apply(&mut spec, parts.id);
    Ok(spec)
}

/// The host name that was asked for, the host's, or a piece of the container's ID.
fn hostname_inside(args: &ContainerArgs, id: &str) -> String {
    match &args.hostname {
        Some(hostname) => hostname.clone(),
        None if args.network.is_host() => ucr_sys::hostname(),
        None => id[..12].to_owned(),
    }
}

/// The files that say who is who on the container's network.
fn host_files(
    args: &ContainerArgs,
    hostname: &str,
    connected: Option<&Connected>,
    ui: &Ui,
) -> Result<HostFiles, CommandError> {
    let surroundings = match connected {
        Some(connected) => Surroundings::Connected(connected),
        None if args.network.is_host() => Surroundings::Host,
        None => Surroundings::Alone,
    };
    let files = HostFiles::new(&surroundings, hostname, &args.lookup)?;
    files.notes().for_each(|note| ui.say(note));
    Ok(files)
}

/// The connection that was given, or the container's own, and the way in.
fn joined<'c>(
    own: &'c mut Option<Connected>,
    given: Option<(&'c Connected, Joining)>,
) -> Result<(Option<&'c Connected>, Option<Joining>), CommandError> {
    if let Some((connected, joining)) = given {
        return Ok((Some(connected), Some(joining)));
    }
    let joining = own.as_mut().map(|own| own.join(End::WithContainer));
    let joining = joining.transpose().map_err(failed)?;
    Ok((own.as_ref(), joining))
}

/// Whose the container's network namespace is.
fn sysfs_owner(args: &ContainerArgs) -> Owner {
    match args.network.networks()[..] {
        [Network::None] => Owner::Container,
        _ => Owner::Machine,
    }
}

/// Lets a copy of this process wait for the disk, beside the task and beyond its end.
///
/// Where that cannot be done the layers are good for this boot, which is all that this task needs.
pub fn settle_aside(store: &Store) {
    let Some(made) = store.unsettled() else {
        return;
    };
    let settle = || {
        // Nobody is left to be told: what the disk did not take is distrusted from now on.
        let _ = store.settle_these(&made);
    };
    let spawned = SingleThreaded::check()
        .and_then(|proof| spawn_detached(&proof, &store.descriptors(&made), settle));
    if let Err(error) = spawned {
        tracing::debug!(%error, "the layers are not made durable now");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s18_a_host_name_is_one_line_of_a_name() {
        assert!(hostname("a.corp-1.example").is_ok());
        let long = "a".repeat(65);
        for text in ["", "a\n1.2.3.4 b", "a b", "-a", "a..b", long.as_str()] {
            assert!(hostname(text).is_err(), "{text:?}");
        }
    }
}
