//! Every form a CAfile may have: what is forgiven, and what is refused before
//! anything is connected to.

use std::sync::atomic::{AtomicBool, Ordering};

use rcgen::{
    CertificateRevocationListParams, KeyIdMethod, RevokedCertParams, SerialNumber, date_time_ymd,
};
use test_support::{FakeRegistry, need_command};

use crate::env::Home;
use crate::made::{self, Made};
use crate::output::Output;
use crate::verdict::{Verdict, verdict_on};

fn known() -> (Home, Made, FakeRegistry) {
    let root = made::root("Root");
    let server = made::presenting(&[&made::server(&root)]);
    (Home::new(), root, server)
}

fn check(home: &Home, cafile: &str, host: &str) -> Output {
    home.ucr(&["certs", "check", "--cafile", cafile, host])
}

#[test]
fn p16_what_surrounds_the_certificates_of_a_cafile_is_forgiven() {
    let (home, root, server) = known();
    let pem = root.pem();
    let other = made::root("Other").pem();
    let begin = |indented: &str| {
        let lines = pem.lines().map(|line| format!("{indented}{line}\n"));
        lines.collect::<String>()
    };
    let forms = [
        (
            "comments",
            format!("# Ours\n{pem}\nsubject=/CN=x\n{other}# end\n"),
        ),
        ("duplicates", format!("{pem}{other}{pem}{pem}")),
        ("CRLF", pem.replace('\n', "\r\n")),
        ("byte order mark", format!("\u{feff}{pem}")),
        ("no final newline", pem.trim_end().to_owned()),
        ("indented", begin("  ")),
        ("zeros in a comment", format!("#\0\n{pem}")),
    ];
    for (form, text) in forms {
        home.write("ca.pem", text);
        let output = check(&home, "ca.pem", &server.host());
        assert_eq!(
            (output.code, output.stderr.as_str()),
            (0, ""),
            "{form}: {output:#?}"
        );
    }
    home.write("ca.der", root.der());
    check(&home, "ca.der", &server.host()).ok();
    home.write("ca.pem", format!("{}{pem}", root.key().serialize_pem()));
    let output = check(&home, "ca.pem", &server.host()).ok();
    output.said(&["WARNING", "holds a private key"]);
}

#[test]
fn p17_a_broken_cafile_is_refused_before_anybody_is_connected_to() {
    let (home, root, server) = known();
    let pem = root.pem();
    let spoiled = |from: &str, to: &str| pem.replacen(from, to, 1);
    let broken = spoiled("\nMII", "\n%%%");
    let no_certificate = "-----BEGIN CERTIFICATE-----\nAAEC\n-----END CERTIFICATE-----\n";
    let forms = [
        (
            "broken first",
            format!("{broken}{pem}"),
            "PEM block 1 (line 1)",
        ),
        ("broken last", format!("{pem}{broken}"), "PEM block 2"),
        ("cut off", format!("{pem}{}", &pem[..200]), "PEM block 2"),
        (
            "beheaded",
            format!("{pem}MIIB\n-----END CERTIFICATE-----\n"),
            "PEM block 2",
        ),
        (
            "glued",
            format!("{}{pem}", pem.trim_end()),
            "joined without a newline",
        ),
        ("zeros", spoiled("MII", "M\0I"), "PEM block 1"),
        (
            "no certificate",
            format!("{pem}{no_certificate}"),
            "PEM block 2",
        ),
        ("empty", String::new(), "holds no certificate"),
        ("words", "see ca.crt\n".to_owned(), "holds no certificate"),
        ("a key alone", root.key().serialize_pem(), "holds"),
    ];
    for (form, text, why) in forms {
        home.write("ca.pem", text);
        let refused = check(&home, "ca.pem", &server.host());
        assert_eq!(refused.code, 1, "{form}: {refused:#?}");
        refused.refused(1).said(&["ca.pem", "--cafile", why]);
    }
    home.make_dir("folder");
    home.write("half.der", &root.der()[..100]);
    for name in ["folder", "half.der", "missing.pem"] {
        let refused = check(&home, name, &server.host());
        refused.refused(1).said(&[name, "--cafile"]);
    }
    assert_eq!(server.connections(), 0);
}

