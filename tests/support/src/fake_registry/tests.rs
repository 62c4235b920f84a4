use super::*;
use crate::http_client::{HttpClient, HttpResponse};
use crate::image::ImageBuilder;
use crate::layer::LayerBuilder;

struct Setup {
    registry: FakeRegistry,
    client: HttpClient,
    blob: String,
    bytes: Vec<u8>,
}

fn setup() -> Setup {
    let ca = TestCa::new("fake");
    let registry = FakeRegistry::https(&ca);
    let image = ImageBuilder::new()
        .layer(LayerBuilder::new().file("x", "y").build())
        .build();
    registry.put("app", "1", &image);
    let client = HttpClient::https(&registry.host(), &ca.pem());
    let blob = format!("/v2/app/blobs/{}", image.layers[0].digest);
    Setup {
        registry,
        client,
        blob,
        bytes: image.layers[0].bytes.clone(),
    }
}

fn with_token(client: &HttpClient, target: &str, token: &str) -> HttpResponse {
    let authorization = format!("Bearer {token}");
    client
        .send("GET", target, &[("Authorization", &authorization)], b"")
        .unwrap()
}

fn token(response: &HttpResponse, field: &str) -> String {
    let answer: serde_json::Value = serde_json::from_slice(&response.body).unwrap();
    answer[field].as_str().unwrap().to_owned()
}

