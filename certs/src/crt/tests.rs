use super::*;
use crate::testing::{Workshop, explain};
use crate::x509::{Note, Timestamp, Version};

fn refusal(workshop: &Workshop, name: &str) -> String {
    let error = workshop.input(name).certificates().unwrap_err();
    explain(&error, &workshop.path(""))
}

fn only(workshop: &Workshop, name: &str) -> Certificate {
    let certificates = workshop.input(name).certificates().unwrap();
    assert_eq!(certificates.len(), 1, "{name}");
    certificates.into_iter().next().unwrap()
}

#[test]
fn pem_and_der_are_told_apart_by_content() {
    let workshop = Workshop::new();
    workshop.ca("ca");
    // The name lies on purpose: ca.crt is DER and ca.der is PEM.
    workshop.openssl("x509 -in ca.pem -outform DER -out ca.crt");
    workshop.write("ca.der", workshop.read("ca.pem"));

    let (der, pem) = (only(&workshop, "ca.crt"), only(&workshop, "ca.der"));
    assert_eq!(der, pem);
    assert_eq!(
        der.to_pem(),
        workshop.read("ca.pem"),
        "as openssl x509 -outform PEM writes it"
    );
}

#[test]
fn forgives_crlf_bom_text_indentation_and_a_missing_newline() {
    let workshop = Workshop::new();
    workshop.ca("ca");
    let expected = only(&workshop, "ca.pem");
    let text = String::from_utf8(workshop.read("ca.pem")).unwrap();

    workshop.openssl("x509 -in ca.pem -text -out text-around.pem");
    workshop.write("crlf.pem", text.replace('\n', "\r\n"));
    workshop.write("bom.pem", format!("\u{feff}{text}"));
    workshop.write(
        "indented.pem",
        text.lines()
            .fold(String::new(), |s, l| s + "    " + l + "\n"),
    );
    workshop.write("no-newline.pem", text.trim_end());
    workshop.write(
        "old-label.pem",
        text.replace("CERTIFICATE", "X509 CERTIFICATE"),
    );
    for name in [
        "text-around.pem",
        "crlf.pem",
        "bom.pem",
        "indented.pem",
        "no-newline.pem",
        "old-label.pem",
    ] {
        assert_eq!(only(&workshop, name), expected, "{name}");
    }
}

#[test]
fn a_chain_gives_all_its_certificates() {
    let workshop = Workshop::new();
    let mut chain = Vec::new();
    for name in ["one", "two", "three"] {
        workshop.ca(name);
        chain.extend(workshop.read(&format!("{name}.pem")));
    }
    workshop.write("chain.pem", chain);
    let subjects: Vec<_> = workshop
        .input("chain.pem")
        .certificates()
        .unwrap()
        .into_iter()
        .map(|certificate| certificate.facts().subject.clone())
        .collect();
    assert_eq!(
        subjects,
        ["O=Test, CN=one", "O=Test, CN=two", "O=Test, CN=three"]
    );
}

#[test]
fn private_keys_are_refused_in_every_form() {
    let workshop = Workshop::new();
    workshop.ca("ca");
    let both = [workshop.read("ca.pem"), workshop.read("ca.key")].concat();
    workshop.write("both.pem", both);
    workshop.openssl("genrsa -out rsa.pem 2048");
    workshop.openssl("pkcs8 -topk8 -nocrypt -in ca.key -outform DER -out pkcs8.der");
    workshop.openssl("pkcs8 -topk8 -passout pass:x -in ca.key -outform DER -out encrypted.der");
    workshop.openssl("ec -in ca.key -outform DER -out sec1.der");
    workshop.openssl("rsa -in rsa.pem -outform DER -traditional -out pkcs1.der");
    for name in [
        "both.pem",
        "ca.key",
        "rsa.pem",
        "pkcs8.der",
        "encrypted.der",
        "sec1.der",
        "pkcs1.der",
    ] {
        assert_eq!(
            refusal(&workshop, name),
            format!(
                "{name} holds a private key: keep it secret and give the file that holds only \
                 the certificate"
            )
        );
    }
}

