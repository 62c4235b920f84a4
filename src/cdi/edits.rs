//! What devices change of a container, put together.

use std::path::{Path, PathBuf};

use oci_spec::runtime::{LinuxDeviceCgroup, Mount};
use ucr_runtime::launch::Device;
use ucr_runtime::oci::hooks::{Hook, Hooks};

use super::file::{Changes, HookEntry, MountEntry};
use super::node::{self, check_inside};

/// A change that means nothing, or cannot be made.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// A variable without a name.
    #[error("its variable {0:?} is not of the form NAME=VALUE")]
    Variable(String),
    /// A path that cannot be one of the container's.
    #[error("{} is not an absolute path below / without \"..\"", .0.display())]
    Inside(PathBuf),
    /// Permissions of other letters.
    #[error("the permissions {0:?} are not made of r, w and m")]
    Permissions(String),
    /// A type of device that there is not.
    #[error("the type {0:?} of a device file is none of b, c, u and p")]
    Type(String),
    /// A number that no device has.
    #[error("{0} is no major or minor number")]
    Number(i64),
    /// More than permission bits.
    #[error("the fileMode {0:#o} has more than permission bits")]
    Mode(u32),
    /// What the host does not have.
    #[error("cannot find {} of this host: {}", .0.display(), ucr_sys::reason(.1))]
    Host(PathBuf, std::io::Error),
    /// What is no device.
    #[error("{} of this host is no device file", .0.display())]
    NoDevice(PathBuf),
    /// What is another kind of device.
    #[error("{} of this host is a device of another type", .0.display())]
    OtherKind(PathBuf),
    /// A hook of a name that there is not.
    #[error("there are no {0:?} hooks")]
    HookName(String),
    /// A hook that would run in the image.
    #[error("startContainer hooks are not run, as {} would be a program of the image", .0.display())]
    StartContainer(PathBuf),
    /// A hook that is relative to nothing.
    #[error("the hook {} is no absolute path", .0.display())]
    HookPath(PathBuf),
    /// A hook that would be over before it began.
    #[error("the timeout {seconds} of the hook {} is not above 0", path.display())]
    Timeout {
        /// The hook.
        path: PathBuf,
        /// After how long it were to be killed.
        seconds: i64,
    },
    /// Something that `ucr` does not do.
    #[error("it asks for {0}, which is not supported")]
    Unsupported(&'static str),
}

/// What devices change of a container.
#[derive(Debug, Default)]
pub(crate) struct Edits {
    env: Vec<String>,
    devices: Vec<Device>,
    rules: Vec<LinuxDeviceCgroup>,
    mounts: Vec<Mount>,
    groups: Vec<String>,
    hooks: Hooks,
}

impl Edits {
    /// Variables, as `NAME=value`.
    pub(crate) fn env(&self) -> &[String] {
        &self.env
    }

    /// Device files.
    pub(crate) fn devices(&self) -> &[Device] {
        &self.devices
    }

    /// What may be done with them.
    pub(crate) fn rules(&self) -> &[LinuxDeviceCgroup] {
        &self.rules
    }

    /// Mounts.
    pub(crate) fn mounts(&self) -> &[Mount] {
        &self.mounts
    }

    /// Groups of the task, by number.
    pub(crate) fn groups(&self) -> &[String] {
        &self.groups
    }

    /// Programs to run.
    pub(crate) fn hooks(&self) -> &Hooks {
        &self.hooks
    }

    /// Adds what `changes` ask for; of device files and mounts at one place the last one counts.
    pub(super) fn add(&mut self, changes: &Changes) -> Result<(), Error> {
        for (asked, what) in [
            (changes.intel_rdt.is_some(), "intelRdt"),
            (!changes.net_devices.is_empty(), "netDevices"),
        ] {
            if asked {
                return Err(Error::Unsupported(what));
            }
        }
        for variable in &changes.env {
            check_variable(variable)?;
            self.env.push(variable.clone());
        }
        for asked in &changes.device_nodes {
            let node = node::complete(asked)?;
            self.devices.retain(|one| one.inside != node.device.inside);
            self.devices.push(node.device);
            self.rules.extend(node.rule);
        }
        for asked in &changes.mounts {
            let mount = mount(asked)?;
            self.mounts
                .retain(|one| one.destination() != mount.destination());
            self.mounts.push(mount);
        }
        let groups = changes.additional_gids.iter().filter(|gid| **gid != 0);
        self.groups.extend(groups.map(ToString::to_string));
        changes
            .hooks
            .iter()
            .try_for_each(|hook| self.add_hook(hook))
    }

    fn add_hook(&mut self, entry: &HookEntry) -> Result<(), Error> {
        let HookEntry { path, timeout, .. } = entry;
        if !path.is_absolute() {
            return Err(Error::HookPath(path.clone()));
        }
        entry.env.iter().try_for_each(|one| check_variable(one))?;
        let timeout = match timeout {
            None => None,
            Some(seconds) => match u64::try_from(*seconds) {
                Ok(above) if above > 0 => Some(above),
                _ => {
                    let (path, seconds) = (path.clone(), *seconds);
                    return Err(Error::Timeout { path, seconds });
                }
            },
        };
        let list = match entry.hook_name.as_str() {
            "prestart" => &mut self.hooks.prestart,
            "createRuntime" => &mut self.hooks.create_runtime,
            "createContainer" => &mut self.hooks.create_container,
            "startContainer" => return Err(Error::StartContainer(path.clone())),
            "poststart" => &mut self.hooks.poststart,
            "poststop" => &mut self.hooks.poststop,
            other => return Err(Error::HookName(other.to_owned())),
        };
        list.push(Hook {
            path: path.clone(),
            arguments: entry.args.clone(),
            environment: entry.env.clone(),
            timeout,
        });
        Ok(())
    }
}

