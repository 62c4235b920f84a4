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

/// For all registries, whatever the date.
fn addition(inputs: &[Input]) -> Addition<'_> {
    Addition {
        inputs,
        scope: Scope::AllRegistries,
        name: None,
        by: None,
        now: NOW,
        dates: Dates::Ignored,
    }
}

fn add(store: &TrustStore, inputs: &[Input]) -> Result<Vec<Added>, Error> {
    store.add(&addition(inputs))
}

fn registry(text: &str) -> Scope {
    Scope::Registry(text.parse().unwrap())
}

fn remove(store: &TrustStore, text: &str) -> Result<Vec<Removed>, Error> {
    store.remove(&text.parse().unwrap(), None)
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

    let added = add(&store, &[workshop.input("ca.crt")]).unwrap();
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

    let removed = remove(&store, &added[0].fingerprint.short()).unwrap();
    assert_eq!(removed[0].facts.as_ref().unwrap().subject, "O=Test, CN=ca");
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
        .add(&addition(&twice))
        .unwrap()
        .into_iter()
        .map(|added| added.outcome)
        .collect();
    assert_eq!(outcomes, [AddOutcome::Added, AddOutcome::AlreadyTrusted]);

    let before = contents(&store);
    let later = Timestamp::from_unix(1_800_000_000);
    let again = Addition {
        now: later,
        ..addition(&twice[..1])
    };
    let again = store.add(&again).unwrap();
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
    add(&store, &[workshop.input("one.pem")]).unwrap();
    let before = contents(&store);
    for bad in ["empty", "one.key"] {
        let inputs = [workshop.input("two.pem"), workshop.input(bad)];
        add(&store, &inputs).unwrap_err();
        assert_eq!(contents(&store), before, "{bad}");
    }
}

#[test]
fn a_refusal_does_not_even_make_the_directory() {
    let workshop = Workshop::new();
    workshop.write("empty", "");
    let store = store(&workshop);
    add(&store, &[workshop.input("empty")]).unwrap_err();
    remove(&store, "abcd").unwrap_err();
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
    let message = explain(&add(&store, &inputs).unwrap_err(), &workshop.path(""));
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
    let added = add(&store, &[workshop.input("ca.pem")]).unwrap();
    let twin = format!("{}{}", &added[0].fingerprint.to_hex()[..8], "0".repeat(56));
    workshop.write(&format!("certs/{twin}.pem"), "");

    let error = remove(&store, &twin[..8]).unwrap_err();
    assert!(matches!(error, Error::AmbiguousSelector { ref matches, .. } if matches.len() == 2));
    let other = if twin.starts_with('0') {
        "ffff"
    } else {
        "0000"
    };
    let error = remove(&store, other).unwrap_err();
    assert!(matches!(error, Error::UnknownSelector { .. }), "{error}");

    let removed = remove(&store, &twin).unwrap();
    assert_eq!(removed[0].facts, None, "a damaged file can be removed");
    assert_consistent(&store);
}

#[test]
fn damaged_and_strange_files_do_not_break_the_others() {
    let workshop = Workshop::new();
    workshop.ca("one");
    workshop.ca("two");
    let store = store(&workshop);
    let added = add(&store, &[workshop.input("one.pem")]).unwrap();
    let path = workshop.write(&format!("certs/{}.pem", added[0].fingerprint), "junk");
    let false_name = workshop.path(&format!("certs/{}.pem", "0".repeat(64)));
    std::fs::copy(workshop.path("two.pem"), &false_name).unwrap();
    std::fs::copy(workshop.path("two.pem"), workshop.path("certs/mine.crt")).unwrap();

    add(&store, &[workshop.input("two.pem")]).unwrap();
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

    let again = add(&store, &[workshop.input("one.pem")]).unwrap();
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
    add(&store, &[input]).unwrap();
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
                assert_eq!(add(store, &[input]).unwrap()[0].outcome, AddOutcome::Added);
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
fn child_that_adds_pairs_forever() {
    let Some(directory) = std::env::var_os(CHILD_DIRECTORY) else {
        return;
    };
    let directory = PathBuf::from(directory);
    let store = TrustStore::new(directory.join("certs"));
    let inputs = ["two.pem", "three.pem"].map(|name| Input::read(&directory.join(name)).unwrap());
    for number in 0.. {
        let pair = Addition {
            scope: registry(&format!("r{number}.p{}.example", std::process::id())),
            ..addition(&inputs)
        };
        println!("adding");
        store.add(&pair).unwrap();
        println!("added");
    }
}

#[test]
fn killed_writers_leave_a_usable_store() {
    let workshop = Workshop::new();
    for name in ["one", "two", "three"] {
        workshop.ca(name);
    }
    let store = store(&workshop);
    let kept = add(&store, &[workshop.input("one.pem")]).unwrap()[0].fingerprint;
    for lines in 1..=20 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "--nocapture"])
            .arg("trust_store::tests::child_that_adds_pairs_forever")
            .env(CHILD_DIRECTORY, workshop.path(""))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // Killed at another point of its work each time.
        let output = BufReader::new(child.stdout.take().unwrap()).lines();
        let said = output
            .map(Result::unwrap)
            .filter(|line| line.contains("add"))
            .take(lines);
        assert_eq!(said.count(), lines);
        child.kill().unwrap();
        child.wait().unwrap();

        // Of each pair both are there or none, for readers at once.
        let mut pairs: BTreeMap<Scope, usize> = BTreeMap::new();
        for entry in store.list().unwrap().entries {
            *pairs.entry(entry.scope).or_default() += 1;
        }
        assert_eq!(pairs.remove(&Scope::AllRegistries), Some(1));
        assert!(pairs.values().all(|&count| count == 2));

        add(&store, &[workshop.input("one.pem")]).unwrap();
        let mut left = files::names(store.directory()).unwrap();
        left.retain(|name| name != "registries" && *name != format!("{kept}.pem"));
        assert_eq!(left, [".lock", "cafile.pem"]);
    }
}

