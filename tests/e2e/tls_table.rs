//! Which servers are trusted: a test for each case of the table, with the verdicts
//! of libcurl, which decides, of OpenSSL, which explains, and of rustls, which is stricter.

use rcgen::{DnType, ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose, SanType};
use test_support::{need_command, need_root};

use crate::env::Home;
use crate::made::{self, Change, Made};
use crate::output::Output;
use crate::verdict::{verdict, verdict_on};

/// `ucr pull` from a server that presents `chain` must fail, and say all of `texts`.
#[track_caller]
fn pull_refused(home: &Home, chain: &[&Made], trusted: &Made, texts: &[&str]) {
    let server = made::presenting(chain);
    home.write("trusted.pem", trusted.pem());
    let image = format!("{}/team/app:1", server.host());
    let refused = home.ucr(&["pull", "-q", "--cafile", "trusted.pem", &image]);
    let refused = refused.refused(1).said(texts);
    let certificates = home.shown("certs");
    refused.said(&[
        &server.host(),
        "is not trusted",
        "trusted.pem (1 certificate, from --cafile)",
        &format!("{certificates} (nothing added for this host)"),
    ]);
    assert_eq!(server.count("GET"), 0);
}

#[test]
fn p1_a_whole_chain_leads_to_its_root() {
    let home = Home::new();
    let root = made::root("Root");
    let middle = made::intermediate("Middle", &root);
    let server = made::server(&middle);
    for chain in [&[&server, &middle][..], &[&server, &middle, &root]] {
        let verdict = verdict(&home, chain, &[&root]).accepted();
        assert_eq!(verdict.anchor(), "CN=Root");
        verdict.rustls_agrees();
    }
}

#[test]
fn p1_a_chain_is_found_among_many_certificates() {
    need_root!();
    let home = Home::new();
    let root = made::root("Root");
    let middle = made::intermediate("Middle", &root);
    let server = made::server(&middle);
    let strangers: Vec<Made> = (0..30).map(|_| made::root("Stranger")).collect();
    let mut chain = vec![&server];
    chain.extend(&strangers);
    chain.push(&middle);
    verdict(&home, &chain, &[&root]).accepted().rustls_agrees();
    verdict(&home, &chain, &[&strangers[0]]).refused("intermediate-missing");
    pull_refused(&home, &chain, &strangers[0], &["and 24 more"]);
}

#[test]
fn p2_an_unknown_ca_is_named_with_where_it_was_looked_for() {
    need_root!();
    let home = Home::new();
    let known = made::root("Known");
    let unknown = made::root("Unknown");
    let server = made::server(&unknown);
    for chain in [&[&server][..], &[&server, &unknown]] {
        verdict(&home, chain, &[&known])
            .refused("unknown-issuer")
            .because(&["CN=registry is signed by CN=Unknown, which is not trusted"])
            .rustls_objects("no trusted CA signed it");
    }
    let add = "ucr certs add CA.crt, where CA.crt is the certificate of CN=Unknown";
    pull_refused(&home, &[&server], &known, &["CN=Unknown", add]);
}

#[test]
fn p3_an_intermediate_that_the_server_does_not_send_is_named() {
    need_root!();
    let home = Home::new();
    let root = made::root("Root");
    let middle = made::intermediate("Middle", &root);
    let server = made::server(&middle);
    let unsent = "did not send the certificate of CN=Middle";
    verdict(&home, &[&server], &[&root])
        .refused("unknown-issuer")
        .because(&[unsent])
        .rustls_objects("no trusted CA signed it");
    let send = "send the certificate of CN=Middle with its own";
    let add = "ucr certs add CA.crt, where CA.crt is the certificate of CN=Middle";
    pull_refused(&home, &[&server], &root, &[unsent, send, add]);

    let low = made::intermediate("Low", &middle);
    verdict(&home, &[&made::server(&low), &low], &[&root])
        .refused("unknown-issuer")
        .because(&["CN=Low is signed by CN=Middle", "did not send"])
        .rustls_objects("no trusted CA signed it");
}

#[test]
fn p4_an_intermediate_that_is_trusted_need_not_be_sent() {
    let home = Home::new();
    let root = made::root("Root");
    let middle = made::intermediate("Middle", &root);
    let verdict = verdict(&home, &[&made::server(&middle)], &[&root, &middle]).accepted();
    // The first trusted one ends the chain.
    assert_eq!(verdict.anchor(), "CN=Middle");
    verdict.rustls_agrees();
}

#[test]
fn p5_an_intermediate_alone_is_enough() {
    let home = Home::new();
    let middle = made::intermediate("Middle", &made::root("Root"));
    let server = made::server(&middle);
    let verdict = verdict(&home, &[&server, &middle], &[&middle]).accepted();
    assert_eq!(verdict.anchor(), "CN=Middle");
    verdict.rustls_agrees();
}

