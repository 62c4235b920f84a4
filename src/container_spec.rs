//! Image configuration and flags, made into an OCI runtime spec.
//!
//! Merged as Docker does: what the image says holds where no flag says otherwise.

use std::path::PathBuf;

use oci_spec::runtime::{LinuxNamespaceType, Mount, Process, Spec};
use ucr_images::ImageConfig;

use crate::cdi::Edits;
use crate::command_error::CommandError;
use crate::commands::run::{Borrowed, ContainerArgs, Devices};

/// The search path of a container whose image has none, as Docker's.
const DEFAULT_PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Flags that contradict the image, or each other.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SpecError {
    /// Neither image nor command line says what to run.
    #[error("the image says no command to run, and none was given")]
    NoCommand,
    /// A working directory that is relative to nothing.
    #[error("the working directory \"{0}\" is not absolute")]
    RelativeDirectory(String),
}

/// What a spec is made of.
#[derive(Debug)]
pub(crate) struct Inputs<'a> {
    /// The image's configuration.
    pub(crate) image: &'a ImageConfig,
    /// The flags.
    pub(crate) args: &'a ContainerArgs,
    /// Variables of the flags, each with its value.
    pub(crate) env: &'a [String],
    /// The host name.
    pub(crate) hostname: &'a str,
    /// The devices of this machine that it gets.
    pub(crate) devices: &'a Devices,
    /// What devices change besides.
    pub(crate) edits: &'a Edits,
    /// Volumes of other containers.
    pub(crate) borrowed: &'a Borrowed,
}

/// Builds the spec of a container.
///
/// # Errors
/// Flags that contradict the image, each other or this machine.
pub(crate) fn build(inputs: &Inputs<'_>) -> Result<Spec, CommandError> {
    let Inputs { args, hostname, .. } = *inputs;
    let mut spec = ucr_runtime::spec::defaults();
    spec.set_hostname(Some(hostname.to_owned()));
    if let Some(root) = spec.root_mut() {
        root.set_readonly(Some(args.read_only));
    }
    if let Some(process) = spec.process_mut() {
        fill_process(process, inputs).map_err(CommandError::new)?;
    }
    args.privileges.apply(&mut spec)?;
    let borrowed = inputs.borrowed.mounts();
    let others = borrowed.chain(inputs.edits.mounts().iter().cloned());
    args.mounts.apply(&mut spec, others);
    if args.privileges.is_privileged() {
        let_devices_work(&mut spec);
    }
    apply_linux(&mut spec, inputs)?;
    Ok(spec)
}

/// Also in what is bound of the host: in `-v /dev:/dev`, say.
fn let_devices_work(spec: &mut Spec) {
    let mut mounts = spec.mounts().clone().unwrap_or_default();
    let bound = |mount: &&mut Mount| mount.typ().as_deref() == Some("bind");
    for mount in mounts.iter_mut().filter(bound) {
        let options = mount.options().clone().unwrap_or_default();
        let options = options.into_iter().chain(["dev".to_owned()]);
        mount.set_options(Some(options.collect()));
    }
    spec.set_mounts(Some(mounts));
}

fn fill_process(process: &mut Process, inputs: &Inputs<'_>) -> Result<(), SpecError> {
    let Inputs { image, args, .. } = *inputs;
    let command = command(image, args.entrypoint.as_deref(), &args.words.command);
    if command.first().is_none_or(String::is_empty) {
        return Err(SpecError::NoCommand);
    }
    let directory = args.workdir.as_deref().unwrap_or(image.working_dir());
    let directory = if directory.is_empty() { "/" } else { directory };
    if !directory.starts_with('/') {
        return Err(SpecError::RelativeDirectory(directory.to_owned()));
    }
    process
        .set_args(Some(command))
        .set_env(Some(environment(inputs)))
        .set_cwd(PathBuf::from(directory));
    args.limits.apply(process);
    args.streams.apply(process);
    Ok(())
}

/// Entrypoint, then arguments or else the image's; another entrypoint drops the image's arguments.
fn command(image: &ImageConfig, entrypoint: Option<&str>, arguments: &[String]) -> Vec<String> {
    let (start, defaults) = match entrypoint {
        Some("") => (Vec::new(), &[][..]),
        Some(entrypoint) => (vec![entrypoint.to_owned()], &[][..]),
        None => (image.entrypoint().to_vec(), image.cmd()),
    };
    let rest = if arguments.is_empty() {
        defaults
    } else {
        arguments
    };
    start.into_iter().chain(rest.iter().cloned()).collect()
}

/// Variables of the image, then of the command line and of devices; a later one of a name replaces an earlier.
fn environment(inputs: &Inputs<'_>) -> Vec<String> {
    let hostname = format!("HOSTNAME={}", inputs.hostname);
    let terminal = inputs.args.streams.terminal().map(|_| "TERM=xterm");
    let defaults = [DEFAULT_PATH, &hostname].into_iter().chain(terminal);
    let defaults: Vec<String> = defaults.map(str::to_owned).collect();
    let mut merged: Vec<String> = Vec::new();
    let asked = inputs.image.env().iter().chain(inputs.env);
    for variable in defaults.iter().chain(asked).chain(inputs.edits.env()) {
        let name = variable.split('=').next().unwrap_or_default();
        match merged
            .iter_mut()
            .find(|one| one.split('=').next() == Some(name))
        {
            Some(earlier) => earlier.clone_from(variable),
            None => merged.push(variable.clone()),
        }
    }
    merged
}

fn apply_linux(spec: &mut Spec, inputs: &Inputs<'_>) -> Result<(), CommandError> {
    let Some(mut linux) = spec.linux().clone() else {
        return Ok(());
    };
    if inputs.args.network.is_host() {
        let namespaces = linux.namespaces().clone().unwrap_or_default();
        let others = namespaces
            .into_iter()
            .filter(|one| one.typ() != LinuxNamespaceType::Network);
        linux.set_namespaces(Some(others.collect()));
    }
    let mut resources = linux.resources().clone().unwrap_or_default();
    inputs.devices.allow(&mut resources);
    inputs.args.limits.limit(&mut resources)?;
    linux.set_resources(Some(resources));
    spec.set_linux(Some(linux));
    Ok(())
}
