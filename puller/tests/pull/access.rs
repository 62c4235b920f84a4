//! Who may pull: challenges, tokens, and where a secret goes.

use std::sync::Mutex;

use test_support::FakeRegistry;
use test_support::fake_registry::{Fault, Framing, Response, TokenField};
use ucr_images::ErrorKind;
use ucr_puller::{Event, Progress};

use crate::bench::{Bench, assert_contains, bulky, image, layer};

const SECRET: &str = "open-sesame-7f3a";

fn small() -> test_support::Image {
    image([layer().file("f", "x").build()])
}

/// The secret, and all that it could have been turned into.
fn spellings() -> Vec<String> {
    use base64::Engine as _;
    let base64 = base64::engine::general_purpose::STANDARD.encode(format!("alice:{SECRET}"));
    vec![SECRET.to_owned(), base64]
}

#[track_caller]
fn assert_secret_is_not_in(bytes: &[u8], what: &str) {
    for spelling in spellings() {
        let found = bytes
            .windows(spelling.len())
            .any(|window| window == spelling.as_bytes());
        assert!(!found, "the secret is in {what}");
    }
}

fn assert_store_is_free_of_the_secret(directory: &std::path::Path) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let shown = path.display().to_string();
        assert_secret_is_not_in(shown.as_bytes(), "a file name");
        let metadata = path.symlink_metadata().unwrap();
        if metadata.is_dir() {
            assert_store_is_free_of_the_secret(&path);
        } else if metadata.is_file() {
            assert_secret_is_not_in(&std::fs::read(&path).unwrap(), &shown);
        }
    }
}

#[test]
fn anonymous_when_nobody_asks() {
    let bench = Bench::serving(&small());
    let pulled = bench.pull("app:1");
    assert_eq!(pulled.config.cmd(), ["true"]);
    assert_eq!(bench.layers().len(), 1);
    let all = bench.registry.requests("");
    assert!(
        all.iter()
            .all(|one| one.request.header("authorization").is_none())
    );
    // A second pull asks for the manifest and nothing else.
    bench.pull("app:1");
    assert_eq!(bench.registry.count("/blobs/"), 2);
}

#[test]
fn no_proof_is_sent_before_it_is_asked_for() {
    let bench = Bench::serving(&small());
    bench.pull_as("alice", SECRET);
    let all = bench.registry.requests("");
    assert!(
        all.iter()
            .all(|one| one.request.header("authorization").is_none())
    );
}

#[test]
fn basic_is_sent_after_the_first_refusal() {
    let bench = Bench::serving(&small());
    bench.registry.require_basic("alice", SECRET);
    bench.pull_as("alice", SECRET);
    let refused = bench
        .registry
        .requests("")
        .iter()
        .filter(|one| one.status == 401)
        .count();
    assert_eq!(refused, 1);
    assert_store_is_free_of_the_secret(&bench.store_path());
}

#[test]
fn p39_a_proof_is_in_the_authorization_header_and_in_no_other() {
    let basic = |bench: &Bench| bench.registry.require_basic("alice", SECRET);
    let bearer = |bench: &Bench| {
        let credential = Some(("alice", SECRET));
        bench.registry.require_bearer(credential, TokenField::Token);
    };
    for require in [&basic as &dyn Fn(&Bench), &bearer] {
        let bench = Bench::serving(&small());
        require(&bench);
        bench.pull_as("alice", SECRET);
        let all = bench.registry.requests("");
        let proofs = all.iter().filter_map(|one| {
            let value = one.request.header("authorization")?;
            value
                .split_once(' ')
                .map(|(_scheme, proof)| proof.to_owned())
        });
        let proofs: Vec<_> = proofs.chain(spellings()).collect();
        assert!(proofs.len() > spellings().len());
        for one in &all {
            let others = one.request.headers.iter();
            let mut others = others.filter(|(name, _)| name != "authorization");
            let holds = |text: &str| proofs.iter().any(|proof| text.contains(proof));
            assert!(!others.any(|(_, value)| holds(value)), "{one:?}");
            assert!(!holds(&one.request.target), "{one:?}");
        }
    }
}

