//! `ucr certs convert`, `export`, `install` and `uninstall`: certificates as files for others.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use test_support::{Sentinel, TestCa};

use crate::env::TestEnv;
use crate::output::Output;

/// Runs `openssl` with words separated by spaces in the environment's directory; gives its bytes.
#[track_caller]
fn openssl(env: &TestEnv, words: &str) -> Vec<u8> {
    let mut command: Command = env.tool("openssl");
    let output = command.args(words.split(' ')).output().unwrap();
    assert!(output.status.success(), "openssl {words}: {output:?}");
    output.stdout
}

fn read(path: impl AsRef<Path>) -> Vec<u8> {
    std::fs::read(path).unwrap()
}

#[test]
fn what_openssl_converts_is_converted_to_the_same_bytes() {
    needs_machine!();
    let env = TestEnv::untrusting();
    let pem = openssl(&env, "x509 -in ca.crt -inform DER -outform PEM");
    let der = openssl(&env, "x509 -in ca.pem -outform DER");
    let converted = env.ucr(&["certs", "convert", "ca.crt"]).ok();
    assert_eq!(converted.stdout.as_bytes(), pem);
    let said = env.ucr(&["certs", "convert", "ca.pem", "--to", "der", "-o", "out.der"]);
    assert_eq!(said.ok().stdout, "wrote 1 certificate to out.der\n");
    assert_eq!(read(env.path("out.der")), der);
    let script = r#""$UCR" certs convert - --to der <ca.pem | cmp - "$1""#;
    Output::of(&mut env.shell(script, &["ca.crt"])).ok();

    // In place: everything is read before anything is written, and the mode stays.
    let path = env.write_secret("in-place", env.ca.der());
    env.ucr(&["certs", "convert", "in-place", "-o", "in-place"])
        .ok();
    assert_eq!(read(&path), pem);
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn convert_refuses_what_would_lose_something() {
    needs_machine!();
    test_support::need_command!("script");
    let env = TestEnv::untrusting();
    let pem = env.ca.pem();
    env.write("three.pem", pem.repeat(3));
    let before = env.write("out", "precious");
    let to_der = ["certs", "convert", "three.pem", "--to", "der", "-o", "out"];
    let refused = env.ucr(&to_der).refused(1);
    refused.said(&["DER holds one certificate, three.pem holds 3"]);
    assert_eq!(read(&before), b"precious");
    let device = ["certs", "convert", "ca.pem", "-o", "/dev/null"];
    env.ucr(&device).refused(1).said(&["/dev/null"]);

    let script = r#"script -qec '"$UCR" certs convert ca.pem --to der' /dev/null"#;
    let refused = Output::of(&mut env.shell(script, &[])).ended(1);
    assert!(refused.stdout.contains("try: -o FILE"), "{refused:?}");

    let key = env.ca.issue(&["localhost"]).key;
    env.write_secret("both.pem", format!("{key}{pem}"));
    let converted = env.ucr(&["certs", "convert", "both.pem"]).ok();
    assert_eq!(converted.stdout, pem);
    converted.said(&["both.pem holds private keys as well: left out 1"]);
}

#[test]
fn what_was_added_goes_into_a_cafile_and_out_of_it() {
    needs_machine!();
    let env = TestEnv::new();
    let other = TestCa::new("Of the package");
    // No line end: the package's own way, which comes back.
    let original = other.pem().trim_end().to_owned();
    let cafile = env.write("cacert.pem", &original);
    let install = ["certs", "install", "--into", "cacert.pem"];
    let installed = env.ucr(&install).ok();
    let expected = "installed 1 certificate into cacert.pem, backup ./cacert.pem.ucr-backup\n";
    assert_eq!(installed.stdout, expected);
    let both = read(&cafile);
    for needle in [original.trim_end(), env.ca.pem().trim_end()] {
        assert!(String::from_utf8_lossy(&both).contains(needle), "{both:?}");
    }
    openssl(&env, "verify -CAfile cacert.pem ca.pem");

    let again = env.ucr(&install).ok();
    let expected = "cacert.pem already holds 1 certificate of ucr's\n";
    assert_eq!(again.stdout, expected);
    let another = env.write("another.crt", TestCa::new("Another").der());
    let another = another.to_str().unwrap();
    env.ucr(&["certs", "add", another]).ok();
    let with_json = [install.as_slice(), &["--format", "json"]].concat();
    let replaced: Value = serde_json::from_str(&env.ucr(&with_json).ok().stdout).unwrap();
    assert_eq!(replaced["outcome"], "replaced");
    assert_eq!(
        (&replaced["certificates"], &replaced["alsoElsewhere"]),
        (&json!(2), &json!(0))
    );

    // Under the name of the other direction's flag, too.
    let out = env
        .ucr(&["certs", "uninstall", "--into", "cacert.pem"])
        .ok();
    let expected = "took 2 certificates out of cacert.pem, backup ./cacert.pem.ucr-backup stays\n";
    assert_eq!(out.stdout, expected);
    assert_eq!(read(&cafile), original.as_bytes());
    let from = [
        "certs",
        "uninstall",
        "--from",
        "cacert.pem",
        "--format",
        "json",
    ];
    let nothing: Value = serde_json::from_str(&env.ucr(&from).ok().stdout).unwrap();
    assert_eq!(
        (&nothing["outcome"], &nothing["certificates"]),
        (&json!("unchanged"), &json!(0))
    );
}

#[test]
fn install_refuses_with_nothing_changed() {
    needs_machine!();
    let env = TestEnv::untrusting();
    let install = |cafile: &str| env.ucr(&["certs", "install", "--into", cafile]);
    let refused = install("ca.pem").refused(1);
    refused.said(&["no certificate was added", "try: ucr certs add"]);
    env.ucr(&["certs", "add", "ca.crt"]).ok();
    let pem = env.ca.pem();
    env.write("half.pem", format!("{pem}{}", &pem[..200]));
    env.write(
        "markers.pem",
        format!("{pem}# BEGIN certificates added by ucr\n"),
    );
    let before = Sentinel::watch(&env.path(""));
    for (cafile, said) in [
        ("half.pem", "half.pem: PEM block 2"),
        (
            "markers.pem",
            "markers.pem: the markers of ucr's certificates are damaged",
        ),
        ("ca.crt", "try: ucr certs convert ca.crt -o ca.crt"),
        ("certs", "certs is no regular file"),
        ("/no/such.pem", "the CAfile /no/such.pem does not exist"),
    ] {
        install(cafile).refused(1).said(&[said]);
    }
    env.ucr(&["certs", "install"]).ended(2).said(&["--into"]);
    before.assert_unchanged();
}
