//! What tasks say, in the files of their sandboxes.

use super::support::{app, busybox, in_sandbox, launch};

#[test]
fn what_a_task_says_is_kept_in_files_of_a_size() {
    needs_machine!();
    let env = busybox();
    let line = "i=0; while [ $i -lt 3000 ]; do echo \"line $i\"; i=$((i+1)); done";
    let flags = ["--log-max-size", "8k", "--log-max-files", "3"];
    launch(&env, &app(&env, line), &flags).ended("FINISHED", 0);
    let read = |name: &str| std::fs::read(in_sandbox(&env, name)).unwrap();
    assert_eq!(
        (read("stdout.2").len(), read("stdout.1").len()),
        (8192, 8192)
    );
    let kept = [read("stdout.2"), read("stdout.1"), read("stdout")].concat();
    let all: String = (0..3000).map(|i| format!("line {i}\n")).collect();
    assert!(all.as_bytes().ends_with(&kept));
    assert!(!in_sandbox(&env, "stdout.3").exists());
}

#[test]
fn i45_a_hundred_megabytes_are_written_down_byte_for_byte() {
    needs_machine!();
    let env = busybox();
    let line = "dd if=/dev/zero bs=1M count=100 2>/dev/null | tr '\\0' x";
    launch(&env, &app(&env, line), &["--log-max-size", "0"]).ended("FINISHED", 0);
    let bytes = std::fs::read(in_sandbox(&env, "stdout")).unwrap();
    assert_eq!(bytes.len(), 100 << 20);
    assert!(bytes.iter().all(|byte| *byte == b'x'));
    let flags = ["--log-max-size", "64m", "--log-max-files", "4"];
    std::fs::remove_file(in_sandbox(&env, "stdout")).unwrap();
    launch(&env, &app(&env, line), &flags).ended("FINISHED", 0);
    let size = |name| in_sandbox(&env, name).metadata().unwrap().len();
    assert_eq!((size("stdout.1"), size("stdout")), (64 << 20, 36 << 20));
}