#[test]
fn formats_that_are_not_read_are_refused_by_name() {
    let workshop = Workshop::new();
    workshop.ca("ca");
    workshop.openssl("crl2pkcs7 -nocrl -certfile ca.pem -out p7.pem");
    workshop.openssl("crl2pkcs7 -nocrl -certfile ca.pem -outform DER -out p7.der");
    workshop.openssl("pkcs12 -export -in ca.pem -inkey ca.key -passout pass:x -out ca.p12");
    workshop.openssl("x509 -in ca.pem -trustout -addtrust serverAuth -out trusted.pem");
    let text = String::from_utf8(workshop.read("ca.pem")).unwrap();
    let utf16: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    workshop.write("utf16.pem", [b"\xff\xfe".as_slice(), &utf16].concat());

    for (name, expected) in [
        (
            "p7.pem",
            "comes as PKCS#7; convert it with `openssl pkcs7 -print_certs`",
        ),
        (
            "p7.der",
            "comes as PKCS#7; convert it with `openssl pkcs7 -print_certs`",
        ),
        (
            "ca.p12",
            "comes as PKCS#12; take the certificates out with `openssl pkcs12",
        ),
        (
            "trusted.pem",
            "comes as an OpenSSL TRUSTED CERTIFICATE; convert it",
        ),
        ("utf16.pem", "comes as UTF-16 text; save it as UTF-8"),
    ] {
        let message = refusal(&workshop, name);
        assert!(
            message.starts_with(&format!("{name} {expected}")),
            "{message}"
        );
    }
}

#[test]
fn a_file_without_certificate_is_refused_by_name() {
    let workshop = Workshop::new();
    workshop.ca("ca");
    workshop.openssl("req -new -key ca.key -subj /CN=x -out request.pem");
    for (name, bytes) in [
        ("empty", b"".as_slice()),
        ("text", b"0 what is this\n"),
        ("zeros", &[0; 100]),
        ("html", b"<!DOCTYPE html><html>"),
        ("dashes", b"-----\n-----BEGINNING-----\n"),
    ] {
        workshop.write(name, bytes);
        assert_eq!(
            refusal(&workshop, name),
            format!("{name} holds no certificate")
        );
    }
    assert_eq!(
        refusal(&workshop, "request.pem"),
        "request.pem holds no certificate, only CERTIFICATE REQUEST"
    );
}

#[test]
fn damage_is_told_with_its_place() {
    let workshop = Workshop::new();
    workshop.ca("ca");
    workshop.openssl("x509 -in ca.pem -outform DER -out ca.der");
    let der = workshop.read("ca.der");
    workshop.write("cut.der", &der[..der.len() - 1]);
    workshop.write("header.der", &der[..3]);
    workshop.write("long.der", [&der[..], b"\n\n"].concat());
    for (name, expected) in [
        (
            "cut.der",
            "cut.der looks like DER but is not a certificate: it is cut off",
        ),
        (
            "header.der",
            "header.der looks like DER but is not a certificate: it is cut off",
        ),
        (
            "long.der",
            "long.der looks like DER but is not a certificate: 2 bytes follow the certificate",
        ),
    ] {
        assert_eq!(refusal(&workshop, name), expected);
    }

    let text = String::from_utf8(workshop.read("ca.pem")).unwrap();
    let lines: Vec<_> = text.lines().collect();
    let headless = [&lines[..1], &lines[2..]].concat().join("\n");
    workshop.write("second.pem", format!("{text}{headless}"));
    let expected = format!(
        "PEM block 2 (line {}) is not a certificate: ",
        lines.len() + 1
    );
    let message = refusal(&workshop, "second.pem");
    assert!(
        message.starts_with(&format!("second.pem: {expected}")),
        "{message}"
    );
}

