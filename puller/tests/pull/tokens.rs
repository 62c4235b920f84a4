//! Bearer tokens beyond the first: refresh tokens, expiry, scopes, and servers of another name.

use std::sync::Arc;

use serde_json::json;
use test_support::fake_registry::{Fault, Response, TokenField};
use test_support::{FakeRegistry, Image};
use ucr_images::registries::RegistrySettings;
use ucr_images::{ErrorKind, Registries};
use ucr_puller::{Event, Progress, Request};

use crate::bench::{Bench, assert_contains, bulky, image, layer};

const SECRET: &str = "open-sesame-7f3a";

fn small() -> Image {
    image([layer().file("f", "x").build()])
}

/// A bench that wants tokens, which its own server gives to alice.
fn bench() -> Bench {
    let bench = Bench::serving(&small());
    let alice = Some(("alice", SECRET));
    bench.registry.require_bearer(alice, TokenField::Token);
    bench
}

fn with_entry(bench: &Bench, entry: &serde_json::Value) -> Request {
    bench.request_with(&json!({ bench.registry.host(): entry }))
}

/// Makes all tokens worthless once the manifest is known.
struct Expire<'a>(&'a FakeRegistry);

impl Progress for Expire<'_> {
    fn event(&self, event: Event<'_>) {
        if let Event::Resolved { .. } = event {
            self.0.expire_tokens();
        }
    }
}

#[test]
fn an_identity_token_gets_tokens_by_post_and_goes_nowhere_else() {
    let bench = bench();
    bench.registry.accept_refresh("identity-7f3a");
    let request = with_entry(&bench, &json!({"identitytoken": "identity-7f3a"}));
    bench.pull_with(&request, &()).unwrap();
    assert_eq!(bench.registry.count("GET /token"), 0);
    let asked = bench.registry.requests("POST /token");
    let [asked] = &asked[..] else {
        panic!("{asked:?}");
    };
    assert_eq!(asked.request.target, "/token");
    assert_eq!(asked.request.header("authorization"), None);
    let form = String::from_utf8(asked.request.body.clone()).unwrap();
    let expected = "service=fake&scope=repository%3Aapp%3Apull&client_id=ucr\
                    &grant_type=refresh_token&refresh_token=identity-7f3a";
    assert_eq!(form, expected);

    bench.registry.accept_refresh("another");
    let failed = bench.fail_again(&request);
    assert_eq!(failed.kind, ErrorKind::CredentialRejected);
    let said = "rejects the credential of an identity token from the test's file, entry 127.0.0.1";
    assert_contains(&failed.text, said);
    assert!(!failed.text.contains("identity-7f3a"), "{}", failed.text);
}

#[test]
fn a_password_goes_by_post_where_get_is_not_known() {
    let bench = bench();
    bench.registry.issue_by_post_only();
    bench.pull_as("alice", SECRET);
    let asked = bench.registry.requests("/token");
    let seen: Vec<_> = asked
        .iter()
        .map(|one| one.request.method.as_str())
        .collect();
    assert_eq!(seen, ["GET", "POST"]);
    let form = String::from_utf8(asked[1].request.body.clone()).unwrap();
    assert_contains(
        &form,
        "grant_type=password&username=alice&password=open-sesame-7f3a",
    );
    let failed = bench.fail_again(&bench.request_as("alice", "wrong"));
    assert_eq!(failed.kind, ErrorKind::CredentialRejected);
}

#[test]
fn p34_a_refresh_token_that_came_along_is_used_for_the_rest_of_the_pull() {
    let bench = bench();
    bench.registry.give_refresh("refresh-7f3a");
    let request = bench.request_as("alice", SECRET);
    bench.pull_with(&request, &Expire(&bench.registry)).unwrap();
    let count = |pattern| bench.registry.count(pattern);
    assert_eq!((count("GET /token"), count("POST /token")), (1, 1));
}

#[test]
fn p34_a_refresh_token_of_no_use_leaves_the_password() {
    let bench = bench();
    bench.registry.give_refresh("refresh-7f3a");
    struct Forget<'a>(&'a FakeRegistry);
    impl Progress for Forget<'_> {
        fn event(&self, event: Event<'_>) {
            if let Event::Resolved { .. } = event {
                self.0.expire_tokens();
                self.0.accept_refresh("another");
            }
        }
    }
    let request = bench.request_as("alice", SECRET);
    bench.pull_with(&request, &Forget(&bench.registry)).unwrap();
    let count = |pattern| bench.registry.count(pattern);
    assert_eq!((count("GET /token"), count("POST /token")), (2, 1));
}

