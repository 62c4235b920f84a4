//! Which of the files with credentials counts, and helpers that keep them elsewhere.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::OpenOptionsExt as _;

use serde_json::json;
use test_support::RealRegistry;

use crate::env::TestEnv;
use crate::images;
use crate::output::Output;

const NAME: &str = "team/app:1";

fn env() -> TestEnv {
    let env = TestEnv::new();
    env.push(&images::file("x", "y"), NAME);
    for directory in [
        "session",
        "session/containers",
        "docker",
        "home",
        "home/.docker",
        "bin",
    ] {
        env.make_dir(directory);
    }
    env
}

/// A file that says that `user` is to be shown to the registry.
fn write(env: &TestEnv, path: &str, user: &str) {
    let entry = json!({"username": user, "password": "wrong"});
    let document = json!({"auths": {env.registry.host(): entry}});
    env.write_secret(path, document.to_string());
}

fn pull(env: &TestEnv, flags: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = env.command(&["pull", "-q"]);
    command.args(flags).arg(env.reference(NAME));
    for (name, value) in variables {
        command.env(name, env.path(value));
    }
    Output::of(&mut command)
}

#[test]
fn the_files_count_in_the_order_of_podman_and_docker_and_flags_before_them() {
    needs_machine!();
    let env = env();
    let variables = [
        ("REGISTRY_AUTH_FILE", "named.json"),
        ("XDG_RUNTIME_DIR", "session"),
        ("DOCKER_CONFIG", "docker"),
        ("HOME", "home"),
    ];
    let flat = json!({env.registry.host(): {"username": "dockercfg", "password": "wrong"}});
    env.write_secret("home/.dockercfg", flat.to_string());
    let places = [
        ("docker/config.json", "docker"),
        ("session/containers/auth.json", "podman"),
        ("named.json", "variable"),
        ("flag.json", "flag"),
    ];
    let refused = |user: &str, flags: &[&str], variables: &[(&str, &str)]| {
        let refused = pull(&env, flags, variables).refused(1);
        refused.said(&[&format!(
            "rejects the credential of principal \"{user}\" from "
        )]);
    };
    refused("dockercfg", &[], &variables[1..]);
    for (path, user) in &places[..3] {
        write(&env, path, user);
        let from = if *user == "variable" { 0 } else { 1 };
        refused(user, &[], &variables[from..]);
    }
    write(&env, places[3].0, places[3].1);
    let flag = env.shown("flag.json");
    refused("flag", &["--authfile", &flag], &variables);
    let all = [
        "--authfile",
        &flag,
        "--principal",
        "explicit",
        "--secret-file",
    ];
    let secret = env.shown("secret");
    refused("explicit", &[&all[..], &[&secret]].concat(), &variables);
}

