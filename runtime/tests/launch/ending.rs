//! Exit codes, signals, and what is left when a container ends in any way.

use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;

use crate::support::{Container, privileged, script, write};

#[test]
fn the_exit_code_is_the_tasks_own() {
    if !privileged() {
        return;
    }
    for code in [0, 3, 255] {
        let container = Container::sh(&format!("exit {code}"));
        let output = container.run();
        assert_eq!((output.code, output.stderr.as_str()), (code, ""));
        container.assert_gone();
    }
}

#[test]
fn a_signal_is_128_and_its_number() {
    if !privileged() {
        return;
    }
    assert_eq!(Container::sh("kill -TERM $$").run().code, 143);
    assert_eq!(Container::sh("kill -KILL $$").run().code, 137);
}

#[test]
fn i44_what_cannot_be_executed_is_explained() {
    if !privileged() {
        return;
    }
    let run = |program: &str| {
        let container = Container::new(&[program]);
        let layer = container.layer();
        write(&layer.join("bin/plain"), "text");
        script(&layer.join("bin/orphan"), "#!/no/such/interpreter -x\n");
        script(&layer.join("bin/garbage"), "\u{1}\u{2}");
        let output = container.run();
        container.assert_gone();
        (output.code, output.stderr)
    };
    for (program, code, words) in [
        ("missing", 127, "not found in PATH"),
        ("/bin/missing", 127, "no such file"),
        ("/etc", 126, "it is a directory"),
        ("/bin/plain", 126, "not executable"),
        (
            "/bin/orphan",
            126,
            "its interpreter is missing: /no/such/interpreter",
        ),
        (
            "/bin/garbage",
            126,
            "not a program that this machine can run",
        ),
    ] {
        let (found, stderr) = run(program);
        assert_eq!(found, code, "{program}: {stderr}");
        assert!(
            stderr.contains(words) && stderr.contains(program),
            "{program}: {stderr}"
        );
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
    }
}

#[test]
fn i44_a_program_of_a_very_long_name_is_explained() {
    if !privileged() {
        return;
    }
    for prefix in ["", "/"] {
        let name = format!("{prefix}{}", "x".repeat(100_000));
        let output = Container::new(&[&name]).run();
        assert_eq!(output.code, 126, "{}", output.stderr.len());
        assert!(output.stderr.contains("File name too long"));
    }
}

#[test]
fn i44_a_working_directory_that_is_a_file_is_named() {
    if !privileged() {
        return;
    }
    let mut container = Container::sh("true");
    container.directory("/bin/sh");
    let output = container.run();
    assert_eq!(output.code, 125);
    let words = "the working directory \"/bin/sh\": it is not a directory";
    assert!(output.stderr.contains(words), "{}", output.stderr);
}

#[test]
fn i42_signals_reach_the_task() {
    if !privileged() {
        return;
    }
    for signal in ["TERM", "INT", "HUP", "QUIT", "USR1", "USR2", "WINCH"] {
        let script = format!(
            "trap 'echo got; exit 7' {signal}; echo ready; while :; do read x < /dev/zero & wait; done"
        );
        // `wait` returns when a trapped signal arrives; the reader never ends by itself.
        let script = script.replace("read x < /dev/zero &", "sleep 1000 &");
        let container = Container::sh(&script);
        let running = container.spawn_until_ready();
        running.kill(signal);
        let output = running.wait();
        assert_eq!(
            (output.code, output.stdout.as_str()),
            (7, "got\n"),
            "{signal}"
        );
        container.assert_gone();
    }
}

#[test]
fn a_caller_that_ignores_the_end_of_children_does_not_hang_us() {
    if !privileged() {
        return;
    }
    let container = Container::sh("exit 3");
    let status = container.command_ignoring("CHLD").status().expect("run");
    assert_eq!(status.code(), Some(3));
    container.assert_gone();
}

#[test]
fn i42_a_signal_that_the_caller_ignores_does_not_reach_the_task() {
    if !privileged() {
        return;
    }
    let container = Container::sh(
        "trap 'exit 7' HUP INT QUIT; trap 'exit 8' TERM; echo ready; sleep 1000 & wait",
    );
    let running = Container::until_ready(container.command_ignoring("HUP INT QUIT"));
    for signal in ["HUP", "INT", "QUIT", "TERM"] {
        running.kill(signal);
    }
    assert_eq!(running.wait().code, 8);
    container.assert_gone();
}

#[test]
fn i42_a_signal_before_the_task_is_not_lost() {
    if !privileged() {
        return;
    }
    // The launcher is stopped by its parent's death no more than by this: TERM is
    // pending before ucr-init runs, as the shell that execs it blocks nothing but
    // sends it to itself only after the launcher has blocked all signals.
    let container = Container::sh("exec sleep 1000");
    let mut child = container.command().spawn().expect("spawn");
    let state = container.state_root();
    // Its state directory is made long before its task: an event, not a time.
    while !state.join("containers").join(&container.id).exists() {
        std::thread::yield_now();
    }
    let pid = child.id().to_string();
    std::process::Command::new("kill")
        .args(["-TERM", &pid])
        .status()
        .expect("kill");
    assert_eq!(child.wait().expect("wait").code(), Some(143));
    container.assert_gone();
}

#[test]
fn what_the_task_leaves_running_ends_with_it() {
    if !privileged() {
        return;
    }
    let container = Container::sh("sleep 1000 & (sleep 1000 &) ; exit 4");
    assert_eq!(container.run().code, 4);
    container.assert_gone();
}

