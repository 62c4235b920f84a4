//! `ucr-registry prepare`: what `ucr launch` has fetched and pulled before a task starts.

use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use test_support::fake_registry::{Fault, Response};
use test_support::{Compression, FakeRegistry, LayerBuilder, RealRegistry};

use crate::binaries;
use crate::env::{Home, TestEnv};
use crate::images;
use crate::output::Output;

const NAME: &str = "team/app:1";

/// With an image that the store does not have, of a registry that wants a password.
fn env() -> TestEnv {
    let env = TestEnv::new();
    env.push(&images::file("x", "y"), NAME);
    env.make_dir("sandbox");
    env
}

fn command(home: &Home, flags: &[&str]) -> Command {
    let registry = binaries::ucr().with_file_name("ucr-registry");
    let mut command = home.tool(registry);
    command.arg("prepare").args(flags);
    command
}

fn start(mut command: Command, request: &Value) -> Child {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(request.to_string().as_bytes()).unwrap();
    child
}

/// What was answered, and what was said.
fn prepare(home: &Home, flags: &[&str], request: &Value) -> (Value, Output) {
    let child = start(command(home, flags), request);
    let output = Output::from(child.wait_with_output().unwrap());
    let [line] = output.lines()[..] else {
        panic!("{output:#?}");
    };
    (serde_json::from_str(line).unwrap(), output)
}

#[track_caller]
fn ready(home: &Home, flags: &[&str], request: &Value) -> Value {
    let (answer, output) = prepare(home, flags, request);
    output.ended(0);
    answer["ready"].clone()
}

#[track_caller]
fn failed(home: &Home, flags: &[&str], request: &Value) -> Value {
    let (answer, output) = prepare(home, flags, request);
    let output = output.ended(1);
    let failed = answer["failed"].clone();
    // What is answered is said, too.
    let message = failed["message"].as_str().unwrap();
    output.said(&[&format!("ucr: {message}")]);
    failed
}

fn file(uri: &str) -> Value {
    json!({"path": "fetch[0]", "uri": uri, "extract": true, "executable": false,
           "cache": false, "output": null})
}

fn image(env: &TestEnv) -> Value {
    json!({"path": "container.docker", "reference": env.reference(NAME), "pull": "missing",
           "credential": null, "sandbox": 0})
}

fn request(home: &Home, files: &[Value], images: &[Value]) -> Value {
    json!({
        "sandboxes": [{"path": home.path("sandbox"), "uid": 77, "gid": 78, "fetch": files,
                       "limit": null}],
        "images": images,
        "docker_config": null,
        "cache": {"directory": null, "limit": 1_000_000},
    })
}

/// An archive as DC/OS has its users make: `docker.tar.gz` with the login of `docker login`.
fn docker_archive(env: &TestEnv, document: &Value) -> Vec<u8> {
    let text = document.to_string();
    let archive = LayerBuilder::new()
        .dir(".docker", 0o700)
        .file(".docker/config.json", text);
    let bytes = archive.build().compress(Compression::Gzip).bytes;
    env.write("docker.tar.gz", &bytes);
    bytes
}

fn login(env: &TestEnv) -> Value {
    let user = json!({"username": RealRegistry::USER, "password": RealRegistry::PASSWORD});
    json!({"auths": {env.registry.host(): user}})
}

fn serve(server: &FakeRegistry, path: &str, bytes: Vec<u8>) {
    server.respond(path, move |_| {
        Response::new(200, "application/octet-stream", bytes.clone())
    });
}

