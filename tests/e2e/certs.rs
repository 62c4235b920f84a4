//! `ucr certs`: PEM and DER in, a list out, for everybody.

use std::os::unix::fs::{PermissionsExt, chown};

use serde_json::Value;
use test_support::{RealRegistry, Sentinel, TestCa, Validity};

use crate::binaries;
use crate::env::{CA_NAME, Home, TestEnv, as_nobody};
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

#[test]
fn p13_what_is_out_of_date_is_added_by_force_only() {
    needs_machine!();
    let env = TestEnv::untrusting();
    let old = TestCa::with_validity("Old CA", Validity::Expired).pem();
    let old = env.write("old.pem", old);
    let good = env.shown("ca.pem");
    let files = [good.as_str(), old.to_str().unwrap()];
    let refused = env.ucr(&["certs", "add", files[0], files[1]]).refused(1);
    refused.said(&["old.pem", "CN=Old CA", "expired on 2021-01-01", "--force"]);
    assert!(list(&env).is_empty());
    let forced = env.ucr(&["certs", "add", "--force", files[1]]).ok();
    forced.said(&["expired on 2021-01-01"]);

    env.ucr(&["certs", "add", &good]).ok();
    let expiring = env.ucr(&["certs", "expiring", "--within", "30d"]).ended(1);
    assert_eq!(expiring.lines().len(), 1, "{expiring:?}");
    assert!(
        expiring.stdout.contains("expired 2021-01-01  CN=Old CA"),
        "{expiring:?}"
    );
    env.ucr(&["certs", "remove", &expiring.stdout[..12]]).ok();
    let nothing = env.ucr(&["certs", "expiring", "--within", "30d"]).ok();
    assert_eq!(nothing.stdout, "");
    // Until 2090.
    env.ucr(&["certs", "expiring", "--within", "5200w"])
        .ended(1);
    env.ucr(&["certs", "expiring", "--within", "soon"]).ended(2);
}

#[test]
fn names_and_registries_point_at_what_is_to_be_removed() {
    needs_machine!();
    let env = TestEnv::untrusting();
    let other = env.write("other.pem", TestCa::new("Another").pem());
    let pem = env.shown("ca.pem");
    env.ucr(&[
        "certs",
        "add",
        "--name",
        "corp",
        &pem,
        other.to_str().unwrap(),
    ])
    .ok();
    let alone = ["certs", "add", "--registry", "R.example:443", &pem];
    let again = env.ucr(&alone).ok();
    assert!(again.stdout.starts_with("already trusted "), "{again:?}");
    let refused = env.ucr(&["certs", "rm", "corp", "--registry", "r.example"]);
    refused.refused(1).said(&["ucr certs list"]);
    let removed = env.ucr(&["certs", "rm", "corp"]).ok();
    assert_eq!(removed.lines().len(), 2, "{removed:?}");

    env.ucr(&alone).ok();
    let listed = list(&env);
    assert_eq!(listed[0]["registry"], "r.example", "{listed:?}");
    assert_eq!(listed[0]["by"], "root");
    let json = ["certs", "rm", "--registry", "r.example", "--format", "json"];
    let fingerprint = listed[0]["fingerprint"].as_str().unwrap();
    let removed = env.ucr(&[&json[..], &[fingerprint]].concat()).ok();
    let removed: Vec<Value> = serde_json::from_str(&removed.stdout).unwrap();
    assert_eq!(removed[0]["registry"], "r.example", "{removed:?}");
    assert!(list(&env).is_empty());
    for name in ["a/b", "", "-x"] {
        env.ucr(&["certs", "add", &format!("--name={name}"), &pem])
            .ended(2);
    }
}

#[test]
fn a_user_without_root_has_certificates_of_their_own_beside_the_machine_s() {
    needs_machine!();
    test_support::need_command!("unshare");
    let env = TestEnv::untrusting();
    let ucr = for_nobody(&env);
    let home = env.make_dir("home");
    chown(&home, Some(65534), Some(65534)).unwrap();
    let other = TestCa::new("Another");
    env.write("other.pem", other.pem());
    let script = r#"
        mount -t tmpfs tmpfs /etc
        unset UCR_CERTS_DIR
        "$1" certs add ca.pem
        run() { setpriv --reuid=65534 --regid=65534 --clear-groups env "$@"; }
        run HOME="$2" "$1" certs add other.pem
        run HOME=/ XDG_CONFIG_HOME="$2/.config" "$1" certs list --format json"#;
    let arguments = [ucr.to_str().unwrap(), home.to_str().unwrap()];
    let listed = Output::of(&mut env.shell_with_own_mounts(script, &arguments)).ok();
    let json = &listed.stdout[listed.stdout.find('[').unwrap()..];
    let listed: Vec<Value> = serde_json::from_str(json).unwrap();
    let files = listed.iter().map(|one| one["file"].as_str().unwrap());
    let files: Vec<&str> = files.collect();
    assert!(files[0].starts_with("/etc/ucr/certs/"), "{files:?}");
    let own = home.join(".config/ucr/certs");
    assert!(files[1].starts_with(own.to_str().unwrap()), "{files:?}");
}

/// `ucr` where everybody may execute it, and a directory that nobody may write to.
pub(crate) fn for_nobody(env: &Home) -> std::path::PathBuf {
    let open = PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(env.path(""), open).unwrap();
    let own = env.make_dir("certs");
    chown(&own, Some(65534), Some(65534)).unwrap();
    for name in ["ucr", "ucr-registry"] {
        std::fs::copy(binaries::ucr().with_file_name(name), env.path(name)).unwrap();
    }
    env.path("ucr")
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
