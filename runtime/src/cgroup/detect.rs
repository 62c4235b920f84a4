//! Which hierarchies are mounted, and where this process is in them.

use std::path::{Path, PathBuf};

/// The controllers whose version 1 hierarchies a container gets a cgroup in.
const USED: [&str; 6] = ["memory", "cpu", "cpuacct", "pids", "devices", "freezer"];

/// The controllers whose hierarchies a container that is handed over gets a cgroup in.
const ALL: [&str; 13] = [
    "memory",
    "cpu",
    "cpuacct",
    "pids",
    "devices",
    "freezer",
    "cpuset",
    "blkio",
    "hugetlb",
    "net_cls",
    "net_prio",
    "perf_event",
    "rdma",
];

/// A failure to find out.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file of `/proc` that cannot be read.
    #[error("cannot read {0}")]
    Read(&'static str, #[source] std::io::Error),
}

/// One version 1 hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hierarchy {
    /// Its name below `/sys/fs/cgroup`.
    pub name: String,
    /// Its controllers.
    pub controllers: Vec<String>,
    /// The directory below which containers go: that of this process.
    pub base: PathBuf,
    /// Where it is mounted.
    pub top: PathBuf,
}

/// The version 2 hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unified {
    /// The directory below which containers go: the root, the only one that may
    /// hold processes and give controllers to its children at once.
    pub base: PathBuf,
    /// The controllers that it has.
    pub controllers: Vec<String>,
}

/// Everything that is mounted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hierarchies {
    /// Version 1 hierarchies with a controller that `ucr` uses.
    pub v1: Vec<Hierarchy>,
    /// The version 2 hierarchy.
    pub v2: Option<Unified>,
}

impl Hierarchies {
    /// Looks at this machine.
    ///
    /// # Errors
    ///
    /// [`Error::Read`].
    pub fn detect() -> Result<Self, Error> {
        Self::detect_of(&USED)
    }

    /// Looks at this machine for every controller that can limit something.
    ///
    /// # Errors
    ///
    /// [`Error::Read`].
    pub fn detect_all() -> Result<Self, Error> {
        Self::detect_of(&ALL)
    }

    /// Looks at this machine for what every container has, and for the controllers `more`.
    ///
    /// # Errors
    ///
    /// [`Error::Read`].
    pub fn detect_with(more: &[&str]) -> Result<Self, Error> {
        let more = more.iter().filter(|name| !USED.contains(name));
        let wanted: Vec<&str> = USED.iter().chain(more).copied().collect();
        Self::detect_of(&wanted)
    }

    fn detect_of(wanted: &[&str]) -> Result<Self, Error> {
        let mountinfo = read("/proc/self/mountinfo")?;
        let own = read("/proc/self/cgroup")?;
        let mut found = Self::parse_for(wanted, &mountinfo, &own);
        if let Some(unified) = &mut found.v2 {
            // Not there, or unreadable: then it has no controllers for us.
            let controllers = std::fs::read_to_string(unified.base.join("cgroup.controllers"));
            unified.controllers = words(&controllers.unwrap_or_default());
        }
        Ok(found)
    }

    /// Reads the content of `/proc/self/mountinfo` and `/proc/self/cgroup`, proc(5), cgroups(7).
    pub fn parse(mountinfo: &str, own: &str) -> Self {
        Self::parse_for(&USED, mountinfo, own)
    }

    fn parse_for(wanted: &[&str], mountinfo: &str, own: &str) -> Self {
        let mut found = Self::default();
        for mount in mountinfo.lines().filter_map(Mount::parse) {
            if mount.kind == "cgroup2" && found.v2.is_none() {
                found.v2 = Some(Unified {
                    base: mount.point,
                    controllers: Vec::new(),
                });
            } else if mount.kind == "cgroup" {
                found.add_v1(&mount, own, wanted);
            }
        }
        found
    }