#[test]
fn a_certificate_for_one_registry_is_kept_apart() {
    let workshop = Workshop::new();
    workshop.ca("ca");
    let store = store(&workshop);
    let inputs = [workshop.input("ca.pem")];
    let for_one = |host: &str| Addition {
        scope: registry(host),
        ..addition(&inputs)
    };
    // Two spellings of one registry, and another one.
    let outcome = |host: &str| store.add(&for_one(host)).unwrap()[0].outcome;
    assert_eq!(outcome("R.example:443"), AddOutcome::Added);
    assert_eq!(outcome("r.example"), AddOutcome::AlreadyTrusted);
    assert_eq!(outcome("r.example:5000"), AddOutcome::Added);

    let scopes = |store: &TrustStore| -> Vec<String> {
        let entries = store.list().unwrap().entries.into_iter();
        entries.map(|entry| entry.scope.to_string()).collect()
    };
    assert_eq!(scopes(&store), ["r.example", "r.example:5000"]);
    let file = store.list().unwrap().entries[1].path.clone();
    let directory = store.directory().join("registries/r.example:5000");
    assert_eq!(file.parent().unwrap(), directory);
    let bundle = std::fs::read_to_string(store.cafile()).unwrap();
    assert!(
        !bundle.contains("BEGIN"),
        "not for all registries: {bundle}"
    );

    // For all registries is more than for one, and then one more adds nothing.
    let everywhere = add(&store, &inputs).unwrap();
    assert_eq!(everywhere[0].outcome, AddOutcome::Added);
    assert_eq!(outcome("other.example"), AddOutcome::AlreadyTrusted);

    let fingerprint = everywhere[0].fingerprint.short();
    let only = registry("r.example:5000");
    let removed = store.remove(&fingerprint.parse().unwrap(), Some(&only));
    assert_eq!(removed.unwrap().len(), 1);
    assert!(!directory.exists());
    assert_eq!(scopes(&store), ["all registries", "r.example"]);
    assert_eq!(remove(&store, &fingerprint).unwrap().len(), 2);
    assert_eq!(scopes(&store), [""; 0]);
}

#[test]
fn who_when_from_where_and_the_name_are_kept() {
    let workshop = Workshop::new();
    workshop.ca("ca");
    let store = store(&workshop);
    let inputs = [Input::new("a\n# by: root", workshop.read("ca.pem"))];
    let by = "alice\n-----BEGIN CERTIFICATE-----";
    let named = Addition {
        name: Some("corp".parse().unwrap()),
        by: Some(by.to_owned()),
        ..addition(&inputs)
    };
    store.add(&named).unwrap();
    let provenance = store.list().unwrap().entries.remove(0).provenance;
    assert_eq!(provenance.name, Some("corp".parse().unwrap()));
    let by = provenance.by.unwrap();
    assert_eq!(by, "alice\\n-----BEGIN CERTIFICATE-----");
    assert_eq!(provenance.from.unwrap(), "a\\n# by: root");
    assert_consistent(&store);
}

#[test]
fn a_name_points_at_all_that_bear_it() {
    let workshop = Workshop::new();
    let names = ["one", "two", "three"];
    let [one, two, three] = names.map(|name| {
        workshop.ca(name);
        workshop.input(&format!("{name}.pem"))
    });
    let store = store(&workshop);
    let name = |inputs: &[Input], name: &str| {
        let named = Addition {
            name: Some(name.parse().unwrap()),
            ..addition(inputs)
        };
        store.add(&named).unwrap()
    };
    let corp = [one, two];
    name(&corp, "corp");
    let other = &name(std::slice::from_ref(&three), "other")[0];
    // A name that is also the beginning of somebody's fingerprint.
    let twin = other.fingerprint.to_hex()[..6].to_owned();
    remove(&store, "other").unwrap();
    name(std::slice::from_ref(&three), "third");
    assert_eq!(
        store.select(&"corp".parse().unwrap(), None).unwrap().len(),
        2
    );
    assert_eq!(store.select(&twin.parse().unwrap(), None).unwrap().len(), 1);

    workshop.ca("four");
    name(&[workshop.input("four.pem")], &twin);
    let error = remove(&store, &twin).unwrap_err();
    assert!(matches!(error, Error::AmbiguousSelector { ref matches, .. } if matches.len() == 2));

    assert_eq!(remove(&store, "corp").unwrap().len(), 2);
    assert_eq!(fingerprints(&store).len(), 2);
    let error = remove(&store, "corp").unwrap_err();
    assert!(matches!(error, Error::UnknownSelector { .. }), "{error}");
}

