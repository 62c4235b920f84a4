//! A task with a terminal of its own: `ucr run -it`.

use std::process::Stdio;

use std::os::fd::AsFd as _;

use rustix::process::Signal;
use test_support::LayerBuilder;

use crate::env::TestEnv;
use crate::images;
use crate::output::Output;
use crate::screen::Screen;

fn env() -> TestEnv {
    TestEnv::with_image(&images::busybox())
}

/// `script` in a container, on a terminal.
fn start(env: &TestEnv, flags: &[&str], script: &str) -> Screen {
    Screen::start(&env.run_command(flags, &["sh", "-c", script]))
}

#[test]
fn i40_a_task_has_a_terminal_of_its_own() {
    needs_machine!();
    let env = env();
    let script = "tty; stty size; test -t 0 -a -t 1 -a -t 2 && echo all; echo $TERM; \
                  stat -c %u,%t,%a /dev/pts/0 /dev/console; ls -1 /dev/pts; : < /dev/tty && exit 3";
    let (code, shown) = start(&env, &["-it", "--user", "1000"], script).finish();
    assert_eq!(code, Some(3), "{shown}");
    let lines: Vec<&str> = shown.lines().collect();
    let own = "1000,88,620";
    let wanted = ["/dev/pts/0", "33 77", "all", "xterm", own, own, "0", "ptmx"];
    assert_eq!(lines, wanted);
    let term = start(&env, &["-it", "-e", "TERM=vt100"], "echo $TERM").finish();
    assert_eq!(term.1, "vt100\r\n");
}

#[test]
fn i40_another_size_of_the_callers_terminal_is_the_tasks_too() {
    needs_machine!();
    let env = env();
    let script = "trap 'stty size; exit 4' WINCH; echo ready; sleep 1000 & wait";
    let mut screen = start(&env, &["-it"], script);
    screen.until("ready");
    screen.resize(44, 99);
    let (code, shown) = screen.finish();
    assert_eq!((code, shown.contains("44 99")), (Some(4), true), "{shown}");
}

#[test]
fn i40_keys_and_their_signals_are_the_tasks() {
    needs_machine!();
    let env = env();
    let script = "trap 'echo caught; exit 5' INT; echo ready; read line; echo \"got $line\"; \
                  set -m; sh -c 'echo in front; exec sleep 1000'; sleep 1000 & wait";
    let mut screen = start(&env, &["-it"], script);
    screen.until("ready");
    screen.strike("a word\r");
    screen.until("in front");
    screen.strike("\u{3}");
    let (code, shown) = screen.finish();
    assert_eq!(code, Some(5), "{shown}");
    assert!(!shown.contains("job control"), "{shown}");
    // Shown once, by the task's terminal: the caller's shows nothing by itself.
    assert_eq!(shown.matches("a word").count(), 2, "{shown}");
}

#[test]
fn i40_the_callers_terminal_is_as_it_was_when_the_task_has_ended() {
    needs_machine!();
    let env = env();
    for words in [
        &["sh", "-c", "exit 3"][..],
        &["sh", "-c", "kill -9 $$"],
        &["no-such-program"],
    ] {
        let run = env.run_command(&["-it"], words);
        let mut shell = env.shell("stty > before; \"$@\" || :; stty > after", &[]);
        shell.arg(run.get_program()).args(run.get_args());
        env.as_user(&mut shell);
        let (code, shown) = Screen::start(&shell).finish();
        assert_eq!(code, Some(0), "{shown}");
        let read = |name| std::fs::read_to_string(env.path(name)).unwrap();
        assert_eq!(read("after"), read("before"), "{words:?}");
    }
}

#[test]
fn i40_in_the_background_it_waits_for_its_turn_and_leaves_the_terminal_alone() {
    needs_machine!();
    let env = env();
    let run = env.run_command(
        &["-it"],
        &["sh", "-c", "echo ready; read line; echo got $line"],
    );
    // Its `wait` tells of jobs that stand still.
    let script = "exec bash -c 'stty > before; set -m; \"$@\" & wait $!; \
                  test $? = 150 && echo stopped; stty > after; fg > /dev/null' bash \"$@\"";
    let mut shell = env.shell(script, &[]);
    shell.arg(run.get_program()).args(run.get_args());
    env.as_user(&mut shell);
    let mut screen = Screen::start(&shell);
    screen.until("stopped");
    screen.until("ready");
    screen.strike("keys\r");
    let (code, shown) = screen.finish();
    assert_eq!(
        (code, shown.contains("got keys")),
        (Some(0), true),
        "{shown}"
    );
    let read = |name| std::fs::read_to_string(env.path(name)).unwrap();
    assert_eq!(read("after"), read("before"));
}

