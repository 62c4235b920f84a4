use test_support::TestCa;

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
fn a_der_certificate_with_pem_in_its_subject_is_that_certificate() {
    let other = TestCa::new("Other").pem();
    let der = TestCa::new(&format!("x\n{other}")).der();
    let certificates = Input::new("ca.der", der.clone()).certificates().unwrap();
    assert_eq!(certificates.len(), 1);
    assert_eq!(certificates[0].der().as_ref(), der);
}

#[test]
fn what_only_our_own_parser_takes_for_a_certificate_is_refused() {
    let mut der = TestCa::new("Test").der();
    // The class of the inner SEQUENCE, after a tag and three bytes of length.
    der[4] |= 0x80;
    assert!(Facts::read(&der).is_ok());
    let error = Certificate::from_der(der.into()).unwrap_err();
    assert!(matches!(error, DerFlaw::NotForOpenssl { .. }), "{error}");
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
    workshop.openssl(
        "pkcs8 -topk8 -v1 PBE-SHA1-3DES -passout pass:x -in ca.key -outform DER -out pbe.der",
    );
    workshop.openssl("ec -in ca.key -outform DER -out sec1.der");
    workshop.openssl("rsa -in rsa.pem -outform DER -traditional -out pkcs1.der");
    for name in [
        "both.pem",
        "ca.key",
        "rsa.pem",
        "pkcs8.der",
        "encrypted.der",
        "pbe.der",
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
fn pkcs7_gives_all_its_certificates_in_pem_and_der() {
    let workshop = Workshop::new();
    workshop.ca("one");
    workshop.ca("two");
    let bundle = "crl2pkcs7 -nocrl -certfile one.pem -certfile two.pem";
    workshop.openssl(&format!("{bundle} -out p7.pem"));
    workshop.openssl(&format!("{bundle} -outform DER -out p7.der"));
    let expected = [only(&workshop, "one.pem"), only(&workshop, "two.pem")];
    for name in ["p7.pem", "p7.der"] {
        let mut found = workshop.input(name).certificates().unwrap();
        found.sort_by_key(|certificate| certificate.facts().subject.clone());
        assert_eq!(found, expected, "{name}");
    }
    let text = String::from_utf8(workshop.read("p7.pem")).unwrap();
    let relabelled = text.replace("PKCS7", "PKCS #7 SIGNED DATA");
    workshop.write("relabelled.pem", relabelled);
    let found = workshop.input("relabelled.pem").certificates().unwrap();
    assert_eq!(found.len(), 2);
}

#[test]
fn damaged_or_empty_pkcs7_is_refused_by_name() {
    let workshop = Workshop::new();
    workshop.ca("ca");
    workshop.openssl("crl2pkcs7 -nocrl -certfile ca.pem -outform DER -out p7.der");
    let der = workshop.read("p7.der");
    workshop.write("cut.p7b", &der[..der.len() - 40]);
    let message = refusal(&workshop, "cut.p7b");
    assert!(
        message.starts_with("cut.p7b comes as PKCS#7 but is damaged: it has not the structure"),
        "{message}"
    );
    workshop.openssl("crl2pkcs7 -nocrl -out empty.p7b");
    assert_eq!(
        refusal(&workshop, "empty.p7b"),
        "empty.p7b holds no certificate, only PKCS7"
    );
}

#[test]
fn p18_a_trusted_certificate_is_taken_unless_its_settings_exclude_tls_servers() {
    let workshop = Workshop::new();
    workshop.ca("ca");
    let expected = only(&workshop, "ca.pem");
    let make = |settings: &str, name: &str| {
        workshop.openssl(&format!("x509 -in ca.pem -trustout {settings} -out {name}"));
    };
    make("-addtrust serverAuth", "server.pem");
    make("-addtrust anyExtendedKeyUsage", "any.pem");
    make("-setalias corp", "alias.pem");
    make("-addreject emailProtection", "no-mail.pem");
    for name in ["server.pem", "any.pem", "alias.pem", "no-mail.pem"] {
        let text = String::from_utf8(workshop.read(name)).unwrap();
        assert!(text.contains("BEGIN TRUSTED CERTIFICATE"), "{name}");
        assert_eq!(only(&workshop, name), expected, "{name}");
    }

    make("-addreject serverAuth", "rejected.pem");
    make("-addreject anyExtendedKeyUsage", "all-rejected.pem");
    make("-addtrust clientAuth", "client.pem");
    for name in ["rejected.pem", "all-rejected.pem", "client.pem"] {
        let message = refusal(&workshop, name);
        let expected = format!("{name}: O=Test, CN=ca is marked as not to be trusted");
        assert!(message.starts_with(&expected), "{message}");
        let contents = workshop.input(name).contents().unwrap();
        assert!(contents.certificates.is_empty(), "{name}");
        assert_eq!(contents.distrusted.len(), 1, "{name}");
    }
}

#[test]
fn settings_that_cannot_be_read_are_not_taken_for_trust() {
    let workshop = Workshop::new();
    workshop.ca("ca");
    let certificate = only(&workshop, "ca.pem");
    let block = |tail: &[u8]| {
        let mut text = Vec::new();
        pem::write_certificate(&[certificate.der().as_ref(), tail].concat(), &mut text);
        let text = String::from_utf8(text).unwrap();
        text.replace("CERTIFICATE", "TRUSTED CERTIFICATE")
    };
    workshop.write("bare.pem", block(b""));
    assert_eq!(only(&workshop, "bare.pem"), certificate);
    for (name, tail) in [
        ("words", b"no settings".as_slice()),
        ("cut", b"\x30\x05\xa0"),
        ("more", b"\x30\x00\x30\x00"),
        ("no-purpose", b"\x30\x04\xa0\x02\x05\x00"),
    ] {
        workshop.write(name, block(tail));
        let refused = workshop.input(name).certificates();
        let refused = refused.map(|accepted| accepted.len());
        assert!(
            matches!(refused, Err(Error::NotACertificate { .. })),
            "{name}: {refused:?}"
        );
    }
}

#[test]
fn formats_that_are_not_read_are_refused_by_name() {
    let workshop = Workshop::new();
    workshop.ca("ca");
    workshop.openssl("pkcs12 -export -in ca.pem -inkey ca.key -passout pass:x -out ca.p12");
    let text = String::from_utf8(workshop.read("ca.pem")).unwrap();
    let utf16: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    workshop.write("utf16.pem", [b"\xff\xfe".as_slice(), &utf16].concat());

    for (name, expected) in [
        (
            "ca.p12",
            "comes as PKCS#12; take them out with `openssl pkcs12 -in FILE",
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
    workshop.openssl(&format!("{v3} keyUsage=keyCertSign -out signer.pem"));
    workshop.openssl("req -new -key k -subj /CN=v1 -config bare.cnf -out v1.csr");
    workshop.openssl("x509 -req -in v1.csr -signkey k -days 30 -out v1.pem");

    let now = Timestamp::from(std::time::SystemTime::now());
    let notes = |name: &str| only(&workshop, name).facts().notes(now);
    assert_eq!(notes("ca.pem"), []);
    assert_eq!(notes("san.pem"), [Note::NoBasicConstraints]);
    assert_eq!(notes("leaf.pem"), [Note::NotACa]);
    assert_eq!(notes("mute.pem"), [Note::MayNotSign]);
    assert_eq!(notes("signer.pem"), [Note::KeyUsageAlone]);
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

#[test]
fn p17_what_openssl_cannot_read_is_refused_however_small_the_damage() {
    let workshop = Workshop::new();
    workshop.ca("ca");
    let good = only(&workshop, "ca.pem").der().to_vec();
    let (mut accepted, mut refused) = (0, 0);
    for place in 0..good.len() {
        for bit in [0x01, 0x10, 0x80] {
            let mut der = good.clone();
            der[place] ^= bit;
            match Certificate::from_der(der.clone().into()) {
                Ok(certificate) => {
                    // What libcurl is given, read as OpenSSL reads a CAfile.
                    let stack = openssl::x509::X509::stack_from_pem(&certificate.to_pem());
                    assert_eq!(stack.unwrap().len(), 1);
                    accepted += 1;
                }
                Err(_) => refused += 1,
            }
        }
    }
    // Names, keys and signatures may be anything; structure may not.
    assert!(accepted > 100 && refused > 100, "{accepted} {refused}");
}

#[test]
fn standard_input_is_never_cut_off_in_silence() {
    let endless = std::io::repeat(b'\n');
    let error = Input::read_from("standard input", endless).unwrap_err();
    let said = "standard input is larger than 16777216 bytes: not a file of certificates";
    assert_eq!(error.to_string(), said);
    let input = Input::read_from("-", b"x".as_slice()).unwrap();
    assert_eq!(input.bytes(), b"x");
}