#[test]
fn i15_an_image_is_pulled_as_whom_an_archive_of_the_task_says() {
    needs_machine!();
    let env = env();
    let server = FakeRegistry::https(&env.ca);
    serve(
        &server,
        "/docker.tar.gz",
        docker_archive(&env, &login(&env)),
    );
    let uri = server.url("/docker.tar.gz");
    let asked = request(&env, &[file(&uri)], &[image(&env)]);
    let ready = ready(&env, &["--report", "report"], &asked);
    assert_eq!(ready["files"][0]["name"], "docker.tar.gz");
    assert_eq!(ready["files"][0]["unpacked"], 2);
    assert_eq!(ready["images"][0]["reference"], env.reference(NAME));
    let owner = env.path("sandbox/.docker/config.json").metadata().unwrap();
    assert_eq!((owner.uid(), owner.gid()), (77, 78));
    let listed = env.ucr(&["images", "--format", "json"]).ok().stdout;
    assert!(listed.contains(ready["images"][0]["id"].as_str().unwrap()));
    let report = std::fs::read_to_string(env.path("report")).unwrap();
    let lines: Vec<Value> = report
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let events: Vec<_> = lines
        .iter()
        .map(|line| line["event"].as_str().unwrap())
        .collect();
    assert_eq!(events[..4], ["fetching", "fetched", "unpacked", "resolved"]);
    assert_eq!(events.last(), Some(&"pulled"));
    assert_eq!(lines[0]["url"], uri);
    assert_eq!(lines[3]["image"], env.reference(NAME));
    // Another task has nothing to show, and does not get it out of the store.
    env.make_dir("other");
    let mut anonymous = request(&env, &[], &[image(&env)]);
    anonymous["sandboxes"][0]["path"] = json!(env.path("other"));
    let refused = failed(&env, &[], &anonymous);
    assert_eq!(refused["code"], "credential-missing");
    assert_eq!(refused["path"], "container.docker");
}

#[test]
fn a_login_counts_before_what_the_sandbox_has() {
    needs_machine!();
    let env = env();
    let wrong = json!({"auths": {env.registry.host(): {"username": "x", "password": "y"}}});
    env.write("sandbox/.dockercfg", wrong.to_string());
    let refused = failed(&env, &[], &request(&env, &[], &[image(&env)]));
    assert_eq!(refused["code"], "credential-rejected");
    let mut own = image(&env);
    own["credential"] = json!({
        "login": {"principal": RealRegistry::USER, "secret": RealRegistry::PASSWORD}
    });
    ready(&env, &[], &request(&env, &[], &[own]));
}

#[test]
fn the_agents_own_configuration_is_asked_last() {
    needs_machine!();
    let env = env();
    let mut asked = request(&env, &[], &[image(&env)]);
    asked["docker_config"] = json!(env.write_secret("agent.json", login(&env).to_string()));
    ready(&env, &[], &asked);
}

#[test]
fn s48_no_helper_is_run_that_a_sandbox_names() {
    needs_machine!();
    let env = env();
    let script = format!("#!/bin/sh\ntouch {}\n", env.shown("ran"));
    let helper = env.write("docker-credential-evil", script);
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&helper, mode).unwrap();
    env.write("sandbox/.dockercfg", r#"{"credsStore": "evil"}"#);
    let mut command = command(&env, &[]);
    let folder = helper.parent().unwrap().display();
    command.env("PATH", format!("{folder}:/usr/bin:/bin"));
    let child = start(command, &request(&env, &[], &[image(&env)]));
    let output = Output::from(child.wait_with_output().unwrap()).ended(1);
    output.said(&["no program is run because a task says so"]);
    assert!(!env.path("ran").exists());
}

#[test]
fn an_image_is_pulled_when_it_is_missing_forced_or_never() {
    needs_machine!();
    let env = env();
    let with = |pull: &str| {
        let mut image = image(&env);
        image["pull"] = json!(pull);
        image["credential"] = json!({"config": login(&env).to_string()});
        request(&env, &[], &[image])
    };
    let never = failed(&env, &[], &with("never"));
    assert_eq!(
        (never["code"].as_str(), never["phase"].as_str()),
        (Some("not-cached"), Some("store"))
    );
    let old = ready(&env, &[], &with("missing"));
    env.push(&images::file("x", "another"), NAME);
    for pull in ["missing", "never"] {
        assert_eq!(ready(&env, &[], &with(pull)), old);
    }
    let new = ready(&env, &[], &with("always"));
    assert_ne!(new["images"][0]["manifest"], old["images"][0]["manifest"]);
}

