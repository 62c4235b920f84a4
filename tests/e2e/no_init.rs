//! `ucr run --no-init`: the task is the container's first process.

use std::os::fd::OwnedFd;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::env::TestEnv;
use crate::images;
use crate::output::Running;
use crate::screen::Screen;

fn env() -> TestEnv {
    TestEnv::with_image(&images::busybox())
}

#[test]
fn i46_the_task_is_the_first_process_and_reaps_for_itself() {
    needs_machine!();
    let env = env();
    let script = "echo $$; cat /proc/1/comm; exit 7";
    let output = env.run_sh(&["--no-init"], script).ended(7);
    assert_eq!(output.stdout, "1\nsh\n");
    assert_eq!(
        env.run_sh(&["--no-init", "--init"], "echo $$").ok().stdout,
        "2\n"
    );
    // An orphan that has ended is left as it is by a first process that does not wait for it.
    let script = "(sh -c 'until grep -q sleep /proc/1/comm; do :; done' &); exec sleep 1000";
    let running = |flags: &[&str]| {
        let flags = [&["--name", "c"], flags].concat();
        env.start_sh(&flags, &format!("echo ready; {script}"))
    };
    let first = running(&["--no-init"]);
    let zombies = "until grep -q Z /proc/[0-9]*/stat; do :; done; echo one";
    let seen = env.ucr(&["exec", "c", "sh", "-c", zombies]).ok();
    assert_eq!(seen.stdout, "one\n");
    env.ucr(&["kill", "c"]).ok();
    first.finish().ended(137);
}

#[test]
fn i43_its_ends_are_those_of_every_task() {
    needs_machine!();
    let env = env();
    env.run(&["--no-init"], &["no-such-program"])
        .refused(127)
        .said(&["cannot run \"no-such-program\""]);
    env.run(&["--no-init"], &["/proc"]).refused(126);
    env.run_sh(&["--no-init", "--timeout", "1"], "exec sleep 1000")
        .ended(137);
    let script = "trap 'echo asked; exit 4' TERM; echo ready; while :; do sleep 1000 & wait; done";
    let running = env.start_sh(&["--no-init"], script);
    running.signal(Signal::TERM);
    assert_eq!(running.finish().ended(4).stdout, "ready\nasked\n");
    let fill = "x=$(head -c 60000000 /dev/zero | tr '\\0' x); echo ${#x}";
    assert_eq!(env.run_sh(&["--no-init"], fill).ok().stdout, "60000000\n");
    let output = env.run_sh(&["--no-init", "-m", "16m"], fill).ended(137);
    assert_eq!(output.stdout, "", "{output:?}");
}

#[test]
fn i43_a_killed_supervisor_takes_it_along_whoever_it_runs_as() {
    needs_machine!();
    let env = env();
    for flags in [&["--no-init"][..], &["--no-init", "--user", "1000"]] {
        let running = env.start_sh(flags, "echo ready; exec sleep 1000");
        let children = children(running.pid());
        running.signal(Signal::KILL);
        // It has the output open for as long as it lives.
        running.finish().ended(137);
        wait_for_ends(&children);
    }
    env.run(&[], &["true"]).ok();
}

/// Becomes another user, at which the kernel forgets whose end is its own, and says so.
const ANOTHER: &str = "echo 'bob:x:1000:1000::/:/bin/sh' > /etc/passwd; \
                       exec su bob -s /bin/sh -c 'echo ready; exec sleep 1000'";

#[test]
fn i43_a_killed_supervisor_takes_it_along_whoever_it_becomes() {
    needs_machine!();
    let env = env();
    for flags in [&["--no-init"][..], &["--no-init", "--userns", "auto"]] {
        let running = env.start_sh(&[&["--name", "c"], flags].concat(), ANOTHER);
        let children = children(running.pid());
        assert_eq!(children.len(), 2, "the first process, and its guard");
        running.signal(Signal::KILL);
        running.finish().ended(137);
        wait_for_ends(&children);
        // Nobody has its name, its layers or its writable layer any more.
        env.run(&["--name", "c"], &["true"]).ok();
        assert_eq!(env.leftovers(), Vec::<String>::new());
    }
}

#[test]
fn i43_the_files_of_one_that_lives_stay_whatever_becomes_of_its_supervisor() {
    needs_machine!();
    let env = env();
    let running = env.start_sh(&["--no-init", "--name", "c"], ANOTHER);
    let children = children(running.pid());
    let guard = children.last().unwrap();
    // As long as the guard does not come to it, nothing of the container is taken away.
    pidfd_send_signal(guard, Signal::STOP).unwrap();
    running.signal(Signal::KILL);
    env.run(&[], &["true"]).ok();
    env.run(&["--name", "c"], &["true"]).refused(125);
    assert!(!env.leftovers().is_empty());
    pidfd_send_signal(guard, Signal::CONT).unwrap();
    running.finish().ended(137);
    wait_for_ends(&children);
    env.run(&["--name", "c"], &["true"]).ok();
}

#[test]
fn i43_a_killed_exec_takes_its_command_along_whoever_it_becomes() {
    needs_machine!();
    let env = env();
    let running = env.start_sh(&["--name", "c"], "echo ready; exec sleep 1001");
    let mut joined = Running::spawn(&mut env.command(&["exec", "c", "sh", "-c", ANOTHER]));
    joined.until("ready");
    joined.signal(Signal::KILL);
    joined.finish().ended(137);
    env.ucr(&["kill", "c"]).ok();
    running.finish().ended(137);
}

/// What names the children of process `pid`, the oldest first.
fn children(pid: u32) -> Vec<OwnedFd> {
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    let pids = children.split_whitespace().map(|pid| pid.parse().unwrap());
    let open = |pid| pidfd_open(Pid::from_raw(pid).unwrap(), PidfdFlags::empty()).unwrap();
    pids.map(open).collect()
}

fn wait_for_ends(pidfds: &[OwnedFd]) {
    for pidfd in pidfds {
        poll(&mut [PollFd::new(pidfd, PollFlags::IN)], None).unwrap();
    }
}

#[test]
fn i40_it_has_a_terminal_and_others_join_it() {
    needs_machine!();
    let env = env();
    let script = "tty; : < /dev/tty && echo own; read line; exit 3";
    let run = env.run_command(&["--no-init", "-it", "--name", "c"], &["sh", "-c", script]);
    let mut screen = Screen::start(&run);
    screen.until("own");
    let joined = env.ucr(&["exec", "c", "cat", "/proc/1/comm"]).ok();
    assert_eq!(joined.stdout, "sh\n");
    screen.strike("\r");
    let (code, shown) = screen.finish();
    assert_eq!(code, Some(3), "{shown}");
    assert!(shown.starts_with("/dev/pts/0\r\n"), "{shown}");
}
