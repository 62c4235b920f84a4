//! `ucr exec`: another command in a container that runs.

use std::process::Stdio;

use rustix::process::Signal;

use crate::env::TestEnv;
use crate::images;
use crate::output::{Output, Running};
use crate::screen::Screen;

/// Everything that a process has of its container, but for its number and its cgroups' counters.
const FACTS: &str = "for one in /proc/self/ns/*; do readlink $one; done; cat /proc/self/cgroup; \
                     grep -E '^(Cap|NoNew|Seccomp|Uid|Gid|Groups)' /proc/self/status; \
                     cat /proc/self/limits; umask; pwd; env | grep -v '^_=' | sort; \
                     cat /proc/self/oom_score_adj; hostname";

fn env() -> TestEnv {
    TestEnv::with_image(&images::busybox())
}

/// A container named `c` that waits.
fn start(env: &TestEnv, flags: &[&str]) -> Running {
    let script = format!("{{ {FACTS}; }} > /tmp/facts; echo ready; sleep 1000");
    env.start_sh(
        &[&["--name", "c", "--tmpfs", "/tmp"], flags].concat(),
        &script,
    )
}

fn exec(env: &TestEnv, flags: &[&str], script: &str) -> Output {
    let command = ["c", "sh", "-c", script];
    env.ucr(&[&["exec"], flags, &command].concat())
}

/// Ends the container, and makes sure that nothing else was the matter with it.
fn end(env: &TestEnv, running: Running) {
    env.ucr(&["kill", "c"]).ok();
    running.finish().ended(137);
}

#[test]
fn exec_has_everything_that_the_task_has() {
    needs_machine!();
    let env = env();
    for flags in [
        &["-m", "64m", "--pids-limit", "50", "--network", "none"][..],
        &[
            "--user",
            "1000:5",
            "-w",
            "/tmp",
            "-e",
            "A=b c",
            "--hostname",
            "x",
        ],
        &["--security-opt", "seccomp=unconfined", "--read-only"],
        &["--userns", "auto", "-m", "64m"],
    ] {
        let running = start(&env, flags);
        let facts = exec(&env, &[], "cat /tmp/facts").ok().stdout;
        assert!(facts.lines().count() > 30, "{facts}");
        assert_eq!(exec(&env, &[], FACTS).ok().stdout, facts, "{flags:?}");
        end(&env, running);
    }
}

#[test]
fn exec_runs_as_whom_where_and_with_what_it_is_told() {
    needs_machine!();
    let env = env();
    let running = start(&env, &["-e", "A=of the container", "-e", "B=kept"]);
    let file = env.write("variables", "# none\nC=of the file\nA=of the file\n");
    let flags = [
        "-u",
        "1000:7",
        "-w",
        "/proc",
        "-e",
        "A=of the flag",
        "--env-file",
    ];
    let flags = [&flags[..], &[file.to_str().unwrap()]].concat();
    let output = exec(&env, &flags, "id -u; id -g; pwd; echo $A; echo $B; echo $C").ok();
    let wanted = ["1000", "7", "/proc", "of the flag", "kept", "of the file"];
    assert_eq!(output.lines(), wanted);
    exec(&env, &["-u", "nobody-here"], "true")
        .refused(125)
        .said(&["nobody-here"]);
    exec(&env, &["-w", "/no/such"], "true")
        .refused(125)
        .said(&["cannot enter the working directory \"/no/such\""]);
    exec(&env, &["-w", "relative"], "true").refused(125);
    end(&env, running);
}

#[test]
fn exec_ends_as_its_command_does() {
    needs_machine!();
    let env = env();
    let running = start(&env, &[]);
    exec(&env, &[], "exit 7").ended(7);
    exec(&env, &[], "kill -9 $$").ended(137);
    let run = |words: &[&str]| env.ucr(&[&["exec", "c"], words].concat());
    run(&["no-such-program"])
        .refused(127)
        .said(&["cannot run \"no-such-program\"", "not found in PATH"]);
    run(&["/proc"]).refused(126).said(&["it is a directory"]);
    // None of those that did not come to a program is left, not even for a moment.
    let states = exec(&env, &[], "cat /proc/[0-9]*/stat | cut -d' ' -f3").ok();
    assert!(!states.stdout.contains('Z'), "{}", states.stdout);
    assert_eq!(run(&["echo", "-n", "--help"]).ok().stdout, "--help");
    assert_eq!(env.ucr(&["exec", "c"]).code, 125);
    end(&env, running);
}

#[test]
fn exec_passes_streams_and_signals_on() {
    needs_machine!();
    let env = env();
    let running = start(&env, &[]);
    assert_eq!(exec(&env, &[], "cat; echo none").ok().stdout, "none\n");
    // What stays behind would hold the streams open.
    let script = "trap 'echo asked; exit 4' TERM; read line; echo \"got $line\"; \
                  echo talk >&2; sleep 1000 > /dev/null 2>&1 & echo ready; wait";
    let mut command = env.command(&["exec", "-i", "c", "sh", "-c", script]);
    let mut inner = Running::spawn(command.stdin(Stdio::piped()));
    inner.answer("", "a line\n");
    inner.until("ready");
    inner.signal(Signal::TERM);
    let output = inner.finish().ended(4);
    assert!(output.stdout.ends_with("asked\n"), "{output:?}");
    assert_eq!(output.stderr, "talk\n");
    end(&env, running);
}

