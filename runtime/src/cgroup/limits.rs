//! Limits, as asked for, become the files and values of each hierarchy.

use std::path::Path;

use crate::cgroup::detect::Hierarchies;
use crate::cgroup::{CgroupPlan, Group, Version, Write, v1, v2};
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
    /// Device rules in the syntax of version 1 `devices.allow`.
    pub devices: Vec<DeviceRule>,
}

/// One rule about devices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceRule {
    /// Whether it allows or denies.
    pub allow: bool,
    /// Such as `c 1:3 rwm`; `a` for all.
    pub what: String,
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
        what: &'static str,
        /// The controller that does it.
        controller: &'static str,
    },
    /// The kernel counts no swap.
    #[error(
        "a limit on swap was asked for, but this kernel does not count it: {0} is missing (boot with swapaccount=1)"
    )]
    NoSwapAccounting(String),
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
    fn needed(&self) -> Vec<(&'static str, &'static str)> {
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

    fn check_swap(&self) -> Result<(), Error> {
        match (self.memory_and_swap, self.memory) {
            (Some(swap), Some(memory)) if swap >= 0 && swap < memory => {
                Err(Error::SwapBelowMemory { swap, memory })
            }
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
    let in_v1 = hierarchies
        .v1
        .iter()
        .flat_map(|hierarchy| &hierarchy.controllers);
    let in_v2 = hierarchies
        .v2
        .iter()
        .flat_map(|unified| &unified.controllers);
    let present: Vec<&str> = in_v1.chain(in_v2).map(String::as_str).collect();
    for (what, controller) in limits.needed() {
        if !present.contains(&controller) {
            return Err(Error::NoController { what, controller });
        }
    }
    let mut groups = Vec::new();
    for hierarchy in &hierarchies.v1 {
        let writes = v1::writes(&hierarchy.controllers, &hierarchy.base, limits)?;
        let mut group = group(Version::One, &hierarchy.base, id, writes);
        group.name.clone_from(&hierarchy.name);
        group.controllers.clone_from(&hierarchy.controllers);
        groups.push(group);
    }
    if let Some(unified) = &hierarchies.v2 {
        let needed: Vec<&str> = limits
            .needed()
            .iter()
            .map(|(_, controller)| *controller)
            .collect();
        let used = needed
            .iter()
            .filter(|name| unified.controllers.iter().any(|has| has == *name));
        let used: Vec<String> = used.map(ToString::to_string).collect();
        let writes = v2::writes(&used, limits);
        let mut group = group(Version::Two, &unified.base, id, writes);
        group.enable = v2::delegation(&used, &unified.base, &group.parent);
        group.name = "unified".into();
        group.controllers = used;
        groups.push(group);
    }
    let memory_limit = limits.memory.and_then(|limit| u64::try_from(limit).ok());
    Ok(CgroupPlan {
        groups,
        memory_limit,
    })
}

fn group(version: Version, base: &Path, id: &ContainerId, writes: Vec<Write>) -> Group {
    let parent = base.join("ucr");
    let path = parent.join(id.as_str());
    Group {
        version,
        name: String::new(),
        controllers: Vec::new(),
        parent,
        path,
        enable: Vec::new(),
        writes,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgroup::detect::{Hierarchy, Unified};

    fn id() -> ContainerId {
        "one".parse().expect("id")
    }

    fn v1_of(base: &Path, controllers: &[&str]) -> Hierarchy {
        let controllers: Vec<String> = controllers.iter().map(ToString::to_string).collect();
        Hierarchy {
            name: controllers.join(","),
            controllers,
            base: base.into(),
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
    fn a_limit_without_its_controller_is_an_error_that_names_it() {
        let error = plan(&Hierarchies::default(), &id(), &all()).unwrap_err();
        assert_eq!(
            error,
            Error::NoController {
                what: "memory",
                controller: "memory"
            }
        );
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
