//! `--report` and `--status-fd`: what programs are told.

use std::os::unix::fs::MetadataExt;
use std::process::Stdio;

use serde_json::Value;
use test_support::fake_registry::Fault;
use test_support::{FakeRegistry, Image, ImageBuilder};

use crate::env::Home;
use crate::images::{self, layer};
use crate::made;
use crate::output::Output;

/// What a file of lines holds, each of which has what every line has.
fn lines(text: &str) -> Vec<Value> {
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    for line in &lines {
        assert!(line["time"].as_f64().unwrap() > 1.7e9, "{line}");
        assert!(line["seconds"].as_f64().unwrap() < 600.0, "{line}");
        for field in ["event", "phase", "image"] {
            assert!(line[field].is_string(), "{line}");
        }
    }
    lines
}

fn report(home: &Home) -> Vec<Value> {
    lines(&std::fs::read_to_string(home.path("report")).unwrap())
}

fn events(lines: &[Value]) -> Vec<&str> {
    let names = lines.iter().map(|line| line["event"].as_str().unwrap());
    names.collect()
}

/// A home that trusts a registry with `image` as `app:1`.
fn serving(image: &Image) -> (Home, FakeRegistry) {
    let home = Home::new();
    let registry = made::trusted_registry(&home);
    registry.put("app", "1", image);
    (home, registry)
}

/// Pulls the image; gives back its name.
fn pulled(home: &Home, registry: &FakeRegistry) -> String {
    let name = format!("{}/app:1", registry.host());
    home.ucr(&["pull", "-q", "--cafile", "ca.pem", &name]).ok();
    name
}

/// The last line of the report of a pull with `flags` that fails.
fn failed(home: &Home, registry: &FakeRegistry, flags: &[&str]) -> Value {
    let name = format!("{}/app:1", registry.host());
    let mut pull = home.command(&["pull", "-q", "--cafile", "ca.pem", "--report", "report"]);
    Output::of(pull.args(flags).arg(&name)).ended(1);
    let last = report(home).pop().unwrap();
    assert_eq!(last["event"], "failed", "{last}");
    assert_eq!(last["image"], name);
    last
}

#[test]
fn a_pull_is_told_from_beginning_to_end() {
    test_support::need_root!();
    let image = ImageBuilder::new()
        .layer(layer("one", "1"))
        .layer(layer("two", "2"))
        .build();
    let (home, registry) = serving(&image);
    let name = format!("{}/app:1", registry.host());
    let pull = ["pull", "-q", "--cafile", "ca.pem", "--report", "report"];
    Output::of(home.command(&pull).arg(&name)).ok();
    let told = report(&home);
    let names = events(&told);
    assert_eq!((names[0], names[names.len() - 1]), ("resolved", "pulled"));
    for (event, count) in [("layer-started", 2), ("layer-done", 2), ("settling", 1)] {
        assert_eq!(names.iter().filter(|name| **name == event).count(), count);
    }
    let size: usize = image.layers.iter().map(|layer| layer.bytes.len()).sum();
    assert_eq!(told[0]["total"], size);
    let last = &told[names.len() - 1];
    assert_eq!(last["id"], image.image_id());
    assert_eq!(last["manifest"], image.manifest.digest);
    // The next one is written behind it.
    Output::of(home.command(&pull).arg(&name)).ok();
    let again = report(&home);
    assert_eq!(events(&again[names.len()..])[0], "unchanged");
}

#[test]
fn a_failure_has_a_stable_code_and_says_whether_to_try_again() {
    test_support::need_root!();
    for (fault, flags, code, retryable, status) in [
        (Fault::Status(404), &[][..], "not-found", false, 404),
        (Fault::Status(403), &[], "credential-rejected", false, 403),
        (
            Fault::Status(429),
            &["--retry", "0"],
            "rate-limited",
            true,
            429,
        ),
        (
            Fault::Status(503),
            &["--retry", "0"],
            "unavailable",
            true,
            503,
        ),
        (Fault::Status(418), &[], "registry", false, 418),
    ] {
        let (home, registry) = serving(&images::file("x", "y"));
        registry.fault("/manifests/", fault);
        let told = failed(&home, &registry, flags);
        assert!(!events(&report(&home)).contains(&"settling"));
        assert_eq!(told["code"], code, "{told}");
        assert_eq!(told["retryable"], retryable, "{told}");
        assert_eq!(told["status"], status, "{told}");
        assert_eq!(told["host"], registry.host());
        assert_eq!(told["url"], registry.url("/v2/app/manifests/1"));
    }
}