#[test]
fn a_name_cannot_smuggle_anything_into_a_message() {
    let input = Input::new("x\u{1b}]0;y\n", Vec::new());
    assert_eq!(input.name(), "x\\u{1b}]0;y\\n");
}

#[test]
fn an_endless_file_is_refused() {
    let error = Input::read(Path::new("/dev/zero")).unwrap_err();
    assert!(matches!(error, Error::TooLarge { .. }), "{error}");
}

#[test]
fn a_directory_and_a_missing_file_are_named() {
    let error = Input::read(Path::new("/etc")).unwrap_err();
    assert_eq!(
        explain(&error, Path::new("-")),
        "cannot read /etc: read(\"/etc\"): Is a directory"
    );
    let error = Input::read(Path::new("/no/such")).unwrap_err();
    assert!(explain(&error, Path::new("-")).ends_with("No such file or directory"));
}

/// Security cases P10, P11 and P13: accepted, with a note of what it means.
#[test]
fn notes_say_what_a_certificate_is_worth() {
    let workshop = Workshop::new();
    workshop.ca("ca");
    let plain = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -keyout k \
                 -subj /CN=x";
    // A configuration of its own, since the system's adds basicConstraints.
    workshop.write("bare.cnf", "[req]\ndistinguished_name=dn\n[dn]\n");
    workshop.openssl(&format!("{plain} -config bare.cnf -out bare.pem"));
    let v3 = format!("{plain} -config bare.cnf -addext");
    workshop.openssl(&format!(
        "{v3} subjectAltName=DNS:r.test,IP:127.0.0.1,IP:::1 -out san.pem"
    ));
    workshop.openssl(&format!("{v3} basicConstraints=CA:FALSE -out leaf.pem"));
    workshop.openssl(&format!(
        "{v3} basicConstraints=critical,CA:TRUE -addext keyUsage=digitalSignature -out mute.pem"
    ));
    workshop.openssl("req -new -key k -subj /CN=v1 -config bare.cnf -out v1.csr");
    workshop.openssl("x509 -req -in v1.csr -signkey k -days 30 -out v1.pem");

    let now = Timestamp::from(std::time::SystemTime::now());
    let notes = |name: &str| only(&workshop, name).facts().notes(now);
    assert_eq!(notes("ca.pem"), []);
    assert_eq!(notes("san.pem"), [Note::NoBasicConstraints]);
    assert_eq!(notes("leaf.pem"), [Note::NotACa]);
    assert_eq!(notes("mute.pem"), [Note::MayNotSign]);
    assert_eq!(notes("v1.pem"), [Note::Version1]);
    assert_eq!(only(&workshop, "v1.pem").facts().version, Version::V1);

    let facts = only(&workshop, "san.pem").facts().clone();
    assert_eq!(
        facts.alternative_names,
        ["DNS:r.test", "IP:127.0.0.1", "IP:::1"]
    );

    let ca = only(&workshop, "ca.pem").facts().clone();
    assert!(ca.is_self_issued);
    let (begin, end) = (ca.not_before, ca.not_after);
    let day = 86_400;
    assert_eq!(
        ca.notes(Timestamp::from_unix(end.as_unix() + day)),
        [Note::Expired { since: end }]
    );
    assert_eq!(
        ca.notes(Timestamp::from_unix(begin.as_unix() - day)),
        [Note::NotYetValid { until: begin }]
    );
    assert!((29..=30).contains(&end.days_after(now)));
}

#[test]
fn the_subject_hash_is_the_one_that_openssl_prints() {
    let workshop = Workshop::new();
    workshop.ca("ca");
    workshop.openssl("x509 -in ca.pem -subject_hash -noout -out hash");
    let expected = String::from_utf8(workshop.read("hash")).unwrap();
    let hash = only(&workshop, "ca.pem").subject_hash().unwrap();
    assert_eq!(hash, expected.trim());
}
