//! `ucr oci exec`: another process in a container that was handed over.

use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::net::UnixListener;

use serde_json::{Value, json};

use crate::oci_bundle::{Bundle, needs_containers};
use crate::output::Output;

/// A container that runs until it is deleted.
fn started(mut bundle: Bundle) -> Bundle {
    bundle.config["process"]["args"] = json!(["/bin/sleep", "1000"]);
    bundle.create(&[]).ok();
    bundle.verb(&["start", &bundle.id]).ok();
    bundle
}

fn exec(bundle: &Bundle, flags: &[&str], script: &str) -> Output {
    let words = [&["exec"], flags, &[&bundle.id, "sh", "-c", script]].concat();
    bundle.verb(&words)
}

/// A file with the process of the container, changed.
fn process_file(bundle: &Bundle, script: &str, change: impl FnOnce(&mut Value)) -> String {
    let mut process = bundle.config["process"].clone();
    process["args"] = json!(["/bin/sh", "-c", script]);
    change(&mut process);
    let path = bundle.path("process.json");
    serde_json::to_writer(File::create(&path).unwrap(), &process).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn exec_has_what_the_containers_process_has() {
    needs_containers!();
    let mut bundle = Bundle::sh("");
    bundle.config["process"]["rlimits"] =
        json!([{"type": "RLIMIT_NOFILE", "soft": 100, "hard": 100}]);
    bundle.config["linux"]["seccomp"] = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}]
    });
    let bundle = started(bundle);
    let facts = "for one in mnt pid uts ipc net cgroup; do readlink /proc/$P/ns/$one; done; \
                 grep -E '^(Cap|Seccomp:|NoNew)' /proc/$P/status; cat /proc/$P/cgroup";
    let own = exec(&bundle, &[], &facts.replace("$P", "1")).ok().stdout;
    let others = exec(&bundle, &[], &facts.replace("$P", "self")).ok().stdout;
    assert!(own.lines().count() > 12, "{own}");
    assert_eq!(others, own);
    let output = exec(
        &bundle,
        &["-e", "A=b", "--cwd", "/bin"],
        "ulimit -n; echo $A; pwd; exit 7",
    );
    assert_eq!(output.ended(7).stdout, "100\nb\n/bin\n");
    let denied = exec(&bundle, &[], "mkdir /x");
    assert!(
        denied.code != 0 && denied.stderr.contains("not permitted"),
        "{denied:?}"
    );
    let file = process_file(
        &bundle,
        "mkdir /x; id -u; grep CapEff /proc/self/status",
        |process| {
            process["user"] = json!({"uid": 7, "gid": 8});
        },
    );
    let output = bundle.verb(&["exec", "--process", &file, &bundle.id]).ok();
    assert_eq!(output.lines(), ["7", "CapEff:\t0000000000000000"]);
}

#[test]
fn exec_is_looked_after_by_others_when_it_is_detached() {
    needs_containers!();
    let bundle = started(Bundle::sh(""));
    let script = "readlink /proc/self/fd/0; busybox stty size; read line; echo \"got $line\"";
    let file = process_file(&bundle, script, |process| {
        process["terminal"] = json!(true);
        process["consoleSize"] = json!({"height": 20, "width": 70});
    });
    let pid_file = bundle.shown("exec.pid");
    let words = [
        "exec",
        "--detach",
        "--pid-file",
        &pid_file,
        "--process",
        &file,
    ];
    let refused = bundle.verb(&[&words[..], &[&bundle.id]].concat()).ended(1);
    refused.said(&["--console-socket is missing"]);
    let socket = bundle.shown("socket");
    let listener = UnixListener::bind(&socket).unwrap();
    let console = ["--console-socket", &socket, &bundle.id];
    bundle.verb(&[&words[..], &console].concat()).ok();
    let (connection, _) = listener.accept().unwrap();
    let (_, master) = ucr_sys::message::receive(connection.as_fd())
        .unwrap()
        .unwrap();
    let mut master = File::from(master.unwrap());
    let pid: i32 = bundle.read("exec.pid").parse().unwrap();
    assert!(ucr_sys::process::open(pid).unwrap().is_some());
    std::io::Write::write_all(&mut master, b"keys\r").unwrap();
    let mut shown = Vec::new();
    master.read_to_end(&mut shown).unwrap_err();
    let shown = String::from_utf8(shown).unwrap();
    // What is typed may be shown before.
    assert!(shown.contains("/dev/pts/0\r\n"), "{shown}");
    assert!(shown.contains("20 70\r\n"), "{shown}");
    assert!(shown.ends_with("got keys\r\n"), "{shown}");
}

