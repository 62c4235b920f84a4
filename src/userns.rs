//! `--userns`, `--uidmap` and `--gidmap`: which ids of this machine a container's are.

mod held;
mod range;

use std::fmt;
use std::path::{Path, PathBuf};

use clap::Args;
use oci_spec::runtime::{
    LinuxIdMapping, LinuxIdMappingBuilder, LinuxNamespace, LinuxNamespaceType, Mount, Spec,
};

pub(crate) use self::held::{HeldIds, sweep};
use self::range::{IdRange, Pool, Ranges};
use crate::command_error::CommandError;

/// Which ids the container has.
#[derive(Debug, Args)]
pub(crate) struct UsernsArgs {
    /// User namespace: host for none, auto[:size=N,uidmapping=…,gidmapping=…] for ids that no other
    /// container has, private with --uidmap or --gidmap
    #[arg(long, value_name = "MODE", value_parser = Mode::parse)]
    userns: Option<Mode>,
    /// Range of users of this machine that the container's users are
    #[arg(long, value_name = "CONTAINER:HOST[:SIZE]", value_parser = IdRange::parse)]
    uidmap: Vec<IdRange>,
    /// The same for groups; of --uidmap and --gidmap each stands for the other where that is missing
    #[arg(long, value_name = "CONTAINER:HOST[:SIZE]", value_parser = IdRange::parse)]
    gidmap: Vec<IdRange>,
}

/// What `--userns` says.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Mode {
    /// None but the host's.
    Host,
    /// One of its own, with ids that are given.
    Private,
    /// One of its own, with ids that are found.
    Auto(Auto),
}

/// What is wanted of ids that are found.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Auto {
    size: u32,
    uids: Vec<IdRange>,
    gids: Vec<IdRange>,
}

impl Default for Auto {
    /// As many as a user of a distribution gets in `/etc/subuid`, useradd(8).
    fn default() -> Self {
        Self {
            size: 65_536,
            uids: Vec::new(),
            gids: Vec::new(),
        }
    }
}

impl Mode {
    fn parse(text: &str) -> Result<Self, String> {
        let (mode, options) = match text.split_once(':') {
            Some((mode, options)) => (mode, Some(options)),
            None => (text, None),
        };
        match (mode, options) {
            ("host" | "", None) => Ok(Self::Host),
            ("private", None) => Ok(Self::Private),
            ("auto", None) => Ok(Self::Auto(Auto::default())),
            ("auto", Some(options)) => Auto::parse(options).map(Self::Auto),
            ("keep-id" | "nomap" | "ns" | "container", _) => Err(format!(
                "\"{mode}\" is not supported: it is host, auto, or private with --uidmap"
            )),
            _ => Err("it is none of host, auto[:OPTIONS] and private".to_owned()),
        }
    }
}

impl Auto {
    fn parse(options: &str) -> Result<Self, String> {
        let mut auto = Self::default();
        for option in options.split(',') {
            match option.split_once('=') {
                Some(("size", number)) => {
                    auto.size = number
                        .parse()
                        .ok()
                        .filter(|size| *size > 0)
                        .ok_or_else(|| format!("\"{number}\" is no number of ids"))?;
                }
                Some(("uidmapping", range)) => auto.uids.push(IdRange::parse(range)?),
                Some(("gidmapping", range)) => auto.gids.push(IdRange::parse(range)?),
                _ => {
                    return Err(format!(
                        "\"{option}\" is none of size=N, uidmapping=RANGE and gidmapping=RANGE"
                    ));
                }
            }
        }
        Ok(auto)
    }
}

impl UsernsArgs {
    /// Finds the ids of the container `id`, and holds them among those whose state is below
    /// `state`; none where it is to have those of the machine.
    pub(crate) fn hold(&self, id: &str, state: &Path) -> Result<Option<HeldIds>, CommandError> {
        let given = !self.uidmap.is_empty() || !self.gidmap.is_empty();
        let refuse = |text: &str, hint: &str| Err(CommandError::sentence(text).hint(hint));
        match (&self.userns, given) {
            (None | Some(Mode::Host), false) => Ok(None),
            (Some(Mode::Host), true) => refuse(
                "--uidmap and --gidmap need a user namespace, and --userns host is none",
                "leave --userns out",
            ),
            (Some(Mode::Private), false) => refuse(
                "--userns private needs --uidmap or --gidmap",
                "--userns auto finds ids that no other container has",
            ),
            (Some(Mode::Auto(_)), true) => refuse(
                "--uidmap and --gidmap do not go with --userns auto, which finds the ids",
                "--userns auto:uidmapping=CONTAINER:HOST:SIZE",
            ),
            (None | Some(Mode::Private), true) => {
                HeldIds::take(id, state, |_others| self.given()).map(Some)
            }
            (Some(Mode::Auto(auto)), false) => {
                HeldIds::take(id, state, |others| auto.find(others)).map(Some)
            }
        }
    }

