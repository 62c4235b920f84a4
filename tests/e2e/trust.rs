//! Whom `ucr` trusts: the CAfile, what was added, and nobody else.

use std::process::Command;

use test_support::{FakeRegistry, TestCa, Validity};

use crate::env::{CA_NAME, TestEnv};
use crate::images;
use crate::output::Output;

const NAME: &str = "team/app:1";

fn untrusting_with_image() -> TestEnv {
    let env = TestEnv::untrusting();
    env.push(&images::file("x", "y"), NAME);
    env
}

/// It must have been refused for its certificate.
#[track_caller]
fn distrusted(output: Output) {
    output.refused(1).said(&["is not trusted", "ucr certs add"]);
}

#[test]
fn an_untrusted_ca_is_named_with_what_to_do_and_that_is_enough() {
    needs_machine!();
    let env = untrusting_with_image();
    let host = env.registry.host();
    let refused = env.pull_with(&["-q"], NAME).refused(1);
    refused.said(&[host, CA_NAME, "is not trusted", "ucr certs add"]);
    // Not even a request got through, let alone a credential.
    assert_eq!(env.registry.count("GET /v2", 0), 0);

    env.ucr(&["certs", "add", &env.shown("ca.crt")]).ok();
    env.pull(NAME).ok();
}

#[test]
fn a_removed_certificate_is_trusted_no_longer() {
    needs_machine!();
    let env = untrusting_with_image();
    let added = env.ucr(&["certs", "add", &env.shown("ca.crt")]).ok();
    let fingerprint = added.stdout.split(' ').nth(1).unwrap();
    env.pull(NAME).ok();
    env.ucr(&["certs", "remove", fingerprint]).ok();
    distrusted(env.pull_with(&["-q"], NAME));
}

#[test]
fn the_cafile_comes_by_flag_or_variable_and_the_flag_wins() {
    needs_machine!();
    let env = untrusting_with_image();
    let right = env.shown("ca.pem");
    let wrong = env.write("wrong.pem", TestCa::new("Another").pem());
    let wrong = wrong.to_str().unwrap();
    let pull = |flags: &[&str], variable: &str| {
        Output::of(env.pull_command(flags, NAME).env("UCR_CAFILE", variable))
    };
    pull(&["--cafile", &right], wrong).ok();
    pull(&[], &right).ok();
    distrusted(pull(&["-q", "--cafile", wrong], &right));
    distrusted(pull(&["-q"], wrong));
    // What was added counts beside any CAfile.
    env.ucr(&["certs", "add", &right]).ok();
    pull(&["--cafile", wrong], wrong).ok();
}

#[test]
fn a_cafile_that_is_none_is_refused_by_name() {
    needs_machine!();
    let env = untrusting_with_image();
    env.write("words.pem", "no certificate\n");
    for name in ["missing.pem", "words.pem"] {
        let path = env.shown(name);
        let refused = env.pull_with(&["-q", "--cafile", &path], NAME);
        refused.refused(1).said(&[&path]);
    }
}

/// Makes `name` a directory of hashed links, as OpenSSL looks certificates up in.
fn hashed(env: &TestEnv, name: &str) -> String {
    env.make_dir(name);
    env.write(&format!("{name}/ca.pem"), env.ca.pem());
    let path = env.shown(name);
    Output::of(Command::new("openssl").args(["rehash", &path])).ok();
    assert!(std::fs::read_dir(&path).unwrap().count() > 1);
    path
}

#[test]
fn a_ca_that_is_only_in_ssl_cert_dir_is_not_trusted() {
    needs_machine!();
    test_support::need_command!("openssl");
    let env = untrusting_with_image();
    let folder = hashed(&env, "hashed");
    let file = env.shown("ca.pem");
    for (variable, value) in [
        ("SSL_CERT_DIR", &folder),
        ("SSL_CERT_FILE", &file),
        ("CURL_CA_BUNDLE", &file),
        ("CURL_CA_PATH", &folder),
    ] {
        let mut pull = env.pull_command(&["-q"], NAME);
        distrusted(Output::of(pull.env(variable, value)));
    }
}

#[test]
fn a_ca_that_is_only_hashed_in_etc_ssl_certs_is_not_trusted() {
    needs_machine!();
    test_support::need_command!("openssl", "unshare");
    let env = untrusting_with_image();
    let folder = hashed(&env, "hashed");
    let other = env.write("other.pem", TestCa::new("Another").pem());
    let pull = |cafile: &str| {
        let script = r#"
            mount -t tmpfs tmpfs /etc/ssl/certs
            cp -a "$1"/. /etc/ssl/certs/
            cp "$2" /etc/ssl/certs/ca-certificates.crt
            exec "$UCR" pull -q --principal tester --secret-file secret "$3""#;
        let image = env.reference(NAME);
        Output::of(&mut env.shell_with_own_mounts(script, &[&folder, cafile, &image]))
    };
    distrusted(pull(other.to_str().unwrap()));
    // The same with the CA in the file that counts: the folder was all that was wrong.
    pull(&env.shown("ca.pem")).ok();
}

#[test]
fn another_name_and_a_past_date_are_refused_whoever_signed() {
    needs_machine!();
    let env = TestEnv::new();
    let other = env.ca.issue(&["registry.example"]);
    let past = env
        .ca
        .issue_with_validity(&["127.0.0.1"], Validity::Expired);
    for issued in [other, past] {
        let registry = FakeRegistry::with_tls(issued.server_config());
        let image = format!("{}/{NAME}", registry.host());
        env.ucr(&["pull", "-q", &image])
            .refused(1)
            .said(&[&registry.host()]);
        assert_eq!(registry.count("GET"), 0);
    }
}

#[test]
fn plain_http_is_not_spoken() {
    needs_machine!();
    let env = TestEnv::new();
    let registry = FakeRegistry::http();
    registry.put("team/app", "1", &images::file("x", "y"));
    let image = format!("{}/{NAME}", registry.host());
    env.ucr(&["pull", "-q", &image])
        .refused(1)
        .said(&[&registry.host()]);
}
