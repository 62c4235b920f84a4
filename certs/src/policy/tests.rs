use std::path::Path;

use super::*;
use crate::cafile::CafileOrigin;
use crate::testing::{Workshop, add, explain};
use crate::trust_store::Scope;

fn base(path: PathBuf) -> BaseCafile {
    BaseCafile {
        path,
        origin: CafileOrigin::Flag("--cafile"),
    }
}

/// With `name` as the base, the store `certs` and the registries' directory `certs.d`.
fn load(workshop: &Workshop, name: &str) -> Result<TrustPolicy, Error> {
    TrustPolicy::load(&TrustPlaces {
        base: Some(base(workshop.path(name))),
        stores: vec![TrustStore::new(workshop.path("certs"))],
        registry_dirs: vec![workshop.path("certs.d")],
    })
}

fn sources(workshop: &Workshop, bundle: &TrustBundle) -> Vec<String> {
    let shown = bundle.sources().iter().map(ToString::to_string);
    let directory = workshop.path("").display().to_string();
    shown.map(|text| text.replace(&directory, "")).collect()
}

fn host(text: &str) -> HostPort {
    text.parse().unwrap()
}

#[test]
fn a_host_trusts_base_added_for_all_added_for_it_and_its_directory() {
    let workshop = Workshop::new();
    let names = ["one", "two", "three", "four", "five"];
    for name in names {
        workshop.ca(name);
    }
    let [one, two, three, four, five] = names.map(|name| workshop.read(&format!("{name}.pem")));
    workshop.write("base.pem", [&one[..], &two, &one].concat());
    workshop.write("added.pem", [&two[..], &three].concat());
    let store = TrustStore::new(workshop.path("certs"));
    add(&store, &[workshop.input("added.pem")], Scope::AllRegistries);
    let scope = Scope::Registry(host("r.example:443"));
    add(&store, &[workshop.input("four.pem")], scope);
    std::fs::create_dir_all(workshop.path("certs.d/r.example")).unwrap();
    workshop.write("certs.d/r.example/ca.crt", &five);

    let policy = load(&workshop, "base.pem").unwrap();
    let trust = policy.for_host(&host("r.example"));
    let all: Vec<Vec<u8>> = vec![one.clone(), two.clone(), three.clone(), four, five];
    assert_eq!(trust.bundle.to_pem(), all.concat());
    let anchors = trust.bundle.anchors().iter();
    let from: Vec<_> = anchors.map(|anchor| anchor.source).collect();
    assert_eq!(from, [0, 0, 1, 1, 2]);
    assert_eq!(
        sources(&workshop, &trust.bundle),
        [
            "base.pem (2 certificates, from --cafile)",
            "certs (3 certificates, added)",
            "certs.d/r.example (1 certificate)",
        ]
    );

    let elsewhere = policy.for_host(&host("r.example:5000")).bundle;
    assert_eq!(elsewhere.to_pem(), [&one[..], &two, &three].concat());
    assert_eq!(
        sources(&workshop, &elsewhere)[2],
        "certs.d/r.example:5000 (absent)"
    );
    assert_eq!(policy.for_all().to_pem(), elsewhere.to_pem());
}

#[test]
fn p16_what_libcurl_tolerates_in_a_base_is_tolerated() {
    let workshop = Workshop::new();
    workshop.ca("ca");
    let certificate = String::from_utf8(workshop.read("ca.pem")).unwrap();
    let key = String::from_utf8(workshop.read("ca.key")).unwrap();
    let text = format!("\u{feff}# comment\n{key}\nTest CA\n=======\n{certificate}{certificate}");
    workshop.write("odd.pem", text.replace('\n', "\r\n").trim_end());

    let policy = load(&workshop, "odd.pem").unwrap();
    assert_eq!(policy.for_all().to_pem(), certificate.as_bytes());
    assert_eq!(policy.private_keys_in_base(), 1);
}

/// libcurl fails every transfer with code 77 for each of these, without a reason.
#[test]
fn p17_a_damaged_base_is_an_error_that_names_file_and_block() {
    let workshop = Workshop::new();
    workshop.ca("ca");
    let good = String::from_utf8(workshop.read("ca.pem")).unwrap();
    let broken = good.replacen("MII", "M!I", 1);
    let last_line = good.lines().count();
    for (name, text, expected) in [
        (
            "before",
            format!("{broken}{good}"),
            "PEM block 1 (line 1) is damaged".to_owned(),
        ),
        (
            "after",
            format!("{good}{broken}"),
            format!("PEM block 2 (line {}) is damaged", last_line + 1),
        ),
        (
            "truncated",
            format!("{good}{}", &good[..200]),
            format!("PEM block 2 (line {}) is damaged", last_line + 1),
        ),
        (
            "glued",
            format!("{}{good}", good.trim_end()),
            format!(
                "PEM block 1 (line 1) is damaged: line {last_line} holds more than one BEGIN or END"
            ),
        ),
        ("empty", String::new(), "holds no certificate".to_owned()),
        (
            "text",
            "nothing\n".to_owned(),
            "holds no certificate".to_owned(),
        ),
    ] {
        workshop.write(name, text);
        let message = explain(&load(&workshop, name).unwrap_err(), &workshop.path(""));
        let told = message
            .strip_prefix(&format!(
                "cannot use the CAfile {name} (from --cafile): {name}"
            ))
            .unwrap_or_default()
            .trim_start_matches([':', ' ']);
        assert!(told.starts_with(&expected), "{name}: {message}");
    }
    let key = workshop.read("ca.key");
    workshop.write("key", key);
    let message = explain(&load(&workshop, "key").unwrap_err(), &workshop.path(""));
    assert!(message.contains("key holds no certificate"), "{message}");
}

