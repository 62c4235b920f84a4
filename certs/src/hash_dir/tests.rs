use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::crt::Input;
use crate::testing::Workshop;

/// Makes certificates that share one subject, and so one hash.
fn twins(workshop: &Workshop, names: &[&str]) {
    for name in names {
        workshop.openssl(&format!(
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 \
             -keyout {name}.key -out {name}.pem -subj /CN=twin"
        ));
    }
}

fn certificate(workshop: &Workshop, name: &str) -> Certificate {
    let certificates = workshop.input(&format!("{name}.pem")).certificates();
    certificates.unwrap().remove(0)
}

fn write(workshop: &Workshop, names: &[&str]) -> Result<HashDirWritten, HashDirError> {
    let certificates = names.iter().map(|name| certificate(workshop, name));
    let certificates: Vec<_> = certificates.collect();
    let certificates: Vec<_> = certificates.iter().collect();
    write_hash_dir(&workshop.path("dir"), &certificates)
}

/// The links and what they say.
fn links(directory: &Path) -> BTreeMap<String, String> {
    let names = files::names(directory).unwrap().into_iter();
    let target = |name: &String| std::fs::read_link(directory.join(name)).ok();
    names
        .filter_map(|name| Some((target(&name)?, name)))
        .map(|(target, name)| (name, target.to_str().unwrap().to_owned()))
        .collect()
}

/// The links that `openssl rehash` makes for the same files.
fn rehashed(workshop: &Workshop) -> BTreeMap<String, String> {
    let copy = tempfile::tempdir_in(workshop.path("")).unwrap();
    for name in files::names(&workshop.path("dir")).unwrap() {
        if name.ends_with(SUFFIX) {
            std::fs::copy(workshop.path("dir").join(&name), copy.path().join(&name)).unwrap();
        }
    }
    let name = copy.path().file_name().unwrap().to_str().unwrap();
    workshop.openssl(&format!("rehash {name}"));
    links(copy.path())
}

/// Whom OpenSSL trusts by the directory, of `names`.
fn trusted<'a>(workshop: &Workshop, names: &[&'a str]) -> Vec<&'a str> {
    let verifies = |name: &&&str| {
        let words = ["verify", "-no-CAfile", "-no-CAstore", "-CApath", "dir"];
        let status = std::process::Command::new("openssl")
            .args(words)
            .arg(format!("{name}.pem"))
            .current_dir(workshop.path(""))
            .output();
        status.unwrap().status.success()
    };
    names.iter().filter(verifies).copied().collect()
}

#[test]
fn the_links_are_those_of_openssl_rehash() {
    let workshop = Workshop::new();
    workshop.ca("ca");
    twins(&workshop, &["a", "b", "c"]);
    let all = ["ca", "a", "b", "c"];
    let written = write(&workshop, &["ca", "a", "b", "c", "a"]).unwrap();
    assert_eq!((written.certificates, written.removed), (4, 0));
    assert_eq!(links(&workshop.path("dir")), rehashed(&workshop));
    assert_eq!(trusted(&workshop, &all), all);
}

#[test]
fn what_is_trusted_no_longer_goes_away() {
    let workshop = Workshop::new();
    workshop.ca("ca");
    twins(&workshop, &["a", "b", "c"]);
    let all = ["ca", "a", "b", "c"];
    for wanted in [
        all.as_slice(),
        &["a", "b", "c"],
        &["ca", "b"],
        &["a", "c"],
        &all,
        &["c"],
    ] {
        write(&workshop, wanted).unwrap();
        assert_eq!(trusted(&workshop, &all), wanted);
        let names: Vec<_> = links(&workshop.path("dir")).into_keys().collect();
        let expected: Vec<_> = rehashed(&workshop).into_keys().collect();
        assert_eq!(names, expected);
        let count = files::names(&workshop.path("dir")).unwrap().len();
        assert_eq!(count, 2 * wanted.len(), "a file and a link each");
    }
    assert_eq!(write(&workshop, &["ca"]).unwrap().removed, 1);
}

#[test]
fn the_same_again_writes_nothing() {
    let workshop = Workshop::new();
    twins(&workshop, &["a", "b"]);
    write(&workshop, &["a", "b"]).unwrap();
    let before = test_support::Sentinel::watch(&workshop.path("dir"));
    write(&workshop, &["b", "a"]).unwrap();
    before.assert_unchanged();
}

