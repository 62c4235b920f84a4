//! Where in the hierarchies the cgroups of a container are.

use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::detect::Hierarchies;
use super::limits::Error;
use super::{CgroupPlan, Version, v2};

/// The directory that is above all of ours where nobody asks for another place.
pub(super) const PARENT: &str = "ucr";

/// Whose choice the place of a cgroup is, and so whether it may be there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Place {
    /// It is the container's alone: nothing may be there yet.
    Own,
    /// It is the configuration's: one without processes is taken as it is.
    Asked,
}

/// Moves the groups of `plan` to `path`: absolute it begins at the top of each hierarchy.
///
/// A relative one begins at the directory of all our containers for a place of our own, whose
/// directories go with the last container in them; else at the cgroup of this process. What is
/// missing above an absolute place is made and stays.
///
/// # Errors
///
/// [`Error::Path`].
pub(super) fn move_to(
    plan: &mut CgroupPlan,
    hierarchies: &Hierarchies,
    path: &Path,
    place: Place,
) -> Result<(), Error> {
    let below = path.strip_prefix("/").unwrap_or(path);
    let plain = |part| matches!(part, Component::Normal(_));
    if below.as_os_str().is_empty() || !below.components().all(plain) {
        return Err(Error::Path(path.into()));
    }
    let v1 = hierarchies.v1.iter();
    let v1 = v1.map(|hierarchy| (&hierarchy.top, &hierarchy.base));
    let v2 = hierarchies.v2.iter();
    let v2 = v2.map(|unified| (&unified.base, &unified.base));
    for (group, (top, base)) in plan.groups.iter_mut().zip(v1.chain(v2)) {
        let from = match (path.is_absolute(), place) {
            (true, _) => top.clone(),
            (false, Place::Own) => base.join(PARENT),
            (false, Place::Asked) => base.clone(),
        };
        group.path = from.join(below);
        group.parent = group.path.parent().unwrap_or(&from).into();
        group.shared = match (path.is_absolute(), place) {
            (false, Place::Own) => between(&from, &group.parent),
            _ => Vec::new(),
        };
        group.place = place;
        group.enable = match group.version {
            Version::One => Vec::new(),
            Version::Two => v2::delegation(&group.controllers, base, &group.parent),
        };
    }
    Ok(())
}

/// The directories from `last` up to `first`, with both.
fn between(first: &Path, last: &Path) -> Vec<PathBuf> {
    let up = last.ancestors();
    up.take_while(|path| path.starts_with(first))
        .map(Path::to_path_buf)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgroup::Group;
    use crate::cgroup::detect::{Hierarchy, Unified};
    use crate::cgroup::limits::{self, Limits};

    fn moved(path: &str, place: Place) -> Result<Vec<Group>, Error> {
        let hierarchies = Hierarchies {
            v1: vec![Hierarchy {
                name: "pids".into(),
                controllers: vec!["pids".into()],
                base: "/cg/pids/here".into(),
                top: "/cg/pids".into(),
            }],
            v2: Some(Unified {
                base: "/cg/two".into(),
                controllers: vec!["memory".into()],
            }),
        };
        let limits = Limits {
            memory: Some(1 << 30),
            ..Limits::default()
        };
        let id = "one".parse().expect("id");
        let asked = Some((Path::new(path), place));
        limits::plan_at(&hierarchies, &id, asked, &limits).map(|plan| plan.groups)
    }

    fn paths(groups: &[Group]) -> [&str; 2] {
        [&groups[0], &groups[1]].map(|group| group.path.to_str().unwrap())
    }

    #[test]
    fn a_relative_place_of_our_own_is_below_ours_and_goes_with_the_last() {
        let groups = moved("a/b/one", Place::Own).unwrap();
        assert_eq!(
            paths(&groups),
            ["/cg/pids/here/ucr/a/b/one", "/cg/two/ucr/a/b/one"]
        );
        let shared: Vec<_> = groups[1].shared.iter().map(|path| path.to_str()).collect();
        assert_eq!(
            shared,
            [
                Some("/cg/two/ucr/a/b"),
                Some("/cg/two/ucr/a"),
                Some("/cg/two/ucr")
            ]
        );
        let enabled = groups[1].enable.iter();
        let enabled: Vec<_> = enabled.map(|write| write.file.to_str().unwrap()).collect();
        assert_eq!(
            enabled,
            [
                "/cg/two/cgroup.subtree_control",
                "/cg/two/ucr/cgroup.subtree_control",
                "/cg/two/ucr/a/cgroup.subtree_control",
                "/cg/two/ucr/a/b/cgroup.subtree_control"
            ]
        );
        assert!(groups.iter().all(|group| group.place == Place::Own));
    }

    #[test]
    fn an_absolute_place_begins_at_the_top_and_nothing_above_it_is_ours() {
        for place in [Place::Own, Place::Asked] {
            let groups = moved("/system.slice/agent/one", place).unwrap();
            assert_eq!(
                paths(&groups),
                [
                    "/cg/pids/system.slice/agent/one",
                    "/cg/two/system.slice/agent/one"
                ]
            );
            assert!(groups.iter().all(|group| group.shared.is_empty()));
        }
        let groups = moved("/one", Place::Own).unwrap();
        assert_eq!(groups[1].parent, Path::new("/cg/two"));
        assert_eq!(groups[1].enable.len(), 1);
    }

    #[test]
    fn a_relative_place_that_was_asked_for_is_below_this_process() {
        let groups = moved("a/one", Place::Asked).unwrap();
        assert_eq!(paths(&groups), ["/cg/pids/here/a/one", "/cg/two/a/one"]);
    }

    #[test]
    fn s4_a_place_that_climbs_is_refused() {
        for path in ["/", "..", "/../x", "a/../../b", "./a"] {
            for place in [Place::Own, Place::Asked] {
                let refused = moved(path, place);
                assert_eq!(refused, Err(Error::Path(path.into())), "{path}");
            }
        }
    }
}