    fn given(&self) -> Result<Ids, CommandError> {
        let (uids, gids) = match (&self.uidmap, &self.gidmap) {
            (uids, gids) if gids.is_empty() => (uids, uids),
            (uids, gids) if uids.is_empty() => (gids, gids),
            both => both,
        };
        Ok(Ids {
            uids: Ranges::new("--uidmap", uids.clone()).map_err(CommandError::sentence)?,
            gids: Ranges::new("--gidmap", gids.clone()).map_err(CommandError::sentence)?,
        })
    }
}

impl Auto {
    fn find(&self, others: &[(u32, u32)]) -> Result<Ids, CommandError> {
        let find = |file: &str, option: &str, fixed: &[IdRange]| {
            let pool = Pool::read(Path::new(file))?;
            let ranges = pool.find(self.size, fixed, others);
            let ranges = ranges.ok_or_else(|| exhausted(self.size, &pool, file))?;
            Ranges::new(option, ranges).map_err(CommandError::sentence)
        };
        Ok(Ids {
            uids: find("/etc/subuid", "uidmapping", &self.uids)?,
            gids: find("/etc/subgid", "gidmapping", &self.gids)?,
        })
    }
}

fn exhausted(size: u32, pool: &Pool, file: &str) -> CommandError {
    let text = format!("there are no {size} ids together in {pool} that no container has");
    CommandError::sentence(text).hint(format!(
        "more of them, as a line containers:START:COUNT in {file}; or --userns auto:size=N"
    ))
}

/// Whose the network namespace of a container is, and with it what sysfs(5) shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owner {
    /// The machine's: it was made before the container, or is the host's.
    Machine,
    /// The container's own.
    Container,
}

/// The ids of a user namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ids {
    uids: Ranges,
    gids: Ranges,
}

impl Ids {
    /// Gives `spec` a user namespace with these ids, and what is different in one.
    pub(crate) fn apply(&self, spec: &mut Spec, network: Owner) {
        if let Some(linux) = spec.linux_mut() {
            let mut user = LinuxNamespace::default();
            user.set_typ(LinuxNamespaceType::User).set_path(None);
            let mut namespaces = linux.namespaces().clone().unwrap_or_default();
            namespaces.push(user);
            linux
                .set_namespaces(Some(namespaces))
                .set_uid_mappings(Some(mappings(&self.uids)))
                .set_gid_mappings(Some(mappings(&self.gids)));
        }
        let mut mounts = spec.mounts().clone().unwrap_or_default();
        for mount in &mut mounts {
            match mount.typ().as_deref() {
                // A view of the network, which is not the container's: sysfs(5) is mounted by its
                // owner alone. Podman binds it too.
                Some("sysfs") if network == Owner::Machine => bind_sysfs(mount),
                Some("devpts") if !self.gids.has(TTY) => drop_option(mount, &format!("gid={TTY}")),
                _ => {}
            }
        }
        spec.set_mounts(Some(mounts));
    }
}

/// The group of terminals, by which programs know that it is not for everybody.
const TTY: u32 = 5;

fn bind_sysfs(mount: &mut Mount) {
    let mut options = mount.options().clone().unwrap_or_default();
    options.push("bind".to_owned());
    mount
        .set_typ(Some("bind".to_owned()))
        .set_source(Some(PathBuf::from("/sys")))
        .set_options(Some(options));
}

fn drop_option(mount: &mut Mount, dropped: &str) {
    let mut options = mount.options().clone().unwrap_or_default();
    options.retain(|option| option != dropped);
    mount.set_options(Some(options));
}

fn mappings(ranges: &Ranges) -> Vec<LinuxIdMapping> {
    let mapping = |range: &IdRange| {
        LinuxIdMappingBuilder::default()
            .container_id(range.inside)
            .host_id(range.outside)
            .size(range.count)
            .build()
            .unwrap_or_default()
    };
    ranges.iter().map(mapping).collect()
}

impl fmt::Display for Ids {
    /// One line for each range: where it begins outside, and how many there are.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut all: Vec<(u32, u32)> = self
            .uids
            .iter()
            .chain(self.gids.iter())
            .map(IdRange::outside)
            .collect();
        all.sort_unstable();
        all.dedup();
        all.iter()
            .try_for_each(|(start, count)| writeln!(out, "{start} {count}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_podmans() {
        let range = |text: &str| IdRange::parse(text).unwrap();
        assert_eq!(Mode::parse("host"), Ok(Mode::Host));
        assert_eq!(Mode::parse("auto"), Ok(Mode::Auto(Auto::default())));
        let auto = Auto {
            size: 1000,
            uids: vec![range("0:7:1")],
            gids: vec![],
        };
        let parsed = Mode::parse("auto:uidmapping=0:7:1,size=1000");
        assert_eq!(parsed, Ok(Mode::Auto(auto)));
        for text in [
            "keep-id",
            "ns:/x",
            "auto:",
            "auto:size=0",
            "auto:x=1",
            "Host",
        ] {
            assert!(Mode::parse(text).is_err(), "{text}");
        }
    }
}