#[test]
fn one_token_serves_a_whole_pull_in_either_field() {
    for field in [TokenField::Token, TokenField::AccessToken] {
        let bench = Bench::serving(&image((0..8).map(|n| bulky(&format!("f{n}"), 3000))));
        bench
            .registry
            .require_bearer(Some(("alice", SECRET)), field);
        bench.pull_as("alice", SECRET);
        assert_eq!(bench.registry.count("GET /token"), 1);
        let asked = &bench.registry.requests("GET /token")[0].request;
        assert_contains(&asked.target, "scope=repository%3Aapp%3Apull");
        assert_contains(&asked.target, "service=fake");
        // The password goes to the token server and nowhere else.
        let others = bench.registry.requests("/v2/");
        let basic = |given: &str| given.starts_with("Basic");
        assert!(
            !others
                .iter()
                .any(|one| one.request.header("authorization").is_some_and(basic))
        );
        assert_store_is_free_of_the_secret(&bench.store_path());
    }
}

#[test]
fn an_anonymous_token_needs_no_credential() {
    let bench = Bench::serving(&small());
    bench.registry.require_bearer(None, TokenField::Token);
    bench.pull("app:1");
    assert!(
        bench.registry.requests("GET /token")[0]
            .request
            .header("authorization")
            .is_none()
    );
}

#[test]
fn p32_s48_a_wrong_secret_is_refused_once_and_shown_nowhere() {
    for bearer in [false, true] {
        let bench = Bench::serving(&small());
        if bearer {
            bench
                .registry
                .require_bearer(Some(("alice", "right")), TokenField::Token);
        } else {
            bench.registry.require_basic("alice", "right");
        }
        let request = bench.request_as("alice", SECRET);
        let failed = bench.fail_with(&request);
        assert_eq!(failed.kind, ErrorKind::CredentialRejected);
        assert_contains(
            &failed.text,
            "rejects the credential of principal \"alice\"",
        );
        assert_contains(&failed.text, &bench.registry.host());
        let debug = format!("{:?} {request:?} {}", failed.error, failed.text);
        assert_secret_is_not_in(debug.as_bytes(), "a message");
        assert_store_is_free_of_the_secret(&bench.store_path());
        assert!(bench.registry.count("") <= 3);
    }
}

#[test]
fn a_missing_credential_is_called_that() {
    let bench = Bench::serving(&small());
    bench.registry.require_basic("alice", SECRET);
    let failed = bench.fail("app:1");
    assert_eq!(failed.kind, ErrorKind::CredentialMissing);
    assert_contains(&failed.text, "wants a credential (HTTP 401, \"UNAUTHORIZED");
}

fn challenge(fields: &[&str]) -> Response {
    let response = Response::error(401, "UNAUTHORIZED", "no");
    fields.iter().fold(response, |mut response, field| {
        response
            .headers
            .push(("WWW-Authenticate".to_owned(), (*field).to_owned()));
        response
    })
}

#[test]
fn p30_a_challenge_that_nobody_can_meet_is_one_clear_error() {
    let hundred = vec!["Negotiate"; 100];
    for fields in [
        &[][..],
        &["Negotiate"],
        &["Digest realm=\"x\""],
        &["\"=,;"],
        &hundred,
    ] {
        let bench = Bench::serving(&small());
        let answer = challenge(fields);
        bench.registry.respond("/v2/", move |_| answer.clone());
        let failed = bench.fail_with(&bench.request_as("alice", SECRET));
        assert_eq!(failed.kind, ErrorKind::Registry);
        assert_contains(&failed.text, "a proof of a kind that ucr does not know");
        assert_eq!(bench.registry.count(""), 1);
    }
}

#[test]
fn p31_a_registry_that_never_has_enough_is_given_up() {
    let bench = Bench::serving(&small());
    bench.registry.issue_tokens(None, TokenField::Token);
    let field = format!(
        "Bearer realm=\"{}\",service=\"s\"",
        bench.registry.url("/token")
    );
    let answer = challenge(&[&field]);
    bench.registry.respond("/v2/", move |_| answer.clone());
    let failed = bench.fail("app:1");
    assert_eq!(failed.kind, ErrorKind::CredentialMissing);
    assert!(bench.registry.count("/v2/") <= 3);

    let bench = Bench::serving(&small());
    let answer = challenge(&["Basic realm=\"x\""]);
    bench.registry.respond("/v2/", move |_| answer.clone());
    let failed = bench.fail_with(&bench.request_as("alice", SECRET));
    assert_eq!(failed.kind, ErrorKind::CredentialRejected);
    assert_eq!(bench.registry.count("/v2/"), 2);
}