#[test]
fn p17_a_damaged_base_that_nobody_named_narrows_trust_and_is_told() {
    let workshop = Workshop::new();
    workshop.ca("ca");
    let path = workshop.write("usual.pem", "-----BEGIN CERTIFICATE-----\n");
    let places = TrustPlaces {
        base: Some(BaseCafile {
            path,
            origin: CafileOrigin::Distribution,
        }),
        stores: vec![TrustStore::new(workshop.path("certs"))],
        registry_dirs: Vec::new(),
    };
    add(
        &places.stores[0],
        &[workshop.input("ca.pem")],
        Scope::AllRegistries,
    );
    let policy = TrustPolicy::load(&places).unwrap();
    assert_eq!(policy.for_all().to_pem(), workshop.read("ca.pem"));
    let told = explain(&policy.problems()[0], &workshop.path(""));
    let expected =
        "cannot use the CAfile usual.pem (from the distribution): usual.pem: PEM block 1";
    assert!(told.starts_with(expected), "{told}");
}

#[test]
fn p17_der_as_base_is_accepted() {
    let workshop = Workshop::new();
    workshop.ca("ca");
    workshop.openssl("x509 -in ca.pem -outform DER -out ca.der");
    let policy = load(&workshop, "ca.der").unwrap();
    assert_eq!(policy.for_all().to_pem(), workshop.read("ca.pem"));
}

#[test]
fn p18_a_rejected_certificate_of_the_base_is_not_trusted() {
    let workshop = Workshop::new();
    workshop.ca("ca");
    workshop.ca("other");
    workshop.openssl("x509 -in ca.pem -trustout -addreject serverAuth -out rejected.pem");
    let both = [workshop.read("rejected.pem"), workshop.read("other.pem")].concat();
    workshop.write("base.pem", both);
    let policy = load(&workshop, "base.pem").unwrap();
    assert_eq!(policy.for_all().to_pem(), workshop.read("other.pem"));
    let error = load(&workshop, "rejected.pem").unwrap_err();
    assert!(explain(&error, &workshop.path("")).contains("holds no certificate"));
}

#[test]
fn one_damaged_added_file_is_named_and_the_others_count() {
    let workshop = Workshop::new();
    for name in ["base", "good", "bad"] {
        workshop.ca(name);
    }
    let store = TrustStore::new(workshop.path("certs"));
    add(&store, &[workshop.input("good.pem")], Scope::AllRegistries);
    let bad = add(&store, &[workshop.input("bad.pem")], Scope::AllRegistries);
    let name = format!("certs/{}.pem", bad[0].fingerprint);
    workshop.write(&name, "-----BEGIN CERTIFICATE-----\n");

    let policy = load(&workshop, "base.pem").unwrap();
    let good = [workshop.read("base.pem"), workshop.read("good.pem")].concat();
    assert_eq!(policy.for_all().to_pem(), good);
    let problems = policy.problems().iter();
    let told: Vec<_> = problems
        .map(|error| explain(error, &workshop.path("")))
        .collect();
    let expected = format!("{name}: PEM block 1 (line 1) is damaged: its END line is missing");
    assert_eq!(told, [expected]);
}

#[test]
fn nothing_to_trust_is_known_beforehand() {
    let workshop = Workshop::new();
    let places = TrustPlaces {
        stores: vec![TrustStore::new(workshop.path("certs"))],
        registry_dirs: vec![workshop.path("certs.d")],
        ..TrustPlaces::default()
    };
    assert!(TrustPolicy::load(&places).unwrap().is_empty());
    std::fs::create_dir(workshop.path("certs.d")).unwrap();
    assert!(!TrustPolicy::load(&places).unwrap().is_empty());
    std::fs::remove_dir(workshop.path("certs.d")).unwrap();
    workshop.ca("ca");
    add(
        &places.stores[0],
        &[workshop.input("ca.pem")],
        Scope::AllRegistries,
    );
    assert!(!TrustPolicy::load(&places).unwrap().is_empty());
}

/// Prints how long a whole distribution's bundle takes.
#[test]
fn the_bundle_of_a_distribution_loads() {
    let path = Path::new("/etc/ssl/certs/ca-certificates.crt");
    if !path.exists() {
        println!("skipped: {} is not installed", path.display());
        return;
    }
    let places = TrustPlaces {
        base: Some(base(path.to_owned())),
        ..TrustPlaces::default()
    };
    let start = std::time::Instant::now();
    let bundle = TrustPolicy::load(&places).unwrap().for_all();
    let pem = String::from_utf8(bundle.to_pem()).unwrap();
    let count = bundle.anchors().len();
    println!("{count} certificates in {:?}", start.elapsed());
    assert_eq!(pem.matches("BEGIN CERTIFICATE").count(), count);
}
