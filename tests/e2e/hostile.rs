//! Images and containers that want more than they are given.

use std::path::Path;

use serde_json::json;
use test_support::{Entry, LayerBuilder};

use crate::env::{Home, TestEnv};
use crate::images;
use crate::output::Output;

/// What of a container shows how isolated it is.
const FACTS: &str = "grep -E '^(Cap|NoNew|Seccomp:|Uid|Groups)' /proc/self/status; \
                     cut -d' ' -f4- /proc/self/mountinfo | sed 's/[0-9]*:[0-9]*//'; ls /dev; \
                     cat /proc/self/oom_score_adj; cat /proc/self/limits";

#[test]
fn s5_s35_a_target_that_others_exchange_for_a_link_leads_nowhere_outside() {
    needs_machine!();
    let env = TestEnv::with_image(&images::busybox());
    env.make_dir("shared");
    env.make_dir("given");
    env.make_dir("outside");
    let shared = format!("{}:/vol", env.shown("shared"));
    // To a directory of the host's, by the path that it has there.
    let flip = format!(
        "cd /vol; echo ready; while :; do rm -rf d; ln -s {} d; rm -f d; mkdir d; done 2>/dev/null",
        env.shown("outside")
    );
    let flipping = env.start_sh(&["--name", "flip", "-v", &shared], &flip);
    let given = format!("{}:/vol/d/x", env.shown("given"));
    for _ in 0..40 {
        // Either way: what it meets it mounts on inside, or says that it is gone.
        let output = env.run(&["-v", &shared, "-v", &given], &["true"]);
        assert!([0, 125].contains(&output.code), "{output:?}");
    }
    env.ucr(&["kill", "flip"]).ok();
    flipping.finish().ended(137);
    let outside = std::fs::read_dir(env.path("outside")).unwrap();
    assert_eq!(outside.count(), 0);
}

#[test]
fn s19_s20_what_an_image_says_of_itself_gives_it_nothing() {
    needs_machine!();
    let env = TestEnv::new();
    env.push(&images::busybox(), "team/plain:1");
    let asking = images::builder()
        .label("io.ucr.privileged", "true")
        .label("io.containerd.image.name", "--privileged")
        .label("run.oci.keep_original_groups", "1")
        .label("com.docker.security", "seccomp=unconfined")
        .process("Privileged", json!(true))
        .process("SecurityOpt", json!(["seccomp=unconfined"]))
        .process("CapAdd", json!(["ALL"]))
        .process("Binds", json!(["/:/host"]))
        .edit_config(|config| {
            config["HostConfig"] = json!({"Privileged": true, "Binds": ["/:/host"]});
            config["annotations"] = json!({"io.ucr.devices": "all"});
        });
    env.push(&asking.build(), "team/asking:1");
    let facts = |name: &str| {
        env.pull(name).ok();
        let reference = env.reference(name);
        let mut command = env.command(&["run", "--pull", "never", &reference, "sh", "-c", FACTS]);
        Output::of(env.as_user(&mut command)).ok().stdout
    };
    assert_eq!(facts("team/asking:1"), facts("team/plain:1"));
}

#[test]
fn s21_volumes_of_the_image_are_its_own_directories_whatever_they_are_called() {
    needs_machine!();
    let env = TestEnv::new();
    let outside = env.make_dir("outside");
    env.write("outside/secret", "of the host");
    let layer = LayerBuilder::new()
        .symlink("link", outside.to_str().unwrap())
        .symlink("up", "../../../..")
        .build();
    let volumes = json!({"/../../climbed": {}, "/link": {}, "/up/below": {}});
    let image = images::builder().layer(layer).process("Volumes", volumes);
    env.push(&image.build(), "team/app:1");
    env.pull("team/app:1").ok();
    let script = "touch /climbed/x /below/x && echo written; ls -A /link/; touch /link/x";
    let output = env.run_sh(&["--read-only"], script).ok();
    assert_eq!(output.stdout, "written\n");
    let left = std::fs::read_dir(&outside).unwrap().count();
    assert_eq!(left, 1);
    assert!(!Path::new("/climbed").exists() && !Path::new("/below").exists());
}

