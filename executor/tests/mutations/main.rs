//! Tasks and settings, mutated by chance that is the same in each run.
//!
//! The quick brother of the fuzz targets, which need a build of their own; both check the same
//! [`laws`] and begin with the same seeds.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot be set up has failed"
)]

pub mod laws;

use test_support::mutations::{check, check_chance, seeds};

/// What the beginnings of interesting inputs are made of.
const TOKENS: [&[u8]; 34] = [
    b"\"id\":\"/a/../b\",",
    b"\"task_id\":{\"value\":\"..\"},",
    b"\"taskId\":",
    b"\"containers\":[",
    b"\"container\":{\"type\":\"MESOS\",",
    b"\"docker\":{\"image\":\"a\"}",
    b"\"portMappings\":[{\"containerPort\":0}]",
    b"\"networks\":[{\"name\":\"a\"}],",
    b"\"healthChecks\":[{\"portIndex\":1}],",
    b"\"hostPath\":\"../../x\"",
    b"\"containerPath\":\"/..\"",
    b"\"secret\":",
    b"\"resourceLimits\":{\"cpus\":\"unlimited\"},",
    b"\"cmd\":\"\",",
    b"\"args\":[],",
    b"null",
    b"true",
    b"-1",
    b"1e308",
    b"0.0000000001",
    b"65536",
    b"18446744073709551616",
    b"\"Infinity\"",
    b"\"NaN\"",
    b"\\u0000",
    b"\\u001b[2J",
    b"\xff",
    b"[[[[[[[[[[[[[[[[",
    b"{\"a\":{\"a\":{\"a\":",
    b"\"apps\":[",
    b"MESOS_RESOURCES=ports(*):[1-",
    b"MESOS_EXECUTOR_REGISTRATION_TIMEOUT=1e99weeks\n",
    b"MESOS_CONTAINERIZERS=",
    b"\\\n",
];

#[test]
fn mutated_tasks_are_refused_or_can_be_relied_on() {
    check(laws::task, &seeds("task"), &TOKENS, 20_000);
}

#[test]
fn mutated_settings_are_refused_or_can_be_relied_on() {
    check(laws::agent, &seeds("agent"), &TOKENS, 20_000);
}

#[test]
fn any_bytes_are_no_task() {
    check_chance(laws::task, 64, 2_000);
    check_chance(laws::agent, 64, 2_000);
}

/// A task that ends anywhere is none.
#[test]
fn truncated_tasks_are_refused() {
    for seed in seeds("task") {
        let text = seed.trim_ascii_end();
        for end in 0..text.len() {
            laws::task(&text[..end]);
            assert!(ucr_executor::read(&text[..end]).is_err());
        }
    }
}

#[test]
fn deep_nesting_ends_in_an_error_and_not_in_the_stack() {
    for (open, close) in [
        ("[", "]"),
        ("{\"a\":", "}"),
        ("{\"apps\":", "}"),
        ("{\"apps\":[", "]}"),
    ] {
        for depth in [100, 1_000, 100_000] {
            let text = format!("{}1{}", open.repeat(depth), close.repeat(depth));
            laws::task(text.as_bytes());
            assert!(ucr_executor::read(text.as_bytes()).is_err());
        }
    }
}
