//! Every setting in a line, with where it is from.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Agent, DockerConfig, Origin, Setting, names};

/// A setting as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The flag of the agent, or that of Marathon after `marathon.`.
    pub name: &'static str,
    /// Its value, without secrets.
    pub value: String,
    /// Where it is from.
    pub origin: Origin,
}

fn line<T>(name: &'static str, setting: &Setting<T>, show: impl Fn(&T) -> String) -> Line {
    Line {
        name,
        value: show(&setting.value),
        origin: setting.origin.clone(),
    }
}

fn path(path: &Path) -> String {
    path.display().to_string()
}

fn paths(paths: &[PathBuf]) -> String {
    let paths: Vec<_> = paths.iter().map(|one| path(one)).collect();
    paths.join(":")
}

fn duration(duration: &Duration) -> String {
    format!("{duration:?}")
}

impl Agent {
    /// Every setting that is set or has a default, in order of their names.
    pub fn explain(&self) -> Vec<Line> {
        let mut lines = self.usual();
        let said = [
            self.registration_timeout
                .as_ref()
                .map(|one| line("executor_registration_timeout", one, duration)),
            self.launch_timeout
                .as_ref()
                .map(|one| line("marathon.task_launch_timeout", one, duration)),
            self.hostname
                .as_ref()
                .map(|one| line("hostname", one, String::clone)),
            self.docker_config
                .as_ref()
                .map(|one| line("docker_config", one, docker_config)),
            self.frameworks_home
                .as_ref()
                .map(|one| line("frameworks_home", one, |one| path(one))),
            self.fetcher_cache_dir
                .as_ref()
                .map(|one| line("fetcher_cache_dir", one, |one| path(one))),
            self.shm_size
                .as_ref()
                .map(|one| line("default_container_shm_size", one, u64::to_string)),
            self.seccomp_config_dir
                .as_ref()
                .map(|one| line("seccomp_config_dir", one, |one| path(one))),
            self.seccomp_profile
                .as_ref()
                .map(|one| line("seccomp_profile_name", one, String::clone)),
            self.cni_config_dir
                .as_ref()
                .map(|one| line("network_cni_config_dir", one, |one| path(one))),
            self.cni_plugins_dirs
                .as_ref()
                .map(|one| line("network_cni_plugins_dir", one, |one| paths(one))),
            self.env_prefix
                .as_ref()
                .map(|one| line("marathon.env_vars_prefix", one, String::clone)),
        ];
        lines.extend(said.into_iter().flatten());
        lines.sort_by_key(|line| line.name);
        lines
    }

    /// Those that have a default.
    fn usual(&self) -> Vec<Line> {
        let range = |(first, last): &(u16, u16)| format!("{first}-{last}");
        let ranges = |all: &Vec<(u16, u16)>| {
            let all: Vec<_> = all.iter().map(range).collect();
            format!("ports(*):[{}]", all.join(", "))
        };
        vec![
            line("containerizers", &self.containerizers, |all| names(all)),
            line("resources", &self.ports, ranges),
            line("sandbox_directory", &self.sandbox_directory, |one| {
                path(one)
            }),
            line(
                "fetcher_cache_size",
                &self.fetcher_cache_size,
                u64::to_string,
            ),
            line(
                "fetcher_stall_timeout",
                &self.fetcher_stall_timeout,
                duration,
            ),
            line(
                "cgroups_enable_cfs",
                &self.cgroups_enable_cfs,
                bool::to_string,
            ),
            line(
                "cgroups_limit_swap",
                &self.cgroups_limit_swap,
                bool::to_string,
            ),
            line(
                "enforce_container_disk_quota",
                &self.enforce_disk_quota,
                bool::to_string,
            ),
            line(
                "container_disk_watch_interval",
                &self.disk_watch_interval,
                duration,
            ),
            line(
                "host_path_volume_force_creation",
                &self.force_creation,
                |one| paths(one),
            ),
            line("marathon.local_port_range", &self.service_ports, range),
        ]
    }
}

fn docker_config(config: &DockerConfig) -> String {
    match config {
        DockerConfig::File(file) => path(file),
        DockerConfig::Text(_) => "(given as it is)".to_owned(),
    }
}
