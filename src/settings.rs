//! What is asked for by flags, environment and configuration, resolved once; and who asks.

use std::path::{Path, PathBuf};
use std::time::Duration;

use ucr_images::Registries;

use crate::cli::GlobalArgs;
use crate::command_error::CommandError;
use crate::config_file::{ConfigFile, PullTable};
use crate::env_vars;
use crate::gc_config::GcConfig;
use crate::network_config::NetworkTable;

/// The configuration when none is named.
const CONFIG: &str = "/etc/ucr/config.toml";
/// How long a registry's word counts where nobody says (KEP-2535 has it for the kubelet).
const AUTH_CACHE_TTL: Duration = Duration::from_secs(600);
const ROOT: &str = "/var/lib/ucr";
const STATE: &str = "/run/ucr";
/// The certificates that were added for everybody on this machine.
const CERTS: &str = "/etc/ucr/certs";

/// Where everything is.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The store.
    pub root: PathBuf,
    /// The state of running containers.
    pub(crate) state: PathBuf,
    /// The trust stores that count; what is added goes into the last one.
    certs: Vec<PathBuf>,
    /// The base CAfile that the configuration names.
    pub cafile: Option<PathBuf>,
    /// What the configuration says of single registries.
    pub registries: Registries,
    /// What the configuration says that images may take.
    pub pull: PullTable,
    /// When pulls make room.
    pub(crate) gc: GcConfig,
    /// What containers are connected by.
    pub(crate) network: NetworkTable,
    /// How long a registry's word that somebody may have an image counts.
    pub auth_cache_ttl: Duration,
}

impl Settings {
    /// Takes the global flags, and what the configuration says where they say nothing.
    ///
    /// # Errors
    /// A configuration that cannot be read or understood.
    pub fn new(global: GlobalArgs) -> Result<Self, CommandError> {
        let config = ConfigFile::read(global.config.as_deref(), Path::new(CONFIG))?;
        let registries = config.registries();
        let certs = match global.certs_dir.or(config.certs_dir) {
            Some(named) => vec![absolute(named)?],
            None => usual_certs(),
        };
        Ok(Self {
            registries,
            root: absolute(global.root.or(config.root).unwrap_or_else(|| ROOT.into()))?,
            state: absolute(
                global
                    .state
                    .or(config.state)
                    .unwrap_or_else(|| STATE.into()),
            )?,
            certs,
            cafile: config.cafile,
            pull: config.pull,
            auth_cache_ttl: config.auth_cache_ttl.unwrap_or(AUTH_CACHE_TTL),
            gc: config.gc,
            network: config.network.with_plugins(variable(env_vars::CNI_PATH)),
        })
    }

    /// The directories of trusted certificates that count, the machine's before the user's.
    pub fn certs(&self) -> &[PathBuf] {
        &self.certs
    }

    /// The directory that this caller's certificates are added to.
    pub fn own_certs(&self) -> &Path {
        self.certs.last().map_or(Path::new(CERTS), PathBuf::as_path)
    }
}

/// The machine's certificates, and for a user without root also their own
/// (`$XDG_CONFIG_HOME`, XDG Base Directory Specification).
fn usual_certs() -> Vec<PathBuf> {
    let machine = PathBuf::from(CERTS);
    if ucr_sys::is_root() {
        return vec![machine];
    }
    let own = user_config().map(|config| config.join("ucr/certs"));
    [machine].into_iter().chain(own).collect()
}

/// The directory of the caller's own configuration.
pub fn user_config() -> Option<PathBuf> {
    let named = variable("XDG_CONFIG_HOME").map(PathBuf::from);
    // A relative path is to be ignored, the specification says.
    let named = named.filter(|path| path.is_absolute());
    named.or_else(|| Some(PathBuf::from(variable("HOME")?).join(".config")))
}

/// Paths outlive the working directory: `ucr-init` changes it.
pub(crate) fn absolute(path: PathBuf) -> Result<PathBuf, CommandError> {
    Ok(std::path::absolute(path)?)
}

/// Refuses to go on without root, in one line that says why.
pub fn need_root(command: &str, why: &str) -> Result<(), CommandError> {
    if ucr_sys::is_root() {
        return Ok(());
    }
    Err(CommandError::sentence(format!(
        "{command} needs root: {why}"
    )))
}

/// A variable of the environment, `None` when it is unset or empty.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the place where the environment is read"
)]
pub fn variable(name: &str) -> Option<std::ffi::OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}
