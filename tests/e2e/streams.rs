//! Standard input, output and error, and no other descriptor.

use std::io::{Read, Write};
use std::process::Stdio;

use crate::env::{APP, TestEnv};
use crate::images;
use crate::output::Output;

#[test]
fn i45_ten_megabytes_come_back_byte_for_byte() {
    needs_machine!();
    let env = TestEnv::with_image(&images::busybox());
    let sent = images::noise(10 << 20);
    let mut child = env
        .run_command(&["-i"], &["cat"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let received = std::thread::scope(|scope| {
        scope.spawn(|| {
            stdin.write_all(&sent).unwrap();
            drop(stdin);
        });
        let mut received = Vec::new();
        child
            .stdout
            .take()
            .unwrap()
            .read_to_end(&mut received)
            .unwrap();
        received
    });
    assert!(child.wait().unwrap().success());
    assert_eq!(received.len(), sent.len());
    assert!(received == sent);
}

#[test]
fn i45_output_and_talk_stay_apart() {
    needs_machine!();
    let env = TestEnv::with_image(&images::busybox());
    let output = env.run_sh(&[], "echo data; echo talk >&2").ok();
    assert_eq!(
        (output.stdout.as_str(), output.stderr.as_str()),
        ("data\n", "talk\n")
    );
}

#[test]
fn closed_streams_stop_nothing() {
    needs_machine!();
    let env = TestEnv::with_image(&images::busybox());
    let image = env.reference(APP);
    let run = |closed: &str, script: &str| {
        let line = format!(r#"exec "$UCR" run --pull never "$1" sh -c '{script}' {closed}"#);
        Output::of(env.as_user(&mut env.shell(&line, &[&image])))
    };
    assert_eq!(run("<&-", "cat; echo fine").ok().stdout, "fine\n");
    assert_eq!(run("</dev/null", "cat; echo fine").ok().stdout, "fine\n");
    run(">&-", "true").ok();
    assert_eq!(run("2>&-", "echo fine").ok().stdout, "fine\n");
    run("<&- >&- 2>&-", "exit 9").ended(9);
    // A reader that has gone is the task's business.
    let line = r#"{ "$UCR" run --pull never "$1" yes || echo $? >code; } | head -n 1"#;
    let output = Output::of(env.as_user(&mut env.shell(line, &[&image]))).ok();
    assert_eq!(output.stdout, "y\n");
    let code = std::fs::read_to_string(env.path("code")).unwrap();
    assert!(["141\n", "1\n"].contains(&code.as_str()), "{code}");
}

#[test]
fn i1_s3_no_descriptor_of_the_caller_reaches_task_pid_1_or_supervisor() {
    needs_machine!();
    let env = TestEnv::with_image(&images::busybox());
    let marker = env.write("marker", "of the caller");
    let image = env.reference(APP);
    let script = r#"
        for number in 3 4 5 6 7 8 9; do eval "exec $number<marker"; done
        exec "$UCR" run -i --pull never "$1" sh -c \
            'echo 0 1 2 3; (cd /proc/self/fd && echo *); echo ready; read line'"#;
    let mut shell = env.shell(script, &[&image]);
    let mut running = crate::output::Running::spawn(env.as_user(&mut shell).stdin(Stdio::piped()));
    running.until("ready");
    let record = &env.containers()[0];
    for pid in [u64::from(running.pid()), record["pid"].as_u64().unwrap()] {
        for link in std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap() {
            let target = std::fs::read_link(link.unwrap().path()).unwrap();
            assert_ne!(target, marker, "in process {pid}");
        }
    }
    running.close_stdin();
    let output = running.finish();
    // The fourth is the directory that the shell itself reads.
    assert_eq!(output.lines()[0], output.lines()[1], "{output:?}");
}

/// As docker and podman: a loop that reads a list is not drained by what it starts.
#[test]
fn standard_input_is_passed_on_only_with_interactive() {
    needs_machine!();
    let env = TestEnv::with_image(&images::busybox());
    let loop_of_runs = r#"printf 'a\nb\n' | while read x; do "$UCR" run $2 --pull never "$1" cat; echo "$x"; done"#;
    let image = env.reference(APP);
    let run = |flag| Output::of(env.as_user(&mut env.shell(loop_of_runs, &[&image, flag]))).ok();
    assert_eq!(run("--rm").stdout, "a\nb\n");
    assert_eq!(run("-i").stdout, "b\na\n");
}