#[test]
fn p33_answers_of_a_token_server() {
    let token = |body: &str| Response::new(200, "application/json", body);
    let cases = [
        (token("{}"), "without a token"),
        (token(r#"{"token":""}"#), "without a token"),
        (token(r#"{"token":"a\r\nX: y"}"#), "without a token"),
        (token("<html>"), "without a token"),
        (
            token(&format!("{{\"token\":\"{}\"}}", "x".repeat(2 << 20))),
            "more than 1048576 bytes",
        ),
        (
            Response::error(500, "UNKNOWN", "broken"),
            "failed (HTTP 500",
        ),
    ];
    for (answer, said) in cases {
        let bench = Bench::serving(&small());
        let tokens = FakeRegistry::https(&bench.ca);
        tokens.respond("/token", move |_| answer.clone());
        bench.registry.require_bearer_from(&tokens.url("/token"));
        let failed = bench.fail("app:1");
        assert_contains(&failed.text, said);
    }
}

/// Makes all tokens worthless once a layer is done.
struct ExpireAfterFirst<'a> {
    registry: &'a FakeRegistry,
    done: Mutex<usize>,
}

impl Progress for ExpireAfterFirst<'_> {
    fn event(&self, event: Event<'_>) {
        if let Event::LayerDone { .. } = event {
            let mut done = self.done.lock().unwrap();
            *done += 1;
            if *done == 1 {
                self.registry.expire_tokens();
            }
        }
    }
}

#[test]
fn p34_a_token_that_expires_on_the_way_is_renewed_and_nothing_fetched_twice() {
    // More layers than connections: some are asked for after the first is done.
    let bench = Bench::serving(&image((0..10).map(|n| bulky(&format!("f{n}"), 2000))));
    bench
        .registry
        .require_bearer(Some(("alice", SECRET)), TokenField::Token);
    let progress = ExpireAfterFirst {
        registry: &bench.registry,
        done: Mutex::new(0),
    };
    let request = bench.request_as("alice", SECRET);
    bench.pull_with(&request, &progress).unwrap();
    let fetched = bench.registry.requests("/blobs/");
    assert_eq!(fetched.iter().filter(|one| one.status == 200).count(), 11);
    assert_eq!(bench.registry.count("GET /token"), 2);
}

#[test]
fn p34_layers_that_are_refused_together_share_one_new_token() {
    let bench = Bench::serving(&image((0..6).map(|n| bulky(&format!("f{n}"), 2000))));
    bench
        .registry
        .require_bearer(Some(("alice", SECRET)), TokenField::Token);
    struct Expire<'a>(&'a FakeRegistry);
    impl Progress for Expire<'_> {
        fn event(&self, event: Event<'_>) {
            if let Event::Resolved { .. } = event {
                self.0.expire_tokens();
            }
        }
    }
    let request = bench.request_as("alice", SECRET);
    bench.pull_with(&request, &Expire(&bench.registry)).unwrap();
    assert_eq!(bench.registry.count("GET /token"), 2);
}

#[test]
fn s72_a_realm_elsewhere_never_sees_the_credential() {
    let other = FakeRegistry::http();
    other.issue_tokens(None, TokenField::Token);
    let realms = [
        (other.url("/token"), "it is not https"),
        (
            "https://169.254.169.254/token".to_owned(),
            "inside this network",
        ),
        ("https://10.0.0.1/token".to_owned(), "inside this network"),
        ("https://localhost/token".to_owned(), "inside this network"),
        (
            "https://auth.example/token".to_owned(),
            "it is another host",
        ),
        (
            "https://u:p@127.0.0.1/token".to_owned(),
            "a user name of its own",
        ),
        ("file:///etc/passwd".to_owned(), "it is not https"),
    ];
    for (realm, why) in realms {
        let bench = Bench::serving(&small());
        bench.registry.require_bearer_from(&realm);
        let failed = bench.fail_with(&bench.request_as("alice", SECRET));
        assert_eq!(failed.kind, ErrorKind::Refused);
        assert_contains(&failed.text, "which may not see a credential for");
        assert_contains(&failed.text, why);
        assert_secret_is_not_in(failed.text.as_bytes(), "a message");
    }
    assert_eq!(other.count(""), 0);
}

#[test]
fn s72_a_token_server_on_another_port_of_the_registrys_host_is_asked() {
    let bench = Bench::serving(&small());
    let tokens = FakeRegistry::https(&bench.ca);
    tokens.issue_tokens(Some(("alice", SECRET)), TokenField::Token);
    bench.registry.require_bearer_from(&tokens.url("/token"));
    bench.pull_as("alice", SECRET);
    assert_eq!(tokens.count("GET /token"), 1);
}

