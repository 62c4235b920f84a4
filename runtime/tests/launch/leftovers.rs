//! Cgroups that were there before, and the certain end of those who are in one.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use ucr_runtime::cgroup::detect::Hierarchies;
use ucr_runtime::cgroup::limits::{self, Limits};
use ucr_runtime::cgroup::{Place, Version, freezer, group, made, processes};

use crate::support::{Container, privileged, script};

/// Directories of hierarchies in which processes can be frozen: of version 1, of version 2, or both.
fn tops() -> Vec<PathBuf> {
    let found = Hierarchies::detect().expect("detect");
    let v1 = found.v1.into_iter();
    let v1 = v1.filter(|one| one.controllers.iter().any(|name| name == "freezer"));
    let tops = v1.map(|one| one.top);
    tops.chain(found.v2.map(|two| two.base)).collect()
}

/// A cgroup of the test's own, removed at its end with whoever is in it.
struct TestCgroup(PathBuf);

impl TestCgroup {
    fn make(top: &Path, name: &str) -> Self {
        let path = top.join(format!("ucr-test-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).expect("mkdir");
        Self(path)
    }

    fn below(&self, name: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::create_dir(&path).expect("mkdir");
        path
    }

    fn is_empty(&self) -> bool {
        let procs = std::fs::read_to_string(self.0.join("cgroup.procs"));
        procs.expect("procs").is_empty()
    }
}

impl Drop for TestCgroup {
    fn drop(&mut self) {
        processes::kill_all([self.0.as_path()]).expect("kill");
        made::remove_with_children(&self.0).expect("remove");
    }
}

/// Starts `command` in `cgroups`, and waits for its first line.
fn start_in(cgroups: &[PathBuf], command: &str) -> (Child, BufReader<ChildStdout>) {
    let enter: String = cgroups
        .iter()
        .map(|group| format!("echo $$ >{}/cgroup.procs || exit 9; ", group.display()))
        .collect();
    let mut child = Command::new("sh")
        .args(["-c", &format!("{enter}echo ready; {command}")])
        .stdout(Stdio::piped())
        .spawn()
        .expect("sh");
    let mut said = BufReader::new(child.stdout.take().expect("stdout"));
    let mut line = String::new();
    said.read_line(&mut line).expect("read");
    assert_eq!(line, "ready\n", "not let in");
    (child, said)
}

#[track_caller]
fn assert_killed(mut child: Child) {
    assert_eq!(child.wait().expect("wait").signal(), Some(9));
}

#[test]
fn i5_processes_that_keep_forking_are_killed_all() {
    if !privileged() {
        return;
    }
    let temp = tempfile::tempdir().expect("tempdir");
    // Each lives just as long as it takes to make the next.
    let chain = temp.path().join("chain");
    script(&chain, "#!/bin/sh\n\"$0\" &\n");
    for top in tops() {
        let cgroup = TestCgroup::make(&top, "forks");
        let below = cgroup.below("below");
        let shown = chain.display();
        let command = format!("{shown} & {shown} & exec {shown}");
        let (mut first, mut said) = start_in(std::slice::from_ref(&cgroup.0), &command);
        let (_, mut said_below) = start_in(&[below], &command);
        processes::kill_all([cgroup.0.as_path()]).expect("kill");
        // Each of them had the other end of the pipe.
        for said in [&mut said, &mut said_below] {
            said.read_to_string(&mut String::new()).expect("the end");
        }
        first.wait().expect("wait");
        assert!(cgroup.is_empty());
    }
}

#[test]
fn i5_who_stands_still_is_killed_too() {
    if !privileged() {
        return;
    }
    for top in tops() {
        let cgroup = TestCgroup::make(&top, "still");
        let below = cgroup.below("below");
        let (one, _said) = start_in(std::slice::from_ref(&cgroup.0), "exec sleep 1000");
        let (other, _said) = start_in(std::slice::from_ref(&below), "exec sleep 1000");
        // For itself, too.
        for path in [below, cgroup.0.clone()] {
            freezer::freeze(&[path]).expect("freeze");
        }
        processes::kill_all([cgroup.0.as_path()]).expect("kill");
        assert_killed(one);
        assert_killed(other);
        assert!(cgroup.is_empty());
    }
}

#[test]
fn i5_frozen_by_version_one_it_is_killed_by_version_two() {
    if !privileged() {
        return;
    }
    let tops = tops();
    if tops.len() < 2 {
        eprintln!("skipped: one version of cgroups is alone");
        return;
    }
    let cgroups: Vec<TestCgroup> = tops
        .iter()
        .map(|top| TestCgroup::make(top, "both"))
        .collect();
    let paths: Vec<PathBuf> = cgroups.iter().map(|one| one.0.clone()).collect();
    let (child, _said) = start_in(&paths, "exec sleep 1000");
    freezer::freeze(&paths).expect("freeze");
    processes::kill_all(paths.iter().map(PathBuf::as_path)).expect("kill");
    assert_killed(child);
}

/// Where a container's cgroup will be, made with a process of somebody else's in it.
fn occupy(container: &Container) -> (TestCgroup, Child) {
    let top = tops().remove(0);
    let found = Hierarchies::detect().expect("detect");
    let base = found.v1.iter().find(|one| one.top == top);
    let base = base.map_or(top, |one| one.base.clone());
    let path = base.join("ucr").join(&container.id);
    std::fs::create_dir_all(&path).expect("mkdir");
    let cgroup = TestCgroup(path);
    let (child, _said) = start_in(std::slice::from_ref(&cgroup.0), "exec sleep 1000");
    (cgroup, child)
}

#[test]
fn i32_a_leftover_with_processes_is_refused_and_they_live() {
    if !privileged() {
        return;
    }
    let container = Container::sh("true");
    let (cgroup, mut stranger) = occupy(&container);
    for _ in 0..2 {
        let output = container.run();
        assert_eq!(output.code, 125);
        for words in [
            cgroup.0.to_str().expect("path"),
            "there already",
            &stranger.id().to_string(),
        ] {
            assert!(output.stderr.contains(words), "{}", output.stderr);
        }
        // The second time that holds for those who stand still.
        freezer::freeze(std::slice::from_ref(&cgroup.0)).expect("freeze");
    }
    assert!(freezer::is_frozen(std::slice::from_ref(&cgroup.0)));
    assert!(stranger.try_wait().expect("wait").is_none());
    assert!(!cgroup.is_empty());
    drop(cgroup);
    assert_killed(stranger);
}

#[test]
fn i32_nothing_is_started_where_it_would_stand_still() {
    if !privileged() {
        return;
    }
    for top in tops() {
        let cgroup = TestCgroup::make(&top, "cold");
        freezer::freeze(std::slice::from_ref(&cgroup.0)).expect("freeze");
        let asked = Path::new("/")
            .join(cgroup.0.strip_prefix(&top).expect("below"))
            .join("one");
        let hierarchies = Hierarchies::detect().expect("detect");
        let id = "cold".parse().expect("id");
        let plan = limits::plan_at(
            &hierarchies,
            &id,
            Some((&asked, Place::Asked)),
            &Limits::default(),
        );
        let plan = plan.expect("plan");
        let mut made = Vec::new();
        let created = group::create(&plan, &[Version::One, Version::Two], &mut made);
        let failures = made::remove(&made);
        assert!(failures.is_empty(), "{failures:?}");
        for group in plan.groups {
            if let Some(parent) = group.path.parent().filter(|path| **path != cgroup.0) {
                made::remove_if_empty(parent);
            }
        }
        assert!(
            matches!(created, Err(group::Error::Frozen(_))),
            "{created:?}"
        );
    }
}

#[test]
fn i32_what_a_dead_container_of_the_same_id_left_is_removed() {
    if !privileged() {
        return;
    }
    let first = Container::sh("echo ready; sleep 1000 & wait");
    let running = first.spawn_until_ready();
    let cgroups = first.cgroups();
    let (brought, _said) = start_in(&cgroups, "exec sleep 1000");
    running.kill("KILL");
    running.wait();
    assert_eq!(first.cgroups(), cgroups);

    let mut second = Container::sh("echo here");
    second.id.clone_from(&first.id);
    second.state_root_of(&first);
    let output = second.run();
    assert_eq!(
        (output.code, output.stdout.as_str()),
        (0, "here\n"),
        "{output:?}"
    );
    assert_killed(brought);
    second.assert_gone();
}

#[test]
fn i32_a_frozen_container_whose_supervisor_was_killed_is_removed() {
    if !privileged() {
        return;
    }
    let first = Container::sh("echo ready; sleep 1000 & wait");
    let running = first.spawn_until_ready();
    let cgroups = first.cgroups();
    freezer::freeze(&cgroups).expect("freeze");
    running.kill("KILL");
    // Whoever runs next comes by, under any id.
    let mut second = Container::sh("true");
    second.state_root_of(&first);
    let output = second.run();
    assert_eq!(output.code, 0, "{output:?}");
    assert_eq!(running.wait().code, -1);
    first.assert_swept();
    second.assert_gone();
}
