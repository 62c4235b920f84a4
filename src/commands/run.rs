//! `ucr run`: a command in a new container.

mod about;
mod cgroup;
mod devices;
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

use clap::Args;
use oci_spec::runtime::Spec;
use ucr_images::store::Container;
use ucr_images::{ImageName, Store, StoredImage};
use ucr_runtime::launch::{Launch, Rootfs, UserRequest};
use ucr_runtime::network::{Connected, End, Joining, Network};
use ucr_runtime::plan::{HostConfig, PidOne};
use ucr_sys::process::{SingleThreaded, spawn_detached};
use ucr_sys::random_suffix;

use self::about::AboutArgs;
use self::cgroup::CgroupArgs;
pub(crate) use self::devices::Devices;
pub(crate) use self::limits::LimitArgs;
pub(crate) use self::lookup::LookupArgs;
pub(crate) use self::mounts::MountArgs;
pub(crate) use self::network::NetworkArgs;
pub(crate) use self::privileges::PrivilegeArgs;
pub(crate) use self::volumes_from::Borrowed;
pub(crate) use self::words::Words;
use super::begin;
use crate::beside;
use crate::cdi::Edits;
use crate::cli::Start;
use crate::command_error::CommandError;
use crate::container_spec::{self, Inputs};
use crate::env_args::EnvArgs;
use crate::held_file::HeldFile;
use crate::host_files::{HostFiles, Surroundings};
use crate::names;
use crate::report::{Failure, Report};
use crate::security::Security;
use crate::settings::{Settings, need_root};
use crate::source::{Inject, Puller, Source, Told};
use crate::store::{ignore, store_failed};
use crate::streams::StreamArgs;
use crate::ui::Ui;
use crate::userns::{self, HeldIds, Owner, UsernsArgs};