#[test]
fn a_failure_says_in_which_phase_and_layer_it_was() {
    test_support::need_root!();
    let image = images::file("x", "y");
    let (home, registry) = serving(&image);
    registry.fault("/blobs/", Fault::WrongBytes);
    let config = failed(&home, &registry, &["--retry", "0"]);
    assert_eq!(
        (&config["code"], &config["phase"]),
        (&"integrity".into(), &"verify".into())
    );
    registry.heal();
    let digest = &image.layers[0].digest;
    registry.fault(digest, Fault::WrongBytes);
    let told = failed(&home, &registry, &["--retry", "0"]);
    assert_eq!(
        (&told["code"], &told["phase"]),
        (&"integrity".into(), &"verify".into())
    );
    assert_eq!(told["layer"], digest.as_str());
    registry.heal();
    registry.require_basic("alice", "wonderland");
    let told = failed(&home, &registry, &[]);
    assert_eq!(
        (&told["code"], &told["phase"]),
        (&"credential-missing".into(), &"auth".into())
    );
    let told = failed(&home, &registry, &["--principal", "alice"]);
    assert_eq!(
        (&told["code"], &told["phase"]),
        (&"setup".into(), &"setup".into())
    );
}

#[test]
fn who_is_not_trusted_or_not_allowed_is_told_as_that() {
    test_support::need_root!();
    let (home, registry) = serving(&images::file("x", "y"));
    home.write("ca.pem", made::root("Another CA").pem());
    let told = failed(&home, &registry, &[]);
    assert_eq!(told["code"], "untrusted", "{told}");
    assert_eq!(told["phase"], "tls");
    assert_eq!(told["host"], registry.host());
    let config = format!("[registry.\"{}\"]\nblocked = true\n", registry.host());
    home.write("config.toml", config);
    let name = format!("{}/app:1", registry.host());
    let flags = [
        "--config",
        "config.toml",
        "pull",
        "-q",
        "--cafile",
        "ca.pem",
    ];
    let blocked = home.ucr(&[&flags[..], &["--report", "report", &name]].concat());
    blocked.refused(1).said(&["blocked"]);
    let told = report(&home).pop().unwrap();
    assert_eq!(told["code"], "blocked", "{told}");
}

/// The code of a pull that fails, through a proxy where one is named.
fn code(home: &Home, registry: &FakeRegistry, flags: &[&str], proxy: Option<&str>) -> String {
    let mut pull = home.command(&["pull", "-q", "--cafile", "ca.pem", "--report", "report"]);
    pull.args(["--retry", "0"]).args(flags);
    pull.envs(proxy.map(|proxy| ("https_proxy", proxy)));
    Output::of(pull.arg(format!("{}/app:1", registry.host()))).refused(1);
    let last = report(home).pop().unwrap();
    last["code"].as_str().unwrap().to_owned()
}

#[test]
fn p64_network_proxy_tls_credentials_and_the_rest_are_told_apart() {
    test_support::need_root!();
    let image = ImageBuilder::new()
        .layer(layer("one", "1"))
        .layer(test_support::Layer::from_bytes(b"no archive".to_vec()))
        .build();
    let (home, registry) = serving(&image);
    home.write_secret("damaged.json", "{");
    for (flags, wanted) in [
        (&["--platform", "plan9/mips"][..], "platform"),
        (&["--max-layers", "1"], "budget"),
        (&[], "refused"),
    ] {
        assert_eq!(code(&home, &registry, flags, None), wanted);
    }
    let nobody = Some("http://127.0.0.1:1");
    assert_eq!(code(&home, &registry, &[], nobody), "proxy");
    let in_clear = FakeRegistry::http();
    assert_eq!(code(&home, &in_clear, &[], None), "tls");
    registry.fault("/manifests/", Fault::Reset);
    assert_eq!(code(&home, &registry, &[], None), "network");
    registry.heal();
    registry.require_basic("alice", "wonderland");
    let damaged = ["--authfile", "damaged.json"];
    let found = code(&home, &registry, &damaged, None);
    assert_eq!(found, "credential-unreadable");
}

#[test]
fn p63_a_deadline_is_told_as_that() {
    test_support::need_root!();
    let (home, registry) = serving(&images::file("x", "y"));
    registry.fault("/manifests/", Fault::RetryAfter(429, 3600));
    let told = failed(&home, &registry, &["--deadline", "60s"]);
    assert_eq!(told["code"], "deadline", "{told}");
    assert_eq!(told["retryable"], true);
}

#[test]
fn p40_a_url_is_told_without_its_query() {
    test_support::need_root!();
    let image = images::file("x", "y");
    let (home, registry) = serving(&image);
    let signed = registry.url("/storage?signature=s3cr3t");
    registry.fault(&image.layers[0].digest, Fault::Redirect(307, signed));
    let told = failed(&home, &registry, &[]);
    assert_eq!(told["url"], registry.url("/storage"), "{told}");
    let text = std::fs::read_to_string(home.path("report")).unwrap();
    assert!(!text.contains("s3cr3t"), "{text}");
}

