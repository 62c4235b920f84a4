//! What a container may do beyond, or short of, the usual: `--privileged`, `--cap-add`, `--device` …

use std::fmt;
use std::path::PathBuf;

use clap::{ArgAction, Args};
use oci_spec::runtime::{Capabilities, Capability, LinuxCapabilities, Spec};
use ucr_runtime::plan::HostConfig;
use ucr_runtime::spec::CAPABILITIES;

use super::devices::{Devices, Wanted};
use crate::cdi::{self, Edits};
use crate::command_error::CommandError;
use crate::quantity;
use crate::security::{Security, SecurityOption, Usual};
use crate::ui::Ui;

/// What the container may do.
#[derive(Debug, Args)]
pub(crate) struct PrivilegeArgs {
    /// Give the container every capability and device, and hide nothing from it
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false", value_parser = quantity::switch, action = ArgAction::Set, hide_default_value = true, value_name = "BOOL")]
    privileged: bool,
    /// Add a capability, such as NET_ADMIN, or ALL
    #[arg(long, value_name = "CAPABILITY", value_parser = Named::parse)]
    cap_add: Vec<Named>,
    /// Take a capability away, or ALL
    #[arg(long, value_name = "CAPABILITY", value_parser = Named::parse)]
    cap_drop: Vec<Named>,
    /// Add the task to a group of the image, by name or ID
    #[arg(long = "group-add", value_name = "GROUP")]
    groups: Vec<String>,
    /// Device of the host, or directory of devices, where what may be done with it is made of r, w
    /// and m; or VENDOR/CLASS=NAME, as a vendor describes it by the Container Device Interface
    #[arg(long = "device", value_name = "HOST[:CONTAINER][:ACCESS]", value_parser = Wanted::parse)]
    devices: Vec<Wanted>,
    /// Directory of such descriptions; a later one stands before an earlier one
    #[arg(long = "cdi-spec-dir", value_name = "DIR", default_values = cdi::DIRECTORIES)]
    cdi_spec_dirs: Vec<PathBuf>,
    /// Setting of the kernel's for the container's own namespaces, such as kernel.shmmax=67108864,
    /// or net.ipv4.ip_forward=1 with --network none
    #[arg(long = "sysctl", value_name = "NAME=VALUE", value_parser = sysctl)]
    sysctls: Vec<(String, String)>,
    /// Filter of system calls (seccomp=unconfined, or a profile as seccomp=FILE),
    /// no-new-privileges[=true|false], label=disable, apparmor=PROFILE
    #[arg(long = "security-opt", value_name = "OPTION", value_parser = SecurityOption::parse)]
    security_options: Vec<SecurityOption>,
}

/// Capabilities as they are named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Named {
    All,
    One(Capability),
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("ALL"),
            Self::One(capability) => write!(f, "CAP_{capability}"),
        }
    }
}

impl Named {
    /// Reads a name of capabilities(7), with or without `CAP_`, in whatever letters.
    fn parse(text: &str) -> Result<Self, String> {
        let upper = text.to_ascii_uppercase();
        let name = upper.strip_prefix("CAP_").unwrap_or(&upper);
        if name == "ALL" {
            return Ok(Self::All);
        }
        serde_json::from_value(format!("CAP_{name}").into())
            .map(Self::One)
            .map_err(|_unknown| "there is no such capability".to_owned())
    }
}

fn sysctl(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("it is not of the form NAME=VALUE".to_owned()),
    }
}

impl PrivilegeArgs {
    /// Says what is beyond, or short of, the usual.
    pub(super) fn tell(&self, config: &mut HostConfig) {
        let names = |list: &[Named]| list.iter().map(Named::to_string).collect();
        config.privileged = self.privileged;
        config.cap_add = names(&self.cap_add);
        config.cap_drop = names(&self.cap_drop);
    }

    /// What the devices that a vendor describes change of it.
    pub(super) fn edits(&self, ui: &Ui) -> Result<Edits, CommandError> {
        let described = self.devices.iter().filter_map(|wanted| match wanted {
            Wanted::Described(name) => Some(name.clone()),
            Wanted::Host(_) => None,
        });
        let names: Vec<_> = described.collect();
        cdi::find(&names, &self.cdi_spec_dirs, ui)
    }

    /// The devices of this machine that it gets, those of `edits` among them.
    pub(super) fn devices(&self, edits: &Edits) -> Result<Devices, CommandError> {
        let devices = if self.privileged {
            Devices::all()
        } else {
            Devices::find(self.devices.iter().filter_map(|wanted| match wanted {
                Wanted::Host(asked) => Some(asked),
                Wanted::Described(_) => None,
            }))
        };
        Ok(devices?.with(edits))
    }

    /// What filters its system calls.
    pub(super) fn security(&self) -> Result<Security, CommandError> {
        let usual = if self.privileged {
            Usual::Unconfined
        } else {
            Usual::Confined
        };
        Security::read(&self.security_options, usual)
    }

    /// Groups of the task besides its user's, those of `edits` among them.
    pub(super) fn groups(&self, edits: &Edits) -> Vec<String> {
        [&self.groups, edits.groups()].concat()
    }