#[test]
fn i46_orphans_are_reaped() {
    if !privileged() {
        return;
    }
    let script = "for i in 1 2 3; do (true &) ; done; \
        while ps | grep -q '\\[true\\]'; do :; done; echo clean";
    assert_eq!(Container::sh(script).run().stdout, "clean\n");
}

#[test]
fn no_zombie_stays_below_the_supervisor() {
    if !privileged() {
        return;
    }
    let container = Container::sh("trap 'exit 0' TERM; echo ready; sleep 1000 & wait");
    let running = container.spawn_until_ready();
    let pid = running.child.id();
    let children = format!("/proc/{pid}/task/{pid}/children");
    // The helper ends in milliseconds, and its SIGCHLD wakes the supervisor.
    loop {
        let numbers = std::fs::read_to_string(&children).expect("children");
        let alive = numbers
            .split_whitespace()
            .map(|pid| pid.parse().expect("pid"));
        let alive = alive.filter_map(|pid| ucr_sys::process::open(pid).expect("open"));
        let alive: Vec<_> = alive.collect();
        match alive.as_slice() {
            [] | [_] => break,
            [one, other, ..] => {
                ucr_sys::ready::wait_readable([one.as_fd(), other.as_fd()]).expect("poll");
            }
        }
    }
    running.kill("TERM");
    assert_eq!(running.wait().code, 0);
}

#[test]
fn c13_a_killed_supervisor_takes_the_tree_along_and_a_sweep_the_rest() {
    if !privileged() {
        return;
    }
    let mut container = Container::sh("sleep 1000 & echo ready; wait");
    let lease = container.temp.path().join("lease");
    write(&lease, "");
    container.held.push(lease.clone());
    let extra = container.temp.path().join("extra");
    write(&extra.join("deep/file"), "x");
    container.remove_at_exit.push(extra.clone());
    let mut running = container.spawn_until_ready();
    let task = ucr_runtime::state::list(&container.state_root()).expect("list")[0]
        .pid
        .unwrap();
    let pidfd = ucr_sys::process::open(task).expect("open").expect("alive");

    // Alive: untouched by a sweep, and the caller's lock is held.
    let swept = ucr_runtime::state::sweep(&container.state_root());
    assert!(
        swept.removed.is_empty() && swept.failures.is_empty(),
        "{swept:?}"
    );
    let lock = File::open(&lease).expect("open");
    assert!(!ucr_sys::try_lock_file(lock.as_fd(), ucr_sys::LockMode::Exclusive).expect("flock"));

    running.kill("KILL");
    running.child.wait().expect("wait");
    ucr_sys::ready::wait_readable([pidfd.as_fd()]).expect("poll");
    // Held by pid 1 too, so free once that is gone.
    ucr_sys::lock_file(lock.as_fd(), ucr_sys::LockMode::Exclusive).expect("flock");
    let swept = ucr_runtime::state::sweep(&container.state_root());
    assert!(swept.failures.is_empty(), "{swept:?}");
    assert_eq!(swept.removed, [container.id.clone()]);
    // These are the caller's to remove, who has locks for them.
    assert!(extra.exists() && container.work_dir().exists());
    container.assert_swept();
}

#[test]
fn the_next_container_sweeps_for_a_killed_one() {
    if !privileged() {
        return;
    }
    let dead = Container::sh("echo ready; sleep 1000");
    let mut running = dead.spawn_until_ready();
    let task = ucr_runtime::state::list(&dead.state_root()).expect("list")[0]
        .pid
        .unwrap();
    let pidfd = ucr_sys::process::open(task).expect("open").expect("alive");
    running.kill("KILL");
    running.child.wait().expect("wait");
    ucr_sys::ready::wait_readable([pidfd.as_fd()]).expect("poll");

    let mut next = Container::sh("echo hello");
    next.state_root_of(&dead);
    assert_eq!(next.run().code, 0);
    dead.assert_swept();
}

#[test]
fn i49_a_second_container_of_one_id_is_refused_and_harms_nothing() {
    if !privileged() {
        return;
    }
    let first = Container::sh("trap 'exit 9' TERM; echo ready; sleep 1000 & wait");
    let running = first.spawn_until_ready();
    let mut second = Container::sh("true");
    second.id.clone_from(&first.id);
    second.state_root_of(&first);
    let output = second.run();
    assert_eq!(output.code, 125);
    assert!(output.stderr.contains("already"), "{}", output.stderr);
    assert!(first.work_dir().exists() && !first.cgroups().is_empty());
    running.kill("TERM");
    assert_eq!(running.wait().code, 9);
    first.assert_gone();
}

#[test]
fn i6_the_hosts_mounts_and_cgroups_are_as_before() {
    if !privileged() {
        return;
    }
    let mounts = || std::fs::read_to_string("/proc/self/mountinfo").expect("mountinfo");
    let before = mounts();
    let container = Container::sh("mkdir /x; : > /x/y");
    assert_eq!(container.run().code, 0);
    assert_eq!(mounts(), before);
    container.assert_gone();
    assert!(!Path::new("/x").exists());
}

#[test]
fn a_plan_of_another_build_is_refused_in_one_line() {
    if !privileged() {
        return;
    }
    let output = std::process::Command::new(crate::support::launcher())
        .args(["0"])
        .env_clear()
        .output()
        .expect("run");
    assert_eq!(output.status.code(), Some(125));
}
