//! Registries that want a client certificate, which dockerd's directory holds.

use test_support::{ClientAuth, FakeRegistry, TestCa};

use crate::env::TestEnv;
use crate::images;
use crate::output::Output;

/// A registry that lets only clients of `clients` in.
fn registry(env: &TestEnv, clients: &TestCa) -> FakeRegistry {
    let issued = env.ca.issue(&["127.0.0.1"]);
    let config = issued.server_config_asking(clients, ClientAuth::Required);
    let registry = FakeRegistry::with_tls(config);
    registry.put("team/app", "1", &images::file("x", "y"));
    registry
}

/// Runs `ucr` with the files of `pair` in dockerd's directory of `host`.
fn with_pair(env: &TestEnv, host: &str, pair: &str, words: &str) -> Output {
    let script = r#"
        mount -t tmpfs tmpfs /etc
        mkdir -p "/etc/docker/certs.d/$1"
        cp "$2"/* "/etc/docker/certs.d/$1/"
        exec "$UCR" $3"#;
    Output::of(&mut env.shell_with_own_mounts(script, &[host, &env.shown(pair), words]))
}

#[test]
fn p26_a_client_certificate_of_docker_s_directory_is_shown_to_its_host() {
    needs_machine!();
    test_support::need_command!("unshare");
    let env = TestEnv::new();
    let clients = TestCa::new("Clients");
    let registry = registry(&env, &clients);
    let host = registry.host();
    let client = clients.issue_client("agent-7");
    env.make_dir("pair");
    env.write("pair/client.cert", &client.certificate);
    env.write_secret("pair/client.key", &client.key);

    let image = format!("{host}/team/app:1");
    with_pair(&env, &host, "pair", &format!("pull -q {image}")).ok();
    let checked = with_pair(&env, &host, "pair", &format!("certs check {host}")).ok();
    let said = "asks for a client certificate and gets one";
    assert!(checked.stdout.contains(said), "{checked:?}");
    for output in [with_pair(&env, &host, "pair", "certs list"), checked] {
        assert!(!format!("{output:?}").contains("PRIVATE KEY"), "{output:?}");
    }

    // In the directory of another port it is for somebody else.
    let elsewhere = with_pair(&env, "127.0.0.1:1", "pair", &format!("pull -q {image}"));
    let wants = format!("{host} wants a client certificate");
    let place = format!("/etc/docker/certs.d/{host}/");
    elsewhere
        .refused(1)
        .said(&[&wants, "it was shown none", &place]);
}

#[test]
fn p26_one_that_is_missing_foreign_or_unusable_is_told_with_where_it_belongs() {
    needs_machine!();
    test_support::need_command!("unshare");
    let env = TestEnv::new();
    let registry = registry(&env, &TestCa::new("Clients"));
    let host = registry.host();
    let place = format!("/etc/docker/certs.d/{host}/");
    let refused = env.ucr(&["certs", "check", &host]).ended(1);
    for text in [
        "wants a client certificate",
        "of which there is none",
        &place,
    ] {
        assert!(refused.stdout.contains(text), "{text}: {refused:?}");
    }

    let foreign = TestCa::new("Strangers").issue_client("agent-7");
    env.make_dir("foreign");
    env.write("foreign/client.cert", &foreign.certificate);
    env.write_secret("foreign/client.key", &foreign.key);
    let pull = format!("pull -q {host}/team/app:1");
    let refused = with_pair(&env, &host, "foreign", &pull).refused(1);
    let shown = format!("it was shown {place}client.cert");
    refused.said(&["wants a client certificate that it accepts", &shown]);

    env.make_dir("lonely");
    env.write("lonely/client.cert", &foreign.certificate);
    let refused = with_pair(&env, &host, "lonely", &pull).ended(1);
    let problem = format!("the client certificate {place}client.cert is not used");
    refused.said(&[&problem, "wants a client certificate"]);
    assert_eq!(registry.count("GET"), 0);
}
