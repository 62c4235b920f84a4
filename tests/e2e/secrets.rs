//! A secret goes to its registry and nowhere else.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use base64::Engine as _;
use test_support::{FakeRegistry, RealRegistry};

use crate::env::TestEnv;
use crate::images;
use crate::output::{Output, Running};

const NAME: &str = "team/app:1";
const SECRET: &str = "h3adl1ght-m0rning-s3cret";

fn with_image() -> TestEnv {
    let env = TestEnv::new();
    env.push(&images::file("x", "y"), NAME);
    env
}

#[test]
fn the_secret_comes_by_file_standard_input_or_environment() {
    needs_machine!();
    let env = with_image();
    let image = env.reference(NAME);
    let line = format!("{}\n", RealRegistry::PASSWORD);
    env.write_secret("line", &line);
    let flags = format!("pull -q --principal {} --secret-file", RealRegistry::USER);
    for script in [
        format!(r#""$UCR" {flags} line {image}"#),
        format!(r#""$UCR" {flags} - {image} <line"#),
        format!(r#"UCR_PRINCIPAL=tester UCR_SECRET="$1" "$UCR" pull -q {image}"#),
        format!(r#"UCR_SECRET="$1" "$UCR" pull -q --principal tester {image}"#),
        format!(r#"UCR_PRINCIPAL=tester "$UCR" pull -q --secret-file line {image}"#),
    ] {
        let pulled = Output::of(&mut env.shell(&script, &[RealRegistry::PASSWORD])).ok();
        assert_eq!(pulled.stderr, "", "{script}");
    }
}

#[test]
fn a_principal_without_secret_and_no_principal_at_all_are_told_apart() {
    needs_machine!();
    let env = with_image();
    let image = env.reference(NAME);
    let none = env.ucr(&["pull", "-q", "--principal", "tester", &image]);
    none.refused(1)
        .said(&["tester", "--secret-file", "UCR_SECRET"]);
    let anonymous = env.ucr(&["pull", "-q", &image]).refused(1);
    anonymous.said(&[env.registry.host(), "--principal", "UCR_PRINCIPAL"]);
    env.write_secret("empty", "\n");
    let empty = [
        "pull",
        "-q",
        "--principal",
        "tester",
        "--secret-file",
        "empty",
        &image,
    ];
    env.ucr(&empty).refused(1).said(&["no secret in empty"]);
}

#[test]
fn a_secret_that_others_can_read_is_used_with_a_warning() {
    needs_machine!();
    let env = with_image();
    let open = PermissionsExt::from_mode(0o644);
    std::fs::set_permissions(env.path("secret"), open).unwrap();
    env.pull_with(&["-q"], NAME).ok().said(&["others can read"]);
}

/// Every process, other than this test, that has `secret` in its arguments or environment.
fn holders(secret: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap() {
        let process = entry.unwrap().path();
        for name in ["cmdline", "environ"] {
            let text = std::fs::read(process.join(name)).unwrap_or_default();
            if contains(&text, secret.as_bytes()) {
                found.push(process.join(name).display().to_string());
            }
        }
    }
    found
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

/// Files below `folder` whose name or content has `part` in it.
fn files_with(folder: &Path, part: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let shown = path.display().to_string();
        if path.is_dir() {
            found.extend(files_with(&path, part));
        } else if path.is_file() && contains(&std::fs::read(&path).unwrap(), part.as_bytes()) {
            found.push(shown.clone());
        }
        if shown.contains(part) {
            found.push(shown);
        }
    }
    found
}

#[test]
fn a_secret_is_in_no_arguments_environment_log_or_store() {
    needs_machine!();
    let env = TestEnv::new();
    let registry = FakeRegistry::https(&env.ca);
    registry.require_basic("robot", SECRET);
    let image = images::file("x", "y");
    registry.put("team/app", "1", &image);
    let gate = registry.gate(
        &format!("GET /v2/team/app/blobs/{}", image.layers[0].digest),
        1,
    );
    let file = env.write_secret("robot.secret", SECRET);
    let name = format!("{}/{NAME}", registry.host());
    let mut pull = env.command(&["-vv", "pull", "--principal", "robot", "--secret-file"]);
    let pull = Running::spawn(pull.arg(file).arg(&name));
    gate.wait_reached(1);
    let basic = base64::engine::general_purpose::STANDARD.encode(format!("robot:{SECRET}"));
    assert_eq!(holders(SECRET), Vec::<String>::new());
    assert_eq!(holders(&basic), Vec::<String>::new());
    gate.release();
    let pulled = pull.finish().ok();
    for form in [SECRET, basic.as_str()] {
        assert!(!pulled.stderr.contains(form), "{}", pulled.stderr);
        assert_eq!(files_with(&env.root(), form), Vec::<String>::new());
    }
}

#[test]
fn w6_a_cached_image_is_for_whom_its_registry_lets_in() {
    needs_machine!();
    let env = TestEnv::with_image(&images::busybox());
    let image = env.reference(NAME);
    let run = |credential: Option<[&str; 2]>| {
        let mut run = env.command(&["run", "--pull", "never", &image, "echo", "mine"]);
        if let Some([principal, secret]) = credential {
            run.env("UCR_PRINCIPAL", principal)
                .env("UCR_SECRET", secret);
        }
        Output::of(&mut run)
    };
    let kept_back = "the store has, but may not give away";
    run(None)
        .refused(125)
        .said(&[kept_back, "wants a credential"]);
    let guess = run(Some([RealRegistry::USER, "guessed"])).refused(125);
    guess.said(&[kept_back, "rejects the credential", RealRegistry::USER]);
    let right = Some([RealRegistry::USER, RealRegistry::PASSWORD]);
    assert_eq!(run(right).ok().stdout, "mine\n");
}

#[test]
fn what_the_caller_set_reaches_neither_task_nor_supervisor() {
    needs_machine!();
    let env = TestEnv::new();
    let registry = FakeRegistry::https(&env.ca);
    registry.require_basic("robot", SECRET);
    registry.put("team/app", "1", &images::busybox());
    let name = format!("{}/{NAME}", registry.host());
    let as_robot = |arguments: &[&str]| {
        let mut command = env.command(arguments);
        command
            .env("UCR_PRINCIPAL", "robot")
            .env("UCR_SECRET", SECRET);
        command
    };
    Output::of(&mut as_robot(&["pull", "-q", &name])).ok();
    let mut run = as_robot(&["run", &name, "sh", "-c", "env; echo ready; read line"]);
    let mut running = Running::spawn(run.stdin(std::process::Stdio::piped()));
    running.until("ready");
    assert_eq!(holders(SECRET), Vec::<String>::new());
    running.close_stdin();
    let output = running.finish();
    assert!(!output.stdout.contains("UCR_"), "{output:?}");
}
