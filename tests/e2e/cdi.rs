//! Devices that a vendor describes, by the Container Device Interface.

use std::path::Path;

use serde_json::{Value, json};

use crate::env::TestEnv;
use crate::images;
use crate::output::Output;

const DEVICE: &str = "vendor.com/class=one";

/// An environment with the descriptions in its directory `cdi`.
struct Described {
    env: TestEnv,
}

impl Described {
    fn new() -> Self {
        let env = TestEnv::with_image(&images::busybox());
        env.make_dir("cdi");
        Self { env }
    }

    /// Describes [`DEVICE`], which changes `edits`.
    fn with(edits: &Value) -> Self {
        let described = Self::new();
        described.describe(edits);
        described
    }

    fn describe(&self, edits: &Value) {
        let file = json!({"cdiVersion": "0.7.0", "kind": "vendor.com/class",
            "devices": [{"name": "one", "containerEdits": edits}]});
        self.env.write("cdi/vendor.json", file.to_string());
    }

    fn sh(&self, flags: &[&str], script: &str) -> Output {
        let directory = self.env.shown("cdi");
        let device = ["--cdi-spec-dir", &directory, "--device", DEVICE];
        self.env.run_sh(&[&device, flags].concat(), script)
    }
}

/// A hook that runs a script of the shell's.
fn hook(name: &str, script: &str) -> Value {
    json!({"hookName": name, "path": "/bin/sh", "args": ["sh", "-e", "-c", script],
        "env": ["PATH=/usr/bin:/bin"], "timeout": 60})
}

#[test]
fn i16_a_described_device_brings_what_its_description_says() {
    needs_machine!();
    let described = Described::new();
    described.env.make_dir("library");
    described.env.write("library/file", "of the host\n");
    described.describe(&json!({
        "env": ["A=of the device", "B=2"],
        "deviceNodes": [
            {"path": "/dev/described", "hostPath": "/dev/zero"},
            {"path": "/dev/made/one", "type": "c", "major": 1, "minor": 3, "fileMode": 0o640,
                "uid": 5, "gid": 6}
        ],
        "mounts": [{"hostPath": described.env.shown("library"), "containerPath": "/opt/library",
            "options": ["ro", "nosuid", "rbind"]}],
        "additionalGids": [0, 7]
    }));
    let script = "echo $A $B; head -c 3 /dev/described | wc -c; \
                  stat -c '%a %u %g %t %T' /dev/made/one; echo x > /dev/made/one && echo written; \
                  chmod 666 /dev/made/one || echo kept; cat /opt/library/file; \
                  touch /opt/library/x || echo kept; id -G";
    let wanted = [
        "of the device 2",
        "3",
        "640 5 6 1 3",
        "written",
        "kept",
        "of the host",
        "kept",
        "0 7",
    ];
    // What a person sets is no match for what the device needs.
    let flags = ["-e", "A=of the flag"];
    for more in [&[][..], &["--userns", "auto"], &["--privileged"]] {
        let output = described.sh(&[&flags[..], more].concat(), script).ok();
        assert_eq!(output.lines(), wanted, "{more:?}");
    }
    let alone = described.env.run_sh(&[], "ls /dev/described /opt/library");
    assert_ne!(alone.code, 0, "{alone:?}");
}

#[test]
fn i16_a_described_device_may_be_used_as_its_permissions_say() {
    needs_machine!();
    let device = "/dev/fuse";
    if !Path::new(device).exists() {
        println!("skipped: needs the device {device}");
        return;
    }
    let script = "(: <> /dev/x) && echo both; (: < /dev/x) && echo reads; true";
    for (permissions, wanted) in [("r", "reads\n"), ("rw", "both\nreads\n"), ("m", "")] {
        // The host's own, and one that is made.
        for more in [json!({}), json!({"fileMode": 0o666})] {
            let mut node =
                json!({"path": "/dev/x", "hostPath": device, "permissions": permissions});
            node.as_object_mut()
                .unwrap()
                .extend(more.as_object().unwrap().clone());
            let described = Described::with(&json!({"deviceNodes": [node]}));
            assert_eq!(described.sh(&[], script).ok().stdout, wanted, "{node}");
        }
    }
}

#[test]
fn hooks_of_a_device_find_the_container_and_change_it() {
    needs_machine!();
    let described = Described::new();
    let log = described.env.shown("log");
    let says = |name: &str| {
        let script =
            format!("echo {name} $(sed 's/.*\"status\":\"\\([a-z]*\\)\".*/\\1/') >> {log}");
        hook(name, &script)
    };
    // As those of NVIDIA's: by the bundle that the state names to the root in its configuration.
    let links = "bundle=$(sed 's/.*\"bundle\":\"\\([^\"]*\\)\".*/\\1/'); \
                 root=$(sed 's/.*\"root\":{\"path\":\"\\([^\"]*\\)\".*/\\1/' $bundle/config.json); \
                 test -d $root/proc/1; ln -s /made/by/a/hook $root/link";
    let names = [
        "poststop",
        "prestart",
        "createRuntime",
        "createContainer",
        "poststart",
    ];
    let mut hooks: Vec<Value> = names.map(says).into();
    hooks.push(hook("createContainer", links));
    described.describe(&json!({"hooks": hooks}));
    let wanted = "prestart created\ncreateRuntime created\ncreateContainer created\n\
                  poststart running\npoststop stopped\n";
    for flags in [&["--read-only"][..], &["--no-init"], &["-t"]] {
        drop(std::fs::remove_file(&log));
        let output = described.sh(flags, "readlink /link").ok();
        assert_eq!(output.stdout.trim_end(), "/made/by/a/hook", "{flags:?}");
        assert_eq!(std::fs::read_to_string(&log).unwrap(), wanted, "{flags:?}");
    }
}