#[test]
fn i40_without_a_terminal_there_are_pipes_and_t_alone_shows_one() {
    needs_machine!();
    let env = env();
    let refused = env.run(&["-it"], &["true"]).refused(125);
    refused.said(&["standard input is no terminal: leave out -t"]);
    let output = env.run_sh(&["-t"], "tty; test -t 1; exit 2").ended(2);
    assert_eq!(output.stdout, "/dev/pts/0\r\n");
    let output = env.run_sh(&[], "tty; test -t 1").ended(1);
    assert_eq!(output.stdout, "not a tty\n");
}

#[test]
fn i45_everything_that_is_shown_arrives_up_to_the_last_line() {
    needs_machine!();
    let env = env();
    let output = env.run_sh(&["-t"], "seq 200000").ok();
    let lines: Vec<&str> = output.stdout.split("\r\n").collect();
    assert_eq!((lines.len(), lines[199_999]), (200_001, "200000"));
    // Nobody reads: the task shall not wait for ever, and end as it does.
    let mut run = env.run_command(&["-t"], &["sh", "-c", "seq 200000; exit 6"]);
    let mut child = run.stdout(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(6));
}

#[test]
fn i41_without_t_the_callers_terminal_is_never_the_tasks_own() {
    needs_machine!();
    let env = env();
    // What pushes keys (TIOCSTI) works on one's own controlling terminal alone.
    let script = "test -t 0 && echo input; cut -d' ' -f7 /proc/self/stat; : < /dev/tty";
    let (code, shown) = start(&env, &["-i"], script).finish();
    assert_ne!(code, Some(0), "{shown}");
    assert!(shown.starts_with("input\r\n0\r\n"), "{shown}");
    assert!(shown.contains("/dev/tty"), "{shown}");
}

#[test]
fn i43_a_killed_supervisor_takes_a_task_with_a_terminal_along() {
    needs_machine!();
    let env = env();
    let mut screen = start(&env, &["-it"], "trap '' HUP; echo ready; sleep 1000");
    screen.until("ready");
    let first = env.containers()[0]["pid"].as_i64().unwrap();
    let first = ucr_sys::process::open(first.try_into().unwrap()).unwrap();
    screen.signal(Signal::KILL);
    let (code, _) = screen.finish();
    assert_eq!(code, None);
    // It goes when its supervisor is gone; before that there is nothing to sweep.
    if let Some(first) = first {
        ucr_sys::ready::wait_readable([first.as_fd()]).unwrap();
    }
    let swept = env.run(&[], &["true"]).ok();
    assert_eq!(swept.stdout, "");
}

#[test]
fn s7_links_of_the_image_in_dev_lead_the_terminal_nowhere() {
    needs_machine!();
    let layer = LayerBuilder::new()
        .file("etc/kept", "kept")
        .symlink("dev/console", "/etc/kept")
        .symlink("dev/pts", "/etc")
        .symlink("dev/ptmx", "/etc/kept")
        .build();
    let env = TestEnv::with_image(&images::builder().layer(layer).build());
    let script = "tty; stat -c %t /dev/console; cat /etc/kept; ls /etc/ptmx";
    let (_, shown) = start(&env, &["-it"], script).finish();
    assert!(shown.starts_with("/dev/pts/0\r\n88\r\nkept"), "{shown}");
    assert!(shown.contains("/etc/ptmx: No such file"), "{shown}");
}

#[test]
fn s7_a_terminal_comes_from_a_devpts_or_not_at_all() {
    needs_machine!();
    let env = env();
    let file = env.write("file", "");
    let volume = format!("{}:/dev/pts/ptmx", file.display());
    let output: Output = env.run(&["-t", "-v", &volume], &["true"]).refused(125);
    output.said(&[
        "cannot make a terminal for the task",
        "character device 5:2",
    ]);
}