#[test]
fn s74_a_token_server_must_be_trusted_too() {
    let bench = Bench::serving(&small());
    let tokens = FakeRegistry::https(&test_support::TestCa::new("unknown"));
    tokens.issue_tokens(None, TokenField::Token);
    bench.registry.require_bearer_from(&tokens.url("/token"));
    let failed = bench.fail_with(&bench.request_as("alice", SECRET));
    assert_eq!(failed.kind, ErrorKind::Untrusted);
    assert_eq!(tokens.count(""), 0);
    assert_eq!(failed.untrusted_server(), Some(tokens.host()));
}

#[test]
fn p62_p63_refusals_say_what_the_registry_said() {
    let cases = [
        (
            403,
            ErrorKind::CredentialRejected,
            "is forbidden for anonymous (HTTP 403, \"DENIED",
        ),
        (
            404,
            ErrorKind::NotFound,
            "does not exist (HTTP 404, \"NAME_UNKNOWN",
        ),
        (
            429,
            ErrorKind::RateLimited,
            "failed (HTTP 429, \"TOOMANYREQUESTS",
        ),
        (500, ErrorKind::Unavailable, "failed (HTTP 500, \"UNKNOWN"),
        (502, ErrorKind::Unavailable, "failed (HTTP 502"),
        (204, ErrorKind::Registry, "failed (HTTP 204"),
        (206, ErrorKind::Registry, "failed (HTTP 206"),
    ];
    let image = small();
    let blob = format!("/blobs/{}", image.layers[0].digest);
    let config = format!("/blobs/{}", image.config.digest);
    for (status, kind, said) in cases {
        for pattern in ["/manifests/", &blob, &config] {
            let bench = Bench::serving(&image);
            bench.registry.fault(pattern, Fault::Status(status));
            let request = bench.request_as("alice", SECRET);
            let failed = bench.fail_with(&request);
            assert_eq!(failed.kind, kind, "{status} for {pattern}: {}", failed.text);
            assert_contains(&failed.text, said);
            bench.assert_heals(&request);
        }
    }
}

#[test]
fn p62_what_is_not_there_is_called_by_its_url() {
    let bench = Bench::serving(&small());
    let failed = bench.fail("app:2");
    assert_eq!(failed.kind, ErrorKind::NotFound);
    assert_contains(&failed.text, &bench.registry.url("/v2/app/manifests/2"));
    assert_contains(&failed.text, "MANIFEST_UNKNOWN: manifest unknown");
    assert_eq!(bench.fail("none:1").kind, ErrorKind::NotFound);
}

#[test]
fn s80_a_refusal_of_any_length_is_quoted_in_part() {
    let bench = Bench::serving(&small());
    let long = Response::new(500, "text/plain", vec![b'\x1b'; 10 << 20]);
    bench.registry.respond("/manifests/", move |_| long.clone());
    let failed = bench.fail("app:1");
    assert!(failed.text.len() < 5000);
    assert!(!failed.text.contains('\x1b'));
}

#[test]
fn s80_a_refusal_without_an_end_is_not_waited_for() {
    let image = small();
    let layer = format!("/blobs/{}", image.layers[0].digest);
    for pattern in ["/manifests/", &layer] {
        let bench = Bench::serving(&image);
        // More than is quoted comes, and then nothing, on a connection that stays open.
        let endless = Response {
            framing: Framing::Claimed(1 << 40),
            ..Response::new(404, "text/plain", vec![b'x'; 200 << 10])
        };
        bench.registry.respond(pattern, move |_| endless.clone());
        let failed = bench.fail("app:1");
        assert_eq!(failed.kind, ErrorKind::NotFound, "{}", failed.text);
        assert_contains(&failed.text, "HTTP 404, \"xxx");
        assert_eq!(bench.registry.count(pattern), 1);
    }
}

#[test]
fn a_registry_of_v1_is_refused_by_name_and_gets_no_credential() {
    let page = "<title>404 Not Found</title>";
    for (header, value) in [
        ("X-Docker-Registry-Version", "0.9.1"),
        ("Docker-Distribution-Api-Version", "registry/1.0"),
    ] {
        for status in [401, 404] {
            let bench = Bench::serving(&small());
            let old = Response::new(status, "text/html", page)
                .header(header, value)
                .header("WWW-Authenticate", "Basic realm=\"old\"");
            bench.registry.respond("/v2/", move |_| old.clone());
            let failed = bench.fail_with(&bench.request_as("alice", SECRET));
            assert_eq!(failed.kind, ErrorKind::Refused, "{}", failed.text);
            assert_contains(&failed.text, "speaks the registry protocol v1 only");
            assert_contains(&failed.text, page);
            let asked = bench.registry.requests("/v2/");
            assert!(
                asked
                    .iter()
                    .all(|one| one.request.header("authorization").is_none())
            );
        }
    }
}
