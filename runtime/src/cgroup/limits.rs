//! Limits, as asked for, become the files and values of each hierarchy.

use std::path::{Path, PathBuf};

use crate::cgroup::detect::{Hierarchies, Unified};
use crate::cgroup::devices::DeviceRule;
use crate::cgroup::limit::Limit;
use crate::cgroup::{
    CgroupPlan, Group, Place, Version, Write, device_program, devices, place, v1, v2,
};
use crate::id::ContainerId;

/// What may be limited; absent means no limit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Memory in bytes; -1 is unlimited.
    pub memory: Option<i64>,
    /// Memory and swap together, in bytes; -1 is unlimited.
    pub memory_and_swap: Option<i64>,
    /// Memory that is reclaimed last, in bytes.
    pub reservation: Option<i64>,
    /// Relative share of the processors, in the scale of version 1 (2 to 262144).
    pub cpu_shares: Option<u64>,
    /// Processor time in microseconds for each period; negative is unlimited.
    pub cpu_quota: Option<i64>,
    /// The period in microseconds.
    pub cpu_period: Option<u64>,
    /// Tasks (threads) at once; 0 or negative is unlimited.
    pub pids: Option<i64>,
    /// Rules about devices, of which the last that matches decides.
    pub devices: Vec<DeviceRule>,
    /// What else is one value for one file.
    pub more: Vec<Limit>,
}

/// A limit that cannot be planned.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No mounted hierarchy has the controller.
    #[error(
        "a limit on {what} was asked for, but no mounted cgroup hierarchy has the controller {controller:?}"
    )]
    NoController {
        /// What was to be limited.
        what: String,
        /// The controller that does it.
        controller: String,
    },
    /// A rule about devices that version 1 would pass over.
    #[error(
        "the device rule {0:?} takes back a part of an earlier one, which version 1 of cgroups cannot"
    )]
    DeviceRule(String),
    /// What version 2 does not have.
    #[error("{file} needs the controller {controller:?} of cgroup version 1, which is not mounted")]
    VersionOneAlone {
        /// The file.
        file: String,
        /// The controller.
        controller: String,
    },
    /// A file that is none of a controller's.
    #[error("{0:?} is not a file of a cgroup controller")]
    NoFile(String),
    /// The kernel counts no swap.
    #[error(
        "a limit on swap was asked for, but this kernel does not count it: {0} is missing (boot with swapaccount=1)"
    )]
    NoSwapAccounting(String),
    /// A place that climbs, or is none.
    #[error("the cgroup path {0} is not a plain path below the hierarchies")]
    Path(PathBuf),
    /// A limit on swap where memory has none.
    #[error("a limit on memory and swap together ({0}) needs a limit on memory")]
    SwapAlone(i64),
    /// Less memory and swap together than memory alone.
    #[error(
        "the limit on memory and swap together ({swap}) is less than that on memory ({memory})"
    )]
    SwapBelowMemory {
        /// Memory and swap together.
        swap: i64,
        /// Memory alone.
        memory: i64,
    },
}

impl Limits {
    /// The controllers that these limits need, with what they limit.
    pub(super) fn needed(&self) -> Vec<(&'static str, &'static str)> {
        let memory = self
            .memory
            .or(self.memory_and_swap)
            .or(self.reservation)
            .is_some();
        let cpu =
            self.cpu_shares.is_some() || self.cpu_quota.is_some() || self.cpu_period.is_some();
        [
            (memory, "memory", "memory"),
            (cpu, "processor time", "cpu"),
            (self.pids.is_some(), "the number of processes", "pids"),
        ]
        .into_iter()
        .filter(|(needed, ..)| *needed)
        .map(|(_, what, controller)| (what, controller))
        .collect()
    }

    /// Memory and swap together, Docker's rule applied: twice the memory when only that is given.
    pub(crate) fn swap_or_default(&self) -> Option<i64> {
        self.memory_and_swap.or_else(|| match self.memory {
            Some(memory) if memory > 0 => Some(memory.saturating_mul(2)),
            other => other,
        })
    }

    /// Whether each limit of every container has its controller, in one version or the other.
    fn check_controllers(&self, in_v1: &[&str], v2: Option<&Unified>) -> Result<(), Error> {
        let in_v2 = |name: &str| {
            v2.iter()
                .any(|unified| unified.controllers.iter().any(|one| one == name))
        };
        for (what, controller) in self.needed() {
            if !in_v1.contains(&controller) && !in_v2(controller) {
                return Err(Error::NoController {
                    what: what.to_owned(),
                    controller: controller.to_owned(),
                });
            }
        }
        Ok(())
    }

