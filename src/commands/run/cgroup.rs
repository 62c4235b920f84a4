//! Where the container's cgroups are: `--cgroup-parent`.

use std::path::{Component, Path, PathBuf};

use clap::Args;
use oci_spec::runtime::Spec;

/// Where in the hierarchies of cgroups the container is.
#[derive(Debug, Args)]
pub(super) struct CgroupArgs {
    /// Cgroup that the container's is made in: from the root of the hierarchies as /a/b, else below
    /// that of all containers
    #[arg(long, value_name = "PATH", value_parser = parent)]
    cgroup_parent: Option<PathBuf>,
}

impl CgroupArgs {
    /// Gives container `id` its place.
    pub(super) fn apply(&self, spec: &mut Spec, id: &str) {
        if let (Some(parent), Some(linux)) = (&self.cgroup_parent, spec.linux_mut()) {
            linux.set_cgroups_path(Some(parent.join(id)));
        }
    }
}

fn parent(text: &str) -> Result<PathBuf, String> {
    let path = Path::new(text);
    let is_name = |part| matches!(part, Component::Normal(_));
    let below = path.strip_prefix("/").unwrap_or(path);
    let is_plain = below.components().all(is_name) && !text.contains('\0');
    if text.is_empty() || !is_plain {
        return Err("it is no path without \".\" and \"..\"".to_owned());
    }
    Ok(path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(text: &str) -> PathBuf {
        let args = CgroupArgs {
            cgroup_parent: Some(parent(text).unwrap()),
        };
        let mut spec = ucr_runtime::spec::defaults();
        args.apply(&mut spec, "id");
        spec.linux()
            .clone()
            .unwrap()
            .cgroups_path()
            .clone()
            .unwrap()
    }

    #[test]
    fn the_container_is_below_its_parent() {
        for (text, wanted) in [
            ("/", "/id"),
            (
                "/system.slice/agent.service",
                "/system.slice/agent.service/id",
            ),
            ("jobs", "jobs/id"),
            ("jobs/", "jobs/id"),
        ] {
            assert_eq!(place(text), Path::new(wanted));
        }
    }

    #[test]
    fn s4_a_parent_that_climbs_is_refused() {
        for text in ["", "..", "/..", "a/../b", "./a", "/a/../../b"] {
            assert!(parent(text).is_err(), "{text}");
        }
    }
}
