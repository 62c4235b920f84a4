//! `ucr run --cgroup-parent`.

use crate::env::TestEnv;
use crate::images;
use crate::leftovers;

#[test]
fn i29_a_container_is_made_in_the_cgroup_that_is_named() {
    needs_machine!();
    let env = TestEnv::with_image(&images::busybox());
    let name = format!("e2e-{}", std::process::id());
    let inner = format!("{name}/inner");
    let flags = ["-m", "64m", "--cgroup-parent", &inner];
    let running = env.start_sh(&flags, "echo ready; sleep 1000 & wait");
    let id = env.containers()[0]["id"].as_str().unwrap().to_owned();
    let cgroups = leftovers::cgroups(&id);
    let place = format!("ucr/{inner}/{id}");
    assert!(!cgroups.is_empty());
    assert!(
        cgroups.iter().all(|path| path.ends_with(&place)),
        "{cgroups:?}"
    );
    running.signal(rustix::process::Signal::KILL);
    running.finish();
    // Left by a supervisor that was killed, removed by whoever comes next.
    env.run(&[], &["true"]).ok();
    assert!(leftovers::cgroups(&id).is_empty());
    assert!(leftovers::cgroups(&name).is_empty());
}

#[test]
fn a_cgroup_parent_that_climbs_is_refused_by_name() {
    needs_machine!();
    let env = TestEnv::with_image(&images::busybox());
    for parent in ["..", "/a/../..", ""] {
        let output = env.run(&["--cgroup-parent", parent], &["true"]);
        output.ended(125).said(&["cgroup-parent"]);
    }
}