#[test]
fn exec_has_a_terminal_where_it_is_asked_for() {
    needs_machine!();
    let env = env();
    let running = start(&env, &[]);
    let script = "tty; stty size; echo $TERM; read line; echo \"got $line\"; exit 9";
    let command = env.command(&["exec", "-it", "-u", "1000", "c", "sh", "-c", script]);
    let mut screen = Screen::start(&command);
    screen.until("xterm");
    screen.strike("keys\r");
    let (code, shown) = screen.finish();
    assert_eq!(code, Some(9), "{shown}");
    assert!(shown.starts_with("/dev/pts/0\r\n33 77\r\n"), "{shown}");
    assert!(shown.ends_with("got keys\r\n"), "{shown}");
    exec(&env, &["-it"], "true").refused(125);
    end(&env, running);
}

#[test]
fn exec_goes_on_by_itself_where_nobody_is_to_wait() {
    needs_machine!();
    let env = env();
    let running = start(&env, &[]);
    let script = "trap 'echo asked >/tmp/end' TERM; echo unseen; echo $$ >/tmp/pid; \
                  while :; do sleep 1000 & wait $!; done";
    let output = exec(&env, &["--detach"], script).ok();
    assert_eq!(
        (output.stdout, output.stderr),
        (String::new(), String::new())
    );
    exec(
        &env,
        &[],
        "until test -s /tmp/pid; do :; done; kill -TERM $(cat /tmp/pid)",
    )
    .ok();
    let asked = exec(
        &env,
        &[],
        "until test -s /tmp/end; do :; done; cat /tmp/end",
    )
    .ok();
    assert_eq!(asked.stdout, "asked\n");
    let refused = env.ucr(&["exec", "-d", "c", "/no/such/program"]);
    refused.ended(127).said(&["/no/such/program"]);
    end(&env, running);
    assert_eq!(env.leftovers(), Vec::<String>::new());
}

#[test]
fn exec_into_what_does_not_run_is_refused() {
    needs_machine!();
    let env = env();
    exec(&env, &[], "true")
        .refused(125)
        .said(&["there is no container \"c\""]);
    let running = start(&env, &[]);
    env.ucr(&["pause", "c"]).ok();
    exec(&env, &[], "true")
        .refused(125)
        .said(&["the container is paused", "try: ucr resume c"]);
    env.ucr(&["resume", "c"]).ok();
    exec(&env, &[], "true").ok();
    end(&env, running);
    exec(&env, &[], "true")
        .refused(125)
        .said(&["cannot run a command in the container c: it has ended"]);
}

#[test]
fn i42_a_killed_exec_takes_its_command_along_and_nothing_else() {
    needs_machine!();
    let env = env();
    let running = start(&env, &[]);
    for flags in [&[][..], &["-u", "1000"]] {
        let words = [
            &["exec"],
            flags,
            &["c", "sh", "-c", "echo ready; exec sleep 1000"],
        ]
        .concat();
        let mut inner = Running::spawn(&mut env.command(&words));
        inner.until("ready");
        inner.signal(Signal::KILL);
        // It has the output open for as long as it lives.
        inner.finish().ended(137);
    }
    let left = exec(&env, &[], "ps | grep -c 'sleep [1]000'").ok();
    assert_eq!(left.stdout, "1\n");
    end(&env, running);
}

#[test]
fn i42_the_end_of_the_container_is_the_end_of_what_was_added() {
    needs_machine!();
    let env = env();
    let running = start(&env, &[]);
    let mut inner = env.command(&["exec", "c", "sh", "-c", "echo ready; sleep 1000"]);
    let mut inner = Running::spawn(&mut inner);
    inner.until("ready");
    end(&env, running);
    inner.finish().ended(137);
}

#[test]
fn i29_what_is_added_is_under_the_containers_limits() {
    needs_machine!();
    let env = env();
    let running = start(&env, &["-m", "16m"]);
    let fill = "x=$(head -c 60000000 /dev/zero | tr '\\0' x); echo ${#x}";
    // It runs where there is room, and is killed for memory where there is not.
    assert_eq!(env.run_sh(&[], fill).ok().stdout, "60000000\n");
    let output = exec(&env, &[], fill).ended(137);
    assert_eq!(output.stdout, "", "{output:?}");
    exec(&env, &[], "echo alive").ok();
    end(&env, running);
}

#[test]
fn s1_what_is_added_is_never_seen_half_made() {
    needs_machine!();
    let env = env();
    // Whatever has a number, as fast as can be: its program, and what it has open beyond the
    // standard three. Reading either of ours would need what ptrace(2) needs.
    let watch = "echo ready; while :; do for one in /proc/[0-9]*; do \
                 readlink $one/exe; ls $one/fd; done; done 2>/dev/null >> /tmp/seen";
    let flags = ["--name", "c", "--tmpfs", "/tmp"];
    let running = env.start_sh(&flags, watch);
    for _ in 0..40 {
        exec(&env, &[], "exec sleep 0").ok();
    }
    let seen = exec(&env, &[], "sort -u /tmp/seen").ok().stdout;
    assert!(
        seen.contains("/bin/busybox") && !seen.contains("ucr"),
        "{seen}"
    );
    end(&env, running);
}
