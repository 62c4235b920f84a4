//! Signals, ends of every kind, and what is left after them.

use std::process::Stdio;

use rustix::process::Signal;

use crate::env::{APP, TestEnv};
use crate::images;
use crate::leftovers;
use crate::output::{Output, Running};

/// Runs until a signal, or its standard input, ends it.
const FOREVER: &str = "echo ready; sleep 1000 & wait";

#[test]
fn i42_signals_reach_the_task() {
    needs_machine!();
    let env = TestEnv::with_image(&images::busybox());
    for (name, signal) in [
        ("TERM", Signal::TERM),
        ("INT", Signal::INT),
        ("HUP", Signal::HUP),
        ("USR1", Signal::USR1),
        ("WINCH", Signal::WINCH),
    ] {
        let script = format!("trap 'echo got {name}; exit 7' {name}; {FOREVER}");
        let running = env.start_sh(&[], &script);
        running.signal(signal);
        let output = running.finish().ended(7);
        assert_eq!(output.stdout, format!("ready\ngot {name}\n"));
    }
}

#[test]
fn i42_a_signal_that_nobody_catches_is_128_and_its_number() {
    needs_machine!();
    let env = TestEnv::with_image(&images::busybox());
    let running = env.start_sh(&[], "echo ready; exec sleep 1000");
    running.signal(Signal::TERM);
    running.finish().ended(143);
}

/// The identity and the cgroups of the one container that runs.
fn running_id(env: &TestEnv) -> String {
    let records = env.containers();
    assert_eq!(records.len(), 1, "{records:?}");
    let id = records[0]["id"].as_str().unwrap().to_owned();
    assert!(!leftovers::cgroups(&id).is_empty(), "no cgroup of {id}");
    assert!(!env.leftovers().is_empty());
    id
}

#[track_caller]
fn assert_gone(env: &TestEnv, id: &str) {
    assert_eq!(env.leftovers(), Vec::<String>::new());
    assert_eq!(leftovers::cgroups(id), Vec::<std::path::PathBuf>::new());
}

#[test]
fn a_start_that_comes_to_nothing_leaves_nothing() {
    needs_machine!();
    let env = TestEnv::with_image(&images::busybox());
    let flags = ["--name", "x", "--userns", "auto"];
    env.ucr(
        &[
            &["run", "--pull", "never"],
            &flags[..],
            &["r.example/no-such:1"],
        ]
        .concat(),
    )
    .refused(125);
    let wrong = [&flags[..], &["--group-add", "none"]].concat();
    env.run(&wrong, &["true"]).refused(125);
    env.run(
        &[&flags[..], &["--sysctl", "kernel.x=1"]].concat(),
        &["true"],
    )
    .refused(125);
    for folder in ["names", "userns"] {
        let left = std::fs::read_dir(env.state().join(folder)).unwrap();
        let left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
        assert!(left.iter().all(|name| name == "lock"), "{left:?}");
    }
}

#[test]
fn a_normal_end_leaves_nothing() {
    needs_machine!();
    let env = TestEnv::with_image(&images::busybox());
    let script = "echo ready; sleep 1000 & (sleep 1000 &) ; read line; exit 4";
    let mut run = env.run_command(&["-i", "-m", "64m", "--name", "x"], &["sh", "-c", script]);
    let mut running = Running::spawn(run.stdin(Stdio::piped()));
    running.until("ready");
    let id = running_id(&env);
    running.close_stdin();
    running.finish().ended(4);
    assert_gone(&env, &id);
}

#[test]
fn c13_a_killed_run_takes_its_task_along_and_the_next_one_the_rest() {
    needs_machine!();
    let env = TestEnv::with_image(&images::busybox());
    let script = format!("dd if=/dev/zero of=/big bs=1024 count=64 2>/dev/null; {FOREVER}");
    let running = env.start_sh(&["-m", "64m", "--name", "x"], &script);
    let id = running_id(&env);
    // The process that was started has become the supervisor.
    let comm = std::fs::read_to_string(format!("/proc/{}/comm", running.pid())).unwrap();
    assert_eq!(comm, "ucr-init\n");

    running.signal(Signal::KILL);
    // It ends when nobody holds the other end of the pipe any more: the task is gone.
    running.finish().ended(137);
    assert!(env.root().join("containers").join(&id).exists());
    env.run(&["--name", "x"], &["true"]).ok();
    assert_gone(&env, &id);
}

#[test]
fn c13_the_name_and_ids_of_a_killed_run_go_with_any_other() {
    needs_machine!();
    let env = TestEnv::with_image(&images::busybox());
    let running = env.start_sh(&["--name", "x", "--userns", "auto"], FOREVER);
    let id = running_id(&env);
    running.signal(Signal::KILL);
    running.finish().ended(137);
    assert!(env.state().join("names/x").exists());
    assert!(env.state().join("userns").join(&id).exists());
    env.run(&[], &["true"]).ok();
    assert_gone(&env, &id);
}

#[test]
fn c13_whatever_looks_at_containers_clears_away_what_a_killed_run_left() {
    needs_machine!();
    let env = TestEnv::with_image(&images::busybox());
    for (command, code) in [
        (&["ps"][..], 0),
        (&["inspect", "x"], 0),
        (&["stop", "x"], 0),
        (&["wait", "x"], 0),
        (&["kill", "x"], 1),
        (&["exec", "x", "true"], 125),
        (&["gc"], 0),
        (&["rmi", "no-such-image"], 1),
        (&["run", "--pull", "never", "r.example/no-such:1"], 125),
    ] {
        let running = env.start_sh(&["--name", "x", "--userns", "auto"], FOREVER);
        let id = running_id(&env);
        running.signal(Signal::KILL);
        running.finish().ended(137);
        env.ucr(command).ended(code);
        assert_gone(&env, &id);
    }
}

