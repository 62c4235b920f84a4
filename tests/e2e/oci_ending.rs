//! `ucr oci`: the certain end of all processes, also of those that nobody else would end.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::{Value, json};

use crate::leftovers;
use crate::oci_bundle::{Bundle, needs_containers};

fn fifo(path: &Path) {
    mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
}

/// A container in the host's pid namespace: its processes end with nobody.
///
/// Each makes the next and ends, all with the writing end of `life` open.
fn chains() -> Bundle {
    let chain = "#!/bin/sh\n/bin/chain &\n";
    let script = "exec >/life; echo up; /bin/chain & /bin/chain & exec sleep 1000";
    let bundle = Bundle::sh(script).namespace("pid", Value::Null);
    let path = bundle.path("rootfs/bin/chain");
    std::io::Write::write_all(&mut File::create(&path).unwrap(), chain.as_bytes()).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&path, mode).unwrap();
    fifo(&bundle.path("rootfs/life"));
    bundle
}

/// Lets the program run, and returns what its processes have open until the last has ended.
fn start(bundle: &Bundle) -> BufReader<File> {
    bundle.create(&[]).ok();
    let fifo = bundle.path("rootfs/life");
    // The task's opening waits for ours, and ours for the task's: beside the `start`.
    let opened = std::thread::spawn(move || File::open(fifo).unwrap());
    bundle.verb(&["start", &bundle.id]).ok();
    let mut life = BufReader::new(opened.join().unwrap());
    let mut line = String::new();
    life.read_line(&mut line).unwrap();
    assert_eq!(line, "up\n");
    life
}

#[test]
fn i5_kill_all_ends_every_process_without_a_pid_namespace() {
    needs_containers!();
    let bundle = chains();
    let mut life = start(&bundle);
    bundle.verb(&["kill", "--all", &bundle.id, "KILL"]).ok();
    // The end of the file: nobody has the other end any more.
    life.read_to_string(&mut String::new()).unwrap();
    bundle.wait();
    bundle.verb(&["delete", &bundle.id]).ok();
}

#[test]
fn i5_kill_all_ends_who_is_paused() {
    needs_containers!();
    let bundle = chains();
    let mut life = start(&bundle);
    bundle.verb(&["pause", &bundle.id]).ok();
    bundle.verb(&["kill", "--all", &bundle.id, "KILL"]).ok();
    life.read_to_string(&mut String::new()).unwrap();
    bundle.wait();
    assert_eq!(bundle.status(), "stopped");
}

#[test]
fn i5_delete_ends_who_outlived_the_first_process() {
    needs_containers!();
    let bundle = chains();
    let mut life = start(&bundle);
    bundle.verb(&["kill", &bundle.id, "KILL"]).ok();
    bundle.wait();
    bundle.verb(&["delete", &bundle.id]).ok();
    life.read_to_string(&mut String::new()).unwrap();
}

#[test]
fn i32_what_a_killed_create_left_is_removed_by_a_forced_delete() {
    needs_containers!();
    let mut bundle = Bundle::new(&["true"]);
    // A hook, after the cgroups are made and the first process is there, that says so and waits.
    let (up, go) = (bundle.path("up"), bundle.path("go"));
    fifo(&up);
    fifo(&go);
    let script = format!("echo >{}; read line <{}", up.display(), go.display());
    bundle.config["hooks"] =
        json!({"createRuntime": [{"path": "/bin/sh", "args": ["sh", "-c", script]}]});
    bundle.save();
    let mut create = bundle.command(&["create", "--bundle", &bundle.shown(""), &bundle.id]);
    let null = || Stdio::null();
    let create = create.stdin(null()).stdout(null()).stderr(null());
    let mut create = create.spawn().unwrap();
    File::open(&up)
        .unwrap()
        .read_to_end(&mut Vec::new())
        .unwrap();
    assert!(!leftovers::cgroups(&bundle.id).is_empty());
    create.kill().unwrap();
    assert_eq!(create.wait().unwrap().signal(), Some(9));
    drop(File::options().write(true).open(&go).unwrap());

    bundle.verb(&["delete", "--force", &bundle.id]).ok();
    assert_eq!(leftovers::cgroups(&bundle.id), Vec::<PathBuf>::new());
    bundle.config.as_object_mut().unwrap().remove("hooks");
    bundle.run(&[]).ok();
}

#[test]
fn i32_a_cgroup_with_processes_is_not_joined_and_they_live() {
    needs_containers!();
    let mut bundle = Bundle::new(&["true"]);
    let place = format!("/ucr-asked-{}", bundle.id);
    bundle.config["linux"]["cgroupsPath"] = json!(place);
    let hierarchies = ucr_runtime::cgroup::detect::Hierarchies::detect().unwrap();
    let top = match hierarchies.v1.into_iter().next() {
        Some(hierarchy) => hierarchy.top,
        None => hierarchies.v2.unwrap().base,
    };
    let cgroup = top.join(place.trim_start_matches('/'));
    std::fs::create_dir(&cgroup).unwrap();
    let enter = format!(
        "echo $$ >{}/cgroup.procs; echo up; exec sleep 1000",
        cgroup.display()
    );
    let mut stranger = std::process::Command::new("sh");
    let stranger = stranger.args(["-c", &enter]).stdout(Stdio::piped());
    let mut stranger = stranger.spawn().unwrap();
    let mut line = String::new();
    let said = stranger.stdout.take().unwrap();
    BufReader::new(said).read_line(&mut line).unwrap();

    let refused = bundle.create(&[]).refused(1);
    refused.said(&[
        cgroup.to_str().unwrap(),
        "there already",
        &stranger.id().to_string(),
    ]);
    assert!(stranger.try_wait().unwrap().is_none());
    stranger.kill().unwrap();
    stranger.wait().unwrap();
    ucr_runtime::cgroup::made::remove_with_children(&cgroup).unwrap();
    drop(bundle);
    // The other hierarchies have none of it left either.
    let shown = place.trim_start_matches('/');
    assert_eq!(leftovers::cgroups(shown), Vec::<PathBuf>::new());
}

#[test]
fn a_cgroup_that_another_container_will_remove_is_refused() {
    needs_containers!();
    let mut first = Bundle::new(&["true"]);
    let place = format!("/ucr-shared-{}", first.id);
    first.config["linux"]["cgroupsPath"] = json!(place);
    first.create(&[]).ok();
    first.verb(&["start", &first.id]).ok();
    first.wait();

    first.save();
    let (second, directory) = (format!("{}-second", first.id), first.shown(""));
    let refused = first.verb(&["create", "--bundle", &directory, &second]);
    refused.refused(1).said(&[&place, &first.id]);
    assert_eq!(first.status(), "stopped");
    first.verb(&["delete", &first.id]).ok();
    let shown = place.trim_start_matches('/');
    assert_eq!(leftovers::cgroups(shown), Vec::<PathBuf>::new());
}
