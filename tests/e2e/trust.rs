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
        refused.refused(1).said(&[&path, "--cafile"]);
        // As SSL_CERT_FILE it fails as loudly: podman and Go would trust nobody without a word.
        let refused = Output::of(env.pull_command(&["-q"], NAME).env("SSL_CERT_FILE", name));
        refused.refused(1).said(&[name, "$SSL_CERT_FILE"]);
    }
}

/// The story of the mission, word for word.
#[test]
fn what_was_added_survives_the_upgrade_of_the_base_cafile() {
    needs_machine!();
    let env = untrusting_with_image();
    let base = env.write("cacert.pem", TestCa::new("Public CA").pem());
    let base = base.to_str().unwrap();
    let pull = || env.pull_with(&["-q", "--cafile", base], NAME);
    let refused = pull().refused(1);
    let fix = refused
        .stderr
        .lines()
        .find(|line| line.contains("ucr certs add CA.crt"));
    assert!(fix.is_some(), "{refused:?}");
    env.ucr(&["certs", "add", &env.shown("ca.crt")]).ok();
    pull().ok();
    env.write("cacert.pem", TestCa::new("Public CA 2027").pem());
    pull().ok();
}

#[test]
fn a_certificate_for_one_registry_counts_there_alone() {
    needs_machine!();
    let env = untrusting_with_image();
    let add = |registry: &str| {
        env.ucr(&["certs", "add", "--registry", registry, &env.shown("ca.crt")])
            .ok();
    };
    add("registry.example");
    distrusted(env.pull_with(&["-q"], NAME));
    add(env.registry.host());
    env.pull(NAME).ok();
}

#[test]
fn one_damaged_added_file_is_named_and_breaks_nothing() {
    needs_machine!();
    let env = untrusting_with_image();
    env.ucr(&["certs", "add", &env.shown("ca.crt")]).ok();
    let other = env.write("other.pem", TestCa::new("Another").pem());
    let added = env.ucr(&["certs", "add", other.to_str().unwrap()]).ok();
    let fingerprint = added.stdout.split(' ').nth(1).unwrap();
    let files = std::fs::read_dir(env.certs_dir()).unwrap();
    let mut files = files.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let name = files.find(|name| name.starts_with(fingerprint)).unwrap();
    env.write(&format!("certs/{name}"), "-----BEGIN CERTIFICATE-----\n");
    env.pull(NAME)
        .ok()
        .said(&[&name, "END line is missing", "ignoring"]);
}

#[test]
fn docker_s_directory_of_a_registry_counts() {
    needs_machine!();
    test_support::need_command!("unshare");
    let env = untrusting_with_image();
    let script = r#"
        mount -t tmpfs tmpfs /etc
        mkdir -p "/etc/docker/certs.d/$2"
        cp "$1" "/etc/docker/certs.d/$2/ca.crt"
        echo '127.0.0.1 localhost' >/etc/hosts
        exec "$UCR" pull -q --principal tester --secret-file secret "$2/$3""#;
    let pull = |ca: &str| {
        let host = env.registry.host();
        Output::of(&mut env.shell_with_own_mounts(script, &[&env.shown(ca), host, NAME]))
    };
    pull("ca.pem").ok();
    // DER, which podman ignores without a word.
    pull("ca.crt").ok();
    env.write("words", "no certificate");
    let refused = pull("words").ended(1);
    refused.said(&[
        "/ca.crt holds no certificate, ignoring",
        "certificate of an authority",
    ]);
}

#[test]
fn an_insecure_registry_is_one_registry_and_says_so() {
    needs_machine!();
    let env = untrusting_with_image();
    let pull = |host: &str| env.pull_with(&["-q", "--insecure-registry", host], NAME);
    let host = env.registry.host();
    let warning = format!("the certificate of {host} is not verified");
    pull(host).ok().said(&[&warning]);
    pull(host).ok().said(&[&warning]);
    // Another port is another registry.
    pull("127.0.0.1:1").ended(1).said(&["is not trusted"]);
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
fn p20_a_directory_of_openssl_or_curl_is_not_trusted() {
    needs_machine!();
    test_support::need_command!("openssl");
    let env = untrusting_with_image();
    let folder = hashed(&env, "hashed");
    for (variable, value) in [("SSL_CERT_DIR", folder.as_str()), ("CURL_CA_PATH", &folder)] {
        let mut pull = env.pull_command(&["-q"], NAME);
        distrusted(Output::of(pull.env(variable, value)));
    }
}

/// A configuration that cannot be carried out, and that fails whoever reads it.
const HOSTILE: &str = "config_diagnostics = 1\nopenssl_conf = x\n[x]\nproviders = y\n[y]\n\
    evil = z\n[z]\nmodule = /no/such/module.so\nactivate = 1\n";

#[test]
fn p20_a_configuration_of_openssl_is_not_read() {
    needs_machine!();
    test_support::need_command!("openssl");
    let env = untrusting_with_image();
    env.ucr(&["certs", "add", &env.shown("ca.crt")]).ok();
    let configuration = env.write("openssl.cnf", HOSTILE);
    let mut openssl = env.tool("openssl");
    openssl.args(["x509", "-in", "ca.pem", "-noout"]);
    openssl.env("OPENSSL_CONF", &configuration);
    assert!(!openssl.status().unwrap().success(), "it would be noticed");
    let mut pull = env.pull_command(&["-q"], NAME);
    Output::of(pull.env("OPENSSL_CONF", &configuration)).ok();
}

#[test]
fn p20_the_base_is_the_first_that_is_named_and_no_other() {
    needs_machine!();
    let env = untrusting_with_image();
    let right = env.shown("ca.pem");
    let wrong = env.write("wrong.pem", TestCa::new("Another").pem());
    let wrong = wrong.to_str().unwrap();
    let config = |path: &str| {
        let path = env.write("config.toml", format!("cafile = \"{path}\"\n"));
        path.to_str().unwrap().to_owned()
    };
    let variables = [
        "UCR_CAFILE",
        "UCR_CONFIG",
        "SSL_CERT_FILE",
        "CURL_CA_BUNDLE",
    ];
    for place in 0..variables.len() {
        // This one is right, and all that count less are wrong; then the other way round.
        for (first, others) in [(right.as_str(), wrong), (wrong, &right)] {
            let mut pull = env.pull_command(&["-q"], NAME);
            for (index, variable) in variables.iter().enumerate().skip(place) {
                let cafile = if index == place { first } else { others };
                match *variable {
                    "UCR_CONFIG" => pull.env(variable, config(cafile)),
                    _ => pull.env(variable, cafile),
                };
            }
            let output = Output::of(&mut pull);
            if first == right {
                output.ok();
            } else {
                output.refused(1).said(&["is not trusted", wrong]);
            }
        }
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