#[test]
fn p13_what_is_not_valid_today_is_refused_unless_dates_are_ignored() {
    let workshop = Workshop::new();
    workshop.ca("good");
    workshop.ca("short");
    let store = store(&workshop);
    let inputs = [workshop.input("good.pem"), workshop.input("short.pem")];
    let facts = inputs[1].certificates().unwrap().remove(0).facts().clone();
    for (now, expected) in [
        (facts.not_before.as_unix() - 1, "not valid before"),
        (facts.not_after.as_unix() + 1, "expired on"),
    ] {
        let dated = Addition {
            now: Timestamp::from_unix(now),
            dates: Dates::Checked,
            ..addition(&inputs)
        };
        let error = store.add(&dated).unwrap_err();
        assert!(matches!(error, Error::OutOfTime { .. }), "{error}");
        let message = explain(&error, &workshop.path(""));
        assert!(message.contains(expected), "{message}");
        assert!(!store.directory().exists(), "nothing was changed");
    }
    let fine = Addition {
        now: facts.not_after,
        dates: Dates::Checked,
        ..addition(&inputs[1..])
    };
    store.add(&fine).unwrap();
    // What is trusted already is not refused for having expired since.
    let later = Addition {
        now: Timestamp::from_unix(facts.not_after.as_unix() + 1),
        ..fine
    };
    assert_eq!(
        store.add(&later).unwrap()[0].outcome,
        AddOutcome::AlreadyTrusted
    );
}

#[test]
fn a_decided_change_is_seen_by_readers_and_finished_by_the_next_writer() {
    let workshop = Workshop::new();
    for name in ["one", "two", "three"] {
        workshop.ca(name);
    }
    let store = store(&workshop);
    let both = [workshop.input("one.pem"), workshop.input("two.pem")];
    let added = add(&store, &both).unwrap();
    // As a writer leaves it that is killed between the two renames.
    let file = |index: usize| format!("{}.pem", added[index].fingerprint);
    let directory = store.directory();
    let rename = |from: &str, to: &str| {
        std::fs::rename(directory.join(from), directory.join(to)).unwrap();
    };
    rename(&file(1), ".new-2");
    let journal = format!(".new-1 {}\n.new-2 {}\n", file(0), file(1));
    workshop.write("certs/.commit", journal);
    assert_eq!(fingerprints(&store).len(), 2, "both are trusted");

    add(&store, &[workshop.input("three.pem")]).unwrap();
    assert_eq!(fingerprints(&store).len(), 3);
    assert_consistent(&store);
    let names = files::names(directory).unwrap();
    assert!(names.contains(&file(1)), "{names:?}");
    assert!(!names.iter().any(|name| name == ".commit"), "{names:?}");

    // Without the decision, what was written before it never counts.
    rename(&file(1), ".new-2");
    assert_eq!(fingerprints(&store).len(), 2);
    add(&store, &[workshop.input("three.pem")]).unwrap();
    assert_eq!(fingerprints(&store).len(), 2);
    assert!(!directory.join(".new-2").exists());
}

#[test]
fn strangers_in_the_directory_of_a_registry_are_not_trusted() {
    let workshop = Workshop::new();
    workshop.ca("ca");
    let store = store(&workshop);
    add(&store, &[workshop.input("ca.pem")]).unwrap();
    let registries = store.directory().join("registries");
    for name in ["R.example", "r.example", "a b"] {
        std::fs::create_dir_all(registries.join(name)).unwrap();
        let hand_made = registries.join(name).join("ca.crt");
        std::fs::copy(workshop.path("ca.pem"), hand_made).unwrap();
    }
    workshop.write("certs/registries/file", "");
    let listing = store.list().unwrap();
    assert_eq!(listing.entries.len(), 1);
    assert_eq!(listing.strangers.len(), 4, "{:?}", listing.strangers);
}

#[test]
fn a_file_where_the_registries_should_be_is_a_stranger() {
    let workshop = Workshop::new();
    workshop.ca("ca");
    let store = store(&workshop);
    add(&store, &[workshop.input("ca.pem")]).unwrap();
    let file = workshop.write("certs/registries", "");
    let listing = store.list().unwrap();
    assert_eq!(listing.entries.len(), 1);
    assert_eq!(listing.strangers, [file]);
}