#[test]
fn serves_what_is_put_in() {
    let Setup {
        registry,
        client,
        blob,
        bytes,
    } = setup();
    assert_eq!(client.get(&blob).unwrap().body, bytes);
    let head = client.send("HEAD", &blob, &[], b"").unwrap();
    assert_eq!(
        head.header("content-length"),
        Some(bytes.len().to_string().as_str())
    );
    assert!(head.body.is_empty());
    let part = client
        .send("GET", &blob, &[("Range", "bytes=10-")], b"")
        .unwrap();
    assert_eq!((part.status, part.body.as_slice()), (206, &bytes[10..]));
    let missing = client.get("/v2/app/manifests/2").unwrap();
    assert_eq!(missing.status, 404);
    assert!(String::from_utf8_lossy(&missing.body).contains("MANIFEST_UNKNOWN"));
    let tags = client.get("/v2/app/tags/list").unwrap();
    assert_eq!(tags.body, br#"{"name":"app","tags":["1"]}"#);
    assert_eq!(registry.count("GET /v2/app/blobs/"), 2);
    assert_eq!(registry.connections(), 5);
}

#[test]
fn serves_in_clear_where_a_test_wants_that() {
    let registry = FakeRegistry::http();
    let client = HttpClient::http(&registry.host());
    assert_eq!(client.get("/v2/").unwrap().body, b"{}");
    assert!(registry.url("/v2/").starts_with("http://127.0.0.1:"));
}

#[test]
fn records_where_a_credential_went() {
    let Setup {
        registry,
        client,
        blob,
        ..
    } = setup();
    registry.require_basic("me", "secret");
    let refused = client.get(&blob).unwrap();
    assert_eq!(
        refused.header("www-authenticate"),
        Some("Basic realm=\"fake\"")
    );
    let given = [("Authorization", "Basic bWU6c2VjcmV0")];
    assert_eq!(client.send("GET", &blob, &given, b"").unwrap().status, 200);
    let sent: Vec<_> = registry
        .requests("/blobs/")
        .iter()
        .map(|seen| (seen.request.header("authorization").is_some(), seen.status))
        .collect();
    assert_eq!(sent, [(false, 401), (true, 200)]);
}

#[test]
fn a_token_is_for_one_scope_and_can_expire() {
    let Setup {
        registry,
        client,
        blob,
        ..
    } = setup();
    registry.require_bearer(None, TokenField::AccessToken);
    let challenge = client.get(&blob).unwrap();
    let expected = format!(
        "Bearer realm=\"{}\",service=\"fake\",scope=\"repository:app:pull\"",
        registry.url("/token")
    );
    assert_eq!(
        challenge.header("www-authenticate"),
        Some(expected.as_str())
    );

    let other = client
        .get("/token?scope=repository%3Aother%3Apull")
        .unwrap();
    assert_eq!(
        with_token(&client, &blob, &token(&other, "access_token")).status,
        401
    );
    let right = client
        .get("/token?service=fake&scope=repository:app:pull")
        .unwrap();
    let right = token(&right, "access_token");
    assert_eq!(with_token(&client, &blob, &right).status, 200);
    registry.expire_tokens();
    assert_eq!(with_token(&client, &blob, &right).status, 401);
}

#[test]
fn a_token_can_come_from_elsewhere_and_need_a_password() {
    let Setup {
        registry,
        client,
        blob,
        ..
    } = setup();
    let issuer = FakeRegistry::http();
    issuer.issue_tokens(Some(("me", "secret")), TokenField::Token);
    registry.require_bearer_from(&issuer.url("/token"));
    let tokens = HttpClient::http(&issuer.host());
    let target = "/token?scope=repository:app:pull";
    assert_eq!(tokens.get(target).unwrap().status, 401);
    let given = [("Authorization", "Basic bWU6c2VjcmV0")];
    let answer = tokens.send("GET", target, &given, b"").unwrap();
    assert_eq!(
        with_token(&client, &blob, &token(&answer, "token")).status,
        200
    );
}

#[test]
fn bodies_are_damaged_as_told() {
    let Setup {
        registry,
        client,
        blob,
        bytes,
    } = setup();
    let faulty = |fault| {
        registry.heal();
        registry.fault("/blobs/", fault);
        client
            .send("GET", &blob, &[("Range", "bytes=1-")], b"")
            .unwrap()
    };
    let length = bytes.len();
    let cut = faulty(Fault::Truncate(5));
    assert_eq!(
        cut.header("content-length"),
        Some((length - 1).to_string().as_str())
    );
    assert_eq!(cut.body, &bytes[1..6]);

    let wrong = faulty(Fault::WrongBytes).body;
    assert_eq!(wrong.len(), length - 1);
    assert_ne!(wrong, &bytes[1..]);

    assert_eq!(faulty(Fault::Resize(3)).header("content-length"), Some("3"));
    let whole = faulty(Fault::IgnoreRange);
    assert_eq!(
        (whole.status, whole.body.as_slice()),
        (200, bytes.as_slice())
    );
    let misplaced = faulty(Fault::WrongRange);
    assert_eq!(
        (misplaced.status, misplaced.body.as_slice()),
        (206, &bytes[..length - 1])
    );

    let chunked = faulty(Fault::Framing(Framing::Chunked));
    assert_eq!(
        (chunked.header("content-length"), chunked.body.as_slice()),
        (None, &bytes[1..])
    );
    assert_eq!(faulty(Fault::Framing(Framing::Close)).body, &bytes[1..]);
    assert_eq!(faulty(Fault::Huge(1 << 20)).body.len(), 1 << 20);
    let header = faulty(Fault::Header(
        "Docker-Content-Digest".into(),
        "sha256:0".into(),
    ));
    assert_eq!(header.header("docker-content-digest"), Some("sha256:0"));
}

#[test]
fn connections_are_reset_as_told() {
    let Setup {
        registry,
        client,
        blob,
        ..
    } = setup();
    registry.fault_times("/blobs/", Fault::Reset, 1);
    let error = client.get(&blob).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    assert_eq!(client.get(&blob).unwrap().status, 200, "once and not again");
}

#[test]
fn answers_what_a_closure_gives() {
    let Setup {
        registry, client, ..
    } = setup();
    registry.respond("GET /v2/", |request| {
        Response::new(418, "text/plain", request.path())
    });
    assert_eq!(client.get("/v2/x?y=z").unwrap().body, b"/v2/x");
    registry.heal();
    registry.fault(
        "GET /v2/",
        Fault::RedirectToBase("https://elsewhere.test".into()),
    );
    let redirect = client.get("/v2/x").unwrap();
    assert_eq!(
        redirect.header("location"),
        Some("https://elsewhere.test/v2/x")
    );
    registry.heal();
    registry.fault("GET /v2/", Fault::RetryAfter(429, 7));
    assert_eq!(
        client.get("/v2/x").unwrap().header("retry-after"),
        Some("7")
    );
}

#[test]
fn a_gate_holds_the_body_until_it_is_released() {
    let Setup {
        registry,
        client,
        blob,
        bytes,
    } = setup();
    let gate = registry.gate("/blobs/", 3);
    let body = std::thread::scope(|scope| {
        let pull = scope.spawn(|| client.get(&blob).unwrap().body);
        gate.wait_reached(1);
        registry.wait_for("/blobs/", 1);
        assert!(!pull.is_finished());
        gate.release();
        pull.join().unwrap()
    });
    assert_eq!(body, bytes);
}

#[test]
fn stops_although_a_client_waits_at_a_gate() {
    let Setup {
        registry,
        client,
        blob,
        ..
    } = setup();
    let gate = registry.gate("/blobs/", 0);
    let pull = std::thread::spawn(move || client.get(&blob).map(|answer| answer.status));
    gate.wait_reached(1);
    drop(registry);
    // The rest may or may not have been sent; what counts is that both end.
    drop(pull.join().unwrap());
}
