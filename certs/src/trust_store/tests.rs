use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use super::*;
use crate::testing::{Workshop, explain};

const NOW: Timestamp = Timestamp::from_unix(1_700_000_000);

fn store(workshop: &Workshop) -> TrustStore {
    TrustStore::new(workshop.path("certs"))
}

fn prefix(text: &str) -> FingerprintPrefix {
    text.parse().unwrap()
}

/// Names and contents of everything in the store.
fn contents(store: &TrustStore) -> BTreeMap<String, Vec<u8>> {
    let names = files::names(store.directory()).unwrap().into_iter();
    names
        .map(|name| {
            (
                name.clone(),
                std::fs::read(store.directory().join(name)).unwrap(),
            )
        })
        .collect()
}

fn fingerprints(store: &TrustStore) -> Vec<Fingerprint> {
    let listing = store.list().unwrap();
    assert!(listing.damaged.is_empty(), "{:?}", listing.damaged);
    listing
        .entries
        .iter()
        .map(|entry| entry.certificate.fingerprint())
        .collect()
}

/// Whether `cafile.pem` holds what the single files hold.
fn assert_consistent(store: &TrustStore) {
    let bundle = Input::read(&store.cafile())
        .unwrap()
        .certificates()
        .unwrap();
    let bundled: Vec<_> = bundle.iter().map(Certificate::fingerprint).collect();
    assert_eq!(bundled, fingerprints(store));
}

#[test]
fn what_is_added_is_listed_and_can_be_removed() {
    let workshop = Workshop::new();
    workshop.ca("ca");
    workshop.openssl("x509 -in ca.pem -outform DER -out ca.crt");
    let store = store(&workshop);
    assert!(store.list().unwrap().entries.is_empty());

    let added = store.add(&[workshop.input("ca.crt")], NOW).unwrap();
    assert_eq!(added[0].outcome, AddOutcome::Added);
    let listing = store.list().unwrap();
    let entry = &listing.entries[0];
    assert_eq!(entry.certificate.fingerprint(), added[0].fingerprint);
    assert_eq!(
        entry.provenance.added.as_deref(),
        Some("2023-11-14T22:13:20Z")
    );
    assert_eq!(
        entry.provenance.from.as_deref(),
        workshop.path("ca.crt").to_str()
    );
    assert_eq!(
        entry.path.metadata().unwrap().permissions().mode() & 0o7777,
        0o644
    );
    assert_consistent(&store);

    let removed = store
        .remove(&prefix(&added[0].fingerprint.short()))
        .unwrap();
    assert_eq!(removed.facts.unwrap().subject, "O=Test, CN=ca");
    assert_eq!(
        contents(&store).into_keys().collect::<Vec<_>>(),
        [".lock", "cafile.pem"]
    );
}

#[test]
fn twice_the_same_is_already_trusted_and_changes_nothing() {
    let workshop = Workshop::new();
    workshop.ca("ca");
    let store = store(&workshop);
    let twice = [workshop.input("ca.pem"), workshop.input("ca.pem")];
    let outcomes: Vec<_> = store
        .add(&twice, NOW)
        .unwrap()
        .into_iter()
        .map(|added| added.outcome)
        .collect();
    assert_eq!(outcomes, [AddOutcome::Added, AddOutcome::AlreadyTrusted]);

    let before = contents(&store);
    let later = Timestamp::from_unix(1_800_000_000);
    let again = store.add(&twice[..1], later).unwrap();
    assert_eq!(again[0].outcome, AddOutcome::AlreadyTrusted);
    assert_eq!(contents(&store), before);
}

#[test]
fn several_files_are_added_all_or_none() {
    let workshop = Workshop::new();
    workshop.ca("one");
    workshop.ca("two");
    workshop.write("empty", "");
    let store = store(&workshop);
    store.add(&[workshop.input("one.pem")], NOW).unwrap();
    let before = contents(&store);
    for bad in ["empty", "one.key"] {
        let inputs = [workshop.input("two.pem"), workshop.input(bad)];
        store.add(&inputs, NOW).unwrap_err();
        assert_eq!(contents(&store), before, "{bad}");
    }
}

#[test]
fn a_refusal_does_not_even_make_the_directory() {
    let workshop = Workshop::new();
    workshop.write("empty", "");
    let store = store(&workshop);
    store.add(&[workshop.input("empty")], NOW).unwrap_err();
    store.remove(&prefix("abcd")).unwrap_err();
    assert!(!store.directory().exists());
}

#[test]
fn what_cannot_be_written_is_taken_back() {
    let workshop = Workshop::new();
    workshop.ca("one");
    workshop.ca("two");
    let store = store(&workshop);
    // A directory in the way of the bundle makes the last step fail.
    std::fs::create_dir_all(store.cafile().join("x")).unwrap();
    let inputs = [workshop.input("one.pem"), workshop.input("two.pem")];
    let message = explain(&store.add(&inputs, NOW).unwrap_err(), &workshop.path(""));
    let expected =
        "cannot change the certificates in certs: rename(\"certs/cafile.pem\"): Is a directory";
    assert_eq!(message, expected);
    assert_eq!(fingerprints(&store), []);
    assert_eq!(
        files::names(store.directory()).unwrap(),
        [".lock", "cafile.pem"]
    );
}