#[test]
fn p6_a_server_s_own_certificate_is_enough_until_it_is_removed() {
    let home = Home::new();
    let alone = made::self_signed();
    verdict(&home, &[&alone], &[&alone])
        .accepted()
        .rustls_agrees();
    let signed = made::server(&made::root("Root"));
    verdict(&home, &[&signed], &[&signed])
        .accepted()
        .rustls_objects("no trusted CA signed it");

    home.write("other.pem", made::root("Other").pem());
    home.write("leaf.pem", alone.pem());
    let server = made::presenting(&[&alone]);
    let host = server.host();
    let check = || home.ucr(&["certs", "check", "--cafile", "other.pem", &host]);
    let added = home.ucr(&["certs", "add", "leaf.pem"]).ok();
    check().ok();
    let fingerprint = added.stdout.split(' ').nth(1).unwrap();
    home.ucr(&["certs", "remove", fingerprint]).ok();
    check().ended(1);
}

#[test]
fn p7_a_self_signed_server_that_is_not_trusted() {
    need_root!();
    let home = Home::new();
    let known = made::root("Known");
    let server = made::self_signed();
    verdict(&home, &[&server], &[&known])
        .refused("self-signed")
        .because(&["CN=registry", "signed itself"])
        .rustls_objects("no trusted CA signed it");
    let texts = [
        "issued by itself",
        "signed itself",
        "ucr certs add SERVER.crt",
    ];
    pull_refused(&home, &[&server], &known, &texts);
}

#[test]
fn p8_a_trusted_certificate_for_another_name() {
    need_root!();
    let home = Home::new();
    let root = made::root("Root");
    let server = made::server_but(&root, |it| made::only_for(it, "registry.example"));
    let text = "not for 127.0.0.1, only for DNS:registry.example";
    for trusted in [&root, &server] {
        verdict(&home, &[&server], &[trusted])
            .refused("wrong-name")
            .because(&[text]);
        pull_refused(&home, &[&server], trusted, &[text, "made for 127.0.0.1"]);
    }
    verdict(&home, &[&server], &[&root]).rustls_objects("not valid for name");
}

#[test]
fn p9_a_common_name_counts_only_where_there_is_no_other() {
    let home = Home::new();
    let root = made::root("Root");
    let bare: Change = |it| {
        it.subject_alt_names.clear();
        it.distinguished_name.push(DnType::CommonName, "127.0.0.1");
    };
    verdict(&home, &[&made::server_but(&root, bare)], &[&root])
        .accepted()
        .rustls_objects("not valid for name");
    let both: Change = |it| {
        it.distinguished_name.push(DnType::CommonName, "127.0.0.1");
        made::only_for(it, "registry.example");
    };
    verdict(&home, &[&made::server_but(&root, both)], &[&root])
        .refused("wrong-name")
        .because(&["only for DNS:registry.example"])
        .rustls_objects("not valid for name");
    let wrong: Change = |it| it.subject_alt_names.clear();
    verdict(&home, &[&made::server_but(&root, wrong)], &[&root])
        .refused("wrong-name")
        .because(&["only for CN:registry"])
        .rustls_objects("not valid for name");
}

#[test]
fn p10_a_root_that_may_not_be_one() {
    let home = Home::new();
    let cases: [(Change, &str, &str); 3] = [
        (
            |it| {
                it.is_ca = IsCa::NoCa;
                it.key_usages.clear();
            },
            "it has no basicConstraints",
            "no basicConstraints",
        ),
        (
            |it| it.is_ca = IsCa::ExplicitNoCa,
            "is not a CA",
            "not a CA",
        ),
        (
            |it| it.key_usages = vec![KeyUsagePurpose::DigitalSignature],
            "lacks keyCertSign",
            "lacks keyCertSign",
        ),
    ];
    for (change, reason, note) in cases {
        let root = made::root_but("Root", change);
        // rustls takes a root for one without asking what it says.
        verdict(&home, &[&made::server(&root)], &[&root])
            .refused("not-a-ca")
            .because(&["CN=Root signed", reason])
            .rustls_agrees();
        home.write("root.pem", root.pem());
        home.ucr(&["certs", "add", "root.pem"]).ok().said(&[note]);
    }
    let root = made::root_but("Root", |it| it.is_ca = IsCa::NoCa);
    verdict(&home, &[&made::server(&root)], &[&root])
        .accepted()
        .rustls_agrees();
    home.write("root.pem", root.pem());
    let added = home.ucr(&["certs", "add", "root.pem"]).ok();
    added.said(&["only that it may sign certificates"]);
}

