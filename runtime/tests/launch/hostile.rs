//! Images that aim at the host, S4, S6, S9 and S22.

use std::os::unix::fs::symlink;
use std::path::Path;

use crate::support::{Container, privileged, write};

/// A file outside the container that nothing may touch.
struct Sentinel {
    directory: tempfile::TempDir,
}

impl Sentinel {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("tempdir");
        write(&directory.path().join("file"), "untouched");
        Self { directory }
    }

    fn assert_untouched(&self) {
        let names: Vec<_> = std::fs::read_dir(self.directory.path())
            .expect("list")
            .collect();
        assert_eq!(names.len(), 1, "{names:?}");
        let file = self.directory.path().join("file");
        assert_eq!(std::fs::read_to_string(file).expect("read"), "untouched");
    }

    /// Links that lead out of a root to this directory, if one lets them.
    fn links(&self) -> [String; 3] {
        let path = self.directory.path().display();
        [
            format!("{path}"),
            format!("../../../../../../../..{path}"),
            "/".into(),
        ]
    }
}

fn replace(container: &Container, name: &str, target: &str) {
    let path = container.layer().join(name);
    drop(std::fs::remove_dir(&path));
    symlink(target, path).expect("symlink");
}

#[test]
fn s4_s9_proc_sys_or_dev_as_a_link_is_refused() {
    if !privileged() {
        return;
    }
    let sentinel = Sentinel::new();
    for name in ["proc", "sys", "dev"] {
        for target in sentinel.links() {
            let container = Container::sh("true");
            replace(&container, name, &target);
            let output = container.run();
            assert_eq!(output.code, 125, "{name} -> {target}: {output:?}");
            let words = format!("cannot mount \"/{name}\"");
            assert!(
                output.stderr.contains(&words) && output.stderr.contains("symbolic link"),
                "{output:?}"
            );
            container.assert_gone();
            sentinel.assert_untouched();
        }
    }
}

#[test]
fn s9_links_below_dev_are_covered_by_ours() {
    if !privileged() {
        return;
    }
    let sentinel = Sentinel::new();
    let container = Container::sh("ls /dev/pts /dev/shm; echo fine");
    let dev = container.layer().join("dev");
    symlink("/", dev.join("pts")).expect("symlink");
    symlink(sentinel.directory.path(), dev.join("shm")).expect("symlink");
    let output = container.run();
    assert!(
        output.stdout.ends_with("fine\n") && output.code == 0,
        "{output:?}"
    );
    sentinel.assert_untouched();
}

#[test]
fn s6_masks_use_the_hosts_null_not_the_images() {
    if !privileged() {
        return;
    }
    let container = Container::sh(
        "cat /proc/keys | wc -c; stat -c %t:%T /dev/null; { echo x > /proc/sys/kernel/core_pattern; } 2>&1",
    );
    let pattern = || std::fs::read_to_string("/proc/sys/kernel/core_pattern").expect("read");
    let before = pattern();
    symlink(
        "/proc/sys/kernel/core_pattern",
        container.layer().join("dev/null"),
    )
    .expect("symlink");
    let output = container.run();
    assert!(output.stdout.starts_with("0\n1:3\n"), "{output:?}");
    assert!(output.stdout.contains("Read-only"), "{output:?}");
    assert_eq!(pattern(), before);
}

#[test]
fn s22_a_working_directory_through_links_is_made_inside() {
    if !privileged() {
        return;
    }
    let sentinel = Sentinel::new();
    for target in sentinel.links() {
        let mut container = Container::sh("pwd");
        replace(&container, "l", &target);
        container.directory("/l/a/b");
        let output = container.run();
        assert_eq!(output.code, 0, "{target}: {output:?}");
        assert!(output.stdout.ends_with("/a/b\n"), "{output:?}");
        sentinel.assert_untouched();
        container.assert_gone();
    }
    assert!(!Path::new("/a").exists());
}

#[test]
fn s24_links_left_by_the_task_are_not_followed_by_the_clean_up() {
    if !privileged() {
        return;
    }
    let sentinel = Sentinel::new();
    let path = sentinel.directory.path().display().to_string();
    let container = Container::sh(&format!(
        "ln -s {path} /a; rmdir /root; ln -s {path} /root; mkdir -p /d/e"
    ));
    assert_eq!(container.run().code, 0);
    container.assert_gone();
    sentinel.assert_untouched();
}

#[test]
fn s11_a_megabyte_of_environment_arrives_intact() {
    if !privileged() {
        return;
    }
    let mut container = Container::sh("env | wc -c");
    let entries: Vec<String> = (0..20)
        .map(|number| format!("V{number}={}", "x".repeat(60_000)))
        .collect();
    let mut entries: Vec<&str> = entries.iter().map(String::as_str).collect();
    entries.push("PATH=/bin");
    container.environment(&entries);
    let count: usize = container.run().stdout.trim().parse().expect("count");
    assert!(count > 1_200_000, "{count}");
}
