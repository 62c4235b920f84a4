//! Image configuration and flags, made into an OCI runtime spec.
//!
//! Merged as Docker does: what the image says holds where no flag says otherwise.

use std::path::{Path, PathBuf};

use oci_spec::runtime::{
    LinuxCpu, LinuxMemory, LinuxNamespaceType, LinuxPids, Mount, Process, Spec,
};
use ucr_puller::ImageConfig;

use crate::commands::run::{LimitArgs, Network, RunArgs};

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
    pub(crate) args: &'a RunArgs,
    /// Variables of the flags, each with its value.
    pub(crate) env: &'a [String],
    /// The host name.
    pub(crate) hostname: &'a str,
}

/// Builds the spec of a container.
pub(crate) fn build(inputs: &Inputs<'_>) -> Result<Spec, SpecError> {
    let Inputs { args, hostname, .. } = *inputs;
    let mut spec = ucr_runtime::spec::defaults();
    spec.set_hostname(Some(hostname.to_owned()));
    if let Some(root) = spec.root_mut() {
        root.set_readonly(Some(args.read_only));
    }
    if let Some(process) = spec.process_mut() {
        fill_process(process, inputs)?;
    }
    let mut mounts = spec.mounts().clone().unwrap_or_default();
    mounts.extend(args.volumes.iter().map(|volume| {
        let read_only = volume.read_only.then_some("ro");
        let options: Vec<&str> = read_only.into_iter().chain(volume.ids.option()).collect();
        bind(&volume.source, &volume.target, &options)
    }));
    spec.set_mounts(Some(mounts));
    apply_linux(&mut spec, args);
    Ok(spec)
}

/// A bind mount, with what is mounted below its source.
fn bind(source: &Path, target: &Path, options: &[&str]) -> Mount {
    let mut mount = Mount::default();
    let options = ["rbind", "rprivate"]
        .iter()
        .chain(options)
        .map(|&option| option.to_owned());
    mount
        .set_destination(target.to_owned())
        .set_typ(Some("bind".to_owned()))
        .set_source(Some(source.to_owned()))
        .set_options(Some(options.collect()));
    mount
}

fn fill_process(process: &mut Process, inputs: &Inputs<'_>) -> Result<(), SpecError> {
    let Inputs {
        image,
        args,
        env,
        hostname,
    } = *inputs;
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
        .set_env(Some(environment(image, env, hostname)))
        .set_cwd(PathBuf::from(directory));
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

/// Variables of the image, then of the command line; a later one of a name replaces an earlier.
fn environment(image: &ImageConfig, given: &[String], hostname: &str) -> Vec<String> {
    let hostname = format!("HOSTNAME={hostname}");
    let defaults = [DEFAULT_PATH, &hostname].map(str::to_owned);
    let mut merged: Vec<String> = Vec::new();
    for variable in defaults.iter().chain(image.env()).chain(given) {
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

fn apply_linux(spec: &mut Spec, args: &RunArgs) {
    let Some(mut linux) = spec.linux().clone() else {
        return;
    };
    if args.network == Network::Host {
        let namespaces = linux.namespaces().clone().unwrap_or_default();
        let others = namespaces
            .into_iter()
            .filter(|one| one.typ() != LinuxNamespaceType::Network);
        linux.set_namespaces(Some(others.collect()));
    }
    let mut resources = linux.resources().clone().unwrap_or_default();
    let LimitArgs {
        memory,
        cpus,
        cpu_shares,
        pids_limit,
    } = &args.limits;
    if let Some(memory) = memory {
        let mut limit = LinuxMemory::default();
        limit.set_limit(Some(*memory));
        resources.set_memory(Some(limit));
    }
    if cpus.is_some() || cpu_shares.is_some() {
        let mut limit = LinuxCpu::default();
        limit.set_shares(*cpu_shares);
        if let Some(quota) = cpus {
            limit.set_quota(Some(*quota)).set_period(Some(100_000));
        }
        resources.set_cpu(Some(limit));
    }
    // Docker takes 0 and -1 for "no limit".
    if let Some(pids) = pids_limit.filter(|pids| *pids > 0) {
        let mut limit = LinuxPids::default();
        limit.set_limit(pids);
        resources.set_pids(Some(limit));
    }
    linux.set_resources(Some(resources));
    spec.set_linux(Some(linux));
}