    /// Controllers beyond those of every container whose hierarchies of version 1 can apply one of
    /// these limits.
    #[cfg(feature = "launch")]
    pub(crate) fn further_controllers(&self) -> Vec<&str> {
        let in_v1 = self.more.iter().filter(|limit| limit.v1.is_some());
        in_v1.map(|limit| limit.controller.as_str()).collect()
    }

    /// The controllers of version 2 that these limits need, where version 1 has those of `in_v1`.
    fn used_of(&self, unified: &Unified, in_v1: &[&str]) -> Vec<String> {
        let mut needed: Vec<&str> = Vec::new();
        for (_, controller) in self.needed() {
            needed.push(controller);
        }
        for limit in &self.more {
            let name = limit.needed_of_v2(in_v1);
            needed.extend(name.filter(|name| !needed.contains(name)));
        }
        needed.retain(|name| unified.controllers.iter().any(|has| has == name));
        needed.into_iter().map(ToOwned::to_owned).collect()
    }

    pub(super) fn check_swap(&self) -> Result<(), Error> {
        match (self.memory_and_swap, self.memory) {
            (Some(swap @ 0..), Some(memory)) if swap < memory => {
                Err(Error::SwapBelowMemory { swap, memory })
            }
            (Some(swap @ 0..), None | Some(..0)) => Err(Error::SwapAlone(swap)),
            _ => Ok(()),
        }
    }
}

/// Plans the cgroups of container `id` in every hierarchy of `hierarchies`.
///
/// # Errors
///
/// An [`Error`] that names the limit that no hierarchy here can apply.
pub fn plan(
    hierarchies: &Hierarchies,
    id: &ContainerId,
    limits: &Limits,
) -> Result<CgroupPlan, Error> {
    limits.check_swap()?;
    let in_v1 = hierarchies.v1.iter();
    let in_v1: Vec<&str> = in_v1
        .flat_map(|hierarchy| &hierarchy.controllers)
        .map(String::as_str)
        .collect();
    limits.check_controllers(&in_v1, hierarchies.v2.as_ref())?;
    let mut groups = Vec::new();
    for hierarchy in &hierarchies.v1 {
        let writes = v1::writes(&hierarchy.controllers, &hierarchy.base, limits)?;
        let mut group = group(Version::One, &hierarchy.base, id, writes);
        group.name.clone_from(&hierarchy.name);
        group.controllers.clone_from(&hierarchy.controllers);
        groups.push(group);
    }
    if let Some(unified) = &hierarchies.v2 {
        let used = limits.used_of(unified, &in_v1);
        let mut group = group(Version::Two, &unified.base, id, v2::writes(&used, limits));
        group.enable = v2::delegation(&used, &unified.base, &group.parent);
        group.name = "unified".into();
        group.controllers = used;
        groups.push(group);
    }
    for limit in &limits.more {
        limit.add_to(&mut groups)?;
    }
    if in_v1.contains(&"devices") {
        check_devices(&limits.devices)?;
    } else {
        filter_devices(&mut groups, &limits.devices)?;
    }
    let memory_limit = limits.memory.and_then(|limit| u64::try_from(limit).ok());
    Ok(CgroupPlan {
        groups,
        memory_limit,
    })
}

/// Refuses rules that the controller of version 1 takes and does not apply.
fn check_devices(rules: &[DeviceRule]) -> Result<(), Error> {
    match devices::first_passed_over(rules) {
        Some(rule) => Err(Error::DeviceRule(rule.to_string())),
        None => Ok(()),
    }
}

/// Has version 2 apply `rules`, where version 1 has no controller for them.
fn filter_devices(groups: &mut [Group], rules: &[DeviceRule]) -> Result<(), Error> {
    if rules.is_empty() {
        return Ok(());
    }
    let mut groups = groups.iter_mut();
    let group = groups.find(|group| group.version == Version::Two);
    let group = group.ok_or_else(|| Error::NoController {
        what: "the use of devices".into(),
        controller: "devices".into(),
    })?;
    group.device_filter = device_program::compile(rules);
    Ok(())
}