#[test]
fn a_file_that_does_not_come_ends_it_before_any_image() {
    needs_machine!();
    let env = env();
    let server = FakeRegistry::https(&env.ca);
    server.fault("/gone", Fault::Status(404));
    let asked = request(
        &env,
        &[file(&server.url("/gone?sig=wonderland"))],
        &[image(&env)],
    );
    let refused = failed(&env, &["--report", "report"], &asked);
    assert_eq!(refused["path"], "fetch[0]");
    assert_eq!(refused["code"], "not-found");
    assert_eq!(refused["phase"], "fetch");
    assert_eq!(refused["retryable"], false);
    let report = std::fs::read_to_string(env.path("report")).unwrap();
    let last: Value = serde_json::from_str(report.lines().last().unwrap()).unwrap();
    assert_eq!(
        (&last["event"], &last["status"]),
        (&json!("failed"), &json!(404))
    );
    assert!(!report.contains("wonderland"));
}

#[test]
fn a_server_that_is_not_trusted_is_told_with_what_to_try() {
    needs_machine!();
    let home = Home::new();
    home.make_dir("sandbox");
    let server = FakeRegistry::https(&test_support::TestCa::new("nobody's"));
    let refused = failed(&home, &[], &request(&home, &[file(&server.url("/f"))], &[]));
    assert_eq!(refused["code"], "untrusted");
    let details = refused["details"].to_string();
    assert!(details.contains("ucr certs add"), "{details}");
}

#[test]
fn local_files_are_fetched_without_any_server() {
    needs_machine!();
    let home = Home::new();
    home.make_dir("sandbox");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(home.path("."), mode).unwrap();
    let path = home.write("app.conf", "local");
    let asked = request(&home, &[file(path.to_str().unwrap())], &[]);
    ready(&home, &[], &asked);
    let text = std::fs::read_to_string(home.path("sandbox/app.conf"));
    assert_eq!(text.unwrap(), "local");
}

#[test]
fn many_processes_that_want_one_file_fetch_it_once() {
    needs_machine!();
    let env = env();
    let server = FakeRegistry::https(&env.ca);
    let content = images::noise(300_000);
    let whole = content.clone();
    server.respond("/f", move |request| {
        let status = match request.header("if-none-match") {
            Some("\"1\"") => 304,
            _ => 200,
        };
        let body = if status == 200 {
            whole.clone()
        } else {
            Vec::new()
        };
        Response::new(status, "application/octet-stream", body).header("ETag", "\"1\"")
    });
    let mut wanted = file(&server.url("/f"));
    wanted["cache"] = json!(true);
    let children: Vec<_> = (0..5)
        .map(|number| {
            let mut asked = request(&env, std::slice::from_ref(&wanted), &[]);
            let sandbox = env.make_dir(&format!("sandbox-{number}"));
            asked["sandboxes"][0]["path"] = json!(sandbox);
            (start(command(&env, &[]), &asked), sandbox)
        })
        .collect();
    for (child, sandbox) in children {
        Output::from(child.wait_with_output().unwrap()).ended(0);
        assert!(std::fs::read(sandbox.join("f")).unwrap() == content);
    }
    let whole = server
        .requests("/f")
        .iter()
        .filter(|one| one.status == 200)
        .count();
    assert_eq!(whole, 1);
    assert!(env.root().join("fetched").is_dir());
}

#[test]
fn what_cannot_be_understood_is_said_without_what_was_asked() {
    needs_machine!();
    let home = Home::new();
    let refused = failed(&home, &[], &json!({"wonderland": 1}));
    assert_eq!(
        (&refused["code"], &refused["path"]),
        (&json!("setup"), &json!(""))
    );
    assert!(!refused.to_string().contains("wonderland"), "{refused}");
}

#[test]
fn it_is_no_command_that_people_are_shown() {
    let home = Home::new();
    let help = home.ucr(&["--help"]).ok().stdout;
    assert!(
        !help.contains("prepare") && !help.contains("health"),
        "{help}"
    );
}
