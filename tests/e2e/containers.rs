//! What can be done to a container that runs, and what is known of one that has ended.

use serde_json::{Value, json};

use crate::env::TestEnv;
use crate::images;
use crate::output::{Output, Running};

/// Runs until it is ended; says what asked it to.
const WAITS: &str = "trap 'echo asked; exit 3' TERM; trap 'echo other; exit 4' USR1; echo ready; \
                     while :; do sleep 1000 & wait $!; done";
/// Does not end by itself.
const DEAF: &str = "trap '' TERM; echo ready; while :; do sleep 1000 & wait $!; done";

fn env() -> TestEnv {
    TestEnv::with_image(&images::busybox())
}

fn json(output: &Output) -> Value {
    serde_json::from_str(&output.stdout).unwrap()
}

/// What `ucr ps` shows as JSON.
fn ps(env: &TestEnv, flags: &[&str]) -> Vec<Value> {
    let output = env.ucr(&[&["ps", "--format", "json"], flags].concat()).ok();
    json(&output).as_array().unwrap().clone()
}

fn names(listed: &[Value]) -> Vec<&str> {
    listed
        .iter()
        .map(|one| one["Name"].as_str().unwrap())
        .collect()
}

fn inspect(env: &TestEnv, name: &str) -> Value {
    json(&env.ucr(&["inspect", name]).ok())[0].clone()
}

/// A container of this name that says when it runs.
fn start(env: &TestEnv, name: &str, flags: &[&str], script: &str) -> Running {
    env.start_sh(&[&["--name", name], flags].concat(), script)
}

#[test]
fn those_that_run_are_listed_and_those_that_ended_too_when_asked() {
    needs_machine!();
    let env = env();
    env.run_sh(&["--name", "gone"], "exit 5").ended(5);
    let web = start(
        &env,
        "web",
        &["--label", "tier=front", "-l", "plain"],
        WAITS,
    );
    assert_eq!(names(&ps(&env, &[])), ["web"]);
    assert_eq!(names(&ps(&env, &["--all"])), ["web", "gone"]);
    for (filter, found) in [
        ("name=we", &["web"][..]),
        ("label=tier=front", &["web"]),
        ("label=plain", &["web"]),
        ("label=tier=back", &[]),
        ("status=exited", &["gone"]),
        ("status=running", &["web"]),
    ] {
        assert_eq!(names(&ps(&env, &["--filter", filter])), found, "{filter}");
    }
    let table = env.ucr(&["ps", "-a"]).ok();
    let lines = table.lines();
    assert!(lines[0].starts_with("CONTAINER ID  IMAGE"), "{lines:?}");
    assert!(
        lines[1].contains("Up ") && lines[1].ends_with("web"),
        "{lines:?}"
    );
    assert!(lines[2].contains("Exited (5) "), "{lines:?}");
    let quiet = env.ucr(&["ps", "-q"]).ok();
    let id = inspect(&env, "web")["Id"].as_str().unwrap().to_owned();
    assert_eq!(quiet.stdout.trim_end(), &id[..12]);
    env.ucr(&["stop", &id[..12]]).ok();
    web.finish().ended(3);
    env.ucr(&["ps", "--filter", "color=red"])
        .ended(2)
        .said(&["none of name"]);
    env.ucr(&["ps", "--filter", "status=exitd"])
        .ended(2)
        .said(&["\"exitd\" is none of created, running, paused, exited"]);
}

#[test]
fn a_container_is_inspected_alive_and_for_a_day_after_its_end() {
    needs_machine!();
    let env = env();
    let cidfile = env.path("cid");
    let pidfile = env.path("pid");
    let files = [cidfile.to_str().unwrap(), pidfile.to_str().unwrap()];
    let flags = ["-m", "64m", "--cidfile", files[0], "--pidfile", files[1]];
    let running = start(&env, "x", &flags, WAITS);
    let facts = inspect(&env, "x");
    assert_eq!(facts["State"]["Status"], "running");
    assert_eq!(facts["Path"], "sh");
    assert_eq!(
        std::fs::read_to_string(&cidfile).unwrap(),
        facts["Id"].as_str().unwrap()
    );
    // As the host counts, it is the shell.
    let pid = facts["State"]["Pid"].to_string();
    let comm = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap();
    assert_eq!(comm, "sh\n");
    let image = facts["Image"].as_str().unwrap();
    assert_eq!(
        json(&env.ucr(&["inspect", "--type", "image", image]).ok())[0]["Id"],
        image
    );
    env.ucr(&["kill", "x"]).ok();
    running.finish().ended(137);
    assert_eq!(std::fs::read_to_string(&pidfile).unwrap(), pid);
    let facts = inspect(&env, "x");
    assert_eq!(facts["State"]["Status"], "exited");
    assert_eq!(
        (&facts["State"]["ExitCode"], &facts["State"]["Signal"]),
        (&137.into(), &9.into())
    );
    assert_eq!(facts["State"]["OOMKilled"], false);
    assert_eq!(env.leftovers(), Vec::<String>::new());
    let again = env.run(&["--cidfile", files[0]], &["true"]).refused(125);
    again.said(&["cannot write the container's ID", "File exists"]);
}