/// As [`plan`], at the path that is asked for, if there is one: see [`Place`].
///
/// # Errors
///
/// As [`plan`], and [`Error::Path`].
pub fn plan_at(
    hierarchies: &Hierarchies,
    id: &ContainerId,
    asked: Option<(&Path, Place)>,
    limits: &Limits,
) -> Result<CgroupPlan, Error> {
    let mut planned = plan(hierarchies, id, limits)?;
    if let Some((path, place)) = asked.filter(|(path, _)| !path.as_os_str().is_empty()) {
        place::move_to(&mut planned, hierarchies, path, place)?;
    }
    Ok(planned)
}

fn group(version: Version, base: &Path, id: &ContainerId, writes: Vec<Write>) -> Group {
    let parent = base.join(place::PARENT);
    let path = parent.join(id.as_str());
    Group {
        version,
        name: String::new(),
        controllers: Vec::new(),
        shared: vec![parent.clone()],
        parent,
        path,
        place: Place::Own,
        enable: Vec::new(),
        writes,
        device_filter: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgroup::detect::Hierarchy;
    use crate::cgroup::devices::Access;

    fn id() -> ContainerId {
        "one".parse().expect("id")
    }

    fn v1_of(base: &Path, controllers: &[&str]) -> Hierarchy {
        let controllers: Vec<String> = controllers.iter().map(ToString::to_string).collect();
        Hierarchy {
            name: controllers.join(","),
            controllers,
            base: base.into(),
            top: base.into(),
        }
    }

    fn written(plan: &CgroupPlan) -> Vec<(String, String)> {
        let writes = plan.groups.iter().flat_map(|group| &group.writes);
        writes
            .map(|write| {
                (
                    write.file.to_string_lossy().into_owned(),
                    write.value.clone(),
                )
            })
            .collect()
    }

    fn all() -> Limits {
        Limits {
            memory: Some(64 << 20),
            cpu_quota: Some(50_000),
            cpu_period: Some(100_000),
            cpu_shares: Some(1024),
            pids: Some(100),
            ..Limits::default()
        }
    }

    #[test]
    fn version_one_writes_swap_only_where_it_is_counted() {
        let temp = tempfile::tempdir().expect("tempdir");
        let hierarchies = Hierarchies {
            v1: vec![
                v1_of(temp.path(), &["memory"]),
                v1_of(temp.path(), &["cpu"]),
                v1_of(temp.path(), &["pids"]),
            ],
            v2: None,
        };
        let without = written(&plan(&hierarchies, &id(), &all()).unwrap());
        let expected = [
            ("memory.limit_in_bytes", "67108864"),
            ("cpu.shares", "1024"),
            ("cpu.cfs_period_us", "100000"),
            ("cpu.cfs_quota_us", "50000"),
            ("pids.max", "100"),
        ];
        assert_eq!(
            without,
            expected.map(|(file, value)| (file.to_owned(), value.to_owned()))
        );

        let asked = Limits {
            memory_and_swap: Some(64 << 20),
            ..all()
        };
        assert!(matches!(
            plan(&hierarchies, &id(), &asked),
            Err(Error::NoSwapAccounting(_))
        ));

        std::fs::File::create(temp.path().join("memory.memsw.limit_in_bytes")).expect("create");
        let with = written(&plan(&hierarchies, &id(), &all()).unwrap());
        assert_eq!(
            with[1],
            ("memory.memsw.limit_in_bytes".into(), "134217728".into())
        );
    }

    #[test]
    fn version_two_writes_its_own_names_and_enables_what_it_needs() {
        let temp = tempfile::tempdir().expect("tempdir");
        let controllers = ["memory", "cpu", "pids", "io"].map(String::from).to_vec();
        let unified = Unified {
            base: temp.path().into(),
            controllers,
        };
        let hierarchies = Hierarchies {
            v1: vec![],
            v2: Some(unified),
        };
        let plan = plan(&hierarchies, &id(), &all()).unwrap();
        let expected = [
            ("memory.max", "67108864"),
            ("memory.swap.max", "67108864"),
            ("cpu.weight", "100"),
            ("cpu.max", "50000 100000"),
            ("pids.max", "100"),
        ];
        assert_eq!(
            written(&plan),
            expected.map(|(file, value)| (file.to_owned(), value.to_owned()))
        );
        let enable: Vec<_> = plan.groups[0]
            .enable
            .iter()
            .map(|write| write.value.as_str())
            .collect();
        assert_eq!(enable, ["+memory +cpu +pids", "+memory +cpu +pids"]);
        assert_eq!(plan.groups[0].path, temp.path().join("ucr/one"));
    }

    #[test]
    fn hybrid_takes_each_controller_where_it_is() {
        let temp = tempfile::tempdir().expect("tempdir");
        let unified = Unified {
            base: temp.path().into(),
            controllers: vec!["pids".into()],
        };
        let hierarchies = Hierarchies {
            v1: vec![
                v1_of(temp.path(), &["memory"]),
                v1_of(temp.path(), &["cpu"]),
            ],
            v2: Some(unified),
        };
        let plan = plan(&hierarchies, &id(), &all()).unwrap();
        assert_eq!(plan.groups[2].writes.len(), 1);
        assert_eq!(plan.groups[2].version, Version::Two);
    }

    #[test]
    fn device_rules_are_version_ones_where_it_has_them_and_else_a_program() {
        let temp = tempfile::tempdir().expect("tempdir");
        let nothing = DeviceRule {
            allow: false,
            kind: None,
            major: None,
            minor: None,
            access: Access::ALL,
        };
        let limits = Limits {
            devices: vec![nothing],
            ..Limits::default()
        };
        let hierarchies = |controllers: &[&str], two: bool| Hierarchies {
            v1: vec![v1_of(temp.path(), controllers)],
            v2: two.then(|| Unified {
                base: temp.path().into(),
                controllers: vec![],
            }),
        };
        let hybrid = plan(&hierarchies(&["devices"], true), &id(), &limits).unwrap();
        assert_eq!(written(&hybrid), [("devices.deny".into(), "a".into())]);
        assert!(hybrid.groups[1].device_filter.is_empty());

        let without = plan(&hierarchies(&["memory"], true), &id(), &limits).unwrap();
        assert_eq!(written(&without), []);
        assert_eq!(
            without.groups[1].device_filter,
            device_program::compile(&limits.devices)
        );

        let nowhere = plan(&hierarchies(&["memory"], false), &id(), &limits);
        assert!(matches!(nowhere, Err(Error::NoController { .. })));
    }

    #[test]
    fn a_limit_without_its_controller_is_an_error_that_names_it() {
        let error = plan(&Hierarchies::default(), &id(), &all()).unwrap_err();
        assert_eq!(
            error,
            Error::NoController {
                what: "memory".into(),
                controller: "memory".into()
            }
        );
    }

    #[test]
    fn what_version_two_does_not_have_is_refused_by_name() {
        let unified = Unified {
            base: "/nowhere".into(),
            controllers: vec!["memory".into()],
        };
        let hierarchies = Hierarchies {
            v1: vec![],
            v2: Some(unified),
        };
        let of = |limit: Limit| Limits {
            more: vec![limit],
            ..Limits::default()
        };
        let swappiness = of(Limit::new("memory").v1("memory.swappiness", "7"));
        let error = plan(&hierarchies, &id(), &swappiness).unwrap_err();
        assert_eq!(
            error,
            Error::VersionOneAlone {
                file: "memory.swappiness".into(),
                controller: "memory".into()
            }
        );
        for file in ["../x", "x/y", "/x", ""] {
            for climbing in [
                Limit::new("memory").v1(file, "1"),
                Limit::new("memory").v2("memory", file, "1"),
            ] {
                let error = plan(&hierarchies, &id(), &of(climbing)).unwrap_err();
                assert_eq!(error, Error::NoFile(file.into()));
            }
        }
    }

    #[test]
    fn swap_without_memory_is_refused() {
        for memory in [None, Some(-1)] {
            let limits = Limits {
                memory,
                memory_and_swap: Some(5),
                ..Limits::default()
            };
            let error = plan(&Hierarchies::default(), &id(), &limits).unwrap_err();
            assert_eq!(error, Error::SwapAlone(5));
        }
    }

    #[test]
    fn less_swap_than_memory_is_refused() {
        let limits = Limits {
            memory: Some(10),
            memory_and_swap: Some(5),
            ..Limits::default()
        };
        let error = plan(&Hierarchies::default(), &id(), &limits).unwrap_err();
        assert_eq!(
            error,
            Error::SwapBelowMemory {
                swap: 5,
                memory: 10
            }
        );
    }
}
