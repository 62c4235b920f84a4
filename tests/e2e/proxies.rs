//! Proxies: what the environment names is gone through, and what failed is said.

use test_support::TestProxy;

use crate::env::TestEnv;
use crate::images;
use crate::output::Output;

const NAME: &str = "team/app:1";
const PASSWORD: &str = "open-sesame-7f3a";

fn pull(env: &TestEnv, variables: &[(&str, &str)]) -> Output {
    let mut command = env.pull_command(&["-q"], NAME);
    Output::of(command.envs(variables.iter().copied()))
}

#[test]
fn p27_a_pull_goes_through_the_proxy_of_the_environment_or_says_why_not() {
    needs_machine!();
    let env = TestEnv::new();
    env.push(&images::file("x", "y"), NAME);
    let proxy = TestProxy::http();
    proxy.require("bob", PASSWORD);
    let url = proxy.url_as("bob", PASSWORD);
    pull(&env, &[("https_proxy", &url), ("HTTPS_PROXY", "ftp://x")]).ok();
    assert_ne!(proxy.heads(), [""; 0]);

    let before = proxy.connections();
    pull(&env, &[("ALL_PROXY", &url), ("NO_PROXY", "x,127.0.0.0/8")]).ok();
    assert_eq!(proxy.connections(), before);

    proxy.refuse(403);
    let refused = pull(&env, &[("all_proxy", &url)]).refused(1);
    let refused = refused.said(&["the proxy", &proxy.url(), "403", "$no_proxy"]);
    assert!(!refused.stderr.contains(PASSWORD), "{}", refused.stderr);
}

#[test]
fn p27_a_variable_that_names_no_proxy_is_refused() {
    needs_machine!();
    let env = TestEnv::new();
    let value = format!("gopher://bob:{PASSWORD}@proxy");
    let refused = pull(&env, &[("HTTPS_PROXY", &value)]).refused(1);
    let refused = refused.said(&["$HTTPS_PROXY", "gopher"]);
    assert!(!refused.stderr.contains(PASSWORD), "{}", refused.stderr);
}

#[test]
fn p27_a_certificate_seen_through_a_proxy_is_looked_at_through_it_and_said_to_be() {
    needs_machine!();
    let env = TestEnv::untrusting();
    let proxy = TestProxy::http();
    proxy.require("bob", PASSWORD);
    let url = proxy.url_as("bob", PASSWORD);
    let refused = pull(&env, &[("https_proxy", &url)]).refused(1);
    let shown = proxy.url();
    let refused = refused.said(&[
        &format!("(through the proxy {shown}) is not trusted"),
        "presented 1. CN=localhost, issued by CN=Example Corp private CA",
        &format!("all this came through the proxy {shown}"),
    ]);
    assert!(!refused.stderr.contains(PASSWORD), "{}", refused.stderr);
    // libcurl's connection and the second look's, each through the tunnel and as bob.
    assert_eq!(proxy.heads().len(), 2, "{:?}", proxy.heads());

    let mut check = env.command(&["certs", "check", env.registry.host(), "--format", "json"]);
    let checked = Output::of(check.env("https_proxy", &url)).ended(1);
    let report: serde_json::Value = serde_json::from_str(&checked.stdout).unwrap();
    assert_eq!(report[0]["via"], shown, "{report:#}");
    let notes = report[0]["notes"].to_string();
    assert!(notes.contains("all this came through the proxy"), "{notes}");
    proxy.refuse(403);
    let checked = Output::of(check.env("https_proxy", &url)).ended(1);
    let report: serde_json::Value = serde_json::from_str(&checked.stdout).unwrap();
    assert!(
        report[0]["fixes"].to_string().contains("$no_proxy"),
        "{report:#}"
    );
}

#[test]
fn p27_a_proxy_whose_own_certificate_is_refused_is_the_one_that_check_describes() {
    needs_machine!();
    let env = TestEnv::new();
    let stranger = test_support::TestCa::new("Proxy CA");
    let proxy = TestProxy::https(stranger.issue(&["127.0.0.1"]).server_config());
    let mut check = env.command(&["certs", "check", env.registry.host()]);
    let checked = Output::of(check.env("https_proxy", proxy.url())).ended(1);
    for text in [
        "presented 1. CN=127.0.0.1, issued by CN=Proxy CA",
        "ucr certs add CA.crt, where CA.crt is the certificate of CN=Proxy CA",
    ] {
        assert!(checked.stdout.contains(text), "{text}: {checked:?}");
    }
    assert!(!checked.stdout.contains("  reason"), "{checked:?}");
}