#[test]
fn exec_in_what_does_not_run_or_of_what_is_not_known_is_refused() {
    needs_containers!();
    let bundle = started(Bundle::sh(""));
    let strange = process_file(&bundle, "true", |process| process["strange"] = json!(1));
    let refused = bundle.verb(&["exec", "-p", &strange, &bundle.id]).ended(1);
    refused.said(&["process.strange, which is not known"]);
    let scheduler = process_file(&bundle, "true", |process| {
        process["selinuxLabel"] = json!("x");
    });
    let refused = bundle
        .verb(&["exec", "-p", &scheduler, &bundle.id])
        .ended(1);
    refused.said(&["process.selinuxLabel is not supported"]);
    exec(&bundle, &[], "true").ok();
    bundle.verb(&["pause", &bundle.id]).ok();
    exec(&bundle, &[], "true").ended(1).said(&["it is paused"]);
    bundle.verb(&["resume", &bundle.id]).ok();
    bundle.verb(&["kill", &bundle.id, "KILL"]).ok();
    bundle.wait();
    exec(&bundle, &[], "true").ended(1).said(&["it is stopped"]);
    let unknown = bundle.verb(&["exec", "nobody", "true"]).ended(1);
    unknown.said(&["container nobody does not exist"]);
}

#[test]
fn exec_gets_descriptors_capabilities_and_groups_that_are_asked_for() {
    needs_containers!();
    let bundle = Bundle::sh("exec sleep 1000");
    bundle.create(&[]).ok();
    bundle.verb(&["start", &bundle.id]).ok();
    bundle.write("third", "of the third\n");
    bundle.write("fourth", "of the fourth\n");
    let call = |flags: &str, script: &str| {
        let words = format!(
            "exec 3<{} 4<{}; exec \"$@\"",
            bundle.shown("third"),
            bundle.shown("fourth")
        );
        let mut command = std::process::Command::new("sh");
        command.args(["-c", &words, "sh"]);
        let ucr = bundle.command(&[]);
        command.arg(ucr.get_program()).args(ucr.get_args());
        let flags: Vec<&str> = flags.split(' ').filter(|flag| !flag.is_empty()).collect();
        command.arg("exec").args(flags).arg(&bundle.id);
        crate::output::Output::of(command.args(["/bin/sh", "-c", script]))
    };
    let read = "cat <&3; cat <&4; test -e /proc/self/fd/5 && echo more";
    let output = call("--preserve-fds 2", read).ended(1);
    assert_eq!(output.stdout, "of the third\nof the fourth\n");
    let output = call("--preserve-fds 1", "cat <&3; test -e /proc/self/fd/4");
    assert_eq!(output.ended(1).stdout, "of the third\n");
    call("", "test -e /proc/self/fd/3").ended(1);
    call("--preserve-fds 500", "true")
        .refused(1)
        .said(&["cannot preserve descriptor"]);
    let status = |flags: &str| call(flags, "cat /proc/self/status").ok().stdout;
    let line = |status: &str, name: &str| {
        let line = status.lines().find(|line| line.starts_with(name));
        line.unwrap()[name.len()..].trim().to_owned()
    };
    let mask = |status: &str, name: &str| u64::from_str_radix(&line(status, name), 16).unwrap();
    // The sets of `ucr oci spec` lack CAP_SYS_PTRACE, number 19.
    assert_eq!(mask(&status(""), "CapEff:") & 1 << 19, 0);
    let more = status("--cap CAP_SYS_PTRACE --additional-gids 7,8 --no-new-privs");
    for set in ["CapEff:", "CapPrm:", "CapBnd:"] {
        assert_ne!(mask(&more, set) & 1 << 19, 0, "{more}");
    }
    assert!(line(&more, "Groups:").ends_with("7 8"), "{more}");
    assert_eq!(line(&more, "NoNewPrivs:"), "1");
}