#[test]
fn what_a_container_may_use_of_the_host_is_inspected_as_it_was_asked_for() {
    needs_machine!();
    let env = env();
    env.make_dir("data");
    let data = env.shown("data");
    let volume = format!("{data}:/data:ro");
    let flags = "-m 64m --cpus 0.5 --pids-limit 20 --network none --cap-drop ALL --cap-add chown \
                 --read-only -w /bin -u user -v";
    let flags: Vec<&str> = flags.split_whitespace().chain([volume.as_str()]).collect();
    let running = start(&env, "x", &flags, WAITS);
    let facts = inspect(&env, "x");
    let host = facts["HostConfig"].as_object().unwrap();
    for (key, value) in [
        ("Memory", json!(64 << 20)),
        ("NanoCpus", json!(500_000_000)),
        ("PidsLimit", json!(20)),
        ("NetworkMode", json!("none")),
        ("Privileged", json!(false)),
        ("ReadonlyRootfs", json!(true)),
        ("CapAdd", json!(["CAP_CHOWN"])),
        ("CapDrop", json!(["ALL"])),
        ("UsernsMode", json!("host")),
    ] {
        assert_eq!(host[key], value, "{key}");
    }
    assert_eq!(facts["Config"]["User"], "user");
    assert_eq!(facts["Config"]["WorkingDir"], "/bin");
    let mount =
        json!({"Type": "bind", "Source": data, "Destination": "/data", "Mode": "ro", "RW": false});
    assert_eq!(facts["Mounts"], json!([mount]));
    assert!(facts["Cgroups"].is_array());
    env.ucr(&["kill", "x"]).ok();
    running.finish().ended(137);
    let ended = inspect(&env, "x");
    assert_eq!(ended["HostConfig"], facts["HostConfig"]);
    assert_eq!(ended["Cgroups"], Value::Null);
}

#[test]
fn out_of_memory_is_told_from_a_kill() {
    needs_machine!();
    let env = env();
    let fill = "x=$(head -c 60000000 /dev/zero | tr '\\0' x); echo ${#x}";
    env.run_sh(&["-m", "16m", "--name", "greedy"], fill)
        .ended(137);
    assert_eq!(inspect(&env, "greedy")["State"]["OOMKilled"], true);
}

#[test]
fn a_signal_is_for_the_task_and_kill_for_all_of_it() {
    needs_machine!();
    let env = env();
    let running = start(&env, "x", &[], WAITS);
    env.ucr(&["kill", "--signal", "USR1", "x"]).ok();
    assert_eq!(running.finish().ended(4).stdout, "ready\nother\n");
    let running = start(&env, "y", &[], DEAF);
    assert_eq!(env.ucr(&["kill", "y"]).ok().stdout, "y\n");
    running.finish().ended(137);
    let ended = env.ucr(&["kill", "y"]).refused(1);
    ended.said(&["cannot send a signal to the container y: it has ended"]);
    env.ucr(&["kill", "nobody"])
        .refused(1)
        .said(&["there is no container \"nobody\"", "try: ucr ps --all"]);
    env.ucr(&["kill", "-s", "NONSENSE", "x"]).ended(2);
}