    fn add_v1(&mut self, mount: &Mount<'_>, own: &str, wanted: &[&str]) {
        let has = |name: &str| mount.options.split(',').any(|option| option == name);
        let known = self.v1.iter().flat_map(|hierarchy| &hierarchy.controllers);
        let known: Vec<String> = known.cloned().collect();
        let controllers: Vec<String> = wanted
            .iter()
            .filter(|name| has(name) && !known.iter().any(|seen| seen == *name))
            .map(ToString::to_string)
            .collect();
        let Some(first) = controllers.first() else {
            return;
        };
        let own = own_path(own, first).unwrap_or("/");
        // A mount of a part of the hierarchy, as in a container: paths begin there.
        let below = own
            .strip_prefix(mount.root)
            .unwrap_or(own)
            .trim_start_matches('/');
        let base = mount.point.join(below);
        let name = mount
            .point
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        self.v1.push(Hierarchy {
            name,
            controllers,
            base,
            top: mount.point.clone(),
        });
    }
}

/// The path of this process in the hierarchy that has `controller`.
fn own_path<'a>(own: &'a str, controller: &str) -> Option<&'a str> {
    own.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':');
        let has = fields.nth(1)?.split(',').any(|name| name == controller);
        fields.next().filter(|_| has)
    })
}

/// One line of mountinfo.
struct Mount<'a> {
    root: &'a str,
    point: PathBuf,
    kind: &'a str,
    options: &'a str,
}

impl<'a> Mount<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let (before, after) = line.split_once(" - ")?;
        let mut before = before.split(' ').skip(3);
        let root = before.next()?;
        let point = PathBuf::from(unescape(before.next()?));
        let mut after = after.split(' ');
        let kind = after.next()?;
        let options = after.nth(1)?;
        Some(Self {
            root: root.trim_end_matches('/'),
            point,
            kind,
            options,
        })
    }
}

/// Undoes the `\040` of mountinfo.
fn unescape(text: &str) -> String {
    text.replace("\\040", " ")
        .replace("\\011", "\t")
        .replace("\\012", "\n")
        .replace("\\134", "\\")
}

fn words(text: &str) -> Vec<String> {
    text.split_ascii_whitespace()
        .map(ToOwned::to_owned)
        .collect()
}

fn read(path: &'static str) -> Result<String, Error> {
    std::fs::read_to_string(Path::new(path)).map_err(|error| Error::Read(path, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "\
22 27 0:21 / /proc rw,relatime - proc proc rw\n\
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:5 - cgroup cgroup rw,cpu,cpuacct\n\
35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
34 31 0:31 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n\
40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd\n\
41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";

    #[test]
    fn hybrid_uses_each_hierarchy_that_is_there() {
        let own = "4:memory:/a/b\n3:cpu,cpuacct:/\n0::/c\n";
        let found = Hierarchies::parse(HYBRID, own);
        let bases: Vec<_> = found
            .v1
            .iter()
            .map(|one| (one.name.as_str(), one.base.to_str().unwrap()))
            .collect();
        assert_eq!(
            bases,
            [
                ("cpu,cpuacct", "/sys/fs/cgroup/cpu,cpuacct/"),
                ("memory", "/sys/fs/cgroup/memory/a/b"),
            ]
        );
        assert_eq!(found.v2.unwrap().base, Path::new("/sys/fs/cgroup/unified"));
    }

    #[test]
    fn version_two_alone() {
        let found =
            Hierarchies::parse("1 2 0:3 / /sys/fs/cgroup rw - cgroup2 none rw\n", "0::/x\n");
        assert!(found.v1.is_empty());
        assert_eq!(found.v2.unwrap().base, Path::new("/sys/fs/cgroup"));
    }

    #[test]
    fn in_a_container_the_mounted_part_is_the_root() {
        let mountinfo = "1 2 0:3 /docker/1 /cg/mem\\040ory rw - cgroup cgroup rw,memory\n";
        let found = Hierarchies::parse(mountinfo, "4:memory:/docker/1/sub\n");
        assert_eq!(found.v1[0].base, Path::new("/cg/mem ory/sub"));
    }
}