#[test]
fn p18_a_certificate_that_is_marked_as_rejected_is_not_trusted() {
    need_command!("openssl");
    let (home, root, server) = known();
    home.write("ca.pem", root.pem());
    let script = r"
        openssl x509 -in ca.pem -addreject serverAuth -trustout -out rejected.pem
        openssl x509 -in ca.pem -addtrust serverAuth -trustout -out trusted.pem";
    Output::of(&mut home.shell(script, &[])).ok();
    check(&home, "trusted.pem", &server.host()).ok();

    let rejected = std::fs::read_to_string(home.path("rejected.pem")).unwrap();
    let other = made::root("Other").pem();
    verdict_on(&home, &server, &format!("{rejected}{other}")).refused("unknown-issuer");
    let refused = check(&home, "rejected.pem", &server.host()).refused(1);
    refused.said(&["rejected.pem", "not to be trusted"]);
    let refused = home.ucr(&["certs", "add", "rejected.pem"]).refused(1);
    refused.said(&["rejected.pem", "CN=Root", "marked as not to be trusted"]);
}

/// Replaces the CAfile and changes the added certificates until it is told to stop.
fn unsettle(home: &Home, cafiles: &[String; 2], stop: &AtomicBool) -> usize {
    let mut rounds = 0;
    while !stop.load(Ordering::Relaxed) {
        home.write("new.pem", &cafiles[rounds % 2]);
        std::fs::rename(home.path("new.pem"), home.path("ca.pem")).unwrap();
        let verb = ["add", "remove"][rounds % 2];
        let what = ["added.pem", "unsettled"][rounds % 2];
        let mut words = vec!["certs", verb, what];
        if verb == "add" {
            words.extend(["--name", "unsettled"]);
        }
        home.ucr(&words).ok();
        rounds += 1;
    }
    rounds
}

#[test]
fn p19_who_reads_while_the_trusted_change_sees_old_or_new() {
    let (home, root, server) = known();
    home.write("added.pem", made::root("Added").pem());
    let many = || {
        (0..50)
            .map(|_| made::root("Other").pem())
            .collect::<String>()
    };
    // The one that counts stands first, and last.
    let cafiles = [
        format!("{}{}", root.pem(), many()),
        format!("{}{}{}", many(), many(), root.pem()),
    ];
    home.write("ca.pem", &cafiles[0]);
    let host = server.host();
    let stop = AtomicBool::new(false);
    let outputs: Vec<Output> = std::thread::scope(|scope| {
        let unsettling = scope.spawn(|| unsettle(&home, &cafiles, &stop));
        let check = || {
            let words = ["certs", "check", "--format", "json", "--cafile", "ca.pem"];
            home.ucr(&[&words[..], &[&host]].concat())
        };
        let checks: Vec<_> = (0..50).map(|_| scope.spawn(check)).collect();
        let outputs = checks.into_iter().map(|check| check.join().unwrap());
        let outputs = outputs.collect();
        stop.store(true, Ordering::Relaxed);
        assert_ne!(unsettling.join().unwrap(), 0);
        outputs
    });
    for output in outputs {
        assert_eq!(output.stderr, "");
        let verdict = Verdict::of(output).accepted();
        let base = &verdict.report["sources"][0];
        assert!(
            base["certificates"] == 51 || base["certificates"] == 101,
            "{base}"
        );
    }
}

#[test]
fn p22_a_revoked_certificate_is_accepted() {
    let home = Home::new();
    let root = made::root("Root");
    let server = made::server_but(&root, |it| {
        it.serial_number = Some(SerialNumber::from(4711));
    });
    let revoked = RevokedCertParams {
        serial_number: SerialNumber::from(4711),
        revocation_time: date_time_ymd(2021, 1, 1),
        reason_code: None,
        invalidity_date: None,
    };
    let list = CertificateRevocationListParams {
        this_update: date_time_ymd(2021, 1, 1),
        next_update: date_time_ymd(2089, 1, 1),
        crl_number: SerialNumber::from(1),
        issuing_distribution_point: None,
        revoked_certs: vec![revoked],
        key_identifier_method: KeyIdMethod::Sha256,
    };
    let list = list.signed_by(&root).unwrap().pem().unwrap();
    // Revocation is not checked, not even against a list that is at hand.
    let cafile = format!("{}{list}", root.pem());
    verdict_on(&home, &made::presenting(&[&server]), &cafile)
        .accepted()
        .rustls_agrees();
}