#[test]
fn s25_i50_nothing_of_the_image_is_opened_or_run_by_us() {
    needs_machine!();
    // Whoever opens a FIFO to read waits for ever.
    let libraries = ["lib", "lib64", "usr/lib", "lib/x86_64-linux-gnu"];
    let mut layer = LayerBuilder::new()
        .file("etc/passwd", "web:x:1000:1000::/:/bin/sh\n")
        .file("etc/group", "web:x:1000:\n")
        .entry(Entry::fifo("etc/nsswitch.conf"))
        .entry(Entry::fifo("etc/ld.so.preload"))
        .entry(Entry::fifo("etc/ld.so.cache"))
        .entry(Entry::fifo("etc/localtime"))
        .entry(Entry::fifo("etc/ssl/openssl.cnf"));
    for library in libraries {
        for name in ["libnss_files.so.2", "libc.so.6", "libgcc_s.so.1"] {
            layer = layer.entry(Entry::fifo(format!("{library}/{name}")));
        }
    }
    for program in ["tar", "xz", "newuidmap", "fuse-overlayfs", "ucr-init"] {
        layer = layer.entry(Entry::fifo(format!("usr/bin/{program}")).mode(0o755));
    }
    let image = images::builder().layer(layer.build());
    let env = TestEnv::with_image(&image.env("LD_PRELOAD=/etc/ld.so.preload").build());
    let flags = ["--user", "web", "--group-add", "web", "--name", "c"];
    let running = env.start_sh(&flags, "echo ready; sleep 1000");
    let output = env.ucr(&["exec", "-u", "web:web", "c", "id", "-u"]).ok();
    assert_eq!(output.stdout, "1000\n");
    env.ucr(&["stop", "-t", "0", "c"]).ok();
    drop(running.finish());
}

#[test]
fn s26_what_a_container_exchanges_while_others_join_it_leads_nowhere_outside() {
    needs_machine!();
    let env = TestEnv::with_image(&images::busybox());
    let flip = "mkdir -p /etc; echo ready; while :; do rm -rf /d; ln -s /proc/self/fd/7 /d; \
                rm -f /d; mkdir /d; ln -sf ../../../../etc/shadow /etc/passwd; \
                rm -f /etc/passwd; echo root:x:0:0::/:/bin/sh > /etc/passwd; done 2>/dev/null";
    let flipping = env.start_sh(&["--name", "c"], flip);
    let mut inside = 0;
    for _ in 0..60 {
        let output = env.ucr(&["exec", "-u", "0", "-w", "/d", "c", "pwd"]);
        // 1: the directory was removed when it had begun.
        match output.code {
            0 => inside += 1,
            code => assert!([1, 125, 126].contains(&code), "{output:?}"),
        }
        assert!(["", "/d\n"].contains(&&*output.stdout), "{output:?}");
    }
    assert!(inside > 0);
    env.ucr(&["kill", "c"]).ok();
    flipping.finish().ended(137);
}

#[test]
fn s28_no_abstract_socket_of_ours_is_in_reach() {
    needs_machine!();
    let env = TestEnv::with_image(&images::busybox());
    let abstract_ones = |text: &str| {
        let names = text
            .lines()
            .filter_map(|line| line.split_ascii_whitespace().nth(7));
        let mut names: Vec<_> = names.filter(|name| name.starts_with('@')).collect();
        names.sort_unstable();
        names.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let before = abstract_ones(&std::fs::read_to_string("/proc/net/unix").unwrap());
    let seen = env
        .run(&["--network", "host"], &["cat", "/proc/net/unix"])
        .ok();
    let new: Vec<_> = abstract_ones(&seen.stdout)
        .into_iter()
        .filter(|name| !before.contains(name) && name.contains("ucr"))
        .collect();
    assert_eq!(new, Vec::<String>::new());
}

#[test]
fn i51_inside_a_user_namespace_it_says_what_is_missing() {
    needs_machine!();
    test_support::need_command!("unshare");
    let home = Home::new();
    let mut command = home.shell(
        "unshare --user --map-root-user --mount \"$UCR\" run --pull never oci:none true",
        &[],
    );
    let output = Output::of(&mut command);
    assert_ne!(output.code, 0);
    let first = output.stderr.lines().next().unwrap_or_default();
    assert!(first.starts_with("ucr: "), "{output:?}");
}