#[test]
fn stop_asks_as_the_image_or_the_caller_wants_it_and_then_kills() {
    needs_machine!();
    let env = env();
    for (flags, code, said) in [
        (&[][..], 3, "ready\nasked\n"),
        (&["--stop-signal", "SIGUSR1"], 4, "ready\nother\n"),
    ] {
        let running = start(&env, "x", flags, WAITS);
        env.ucr(&["stop", "x"]).ok();
        assert_eq!(running.finish().ended(code).stdout, said);
    }
    let running = start(&env, "deaf", &["--stop-timeout", "0"], DEAF);
    env.ucr(&["stop", "deaf"]).ok();
    running.finish().ended(137);
    // One that has ended already is stopped.
    env.ucr(&["stop", "deaf"]).ok();
    assert_eq!(env.leftovers(), Vec::<String>::new());
}

#[test]
fn wait_prints_how_a_container_ended_before_and_after_it_has() {
    needs_machine!();
    let env = env();
    let running = start(&env, "x", &[], WAITS);
    let waiting = Running::spawn(&mut env.command(&["wait", "x"]));
    env.ucr(&["stop", "x"]).ok();
    running.finish().ended(3);
    assert_eq!(waiting.finish().ok().stdout, "3\n");
    assert_eq!(env.ucr(&["wait", "x"]).ok().stdout, "3\n");
}

#[test]
fn a_container_that_is_paused_stands_still_and_can_be_ended() {
    needs_machine!();
    let env = env();
    let running = start(&env, "x", &[], WAITS);
    env.ucr(&["pause", "x"]).ok();
    assert_eq!(inspect(&env, "x")["State"]["Status"], "paused");
    let table = env.ucr(&["ps"]).ok();
    assert!(table.stdout.contains("(Paused)"), "{}", table.stdout);
    env.ucr(&["resume", "x"]).ok();
    assert_eq!(inspect(&env, "x")["State"]["Status"], "running");
    env.ucr(&["pause", "x"]).ok();
    env.ucr(&["stop", "x"]).ok();
    running.finish().ended(3);
    let running = start(&env, "y", &[], WAITS);
    env.ucr(&["pause", "y"]).ok();
    env.ucr(&["kill", "y"]).ok();
    running.finish().ended(137);
    assert_eq!(env.leftovers(), Vec::<String>::new());
}

#[test]
fn a_container_whose_words_nobody_reads_can_be_stopped() {
    needs_machine!();
    let env = env();
    let mut run = env.run_command(&["-t", "--name", "x"], &["sh", "-c", "yes"]);
    let mut running = run.stdout(std::process::Stdio::piped()).spawn().unwrap();
    // Something was written, and no more is read.
    let mut first = [0];
    std::io::Read::read_exact(running.stdout.as_mut().unwrap(), &mut first).unwrap();
    env.ucr(&["stop", "-t", "0", "x"]).ok();
    assert_eq!(running.wait().unwrap().code(), Some(137));
    assert_eq!(env.leftovers(), Vec::<String>::new());
}

#[test]
fn a_container_is_killed_when_its_time_is_over() {
    needs_machine!();
    let env = env();
    let running = start(&env, "x", &["--timeout", "1s"], DEAF);
    let said = "the container was killed: its time of 1 s was over";
    running.finish().ended(137).said(&[said]);
    let state = &inspect(&env, "x")["State"];
    assert!(state["Error"].as_str().unwrap().contains(said), "{state}");
    assert_eq!(env.leftovers(), Vec::<String>::new());
}

#[test]
fn several_are_stopped_side_by_side() {
    needs_machine!();
    let env = TestEnv::with_image(&images::busybox());
    let shared = env.make_dir("shared");
    let volume = format!("{}:/shared", shared.display());
    // The first ends well only once the second has been asked, too.
    let first = "trap 'until test -e /shared/asked; do usleep 1000; done; exit 4' TERM; \
                 echo ready; while :; do sleep 1000 & wait; done";
    let second = "trap ': > /shared/asked; exit 5' TERM; \
                  echo ready; while :; do sleep 1000 & wait; done";
    let first = env.start_sh(&["--name", "a", "-v", &volume], first);
    let second = env.start_sh(&["--name", "b", "-v", &volume], second);
    let stopped = env.ucr(&["stop", "--time", "30", "a", "b"]).ok();
    assert_eq!(stopped.stdout, "a\nb\n");
    first.finish().ended(4);
    second.finish().ended(5);
    let facts = env.ucr(&["inspect", "--format", "json", "a"]).ok();
    assert!(facts.stdout.contains("\"ExitCode\": 4"), "{facts:?}");
}