/// Docker's exit code for "it did not come to the task".
const FAILED: u8 = 125;

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
    #[arg(long, action = clap::ArgAction::Help)]
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
    #[arg(long)]
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
    /// it is
    #[arg(long, overrides_with = "no_init")]
    init: bool,
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
    #[arg(long)]
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

    /// Who has the number 1 in the container.
    fn pid_one(&self) -> PidOne {
        if self.no_init {
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
    match report.told(start(args, settings, (ui, &report))) {
        Err(error) => Err(error.code(FAILED)),
        Ok(never) => match never {},
    }
}

fn start<S: Source>(
    args: &RunArgs<S>,
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
    sweep(settings, ui);
    let name = flags.name.as_deref();
    let name = name
        .map(|name| names::take(name, &settings.state))
        .transpose()?;
    let id: String = (0..4).map(|_| random_suffix()).collect();
    let ids = flags.userns.hold(&id, &settings.state)?;
    let store = Store::open(&settings.root)
        .and_then(|store| store.or_write_below(&settings.state))
        .map_err(store_failed)?;
    store
        .reserve(&id, name.as_ref().map(HeldFile::name))
        .map_err(store_failed)?;
    let found = find(args, &store, settings, (ui, report))?;
    let given = flags.read(ui)?;
    let inject = args.source.certificates(settings, ui)?;
    let borrowed = flags.mounts.borrow(settings)?;
    let image = match found {
        Image::Stored(image) => *image,
        Image::Wanted(puller) => {
            ignore(store.sweep(), ui);
            let image = puller.pull(&flags.words.image, &store, settings, (ui, report))?;
            report.pulled(&image);
            image
        }
    };
    let container = store.container().map_err(store_failed)?;
    // Not before the lease is the container's: what it uses is not taken away from it.
    settle_aside(&store);
    let parts = Parts {
        image: &image,
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
    let launched = hand_over(flags, settings, &parts, ui);
    // Still here: it did not come to a supervisor that would clean up.
    let removed = store.remove_container(&container);
    launched.and_then(|never| removed.map(|()| never).map_err(CommandError::new))
}

/// Removes the names, ids and networks of those who were killed.
fn sweep(settings: &Settings, ui: &Ui) {
    if let Err(error) = ucr_runtime::network::sweep(&settings.state) {
        ui.say_ignored(&CommandError::new(error));
    }
    for swept in [names::sweep, userns::sweep] {
        if let Err(error) = swept(&settings.state) {
            ui.say_ignored(&error);
        }
    }
}

/// What a launch needs besides flags and settings.
struct Parts<'a> {
    image: &'a StoredImage,
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
    ui: &Ui,
) -> Result<Infallible, CommandError> {
    let Parts {
        image,
        container,
        id,
        ..
    } = *parts;
    let hostname = hostname_inside(args, id);
    let holder = args.name.as_deref().unwrap_or(&id[..12]);
    let network = &args.network;
    let mut connected = network.connect((id, holder), &image.config, settings)?;
    let host_files = host_files(args, &hostname, connected.as_ref(), ui)?;
    let mut spec = spec(args, parts, &hostname)?;
    let seccomp = parts.given.security.apply(&mut spec);
    let additions = parts.inject.map(|inject| inject(&spec, ui));
    let user = args.user.as_deref().unwrap_or(image.config.user());
    let user = if user.is_empty() { "0" } else { user };
    let volumes = args.mounts.volumes(&image.config, parts.borrowed);
    let (held, remove_at_exit) = parts.locks()?;
    let mut about = args.about.of((&args.words.image, image), &spec)?;
    about.host = args.host_config(&spec, user);
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
        rootfs: Rootfs::Overlay {
            lower: image.lower.clone(),
            work_dir: container.dir.clone(),
        },
        own_mounts: args
            .mounts
            .own(&image.config, parts.borrowed, args.read_only),
        shared: parts.borrowed.shared(),
        leases: parts.borrowed.leases(container, &volumes)?,
        volumes,
        devices: parts.given.devices.nodes().to_vec(),
        network: joining(connected.as_mut())?,
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
    tracing::debug!(id, image = %image.id, layers = image.lower.len(), "launching");
    ucr_runtime::launch(launch).map_err(|error| {
        let failure = Failure::launch(error.code());
        CommandError::new(error).told_as(failure)
    })
}

/// The spec of the container, but for what filters its system calls.
fn spec(args: &ContainerArgs, parts: &Parts<'_>, hostname: &str) -> Result<Spec, CommandError> {
    let inputs = Inputs {
        image: &parts.image.config,
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

/// The connection, for the container alone.
fn joining(connected: Option<&mut Connected>) -> Result<Option<Joining>, CommandError> {
    let joining = connected.map(|connected| connected.join(End::WithContainer));
    joining.transpose().map_err(network::failed)
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
fn settle_aside(store: &Store) {
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

/// An image, as far as it was looked for.
enum Image<'a> {
    /// It is in the store, and may be had.
    Stored(Box<StoredImage>),
    /// It has to be pulled.
    Wanted(&'a dyn Puller),
}

/// Looks for the image in the store, or for who pulls it, as `--pull` says.
fn find<'a, S: Source>(
    args: &'a RunArgs<S>,
    store: &Store,
    settings: &Settings,
    told: Told<'_>,
) -> Result<Image<'a>, CommandError> {
    let name = &args.container.words.image;
    // Files are looked at each time, which takes no longer than to look into the store.
    let asks_store = match name {
        ImageName::Registry(_) => args.pull != PullPolicy::Always,
        ImageName::Local(_) => args.pull == PullPolicy::Never,
    };
    if asks_store {
        let stored = store.image_to_use(name, &args.source.image().platform());
        if let Some(image) = stored.map_err(store_failed)? {
            if let ImageName::Registry(reference) = name {
                let there = (reference, &image);
                args.source.check_access(there, store, settings, told)?;
            }
            ignore(store.sweep_containers(), told.0);
            return Ok(Image::Stored(Box::new(image)));
        }
    }
    if args.pull == PullPolicy::Never {
        let text = format!("{} is not in the store {}", *name, store.path().display());
        return Err(CommandError::sentence(text)
            .told_as(Failure::NOT_CACHED)
            .hint(format!("ucr pull {}, or --pull missing", *name)));
    }
    args.source.puller().map(Image::Wanted)
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
