//! Where in the hierarchies a container's cgroups are.

use std::path::{Path, PathBuf};

use ucr_runtime::cgroup::detect::Hierarchies;
use ucr_runtime::cgroup::{Version, made};

use crate::support::{Container, privileged};

/// The directories of `name` at the tops of all hierarchies in use.
fn everywhere(name: &str) -> Vec<PathBuf> {
    let found = Hierarchies::detect().expect("detect");
    let v1 = found.v1.into_iter().map(|one| one.top);
    let tops = v1.chain(found.v2.map(|two| two.base));
    tops.map(|top| top.join(name)).collect()
}

fn unique(name: &str) -> String {
    format!("ucr-test-{}-{name}", std::process::id())
}

#[test]
fn i29_a_relative_place_is_below_that_of_all_containers_and_goes_with_the_last() {
    if !privileged() {
        return;
    }
    let parent = unique("relative");
    let container = |inner: &str| {
        let mut container = Container::sh("echo ready; sleep 1000 & wait");
        let path = format!("{parent}/{inner}/{}", container.id);
        container.patch(serde_json::json!({"linux": {"cgroupsPath": path,
            "resources": {"pids": {"limit": 20}}}}));
        container
    };
    let (first, second) = (container("a"), container("b"));
    let running = [first.spawn_until_ready(), second.spawn_until_ready()];
    for (container, inner) in [(&first, "a"), (&second, "b")] {
        let place = format!("ucr/{parent}/{inner}/{}", container.id);
        let cgroups = container.cgroups();
        assert!(!cgroups.is_empty());
        assert!(
            cgroups.iter().all(|path| path.ends_with(&place)),
            "{cgroups:?}"
        );
        let limits = cgroups.iter().map(|path| path.join("pids.max"));
        let limits: Vec<_> = limits.flat_map(std::fs::read_to_string).collect();
        assert!(limits.contains(&"20\n".to_owned()), "{limits:?}");
    }
    let [one, other] = running;
    let shared: Vec<PathBuf> = first
        .cgroups()
        .iter()
        .filter_map(|path| Some(path.parent()?.parent()?.to_owned()))
        .collect();
    one.kill("TERM");
    one.wait();
    first.assert_gone();
    assert!(
        shared
            .iter()
            .all(|path| path.is_dir() && !path.join("a").exists())
    );
    other.kill("TERM");
    other.wait();
    second.assert_gone();
    assert!(shared.iter().all(|path| !path.exists()), "{shared:?}");
}

#[test]
fn i29_an_absolute_place_begins_at_the_top_and_its_parents_stay() {
    if !privileged() {
        return;
    }
    let parent = unique("absolute");
    let mut container = Container::sh("cat /proc/self/cgroup");
    let path = format!("/{parent}/inner/{}", container.id);
    container.patch(serde_json::json!({"linux": {"cgroupsPath": path}}));
    let output = container.run();
    assert_eq!(output.code, 0, "{output:?}");
    container.assert_gone();
    for top in everywhere(&parent) {
        let inner = top.join("inner");
        assert!(inner.is_dir(), "{}", inner.display());
        made::remove_with_children(&inner).expect("remove");
        made::remove_with_children(&top).expect("remove");
    }
}

#[test]
fn i30_limits_of_the_place_hold_too() {
    if !privileged() {
        return;
    }
    let parent = unique("limited");
    let found = Hierarchies::detect().expect("detect");
    let has = |controllers: &[String]| controllers.iter().any(|name| name == "pids");
    let v1 = found.v1.iter().find(|one| has(&one.controllers));
    let (version, top) = match v1 {
        Some(one) => (Version::One, one.top.clone()),
        None => (Version::Two, found.v2.expect("a hierarchy").base),
    };
    let set = |file: &Path, value: &str| {
        use std::io::Write;
        let file = std::fs::File::options().write(true).open(file);
        file.expect("open")
            .write_all(value.as_bytes())
            .expect("write");
    };
    if version == Version::Two {
        set(&top.join("cgroup.subtree_control"), "+pids");
    }
    std::fs::create_dir(top.join(&parent)).expect("mkdir");
    set(&top.join(&parent).join("pids.max"), "8");
    let script = "i=0; while [ $i -lt 30 ]; do sleep 1000 & i=$((i+1)); done; echo all";
    let mut container = Container::sh(script);
    let path = format!("/{parent}/{}", container.id);
    container.patch(serde_json::json!({"linux": {"cgroupsPath": path}}));
    let output = container.run();
    assert!(output.stderr.contains("can't fork"), "{output:?}");
    container.assert_gone();
    for directory in everywhere(&parent) {
        made::remove_with_children(&directory).expect("remove");
    }
}

#[test]
fn i32_a_place_that_is_taken_is_refused_and_left() {
    if !privileged() {
        return;
    }
    let mut container = Container::sh("true");
    let place = unique("taken");
    container.patch(serde_json::json!({"linux": {"cgroupsPath": format!("/{place}")}}));
    let first = everywhere(&place).remove(0);
    std::fs::create_dir(&first).expect("mkdir");
    let output = container.run();
    assert_eq!(output.code, 125);
    assert!(output.stderr.contains("there already"), "{output:?}");
    for directory in everywhere(&place) {
        assert_eq!(directory.exists(), directory == first);
    }
    made::remove_with_children(&first).expect("remove");
}

#[test]
fn s4_a_place_that_climbs_is_refused_before_anything_is_made() {
    if !privileged() {
        return;
    }
    for path in ["../x", "/../x", "a/../../b"] {
        let mut container = Container::sh("true");
        container.patch(serde_json::json!({"linux": {"cgroupsPath": path}}));
        let output = container.run();
        assert_eq!(output.code, 125);
        assert!(output.stderr.contains("not a plain path"), "{output:?}");
    }
}