#[test]
fn p11_a_root_of_version_1_is_accepted_and_remarked_on() {
    need_command!("openssl");
    let home = Home::new();
    let root = made::root("Old");
    home.write_secret("root.key", root.key().serialize_pem());
    let script = r"
        openssl req -new -key root.key -subj /CN=Old -out root.csr
        openssl x509 -req -in root.csr -signkey root.key -days 3650 -out root.pem 2>&1
        openssl x509 -in root.pem -noout -text";
    let made = Output::of(&mut home.shell(script, &[])).ok();
    assert!(made.stdout.contains("Version: 1 "), "{made:?}");
    let cafile = std::fs::read_to_string(home.path("root.pem")).unwrap();
    verdict_on(&home, &made::presenting(&[&made::server(&root)]), &cafile)
        .accepted()
        .rustls_agrees();
    let added = home.ucr(&["certs", "add", "root.pem"]).ok();
    added.said(&["X.509 v1"]);
}

#[test]
fn p12_a_server_s_certificate_is_no_ca() {
    let home = Home::new();
    let root = made::root("Root");
    let usurper = made::server_but(&root, |it| {
        it.distinguished_name.push(DnType::CommonName, "usurper");
    });
    let server = made::server(&usurper);
    verdict(&home, &[&server, &usurper], &[&root])
        .refused("not-a-ca")
        .because(&["CN=usurper signed a certificate of the chain, but is not a CA"])
        .rustls_objects("a certificate that is not a CA's signed another");
    verdict(&home, &[&server, &usurper], &[&usurper])
        .refused("not-a-ca")
        .rustls_agrees();
    let silent = made::server_but(&root, |it| {
        it.distinguished_name.push(DnType::CommonName, "silent");
        it.is_ca = IsCa::NoCa;
        it.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    });
    verdict(&home, &[&made::server(&silent), &silent], &[&root])
        .refused("not-a-ca")
        .because(&["CN=silent", "does not say that it is a CA"]);
}

#[test]
fn p13_a_certificate_out_of_time_is_named_with_both_times() {
    need_root!();
    let home = Home::new();
    let root = made::root("Root");
    let old = made::server_but(&root, made::expired);
    let text = "CN=registry expired on 2021-01-01T00:00:00Z; it is 20";
    verdict(&home, &[&old], &[&root])
        .refused("expired")
        .because(&[text])
        .rustls_objects("expired");
    let hint = "the clock of this machine is wrong";
    pull_refused(&home, &[&old], &root, &[text, "expired 2021-01-01", hint]);

    let young = made::server_but(&root, made::of_the_future);
    verdict(&home, &[&young], &[&root])
        .refused("not-yet-valid")
        .because(&["CN=registry is not valid before 2089-01-01T00:00:00Z; it is 20"])
        .rustls_objects("not valid yet");

    let old_root = made::root_but("Root", made::expired);
    verdict(&home, &[&made::server(&old_root)], &[&old_root])
        .refused("expired")
        .because(&["CN=Root expired on 2021-01-01T00:00:00Z"])
        .rustls_agrees();
}

#[test]
fn p14_a_certificate_for_something_else_than_serving_tls() {
    let home = Home::new();
    let root = made::root("Root");
    let client = made::server_but(&root, |it| {
        it.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    });
    verdict(&home, &[&client], &[&root])
        .refused("wrong-purpose")
        .because(&["CN=registry", "extendedKeyUsage lacks serverAuth"])
        .rustls_objects("extended key usage");
    let signer = made::server_but(&root, |it| {
        it.key_usages = vec![KeyUsagePurpose::CrlSign];
    });
    verdict(&home, &[&signer], &[&root])
        .refused("wrong-purpose")
        .because(&["CN=registry", "keyUsage lacks digitalSignature"])
        .rustls_agrees();
    let authority = made::root_but("Root", |it| {
        it.subject_alt_names = vec![SanType::IpAddress([127, 0, 0, 1].into())];
    });
    verdict(&home, &[&authority], &[&authority])
        .refused("wrong-purpose")
        .because(&["CN=Root", "keyUsage lacks digitalSignature"])
        .rustls_objects("the certificate of a CA cannot be a server's");
}

#[test]
fn p15_an_address_is_a_name_of_its_own_kind() {
    let home = Home::new();
    let root = made::root("Root");
    verdict(&home, &[&made::server(&root)], &[&root])
        .accepted()
        .rustls_agrees();
    let text = made::server_but(&root, |it| made::only_for(it, "127.0.0.1"));
    verdict(&home, &[&text], &[&root])
        .refused("wrong-name")
        .because(&["not for 127.0.0.1, only for DNS:127.0.0.1"])
        .rustls_objects("not valid for name");
}