#[test]
fn what_is_not_ours_stays_and_keeps_its_number() {
    let workshop = Workshop::new();
    twins(&workshop, &["a", "b", "theirs"]);
    let hash = certificate(&workshop, "a").subject_hash().unwrap();
    std::fs::create_dir(workshop.path("dir")).unwrap();
    std::fs::copy(workshop.path("theirs.pem"), workshop.path("dir/theirs.pem")).unwrap();
    let link = workshop.path(&format!("dir/{hash}.1"));
    symlink("theirs.pem", &link).unwrap();
    // A name like ours that has another content, and a link to it.
    let strange = format!("{}.pem", "0".repeat(64));
    workshop.write(&format!("dir/{strange}"), "not ours");
    symlink(&strange, workshop.path("dir/00000000.0")).unwrap();
    workshop.write("dir/notes.0", "");

    let names = || links(&workshop.path("dir")).into_keys().collect::<Vec<_>>();
    let with = |numbers: &[&str]| {
        let links = numbers.iter().map(|number| format!("{hash}.{number}"));
        let mut all: Vec<_> = links.chain(["00000000.0".to_owned()]).collect();
        all.sort();
        all
    };
    write(&workshop, &["a", "b"]).unwrap();
    assert_eq!(names(), with(&["0", "1", "2"]));
    assert_eq!(trusted(&workshop, &["a", "b", "theirs"]).len(), 3);
    write(&workshop, &["b"]).unwrap();
    assert_eq!(names(), with(&["0", "1"]));
    assert_eq!(trusted(&workshop, &["a", "b", "theirs"]), ["b", "theirs"]);
    write(&workshop, &[]).unwrap();
    assert_eq!(names(), with(&["1"]));
    assert_eq!(std::fs::read_link(link).unwrap(), Path::new("theirs.pem"));
    assert_eq!(workshop.read(&format!("dir/{strange}")), b"not ours");
}

#[test]
fn a_file_in_the_way_is_named_and_nothing_is_changed() {
    let workshop = Workshop::new();
    twins(&workshop, &["a", "b"]);
    write(&workshop, &["a"]).unwrap();
    let name = format!(
        "dir/{}",
        file_name(certificate(&workshop, "b").fingerprint())
    );
    let path = workshop.write(&name, workshop.read("b.pem"));
    let before = test_support::Sentinel::watch(&workshop.path("dir"));
    let error = write(&workshop, &["b"]).unwrap_err();
    assert!(matches!(error, HashDirError::InTheWay { path: named } if named == path));
    before.assert_unchanged();
}

#[test]
fn a_damaged_file_is_repaired_and_a_dangling_link_replaced() {
    let workshop = Workshop::new();
    twins(&workshop, &["a", "b"]);
    write(&workshop, &["a", "b"]).unwrap();
    let file = |name: &str| {
        format!(
            "dir/{}",
            file_name(certificate(&workshop, name).fingerprint())
        )
    };
    workshop.write(&file("a"), OURS);
    std::fs::remove_file(workshop.path(&file("b"))).unwrap();
    write(&workshop, &["a", "b"]).unwrap();
    assert_eq!(trusted(&workshop, &["a", "b"]), ["a", "b"]);
    std::fs::remove_file(workshop.path(&file("b"))).unwrap();
    write(&workshop, &["a"]).unwrap();
    assert_eq!(links(&workshop.path("dir")), rehashed(&workshop));
}

/// Whether `.0`, `.1` and so on lead to the certificate before one is missing.
fn is_found(directory: &Path, hash: &str, wanted: Fingerprint) -> bool {
    let paths = (0..).map(|number| directory.join(format!("{hash}.{number}")));
    let inputs = paths.map_while(|path| Input::read(&path).ok());
    let certificates = inputs.filter_map(|input| input.certificates().ok());
    certificates
        .flatten()
        .any(|one| one.fingerprint() == wanted)
}

#[test]
fn each_step_of_a_change_keeps_what_stays_trusted() {
    let fingerprint = |number: u8| Fingerprint::of(&[number]);
    let set = |bits: u8| -> BTreeSet<_> {
        let members = (0..4).filter(|number| bits & (1 << number) != 0);
        members.map(fingerprint).collect()
    };
    for (before, after) in (0..16).flat_map(|one| (0..16).map(move |other| (one, other))) {
        for foreign in [None, Some(0), Some(2)] {
            let mut links = Links::from_iter(foreign.map(|number| (number, Link::Foreign)));
            let first = Plan::of(&set(before), &links);
            let put = first.put.into_iter();
            links.extend(put.map(|(number, one)| (number, Link::Ours(one))));
            let staying: Vec<_> = set(before & after).into_iter().collect();
            let plan = Plan::of(&set(after), &links);
            let put = plan.put.into_iter();
            let steps = put.map(|(number, one)| (number, Some(Link::Ours(one))));
            for (number, step) in steps.chain(plan.remove.into_iter().map(|one| (one, None))) {
                match step {
                    Some(link) => links.insert(number, link),
                    None => links.remove(&number),
                };
                let found: Vec<_> = (0..).map_while(|number| links.get(&number)).collect();
                let is_there = |one: &Fingerprint| found.contains(&&Link::Ours(*one));
                assert!(
                    staying.iter().all(is_there),
                    "{before:b} {after:b} {foreign:?}"
                );
            }
            let ours = links.values().filter(|link| **link != Link::Foreign);
            assert_eq!(ours.count(), set(after).len());
        }
    }
}

#[test]
fn a_reader_always_finds_what_stays_trusted() {
    let workshop = Workshop::new();
    twins(&workshop, &["a", "b"]);
    let kept = certificate(&workshop, "a");
    let hash = kept.subject_hash().unwrap();
    write(&workshop, &["a"]).unwrap();
    let is_done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            while !is_done.load(Ordering::Relaxed) {
                // Alone at its number it never moves: "b" comes and goes behind it.
                assert!(is_found(&workshop.path("dir"), &hash, kept.fingerprint()));
            }
        });
        for _ in 0..30 {
            write(&workshop, &["a", "b"]).unwrap();
            write(&workshop, &["a"]).unwrap();
        }
        is_done.store(true, Ordering::Relaxed);
        reader.join().unwrap();
    });
}