fn check_variable(text: &str) -> Result<(), Error> {
    match text.split_once('=') {
        Some((name, _)) if !name.is_empty() => Ok(()),
        _ => Err(Error::Variable(text.to_owned())),
    }
}

/// A mount: of something of the host's, unless its type says that it is another file system.
fn mount(entry: &MountEntry) -> Result<Mount, Error> {
    check_inside(&entry.container_path)?;
    let kind = entry.kind.as_deref().unwrap_or_default();
    let says = |option: &String| option == "bind" || option == "rbind";
    let binds = entry.options.iter().any(says);
    let mut options = entry.options.clone();
    let kind = if binds || ["", "none", "bind"].contains(&kind) {
        exists(&entry.host_path)?;
        if !binds {
            options.push("bind".to_owned());
        }
        "bind"
    } else {
        kind
    };
    let mut mount = Mount::default();
    mount
        .set_destination(entry.container_path.clone())
        .set_typ(Some(kind.to_owned()))
        .set_source(Some(entry.host_path.clone()))
        .set_options(Some(options));
    Ok(mount)
}

/// Says what is missing before anything is made.
fn exists(path: &Path) -> Result<(), Error> {
    let failed = |error| Error::Host(path.to_owned(), error);
    path.metadata().map(drop).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(json: &str) -> Result<Edits, Error> {
        let mut edits = Edits::default();
        edits.add(&serde_json::from_str(json).unwrap())?;
        Ok(edits)
    }

    #[test]
    fn the_last_of_one_place_counts() {
        let edits = add(
            r#"{"deviceNodes": [{"path": "/dev/x", "hostPath": "/dev/null"},
                {"path": "/dev/x", "hostPath": "/dev/zero"}],
            "mounts": [{"hostPath": "/etc", "containerPath": "/m"},
                {"hostPath": "/tmp", "containerPath": "/m", "options": ["rbind", "ro"]}],
            "additionalGids": [0, 5]}"#,
        );
        let edits = edits.unwrap();
        assert_eq!((edits.devices().len(), edits.rules().len()), (1, 2));
        let [mount] = edits.mounts() else {
            panic!("{:?}", edits.mounts())
        };
        assert_eq!(mount.source().as_deref(), Some(Path::new("/tmp")));
        assert_eq!(mount.options().as_deref().unwrap(), ["rbind", "ro"]);
        assert_eq!(edits.groups(), ["5"]);
    }

    #[test]
    fn a_mount_without_a_type_is_of_the_host() {
        let edits = add(r#"{"mounts": [{"hostPath": "/etc", "containerPath": "/a"},
            {"hostPath": "tmpfs", "containerPath": "/b", "type": "tmpfs", "options": ["size=1m"]}]}"#);
        let edits = edits.unwrap();
        let types: Vec<_> = edits.mounts().iter().map(|one| one.typ().clone()).collect();
        assert_eq!(types, ["bind", "tmpfs"].map(|name| Some(name.to_owned())));
        assert_eq!(edits.mounts()[0].options().as_deref().unwrap(), ["bind"]);
    }

    #[test]
    fn hooks_run_when_their_names_say() {
        let edits = add(r#"{"hooks": [
            {"hookName": "createContainer", "path": "/a", "args": ["a", "b"], "timeout": 3},
            {"hookName": "poststop", "path": "/c"}]}"#);
        let edits = edits.unwrap();
        assert_eq!(edits.hooks().create_container[0].arguments, ["a", "b"]);
        assert_eq!(edits.hooks().create_container[0].timeout, Some(3));
        assert_eq!(edits.hooks().poststop.len(), 1);
    }

    #[test]
    fn what_cannot_be_done_is_refused() {
        for wrong in [
            r#"{"env": ["A"]}"#,
            r#"{"env": ["=a"]}"#,
            r#"{"intelRdt": {}}"#,
            r#"{"netDevices": [{"hostInterfaceName": "eth0", "name": "eth0"}]}"#,
            r#"{"mounts": [{"hostPath": "/none-of-these", "containerPath": "/a"}]}"#,
            r#"{"mounts": [{"hostPath": "/etc", "containerPath": "a"}]}"#,
            r#"{"hooks": [{"hookName": "startContainer", "path": "/a"}]}"#,
            r#"{"hooks": [{"hookName": "later", "path": "/a"}]}"#,
            r#"{"hooks": [{"hookName": "prestart", "path": "a"}]}"#,
            r#"{"hooks": [{"hookName": "prestart", "path": "/a", "timeout": 0}]}"#,
            r#"{"hooks": [{"hookName": "prestart", "path": "/a", "env": ["A"]}]}"#,
        ] {
            assert!(add(wrong).is_err(), "{wrong}");
        }
    }
}