#[test]
fn c13_a_killed_run_is_said_to_have_been_killed() {
    needs_machine!();
    let env = TestEnv::with_image(&images::busybox());
    let running = env.start_sh(&["--name", "x"], FOREVER);
    running.signal(Signal::KILL);
    running.finish().ended(137);
    let inspected = env.ucr(&["inspect", "x"]).ok().stdout;
    let facts: serde_json::Value = serde_json::from_str(&inspected).unwrap();
    let state = &facts[0]["State"];
    assert_eq!(state["Running"], false, "{inspected}");
    assert_eq!(state["Status"], "exited", "{inspected}");
    assert_eq!(state["Pid"], 0, "{inspected}");
    assert_eq!(state["ExitCode"], 137, "{inspected}");
    assert_eq!(state["Error"], "its supervisor was killed", "{inspected}");
    assert_eq!(env.ucr(&["wait", "x"]).ok().stdout, "137\n");
}

#[test]
fn c13_one_that_stood_still_when_its_supervisor_was_killed_is_gone_for_whoever_looks() {
    needs_machine!();
    let env = TestEnv::with_image(&images::busybox());
    let run = ["run", "--pull", "never", "--name", "x"];
    let image = env.reference(APP);
    let run = [&run[..], &[image.as_str(), "true"]].concat();
    for (command, code) in [
        (&["stop", "x"][..], 0),
        (&["kill", "x"], 1),
        (&["resume", "x"], 1),
        (&["ps"], 0),
        (&run, 0),
    ] {
        let running = env.start_sh(&["--name", "x"], FOREVER);
        let id = running_id(&env);
        env.ucr(&["pause", "x"]).ok();
        running.signal(Signal::KILL);
        running.wait_for_end();
        let mut again = env.command(command);
        let output = crate::output::Output::of(env.as_user(&mut again)).ended(code);
        assert!(!output.stdout.contains("Up "), "{output:?}");
        running.finish().ended(137);
        assert_gone(&env, &id);
    }
}

#[test]
fn a_container_that_stands_still_is_killed_when_its_time_is_over() {
    needs_machine!();
    let env = TestEnv::with_image(&images::busybox());
    let running = env.start_sh(&["--name", "x", "--timeout", "3"], FOREVER);
    env.ucr(&["pause", "x"]).ok();
    running.finish().ended(137);
    assert_eq!(env.ucr(&["wait", "x"]).ok().stdout, "137\n");
}

#[test]
fn a_start_that_fails_while_it_is_read_leaves_no_lease() {
    needs_machine!();
    let env = TestEnv::with_image(&images::busybox());
    for flags in [["--device", "/no/such"], ["--volumes-from", "nobody"]] {
        env.run(&flags, &["true"]).refused(125);
        assert_eq!(env.leftovers(), Vec::<String>::new(), "{flags:?}");
    }
}

#[test]
fn c13_the_next_pull_cleans_the_store_up_too() {
    needs_machine!();
    let env = TestEnv::with_image(&images::busybox());
    let running = env.start_sh(&[], FOREVER);
    let id = running_id(&env);
    running.signal(Signal::KILL);
    running.finish().ended(137);
    env.pull(APP).ok();
    assert!(!env.root().join("containers").join(&id).exists());
    env.run(&[], &["true"]).ok();
    assert_gone(&env, &id);
}

#[test]
fn a_start_that_fails_leaves_nothing() {
    needs_machine!();
    let env = TestEnv::with_image(&images::busybox());
    for (flags, word, code) in [
        (["-u", "pirate"], "true", 125),
        (["-v", "/no/such/thing:/x"], "true", 125),
        (["-m", "64m"], "/no/such", 127),
        (["--cpus", "1"], "/etc", 126),
    ] {
        env.run(&flags, &[word]).refused(code);
        assert_eq!(env.leftovers(), Vec::<String>::new(), "{flags:?} {word}");
    }
}

#[test]
fn i5_the_death_of_pid_1_is_the_end_of_the_container() {
    needs_machine!();
    let env = TestEnv::with_image(&images::busybox());
    let running = env.start_sh(&[], FOREVER);
    let id = running_id(&env);
    let pid = env.containers()[0]["pid"].as_i64().unwrap();
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    rustix::process::kill_process(pid, Signal::KILL).unwrap();
    let output = running.finish();
    assert!(output.code != 0, "{output:?}");
    assert_gone(&env, &id);
}

#[test]
fn a_container_ends_with_the_terminal_of_its_caller() {
    needs_machine!();
    test_support::need_command!("script");
    let env = TestEnv::with_image(&images::busybox());
    let line = format!(
        r#""$UCR" run -i --pull never {} sh -c 'test -t 0 && echo tty'"#,
        env.reference(APP)
    );
    let mut script = env.shell(r#"exec script -qefc "$1" /dev/null"#, &[&line]);
    let output = Output::of(env.as_user(&mut script)).ok();
    assert!(output.stdout.contains("tty"), "{output:?}");
}
