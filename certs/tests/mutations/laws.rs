//! What holds for every input, whoever made it.
//!
//! Checked of mutated seeds by the tests beside this, and of what libFuzzer finds
//! by the targets in `fuzz/`, which include this file.

use std::collections::BTreeSet;
use std::error::Error as _;
use std::fs::File;
use std::io::Write;
use std::path::Path;

use ucr_certs::{
    Addition, Certificate, Dates, Encoding, Entry, Error, Fingerprint, HostPort, Input, Listing,
    Scope, Timestamp, TrustStore, annotated_pem, convert,
};

/// Checks that any bytes are refused, or hold certificates that stay what they are in every form.
pub fn certificates(bytes: &[u8]) {
    let input = Input::new("fuzz", bytes.to_vec());
    let addable = input.certificates();
    let contents = match input.contents() {
        Ok(contents) => contents,
        Err(error) => {
            assert_eq!(explain(&addable.unwrap_err()), explain(&error));
            return;
        }
    };
    if contents.private_keys == 0 && contents.distrusted.is_empty() {
        assert_eq!(addable.unwrap(), contents.certificates);
    } else {
        explain(&addable.unwrap_err());
    }
    for certificate in contents.certificates.iter().chain(&contents.distrusted) {
        stays_the_same(certificate);
        is_printable(certificate);
    }
}

/// Checks that a trust store lists nothing under a false name, and all that was added.
///
/// The directory must be empty, and is again afterwards but for the store's own files.
pub fn store_file(directory: &Path, bytes: &[u8]) {
    let store = TrustStore::new(directory);
    let input = Input::new(&String::from_utf8_lossy(bytes), bytes.to_vec());
    let held = input.contents().map(|contents| contents.certificates);
    let first = held.iter().flatten().next().map(Certificate::fingerprint);
    for name in [
        first.unwrap_or(Fingerprint::of(bytes)),
        Fingerprint::of(b"another"),
    ] {
        let path = directory.join(format!("{name}.pem"));
        File::create(&path).unwrap().write_all(bytes).unwrap();
        let Listing {
            entries, damaged, ..
        } = store.list().unwrap();
        assert_eq!(entries.len() + damaged.len(), 1);
        for entry in &entries {
            assert_eq!(entry.certificate.fingerprint(), name);
            has_printable_provenance(entry);
        }
        damaged.iter().for_each(|error| drop(explain(error)));
        std::fs::remove_file(path).unwrap();
    }
    can_be_added(&store, input, bytes);
}

/// Checks that the text is refused, or is a host that stays what it is however it is written.
pub fn host(text: &str) {
    let Ok(host) = text.parse::<HostPort>() else {
        return;
    };
    assert_eq!(
        HostPort::new(host.host(), host.port()).as_ref(),
        Ok(&host),
        "{text:?}"
    );
    for spelling in host.spellings().into_iter().chain([host.to_string()]) {
        assert_eq!(spelling.parse().as_ref(), Ok(&host), "{spelling:?}");
        let harmless = |c: char| c.is_ascii_graphic() && c != '/';
        assert!(spelling.chars().all(harmless), "{spelling:?}");
        assert!(!spelling.starts_with(['.', '-']), "{spelling:?}");
    }
}

fn stays_the_same(certificate: &Certificate) {
    let pem = Input::new("pem", certificate.to_pem());
    let der = Input::new("der", certificate.der().to_vec());
    let annotated = Input::new("annotated", annotated_pem([certificate]));
    for form in [&pem, &der, &annotated] {
        let read = form.certificates();
        let read = read.unwrap_or_else(|error| panic!("{}", explain(&error)));
        assert_eq!(read, std::slice::from_ref(certificate));
    }
    let into = |form, encoding| convert(form, encoding).unwrap().bytes;
    assert_eq!(into(&pem, Encoding::Der), **certificate.der());
    assert_eq!(into(&der, Encoding::Pem), certificate.to_pem());
    let fingerprint = certificate.fingerprint();
    assert_eq!(fingerprint, Fingerprint::of(certificate.der()));
    assert_eq!(
        fingerprint.to_string().parse::<Fingerprint>().unwrap(),
        fingerprint
    );
    let hash = certificate.subject_hash().unwrap();
    let digit = |byte: u8| byte.is_ascii_hexdigit();
    assert!(hash.len() == 8 && hash.bytes().all(digit), "{hash}");
}

fn is_printable(certificate: &Certificate) {
    let facts = certificate.facts();
    let texts = [&facts.subject, &facts.issuer, &facts.serial];
    for text in texts.into_iter().chain(&facts.common_name) {
        printable(text);
    }
    facts
        .alternative_names
        .iter()
        .for_each(|name| printable(name));
    for moment in [facts.not_before, facts.not_after] {
        printable(&moment.to_string());
    }
    for now in [i64::MIN, 0, i64::MAX].map(Timestamp::from_unix) {
        for note in facts.notes(now) {
            printable(&note.to_string());
        }
        facts.not_after.days_after(now);
    }
}

fn has_printable_provenance(entry: &Entry) {
    let provenance = &entry.provenance;
    for text in [&provenance.added, &provenance.by, &provenance.from] {
        printable(text.as_deref().unwrap_or_default());
    }
}

/// What can be added is listed once, is in the CAfile, and leaves nothing when it is removed.
fn can_be_added(store: &TrustStore, input: Input, bytes: &[u8]) {
    let Ok(certificates) = input.certificates() else {
        return;
    };
    let wanted: BTreeSet<_> = certificates.iter().map(Certificate::fingerprint).collect();
    let addition = Addition {
        inputs: &[input],
        scope: Scope::AllRegistries,
        name: Some("corp".parse().unwrap()),
        by: Some(String::from_utf8_lossy(bytes).into_owned()),
        now: Timestamp::from_unix(0),
        dates: Dates::Ignored,
    };
    store.add(&addition).unwrap();
    let listing = store.list().unwrap();
    assert!(listing.damaged.is_empty(), "{:?}", listing.damaged);
    let listed = listing
        .entries
        .iter()
        .map(|entry| entry.certificate.fingerprint());
    assert!(listed.eq(wanted.iter().copied()));
    let cafile = Input::read(&store.cafile()).unwrap();
    let bundled = cafile.certificates().unwrap();
    let bundled = bundled.iter().map(Certificate::fingerprint);
    assert!(bundled.eq(wanted.iter().copied()));
    for entry in &listing.entries {
        assert_eq!(
            entry.provenance.name.as_ref(),
            addition.name.as_ref(),
            "{entry:?}"
        );
        has_printable_provenance(entry);
    }
    store.remove(&"corp".parse().unwrap(), None).unwrap();
    assert!(store.list().unwrap().entries.is_empty());
}

fn printable(text: &str) {
    assert!(!text.chars().any(char::is_control), "{text:?}");
}

/// The whole chain of an error.
fn explain(error: &Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text = format!("{text}: {source}");
        next = source.source();
    }
    text
}