#[test]
fn remove_wants_one_certificate() {
    let workshop = Workshop::new();
    workshop.ca("ca");
    let store = store(&workshop);
    let added = store.add(&[workshop.input("ca.pem")], NOW).unwrap();
    let twin = format!("{}{}", &added[0].fingerprint.to_hex()[..8], "0".repeat(56));
    workshop.write(&format!("certs/{twin}.pem"), "");

    let error = store.remove(&prefix(&twin[..8])).unwrap_err();
    assert!(matches!(error, Error::AmbiguousFingerprint { ref matches, .. } if matches.len() == 2));
    let other = if twin.starts_with('0') {
        "ffff"
    } else {
        "0000"
    };
    let error = store.remove(&prefix(other)).unwrap_err();
    assert!(matches!(error, Error::UnknownFingerprint { .. }), "{error}");

    let removed = store.remove(&prefix(&twin)).unwrap();
    assert_eq!(removed.facts, None, "a damaged file can be removed");
    assert_consistent(&store);
}

#[test]
fn damaged_and_strange_files_do_not_break_the_others() {
    let workshop = Workshop::new();
    workshop.ca("one");
    workshop.ca("two");
    let store = store(&workshop);
    let added = store.add(&[workshop.input("one.pem")], NOW).unwrap();
    let path = workshop.write(&format!("certs/{}.pem", added[0].fingerprint), "junk");
    let false_name = workshop.path(&format!("certs/{}.pem", "0".repeat(64)));
    std::fs::copy(workshop.path("two.pem"), &false_name).unwrap();
    std::fs::copy(workshop.path("two.pem"), workshop.path("certs/mine.crt")).unwrap();

    store.add(&[workshop.input("two.pem")], NOW).unwrap();
    let listing = store.list().unwrap();
    assert_eq!(listing.entries.len(), 1);
    assert_eq!(listing.strangers, [workshop.path("certs/mine.crt")]);
    let damaged: Vec<_> = listing.damaged.iter().map(ToString::to_string).collect();
    assert_eq!(damaged.len(), 2);
    assert!(
        damaged.contains(&format!("{} holds no certificate", path.display())),
        "{damaged:?}"
    );
    assert!(
        damaged.contains(&format!(
            "{} does not hold the certificate it is named after",
            false_name.display()
        )),
        "{damaged:?}"
    );

    let again = store.add(&[workshop.input("one.pem")], NOW).unwrap();
    assert_eq!(
        again[0].outcome,
        AddOutcome::Added,
        "adding again repairs a damaged file"
    );
    std::fs::remove_file(false_name).unwrap();
    assert_consistent(&store);
}

#[test]
fn a_hostile_subject_cannot_smuggle_in_a_second_certificate() {
    let workshop = Workshop::new();
    workshop.ca("victim");
    let smuggled = String::from_utf8(workshop.read("victim.pem")).unwrap();
    let name = format!("x\n{smuggled}");
    workshop.ca("ca");
    let input = Input::new(&name, workshop.read("ca.pem"));
    let store = store(&workshop);
    store.add(&[input], NOW).unwrap();
    assert_eq!(fingerprints(&store).len(), 1);
    assert_consistent(&store);
}

#[test]
fn fifty_adds_at_once_all_succeed() {
    let workshop = Workshop::new();
    let names: Vec<_> = (0..50).map(|number| format!("ca{number}")).collect();
    for name in &names {
        workshop.ca(name);
    }
    let (workshop, store) = (&workshop, &store(&workshop));
    std::thread::scope(|scope| {
        for name in &names {
            scope.spawn(move || {
                let input = workshop.input(&format!("{name}.pem"));
                assert_eq!(
                    store.add(&[input], NOW).unwrap()[0].outcome,
                    AddOutcome::Added
                );
                // What was added is there, whatever the others do.
                assert!(!fingerprints(store).is_empty());
            });
        }
    });
    assert_eq!(fingerprints(store).len(), 50);
    assert_consistent(store);
}

const CHILD_DIRECTORY: &str = "UCR_TEST_CERTS_CHILD";

/// Not a test: the process that `killed_writers_leave_a_usable_store` kills.
#[test]
#[ignore = "started by killed_writers_leave_a_usable_store"]
#[expect(
    clippy::disallowed_methods,
    reason = "a test process has no other way to be told"
)]
fn child_that_adds_and_removes_forever() {
    let Some(directory) = std::env::var_os(CHILD_DIRECTORY) else {
        return;
    };
    let directory = PathBuf::from(directory);
    let store = TrustStore::new(directory.join("certs"));
    let input = Input::read(&directory.join("two.pem")).unwrap();
    loop {
        let added = store.add(std::slice::from_ref(&input), NOW).unwrap();
        println!("round");
        store
            .remove(&prefix(&added[0].fingerprint.to_hex()))
            .unwrap();
    }
}

#[test]
fn killed_writers_leave_a_usable_store() {
    let workshop = Workshop::new();
    workshop.ca("one");
    workshop.ca("two");
    let store = store(&workshop);
    let kept = store.add(&[workshop.input("one.pem")], NOW).unwrap()[0].fingerprint;
    for round in 1..=10 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "--nocapture"])
            .arg("trust_store::tests::child_that_adds_and_removes_forever")
            .env(CHILD_DIRECTORY, workshop.path(""))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // Killed at another point of its work each time.
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let rounds = lines
            .map(Result::unwrap)
            .filter(|line| line.contains("round"))
            .take(round);
        assert_eq!(rounds.count(), round);
        child.kill().unwrap();
        child.wait().unwrap();

        assert!(fingerprints(&store).contains(&kept));
        store.add(&[workshop.input("one.pem")], NOW).unwrap();
        assert_consistent(&store);
        let leftover = files::names(store.directory()).unwrap();
        assert!(
            leftover.iter().all(|name| !name.starts_with(".new")),
            "{leftover:?}"
        );
    }
}
