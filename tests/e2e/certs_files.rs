//! `ucr certs convert`, `export`, `install` and `uninstall`: certificates as files for others.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

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