#[test]
fn a_registry_token_is_sent_as_it_is() {
    let bench = bench();
    let token = format!("fake.0.{}", hex("repository:app:pull"));
    let request = with_entry(&bench, &json!({ "registrytoken": token }));
    bench.pull_with(&request, &()).unwrap();
    assert_eq!(bench.registry.count("/token"), 0);
    bench.registry.expire_tokens();
    let failed = bench.fail_again(&request);
    assert_eq!(failed.kind, ErrorKind::CredentialRejected);
    assert_contains(&failed.text, "a registry token from the test's file");
    assert!(!failed.text.contains(&token), "{}", failed.text);
}

fn hex(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn an_identity_token_is_no_answer_to_basic() {
    let bench = Bench::serving(&small());
    bench.registry.require_basic("alice", SECRET);
    let failed = bench.fail_with(&with_entry(&bench, &json!({"identitytoken": "t"})));
    assert_eq!(failed.kind, ErrorKind::CredentialRejected);
    assert_contains(
        &failed.text,
        "wants a user and a password, and there is only an identity",
    );
}

/// What ECR says when a token is too old.
fn ecr() -> Fault {
    Fault::Respond(Arc::new(|_| {
        let message = "Your authorization token has expired. Reauthenticate and try again.";
        Response::error(403, "DENIED", message)
    }))
}

#[test]
fn p34_a_403_of_ecr_is_met_with_a_new_token_and_nothing_fetched_twice() {
    let image = image((0..3).map(|n| bulky(&format!("f{n}"), 2000)));
    let bench = Bench::serving(&image);
    let alice = Some(("alice", SECRET));
    bench.registry.require_bearer(alice, TokenField::Token);
    let blob = format!("/blobs/{}", image.layers[1].digest);
    bench.registry.fault_times(&blob, ecr(), 1);
    bench.pull_as("alice", SECRET);
    assert_eq!(bench.registry.count("GET /token"), 2);
    let blobs = bench.registry.requests("/blobs/");
    assert_eq!(blobs.iter().filter(|one| one.status == 200).count(), 4);
}

#[test]
fn p31_a_403_of_ecr_that_never_ends_is_given_up() {
    let bench = bench();
    bench.registry.fault("/blobs/", ecr());
    let failed = bench.fail_with(&bench.request_as("alice", SECRET));
    assert_eq!(failed.kind, ErrorKind::CredentialRejected);
    assert_contains(&failed.text, "token has expired");
    assert!(bench.registry.count("/blobs/") <= 3);
}

#[test]
fn p35_a_token_of_too_little_scope_is_replaced_once() {
    let bench = bench();
    let realm = bench.registry.url("/token");
    let lacks = move |scope: &str| {
        let challenge = format!(
            "Bearer realm=\"{realm}\",service=\"fake\",error=\"insufficient_scope\",scope=\"{scope}\""
        );
        let response = Response::error(403, "DENIED", "insufficient scope");
        response.header("WWW-Authenticate", &challenge)
    };
    let answer = lacks("repository:app:pull repository:base:pull");
    let fault = Fault::Respond(Arc::new(move |_| answer.clone()));
    bench.registry.fault_times("/manifests/", fault.clone(), 1);
    let request = bench.request_as("alice", SECRET);
    bench.pull_with(&request, &()).unwrap();
    let asked = bench.registry.requests("GET /token");
    assert_eq!(asked.len(), 2);
    let scope = "scope=repository%3Aapp%3Apull+repository%3Abase%3Apull";
    assert_contains(&asked[1].request.target, scope);
    bench.registry.heal();
    bench.registry.fault("/manifests/", fault);
    let before = bench.registry.count("/manifests/");
    let failed = bench.fail_again(&request);
    assert_eq!(failed.kind, ErrorKind::CredentialRejected);
    assert!(bench.registry.count("/manifests/") - before <= 4);
}

#[test]
fn s72_a_token_server_of_another_name_must_be_named_in_the_configuration() {
    let bench = Bench::serving(&small());
    let tokens = FakeRegistry::https(&bench.ca);
    tokens.issue_tokens(Some(("alice", SECRET)), TokenField::Token);
    let named = tokens.host().replace("127.0.0.1", "localhost");
    let realm = format!("https://{named}/token");
    bench.registry.require_bearer_from(&realm);
    let request = bench.request_as("alice", SECRET);
    let failed = bench.fail_with(&request);
    assert_eq!(failed.kind, ErrorKind::Refused);
    let hint = failed.error.registry().unwrap().hint().unwrap();
    assert_contains(&hint, &format!("[registry.\"{}\"]", bench.registry.host()));
    assert_contains(&hint, &format!("token-realms = [\"{named}\"]"));
    assert_eq!(tokens.count(""), 0);

    let mut registries = Registries::default();
    let friends = RegistrySettings {
        token_realms: vec![named.parse().unwrap()],
        ..RegistrySettings::default()
    };
    registries.insert(bench.registry.host().parse().unwrap(), friends);
    let request = Request {
        registries,
        ..request
    };
    bench.pull_with(&request, &()).unwrap();
    assert_eq!(tokens.count("GET /token"), 1);
}
