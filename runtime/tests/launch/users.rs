//! Users from the image's own files, S12 to S17.

use std::os::unix::fs::symlink;

use crate::support::{Container, Output, privileged, write};

const SHOW: &str = "echo $(id -u) $(id -g) $(id -G) $HOME";

fn run_as(user: &str) -> Output {
    let mut container = Container::sh(SHOW);
    container.user = Some(user.into());
    container.run()
}

#[test]
fn i24_s15_forms_of_user() {
    if !privileged() {
        return;
    }
    for (user, expected) in [
        ("", "0 0 0 /root\n"),
        ("web", "1000 1001 1001 50 51 /srv\n"),
        ("1000", "1000 1001 1001 50 51 /srv\n"),
        ("web:extra", "1000 50 50 /srv\n"),
        ("7:8", "7 8 8 /\n"),
        ("7", "7 0 0 /\n"),
    ] {
        let output = run_as(user);
        assert_eq!(
            (output.stdout.as_str(), output.stderr.as_str()),
            (expected, ""),
            "{user:?}"
        );
    }
}

#[test]
fn s12_s13_users_that_do_not_exist_or_cannot_are_refused() {
    if !privileged() {
        return;
    }
    for user in ["nobody", "web:nobody", "4294967295", "-1", "0x0", "root:"] {
        let output = run_as(user);
        assert_eq!((output.code, output.stdout.as_str()), (125, ""), "{user:?}");
        assert_eq!(output.stderr.lines().count(), 1, "{}", output.stderr);
    }
}

#[test]
fn s17_a_user_who_is_not_root_has_no_capabilities() {
    if !privileged() {
        return;
    }
    let mut container =
        Container::sh("grep -E 'Cap(Inh|Prm|Eff|Amb)' /proc/self/status | tr -d '\\t0'");
    container.user = Some("web".into());
    assert_eq!(
        container.run().stdout,
        "CapInh:\nCapPrm:\nCapEff:\nCapAmb:\n"
    );
}

#[test]
fn s14_accounts_that_lead_into_proc_or_sys_are_not_read() {
    if !privileged() {
        return;
    }
    for target in [
        "/proc/kmsg",
        "/proc/self/status",
        "/sys/kernel/uevent_seqnum",
    ] {
        for user in ["web", "0"] {
            let mut container = Container::sh(SHOW);
            let passwd = container.layer().join("etc/passwd");
            std::fs::remove_file(&passwd).expect("rm");
            symlink(target, passwd).expect("symlink");
            container.user = Some(user.into());
            let output = container.run();
            assert_eq!(output.code, 125, "{target}: {output:?}");
            let words = "\"/etc/passwd\": it leads to a file of the kernel's";
            assert!(output.stderr.contains(words), "{target}: {output:?}");
            container.assert_gone();
        }
    }
}

#[test]
fn a_user_who_is_not_root_can_open_its_standard_pipes() {
    use std::os::unix::fs::MetadataExt;

    if !privileged() {
        return;
    }
    let mut container = Container::sh("echo out > /dev/stdout && echo err > /dev/stderr");
    container.user = Some("web".into());
    // A file of the caller's stays the caller's.
    let file = container.temp.path().join("input");
    write(&file, "");
    let mut command = container.command();
    command.stdin(std::fs::File::open(&file).expect("open"));
    let output = command.output().expect("run");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(
        (&*output.stdout, &*output.stderr),
        (&b"out\n"[..], &b"err\n"[..])
    );
    assert_eq!(std::fs::metadata(&file).expect("stat").uid(), 0);
}

#[test]
fn s14_odd_account_files_are_safe() {
    if !privileged() {
        return;
    }
    let run = |prepare: &dyn Fn(&std::path::Path), user: &str| {
        let mut container = Container::sh(SHOW);
        let passwd = container.layer().join("etc/passwd");
        std::fs::remove_file(&passwd).expect("rm");
        prepare(&passwd);
        container.user = Some(user.into());
        let output = container.run();
        container.assert_gone();
        output
    };
    let command = |program: &'static str, arguments: &'static [&'static str]| {
        move |path: &std::path::Path| {
            let mut command = std::process::Command::new(program);
            command.arg(path).args(arguments);
            assert!(command.status().expect("run").success());
        }
    };
    // Without the file there are no accounts; a number needs none.
    assert_eq!(run(&|_| {}, "5").stdout, "5 0 0 /\n");
    assert_eq!(run(&|_| {}, "web").code, 125);
    // A link leads inside the root: the host's root:x:0:0 is not found there.
    let climb = |path: &std::path::Path| symlink("../../../../etc/shadow", path).expect("symlink");
    assert_eq!(run(&climb, "web").code, 125);
    for (what, output) in [
        ("fifo", run(&command("mkfifo", &[]), "web")),
        ("device", run(&command("mknod", &["c", "1", "5"]), "web")),
        (
            "sparse",
            run(
                &|path| {
                    std::fs::File::create(path)
                        .unwrap()
                        .set_len(1 << 31)
                        .unwrap();
                },
                "web",
            ),
        ),
    ] {
        assert_eq!(output.code, 125, "{what}");
        assert!(
            output.stderr.contains("/etc/passwd"),
            "{what}: {}",
            output.stderr
        );
    }
    let long =
        |path: &std::path::Path| write(path, &format!("{}\nweb:x:9:9::/h:\n", "x".repeat(9 << 20)));
    assert_eq!(run(&long, "web").stdout, "9 9 9 50 51 /h\n");
}
