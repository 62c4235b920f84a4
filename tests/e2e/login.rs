//! `ucr login` and `ucr logout`: what they ask, check, write and say.

use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use serde_json::{Value, json};
use test_support::{RealRegistry, need_command};

use crate::env::{TestEnv, as_nobody};
use crate::images;
use crate::output::{Output, Running};

const NAME: &str = "team/app:1";

/// An environment with an image, and a session directory for the user.
fn env() -> TestEnv {
    let env = TestEnv::new();
    env.push(&images::file("x", "y"), NAME);
    env.make_dir("session");
    env
}

/// A shell script with the registry's host as `$1` and the password as `$2`.
fn shell(env: &TestEnv, script: &str) -> Output {
    let arguments = [env.registry.host(), RealRegistry::PASSWORD];
    let mut command = env.shell(script, &arguments);
    Output::of(command.env("XDG_RUNTIME_DIR", env.path("session")))
}

fn kept(env: &TestEnv) -> Value {
    let bytes = std::fs::read(env.path("session/containers/auth.json")).unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

const LOGIN: &str = r#"printf '%s\n' "$2" | "$UCR" login -u tester --password-stdin"#;

#[test]
fn who_logged_in_pulls_without_flags_until_logged_out() {
    needs_machine!();
    let env = env();
    let image = env.reference(NAME);
    let said = shell(&env, &format!(r#"{LOGIN} "$1""#)).ok();
    said.said(&["logged in to 127.0.0.1:", "as tester, kept in", "auth.json"]);
    let path = env.path("session/containers/auth.json");
    assert_eq!(
        path.metadata().unwrap().permissions().mode() & 0o7777,
        0o600
    );
    let host = env.registry.host().to_owned();
    let basic = "dGVzdGVyOmNvcnJlY3QgaG9yc2UgYmF0dGVyeSBzdGFwbGU=";
    assert_eq!(kept(&env), json!({"auths": {&host: {"auth": basic}}}));
    let who = shell(&env, r#""$UCR" login --get-login "$1""#).ok();
    assert_eq!(who.stdout, "tester\n");
    shell(&env, &format!(r#""$UCR" pull -q {image}"#)).ok();

    let out = shell(&env, r#""$UCR" logout "$1""#).ok();
    out.said(&["logged out of 127.0.0.1:"]);
    assert_eq!(kept(&env), json!({"auths": {}}));
    let again = shell(&env, r#""$UCR" logout "$1""#).refused(1);
    again.said(&["nobody is logged in to"]);
    let refused = shell(&env, &format!(r#""$UCR" pull -q {image}"#)).refused(1);
    refused.said(&["wants a credential", &format!("ucr login {host}")]);
}

#[test]
fn a_path_is_for_the_repositories_below_it() {
    needs_machine!();
    let env = env();
    env.push(&images::file("x", "y"), "other/app:1");
    shell(&env, &format!(r#"{LOGIN} "$1/team""#)).ok();
    shell(&env, &format!(r#""$UCR" pull -q {}"#, env.reference(NAME))).ok();
    let other = env.reference("other/app:1");
    shell(&env, &format!(r#""$UCR" pull -q {other}"#)).refused(1);
    shell(&env, r#""$UCR" logout --all"#)
        .ok()
        .said(&["1 credential removed"]);
}

#[test]
fn p32_a_password_that_the_registry_rejects_is_not_kept() {
    needs_machine!();
    let env = env();
    let script = r#"echo wrong-7f3a | "$UCR" login -u tester --password-stdin "$1""#;
    let refused = shell(&env, script).refused(1);
    let refused = refused.said(&["rejects the credential of principal \"tester\""]);
    assert!(!refused.stderr.contains("wrong-7f3a"));
    assert!(!env.path("session/containers").exists());
}

#[test]
fn s48_a_password_in_the_arguments_is_refused() {
    needs_machine!();
    let env = env();
    for flag in ["-p hunter2", "--password=hunter2", "-p"] {
        let script = format!(r#""$UCR" login -u tester "$1" {flag}"#);
        let refused = shell(&env, &script).refused(2);
        let refused = refused.said(&["--password-stdin"]);
        assert!(!refused.stderr.contains("hunter2"), "{}", refused.stderr);
    }
}

#[test]
fn a_person_is_asked_and_the_password_not_shown() {
    needs_machine!();
    need_command!("script");
    let env = env();
    let mut command = env.tool("script");
    let login = format!(
        "{} login {}",
        crate::binaries::ucr().display(),
        env.registry.host()
    );
    command
        .args(["-qec", &login, "/dev/null"])
        .env("XDG_RUNTIME_DIR", env.path("session"))
        .stdin(Stdio::piped());
    let mut person = Running::spawn(&mut command);
    person.answer("User name for ", "tester\n");
    person.answer(
        "Password of tester for ",
        &format!("{}\n", RealRegistry::PASSWORD),
    );
    let output = person.finish().ok();
    assert!(!output.stdout.contains("horse"), "{}", output.stdout);
    assert!(output.stdout.contains("logged in to"), "{}", output.stdout);
    assert_eq!(kept(&env)["auths"].as_object().unwrap().len(), 1);
}

#[test]
fn a_login_needs_no_root_and_no_store() {
    needs_machine!();
    let env = env();
    for (name, mode) in [("", 0o755), ("session", 0o777), ("certs", 0o755)] {
        let mode = PermissionsExt::from_mode(mode);
        std::fs::set_permissions(env.path(name), mode).unwrap();
    }
    let program = crate::binaries::ucr();
    let host = env.registry.host().to_owned();
    let arguments = ["login", "-u", "tester", "--password-stdin", &host];
    let mut command = as_nobody(&env, program, &arguments);
    command
        .env("XDG_RUNTIME_DIR", env.path("session"))
        .stdin(std::fs::File::open(env.path("secret")).unwrap());
    Output::of(&mut command).ok();
    assert!(kept(&env)["auths"][&host].is_object());
}