#[test]
fn p42_a_secret_comes_by_file_descriptor() {
    needs_machine!();
    let env = env();
    let image = env.reference(NAME);
    let flags = format!("pull -q --principal {} --secret-fd", RealRegistry::USER);
    for script in [
        format!(r#""$UCR" {flags} 7 {image} 7<secret"#),
        format!(r#"printf '%s\n' "$1" | "$UCR" {flags} 0 {image}"#),
    ] {
        Output::of(&mut env.shell(&script, &[RealRegistry::PASSWORD])).ok();
    }
    let closed = std::fs::File::open("/dev/null").unwrap().as_raw_fd() + 900;
    let script = format!(r#""$UCR" {flags} {closed} {image}"#);
    let refused = Output::of(&mut env.shell(&script, &[])).refused(1);
    refused.said(&[&format!(
        "cannot read the secret from file descriptor {closed}"
    )]);
}

#[test]
fn a_named_file_that_is_missing_or_damaged_is_an_error() {
    needs_machine!();
    let env = env();
    let missing = env.shown("missing.json");
    let refused = pull(&env, &["--authfile", &missing], &[]).refused(1);
    refused.said(&[
        "cannot read the credentials in",
        "missing.json",
        "No such file",
    ]);
    env.write_secret("home/.docker/config.json", "{\"auths\":");
    let refused = pull(&env, &[], &[("HOME", "home")]).refused(1);
    refused.said(&["the credentials in ~/.docker/config.json cannot be understood: line 1"]);
}

/// Puts a credential helper into the environment's own directory of programs.
fn install_helper(env: &TestEnv, name: &str, script: &str) {
    let path = env.path("bin").join(format!("docker-credential-{name}"));
    let mut options = OpenOptions::new();
    let file = options.write(true).create(true).mode(0o755).open(path);
    write!(file.unwrap(), "#!/bin/sh\n{script}\n").unwrap();
}

fn pull_with_helpers(env: &TestEnv) -> Output {
    pull_hurried(env, &[])
}

fn pull_hurried(env: &TestEnv, flags: &[&str]) -> Output {
    let mut command = env.command(&["pull", "-q", &env.reference(NAME)]);
    command.args(flags);
    let path = format!("{}:/usr/bin:/bin", env.path("bin").display());
    Output::of(command.env("HOME", env.path("home")).env("PATH", path))
}

#[test]
fn a_helper_is_started_once_and_what_it_says_is_used_or_said() {
    needs_machine!();
    let env = env();
    let document = json!({"credHelpers": {env.registry.host(): "test"}});
    env.write_secret("home/.docker/config.json", document.to_string());
    let program = "docker-credential-test, which ~/.docker/config.json names";
    let failing = "echo no key in the agent; exit 1";
    for (script, said) in [
        (failing, "no key in the agent"),
        ("echo hunter2", "is not the JSON"),
    ] {
        install_helper(&env, "test", script);
        let refused = pull_with_helpers(&env).refused(1).said(&[program, said]);
        assert!(!refused.stderr.contains("hunter2"));
        std::fs::remove_file(env.path("bin/docker-credential-test")).unwrap();
    }
    install_helper(&env, "test", "exec tail -f /dev/null");
    let hurried = pull_hurried(&env, &["--deadline", "1s"]).refused(1);
    hurried.said(&[program, "it did not answer within"]);
    std::fs::remove_file(env.path("bin/docker-credential-test")).unwrap();
    let missing = pull_with_helpers(&env).refused(1);
    missing.said(&["cannot start docker-credential-test", "No such file"]);
    let script = format!(
        "read host; echo \"$1 $host\" >>\"{}\"\necho '{}'",
        env.path("asked").display(),
        json!({"Username": RealRegistry::USER, "Secret": RealRegistry::PASSWORD}),
    );
    install_helper(&env, "test", &script);
    pull_with_helpers(&env).ok();
    let asked = std::fs::read_to_string(env.path("asked")).unwrap();
    assert_eq!(asked, format!("get {}\n", env.registry.host()));
}

#[test]
fn the_configuration_names_mirrors_and_who_is_blocked() {
    needs_machine!();
    let env = env();
    let host = env.registry.host();
    env.write(
        "mirrored.toml",
        format!("[registry.\"r.example\"]\nmirrors = [\"{host}\"]\n"),
    );
    env.write(
        "blocked.toml",
        format!("[registry.\"{host}\"]\nblocked = true\n"),
    );
    let flags = ["--principal", RealRegistry::USER, "--secret-file", "secret"];
    let pull = |config: &str, image: &str| {
        let config = env.shown(config);
        let arguments = [&["--config", &config, "pull", "-q"][..], &flags, &[image]].concat();
        env.ucr(&arguments)
    };
    // What is given by flags is for the registry and not for its mirror.
    let refused = pull("mirrored.toml", "r.example/team/app:1").refused(1);
    refused.said(&[
        &format!("the mirror {host}/team/app did not help ({host} wants a credential"),
        "cannot find the host r.example",
    ]);
    write(&env, "auth.json", "unused");
    let entry = json!({"username": RealRegistry::USER, "password": RealRegistry::PASSWORD});
    let document = json!({"auths": {host: entry}});
    env.write_secret("auth.json", document.to_string());
    let config = env.shown("mirrored.toml");
    let image = "r.example/team/app:1";
    env.ucr(&[
        "--config",
        &config,
        "pull",
        "-q",
        "--authfile",
        "auth.json",
        image,
    ])
    .ok();
    let refused = pull("blocked.toml", &env.reference(NAME)).refused(1);
    refused.said(&[&format!("{host} is blocked by the configuration")]);
}