#[test]
fn a_hook_that_fails_is_the_end_of_the_start() {
    needs_machine!();
    for name in ["prestart", "createRuntime", "createContainer", "poststart"] {
        let described =
            Described::with(&json!({"hooks": [hook(name, "echo no luck >&2; exit 3")]}));
        described
            .sh(&[], "sleep 1000")
            .refused(125)
            .said(&[&format!(
                "the {name} hook /bin/sh failed: exit status 3: no luck"
            )]);
    }
    // It was all over by then.
    let described = Described::with(&json!({"hooks": [hook("poststop", "exit 3")]}));
    let output = described.sh(&[], "exit 4").ended(4);
    output.said(&["the poststop hook /bin/sh failed: exit status 3"]);
}

#[test]
fn s16_hooks_get_nowhere_where_they_could_be_the_images_or_have_other_ids() {
    needs_machine!();
    let described = Described::with(&json!({"hooks": [hook("startContainer", "true")]}));
    let refused = described.sh(&[], "true").refused(125);
    refused.said(&["startContainer hooks are not run, as /bin/sh would be a program of the image"]);
    let described = Described::with(&json!({"hooks": [hook("createContainer", "true")]}));
    let refused = described.sh(&["--userns", "auto"], "true").refused(125);
    refused.said(&["hooks are not run for a container with a user namespace"]);
}

#[test]
fn a_described_device_that_is_not_there_is_told_with_those_that_are() {
    needs_machine!();
    let described = Described::with(&json!({}));
    let (env, directory) = (&described.env, described.env.shown("cdi"));
    let run = |device: &str| {
        let flags = ["--cdi-spec-dir", "/no/such", "--cdi-spec-dir", &directory];
        env.run(&[&flags[..], &["--device", device]].concat(), &["true"])
    };
    run(DEVICE).ok();
    run("vendor.com/class=two").refused(125).said(&[
        "there is no device vendor.com/class=two",
        "of the kind vendor.com/class there are: one",
        &format!("/no/such and {directory}"),
    ]);
    let none = run("other.com/class=one").refused(125);
    none.said(&["there are no devices of the kind other.com/class"]);
    for wrong in ["vendor.com/class=", "vendor.com=one", "vendor.com/class"] {
        run(wrong).ended(125);
    }
    env.write(
        "cdi/another.yaml",
        "cdiVersion: 0.3.0\nkind: vendor.com/class\ndevices:\n- name: one\n",
    );
    let both = run(DEVICE).refused(125);
    both.said(&["is described by", "another.yaml and", "vendor.json"]);
}

#[test]
fn s32_what_a_description_asks_for_in_vain_is_an_error() {
    needs_machine!();
    let described = Described::new();
    let whole = json!({"cdiVersion": "1.1.0", "kind": "vendor.com/class",
        "devices": [{"name": "one"}]});
    for (field, value, why) in [
        (
            "cdiVersion",
            json!("1.2.0"),
            "the cdiVersion \"1.2.0\" is none of",
        ),
        (
            "cdiVersion",
            json!("2.0.0"),
            "the cdiVersion \"2.0.0\" is none of",
        ),
        ("containerEdit", json!({}), "unknown field `containerEdit`"),
        (
            "containerEdits",
            json!({"intelRdt": {"closID": "x"}}),
            "asks for intelRdt",
        ),
        (
            "containerEdits",
            json!({"netDevices": [{}]}),
            "asks for netDevices",
        ),
        (
            "containerEdits",
            json!({"deviceNodes": [{"path": "/dev/x", "hostPath": "/no/such"}]}),
            "cannot find /no/such of this host",
        ),
        (
            "containerEdits",
            json!({"mounts": [{"hostPath": "/no/such", "containerPath": "/x"}]}),
            "cannot find /no/such of this host",
        ),
        (
            "containerEdits",
            json!({"mounts": [{"hostPath": "/etc", "containerPath": "/x", "options": ["later"]}]}),
            "the option \"later\" of the mount \"/x\" is not supported",
        ),
    ] {
        let mut file = whole.clone();
        file[field] = value;
        described.env.write("cdi/vendor.json", file.to_string());
        described.sh(&[], "true").refused(125).said(&[why]);
    }
}
