//! `ucr certs`: PEM and DER in, a list out, for everybody.

use std::os::unix::fs::{PermissionsExt, chown};

use serde_json::Value;
use test_support::{RealRegistry, Sentinel, TestCa};

use crate::binaries;
use crate::env::{CA_NAME, TestEnv, as_nobody};
use crate::output::Output;

fn list(env: &TestEnv) -> Vec<Value> {
    let listed = env.ucr(&["certs", "list", "--format", "json"]).ok();
    serde_json::from_str(&listed.stdout).unwrap()
}

#[test]
fn der_is_told_from_pem_by_content_and_listed_as_json() {
    needs_machine!();
    let env = TestEnv::untrusting();
    // The names say the opposite of what is in them.
    let der = env.write("ca-of-a.pem", env.ca.der());
    let der = der.to_str().unwrap();
    let added = env.ucr(&["certs", "add", der]).ok();
    assert!(added.stdout.starts_with("added "), "{added:?}");
    assert!(added.stdout.contains(CA_NAME), "{added:?}");
    let again = env.ucr(&["certs", "add", &env.shown("ca.pem")]).ok();
    assert!(again.stdout.starts_with("already trusted "), "{again:?}");

    let listed = list(&env);
    assert_eq!(listed.len(), 1, "{listed:?}");
    let one = &listed[0];
    assert!(one["subject"].as_str().unwrap().contains(CA_NAME), "{one}");
    assert_eq!(one["subject"], one["issuer"]);
    assert_eq!(one["from"], der);
    assert!(one["daysLeft"].as_i64().unwrap() > 365, "{one}");
    let fingerprint = one["fingerprint"].as_str().unwrap();
    assert!(fingerprint.starts_with("sha256:"), "{one}");

    let table = env.ucr(&["certs", "list"]).ok();
    assert_eq!(table.lines().len(), 2, "{table:?}");
    assert!(table.lines()[1].contains(CA_NAME), "{table:?}");
}

#[test]
fn several_certificates_in_one_go_then_removed_by_fingerprint() {
    needs_machine!();
    let env = TestEnv::untrusting();
    let [one, two, three] = ["One", "Two", "Three"].map(TestCa::new);
    let both = env.write("both.pem", format!("comment\n{}\n{}", one.pem(), two.pem()));
    let third = env.write("third.crt", three.der());
    let files = [both.to_str().unwrap(), third.to_str().unwrap()];
    let added = env.ucr(&["certs", "add", files[0], files[1]]).ok();
    assert_eq!(added.lines().len(), 3, "{added:?}");
    assert_eq!(list(&env).len(), 3);

    for (left, entry) in list(&env).iter().enumerate().rev() {
        let fingerprint = entry["fingerprint"].as_str().unwrap();
        let removed = env
            .ucr(&["certs", "remove", &fingerprint["sha256:".len()..]])
            .ok();
        assert!(removed.stdout.starts_with("removed "), "{removed:?}");
        assert_eq!(list(&env).len(), left);
    }
    let cafile = std::fs::read_to_string(env.certs_dir().join("cafile.pem")).unwrap();
    assert!(!cafile.contains("BEGIN CERTIFICATE"), "{cafile}");
    env.ucr(&["certs", "remove", "00112233445566778899"])
        .refused(1);
}

#[test]
fn a_certificate_comes_by_standard_input() {
    needs_machine!();
    let env = TestEnv::untrusting();
    let script = r#""$UCR" certs add - <ca.crt"#;
    Output::of(&mut env.shell(script, &[])).ok();
    assert_eq!(list(&env).len(), 1);
}

#[test]
fn a_file_without_certificate_is_refused_by_name_with_nothing_changed() {
    needs_machine!();
    let env = TestEnv::new();
    let good = env.write("good.pem", TestCa::new("Another").pem());
    let good = good.to_str().unwrap();
    let key = env.ca.issue(&["localhost"]).key;
    let half = &env.ca.pem()[..200];
    let der = env.ca.der();
    let before = Sentinel::watch(&env.certs_dir());
    for (name, content) in [
        ("empty.pem", b"".as_slice()),
        ("words.crt", b"this is no certificate\n"),
        ("server.key", key.as_bytes()),
        ("half.pem", half.as_bytes()),
        ("half.der", &der[..der.len() / 2]),
    ] {
        let bad = env.write(name, content);
        let refused = env.ucr(&["certs", "add", good, bad.to_str().unwrap()]);
        refused.refused(1).said(&[name]);
        before.assert_unchanged();
    }
    let missing = env.ucr(&["certs", "add", good, "/no/such/file.crt"]);
    missing.refused(1).said(&["/no/such/file.crt"]);
    before.assert_unchanged();
}

/// `ucr` where everybody may execute it, and a directory that nobody may write to.
fn for_nobody(env: &TestEnv) -> std::path::PathBuf {
    let open = PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(env.path(""), open).unwrap();
    let own = env.make_dir("certs");
    chown(&own, Some(65534), Some(65534)).unwrap();
    let ucr = env.path("ucr");
    std::fs::copy(binaries::ucr(), &ucr).unwrap();
    ucr
}

#[test]
fn certs_works_without_root() {
    needs_machine!();
    let env = TestEnv::untrusting();
    let ucr = for_nobody(&env);
    let run = |arguments: &[&str]| Output::of(&mut as_nobody(&env, &ucr, arguments));
    run(&["certs", "add", &env.shown("ca.crt")]).ok();
    let listed = run(&["certs", "list", "--format", "json"]).ok();
    let listed: Vec<Value> = serde_json::from_str(&listed.stdout).unwrap();
    let fingerprint = listed[0]["fingerprint"].as_str().unwrap();
    run(&["certs", "rm", fingerprint]).ok();
    assert_eq!(
        run(&["certs", "ls", "--format", "json"]).ok().stdout,
        "[]\n"
    );
}

#[test]
fn pull_and_run_without_root_refuse_in_one_line() {
    needs_machine!();
    let env = TestEnv::untrusting();
    let ucr = for_nobody(&env);
    let image = env.reference("team/app:1");
    for (words, code) in [
        (["pull", image.as_str()], 1),
        (["run", image.as_str()], 125),
    ] {
        let refused = Output::of(&mut as_nobody(&env, &ucr, &words));
        let refused = refused.refused(code).said(&["needs root"]);
        assert_eq!(refused.stderr.lines().count(), 1, "{refused:?}");
        assert!(!env.root().exists(), "it made a store");
    }
    assert_eq!(env.registry.count(RealRegistry::USER, 0), 0);
}