    /// Puts capabilities, settings and what is hidden into a spec.
    ///
    /// # Errors
    /// A capability that `ucr` does not have itself.
    pub(crate) fn apply(&self, spec: &mut Spec) -> Result<(), CommandError> {
        let own = ucr_sys::task::own_capabilities().map_err(CommandError::new)?;
        let own = of_mask(own);
        let usual = spec
            .process()
            .as_ref()
            .and_then(|process| process.capabilities().as_ref())
            .and_then(|sets| sets.bounding().clone())
            .unwrap_or_default();
        if self.privileged || !self.cap_add.is_empty() || !self.cap_drop.is_empty() {
            let granted = self.granted(&usual, &own)?;
            if let Some(process) = spec.process_mut() {
                let mut sets = LinuxCapabilities::default();
                sets.set_bounding(Some(granted.clone()))
                    .set_permitted(Some(granted.clone()))
                    .set_effective(Some(granted))
                    .set_inheritable(None)
                    .set_ambient(None);
                process.set_capabilities(Some(sets));
            }
        }
        if self.privileged {
            uncover(spec);
        }
        if let Some(linux) = spec
            .linux_mut()
            .as_mut()
            .filter(|_| !self.sysctls.is_empty())
        {
            linux.set_sysctl(Some(self.sysctls.iter().cloned().collect()));
        }
        Ok(())
    }

    /// As Docker has it: what is added to nothing or to the usual, but for what is dropped; one
    /// that is named outlives a dropped ALL, and the other way round.
    fn granted(
        &self,
        usual: &Capabilities,
        own: &Capabilities,
    ) -> Result<Capabilities, CommandError> {
        let one = |named: &Named| match named {
            Named::One(capability) => Some(*capability),
            Named::All => None,
        };
        let added: Capabilities = self.cap_add.iter().filter_map(one).collect();
        if let Some(missing) = added.difference(own).next() {
            let name = missing.to_string();
            let text = format!("cannot grant {name}: ucr itself does not have it here");
            return Err(CommandError::sentence(text));
        }
        let dropped: Capabilities = self.cap_drop.iter().filter_map(one).collect();
        let base = match (
            self.privileged || self.cap_add.contains(&Named::All),
            self.cap_drop.contains(&Named::All),
        ) {
            (true, _) => own.clone(),
            (false, true) => Capabilities::default(),
            (false, false) => usual.clone(),
        };
        let all = base.union(&added).copied();
        Ok(all.filter(|one| !dropped.contains(one)).collect())
    }

    /// Whether it is hidden from nothing, and nothing from it.
    pub(crate) fn is_privileged(&self) -> bool {
        self.privileged
    }
}

/// The capabilities whose bits are set.
fn of_mask(mask: u64) -> Capabilities {
    let numbered = CAPABILITIES.iter().enumerate();
    let set = numbered.filter(|(number, _)| mask >> number & 1 == 1);
    set.map(|(_, capability)| *capability).collect()
}

/// Hides nothing, and lets everything be written that Docker lets `--privileged` write.
fn uncover(spec: &mut Spec) {
    if let Some(linux) = spec.linux_mut() {
        linux.set_masked_paths(None).set_readonly_paths(None);
    }
    let mut mounts = spec.mounts().clone().unwrap_or_default();
    for mount in &mut mounts {
        if mount.destination().starts_with("/sys") {
            let mut options = mount.options().clone().unwrap_or_default();
            options.retain(|option| option != "ro");
            mount.set_options(Some(options));
        }
    }
    spec.set_mounts(Some(mounts));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn granted(add: &[&str], drop: &[&str], privileged: bool) -> Vec<String> {
        let named = |names: &[&str]| {
            let parsed = names.iter().map(|name| Named::parse(name).unwrap());
            parsed.collect::<Vec<_>>()
        };
        let args = PrivilegeArgs {
            privileged,
            cap_add: named(add),
            cap_drop: named(drop),
            groups: Vec::new(),
            devices: Vec::new(),
            cdi_spec_dirs: Vec::new(),
            sysctls: Vec::new(),
            security_options: Vec::new(),
        };
        let usual = of_mask(0b11);
        // All that the first process has but CAP_SYS_RESOURCE.
        let own = of_mask(!(1 << 24));
        let granted = args.granted(&usual, &own).unwrap_or_default();
        let mut names: Vec<_> = granted.iter().map(ToString::to_string).collect();
        names.sort();
        names
    }

    #[test]
    fn i17_capabilities_are_added_and_dropped_as_with_docker() {
        let one = |add: &[&str], drop: &[&str]| granted(add, drop, false).join(" ");
        let usual = one(&[], &[]);
        assert_eq!(one(&[], &["all"]), "");
        let chown = one(&[], &["CAP_DAC_OVERRIDE"]);
        assert_eq!(format!("{chown} {}", one(&[], &["chown"])), usual);
        assert_eq!(one(&["kill"], &["ALL"]), one(&["KILL"], &["ALL"]));
        assert_eq!(granted(&["kill"], &["ALL"], false).len(), 1);
        assert_eq!(granted(&["net_admin"], &[], false).len(), 3);
        assert_eq!(granted(&["ALL"], &[], false).len(), 40);
        assert_eq!(granted(&["ALL"], &["sys_admin"], false).len(), 39);
        assert_eq!(granted(&[], &["sys_admin"], true).len(), 39);
        // It is nobody's to give.
        assert!(granted(&["SYS_RESOURCE"], &[], false).is_empty());
    }

    #[test]
    fn i18_an_unknown_capability_is_an_error() {
        for text in ["", "CAP_", "CAP_FOO", "net admin"] {
            assert!(Named::parse(text).is_err(), "{text:?}");
        }
        assert_eq!(
            Named::parse("cap_Sys_Admin"),
            Ok(Named::One(Capability::SysAdmin))
        );
    }
}
