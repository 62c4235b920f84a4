//! Volumes: content, read-only, targets that are missing or odd.

use std::os::unix::fs::symlink;

use crate::support::{Container, privileged, write};

#[test]
fn i38_volumes_are_writable_or_not_as_asked() {
    if !privileged() {
        return;
    }
    let mut container = Container::sh(
        "cat /rw/a /ro/a; echo new > /rw/b; { echo no > /ro/c; } 2>&1 | grep -c Read-only; \
         { echo no > /ro/sub/c; } 2>&1 | grep -c Read-only; : > /file/here",
    );
    let data = container.temp.path().join("data");
    write(&data.join("a"), "content\n");
    write(&data.join("sub/x"), "");
    container.bind(&data, "/rw", &["rbind"]);
    container.bind(&data, "/ro", &["rbind", "ro"]);
    let output = container.run();
    assert_eq!(output.stdout, "content\ncontent\n1\n1\n");
    assert_eq!(
        std::fs::read_to_string(data.join("b")).expect("read"),
        "new\n"
    );
    assert!(!data.join("c").exists());
    container.assert_gone();
    assert!(data.join("a").exists(), "a volume outlives the container");
}

#[test]
fn i38_read_only_covers_what_is_mounted_below() {
    if !privileged() {
        return;
    }
    // The host's /dev has mounts below it (/dev/shm, /dev/pts) that must come along read-only.
    let mut container = Container::sh("{ : > /ro/shm/ucr-test; } 2>&1 | grep -c Read-only");
    container.bind(std::path::Path::new("/dev"), "/ro", &["rbind", "ro"]);
    assert_eq!(container.run().stdout, "1\n");
    assert!(!std::path::Path::new("/dev/shm/ucr-test").exists());
}

#[test]
fn a_volume_never_brings_usable_devices() {
    if !privileged() {
        return;
    }
    let mut container =
        Container::sh("cat /volume/null 2>&1; mknod /volume/n c 1 3; cat /volume/n 2>&1");
    let data = container.temp.path().join("data");
    std::fs::create_dir(&data).expect("mkdir");
    let status = std::process::Command::new("mknod")
        .arg(data.join("null"))
        .args(["c", "1", "3"])
        .status()
        .expect("mknod");
    assert!(status.success());
    container.bind(&data, "/volume", &["rbind"]);
    let output = container.run();
    assert_eq!(output.stdout.matches("can't open").count(), 2, "{output:?}");
}

#[test]
fn s23_files_over_links_of_the_image_change_nothing_outside() {
    if !privileged() {
        return;
    }
    let container_with = |link: Option<(&str, &str)>| {
        let mut container = Container::sh("cat /etc/hosts");
        if let Some((path, target)) = link {
            symlink(target, container.layer().join(path)).expect("symlink");
        }
        let hosts = container.temp.path().join("hosts");
        write(&hosts, "127.0.0.1 ours\n");
        container.bind(&hosts, "/etc/hosts", &["bind", "ro"]);
        container
    };
    for link in [
        None,
        Some(("etc/hosts", "/abs/deep/hosts")),
        Some(("etc/hosts", "../../../../x/hosts")),
    ] {
        let container = container_with(link);
        let output = container.run();
        assert_eq!(output.stdout, "127.0.0.1 ours\n", "{link:?} {output:?}");
    }
    assert!(!std::path::Path::new("/abs").exists() && !std::path::Path::new("/x").exists());
}

#[test]
fn s23_an_etc_that_is_a_link_leads_inside() {
    if !privileged() {
        return;
    }
    let mut container = Container::sh("cat /etc/resolv.conf /conf/resolv.conf");
    let etc = container.layer().join("etc");
    std::fs::rename(&etc, container.layer().join("conf")).expect("rename");
    symlink("/../../conf", &etc).expect("symlink");
    let file = container.temp.path().join("resolv");
    write(&file, "ours\n");
    container.bind(&file, "/etc/resolv.conf", &["bind"]);
    assert_eq!(container.run().stdout, "ours\nours\n");
}

#[test]
fn s27_a_volume_over_proc_is_refused_however_it_is_spelled() {
    if !privileged() {
        return;
    }
    for destination in ["/proc", "/proc/sys", "/link", "/link/sys"] {
        let mut container = Container::sh("true");
        symlink("/proc", container.layer().join("link")).expect("symlink");
        let data = container.temp.path().join("data");
        std::fs::create_dir(&data).expect("mkdir");
        container.bind(&data, destination, &["rbind"]);
        let output = container.run();
        assert_eq!(output.code, 125, "{destination}");
        assert!(output.stderr.contains("/proc"), "{}", output.stderr);
    }
}

#[test]
fn a_missing_source_is_named() {
    if !privileged() {
        return;
    }
    let mut container = Container::sh("true");
    container.bind(std::path::Path::new("/no/such/source"), "/data", &["rbind"]);
    let output = container.run();
    assert_eq!(output.code, 125);
    assert!(
        output.stderr.contains("/no/such/source"),
        "{}",
        output.stderr
    );
    container.assert_gone();
}