#[test]
fn what_cannot_be_written_to_is_an_error_before_anything_starts() {
    test_support::need_root!();
    let (home, registry) = serving(&images::file("x", "y"));
    let name = format!("{}/app:1", registry.host());
    for (flags, said) in [
        (["--report", "missing/report"], "missing/report"),
        (["--status-fd", "9"], "file descriptor 9"),
    ] {
        let words = [&["pull", "--cafile", "ca.pem"], &flags[..], &[&name]].concat();
        home.ucr(&words).refused(1).said(&[said]);
        let words = [&["run", "--cafile", "ca.pem"], &flags[..], &[&name]].concat();
        home.ucr(&words).refused(125).said(&[said]);
    }
    home.ucr(&["pull", "--status-fd", "2", &name]).ended(2);
    assert_eq!(registry.count(""), 0);
    assert!(!home.root().exists());
}

#[test]
fn a_reader_that_goes_away_does_not_end_a_pull() {
    test_support::need_root!();
    let image = images::file("x", "y");
    let (home, registry) = serving(&image);
    let name = format!("{}/app:1", registry.host());
    let script = r#"exec "$UCR" pull -q --cafile ca.pem --status-fd 3 "$1" 3>&1 >id"#;
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut pull = home.shell(script, &[&name]);
    Output::of(pull.stdout(Stdio::from(writer))).ok();
    let id = std::fs::read_to_string(home.path("id")).unwrap();
    assert_eq!(id.trim_end(), image.image_id());
}

#[test]
fn a_run_is_told_to_its_end_and_the_task_has_nothing_of_it() {
    needs_machine!();
    let (env, registry) = serving(&images::busybox());
    let image = pulled(&env, &registry);
    let script = "ls -l /proc/self/fd /proc/1/fd 2>/dev/null; echo ready; read line; exit 7";
    let flags = ["-i", "--report", "report", "--status-fd", "3"];
    let words = [
        &[
            "-ec",
            "exec \"$UCR\" run --pull never \"$@\" 3>status",
            "sh",
        ],
        &flags[..],
    ];
    let mut command = env.tool("sh");
    command
        .env("UCR", crate::binaries::ucr())
        .args(words.concat());
    command.args([image.as_str(), "sh", "-c", script]);
    command.stdin(Stdio::piped());
    let mut run = crate::output::Running::spawn(&mut command);
    run.until("ready");
    let inodes = ["report", "status"].map(|name| env.path(name).metadata().unwrap().ino());
    let record = &env.containers()[0];
    let open = std::fs::read_dir(format!("/proc/{}/fd", record["pid"])).unwrap();
    for fd in open {
        let ino = fd.unwrap().path().metadata().unwrap().ino();
        assert!(!inodes.contains(&ino), "pid 1 has it");
    }
    run.close_stdin();
    let output = run.finish().ended(7);
    assert!(!output.stdout.contains("report") && !output.stdout.contains("status"));
    for name in ["report", "status"] {
        let told = lines(&std::fs::read_to_string(env.path(name)).unwrap());
        assert_eq!(events(&told), ["started", "exited"]);
        let last = &told[1];
        assert_eq!(
            (&last["exit_code"], &last["oom"]),
            (&7.into(), &false.into())
        );
        assert_eq!(last.get("signal"), None);
        assert_eq!(last["container"], record["id"]);
    }
}

#[test]
fn a_task_that_was_killed_or_never_ran_is_told_as_that() {
    needs_machine!();
    let (env, registry) = serving(&images::busybox());
    let image = pulled(&env, &registry);
    let run = |flags: &[&str], words: &[&str]| {
        let first = ["run", "--pull", "never", "--report", "report"];
        env.ucr(&[&first, flags, &[&image], words].concat())
    };
    run(&[], &["sh", "-c", "kill -KILL $$"]).ended(137);
    let told = report(&env).pop().unwrap();
    assert_eq!(
        (&told["signal"], &told["exit_code"]),
        (&9.into(), &137.into())
    );
    for (flags, program, code, exit_code) in [
        (&[][..], "missing", "program-not-found", 127),
        (&[], "/etc", "program-not-executable", 126),
        (&["-w", "/etc/passwd"], "true", "container-refused", 125),
        (&["-v", "/no/such:/x"], "true", "setup", 125),
    ] {
        run(flags, &[program]).ended(exit_code);
        let told = report(&env).pop().unwrap();
        assert_eq!(told["event"], "failed");
        assert_eq!(
            (&told["code"], &told["retryable"]),
            (&code.into(), &false.into()),
            "{told}"
        );
    }
    let absent = format!("{}/absent:1", registry.host());
    let words = ["run", "--pull", "never", "--report", "report", &absent];
    env.ucr(&words).ended(125);
    assert_eq!(report(&env).pop().unwrap()["code"], "not-cached");
}
