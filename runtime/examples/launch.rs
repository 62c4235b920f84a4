//! Launches a container from a request in JSON: the runtime without a puller.
//!
//! For the tests of this crate and for trying it. It is its own `ucr-init`, from
//! the very source of that program.

use std::error::Error;
use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::ExitCode;

use oci_spec::runtime::Spec;
use serde::Deserialize;
use ucr_runtime::launch::{Launch, Rootfs, UserRequest, launch};
use ucr_runtime::oci::hooks::Hooks;
use ucr_runtime::plan::{About, Additions, PidOne};
use ucr_runtime::spec::SeccompRequest;

#[path = "../../init/src/main.rs"]
mod init;

#[derive(Deserialize)]
struct Request {
    id: String,
    name: Option<String>,
    spec: Spec,
    user: Option<String>,
    /// Without a filter but the spec's.
    unconfined: bool,
    lower: Vec<PathBuf>,
    additions: Option<Additions>,
    work_dir: PathBuf,
    state_root: PathBuf,
    held: Vec<PathBuf>,
    remove_at_exit: Vec<PathBuf>,
    init: Option<PathBuf>,
}

fn main() -> ExitCode {
    let mut arguments = std::env::args_os();
    if arguments.next().is_some_and(|name| name == "ucr-init") {
        return init::main();
    }
    let path = arguments.next().map(PathBuf::from).unwrap_or_default();
    if let Err(error) = run(&path) {
        let mut text = error.to_string();
        let mut source = error.source();
        while let Some(error) = source {
            text = format!("{text}: {error}");
            source = error.source();
        }
        // With standard error closed there is nobody to tell.
        drop(writeln!(std::io::stderr(), "ucr: {text}"));
    }
    ExitCode::from(125)
}

fn run(path: &std::path::Path) -> Result<(), Box<dyn Error>> {
    let request: Request = serde_json::from_reader(File::open(path)?)?;
    let lock = |path: &PathBuf| -> std::io::Result<OwnedFd> {
        let file = File::open(path)?;
        file.lock_shared()?;
        Ok(file.into())
    };
    let held = request.held.iter().map(lock).collect::<Result<_, _>>()?;
    launch(Launch {
        id: request.id.parse()?,
        name: request.name,
        about: About::default(),
        timeout: None,
        pid_file: None,
        spec: request.spec,
        seccomp: if request.unconfined {
            SeccompRequest::Spec
        } else {
            SeccompRequest::SpecOrDefault
        },
        user: request.user.map_or(UserRequest::Ids, UserRequest::Named),
        given: Vec::new(),
        groups: Vec::new(),
        pid_one: PidOne::Ours,
        rootfs: Rootfs::Overlay {
            lower: request.lower,
            work_dir: request.work_dir,
        },
        own_mounts: Vec::new(),
        devices: Vec::new(),
        network: None,
        hooks: Hooks::default(),
        volumes: Vec::new(),
        shared: Vec::new(),
        images: Vec::new(),
        secrets: Vec::new(),
        leases: Vec::new(),
        texts: Vec::new(),
        additions: request.additions,
        state_root: request.state_root,
        held,
        remove_at_exit: request.remove_at_exit,
        report: None,
        init: request.init.map_or_else(std::env::current_exe, Ok)?,
    })?;
    Ok(())
}
