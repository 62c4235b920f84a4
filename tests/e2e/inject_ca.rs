//! `ucr run --inject-ca`: which files of a container get the added certificates, and which never.

use std::path::Path;

use test_support::{Entry, Image, LayerBuilder, Sentinel, TestCa};

use crate::env::{APP, CA_NAME, TestEnv};
use crate::images;
use crate::output::Output;

const DEBIAN: &str = "/etc/ssl/certs/ca-certificates.crt";
const EXTRACTED: &str = "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem";

/// What a distribution's bundle holds.
const BASE: &str = "-----BEGIN CERTIFICATE-----\nZGlzdHJpYnV0aW9u\n-----END CERTIFICATE-----\n";

fn image(layer: LayerBuilder) -> Image {
    images::builder().layer(layer.build()).build()
}

fn with(layer: LayerBuilder) -> TestEnv {
    TestEnv::with_image(&image(layer))
}

/// An image with a file in it.
fn with_file(path: &str, content: &str) -> TestEnv {
    with(LayerBuilder::new().file(path.trim_start_matches('/'), content))
}

/// Runs a shell script in a container with `--inject-ca`, nothing being said.
#[track_caller]
fn inject(env: &TestEnv, flags: &[&str], script: &str) -> String {
    let output = injecting(env, flags, script).ok();
    assert_eq!(output.stderr, "", "{output:?}");
    output.stdout
}

fn injecting(env: &TestEnv, flags: &[&str], script: &str) -> Output {
    env.run_sh(&[&["--inject-ca"], flags].concat(), script)
}

/// What comes behind the base for a certificate of `ca`, whose name is `common_name`.
fn block(ca: &TestCa, common_name: &str) -> String {
    let pem = ca.pem().replace("\r\n", "\n");
    format!(
        "# Added by `ucr run --inject-ca`: CN={common_name}\n{}\n\
         # End of what `ucr run --inject-ca` added: CN={common_name}\n",
        pem.trim_end()
    )
}

fn added(env: &TestEnv) -> String {
    block(&env.ca, CA_NAME)
}

fn openssl(env: &TestEnv, arguments: &[&str]) -> Output {
    Output::of(env.tool("openssl").args(arguments)).ok()
}

/// The hash of the subject of the environment's CA, as OpenSSL's own tool has it.
fn subject_hash(env: &TestEnv) -> String {
    let ca = env.shown("ca.pem");
    let output = openssl(env, &["x509", "-noout", "-subject_hash", "-in", &ca]);
    output.stdout.trim_end().to_owned()
}

#[test]
fn debians_bundle_gets_the_certificates_and_its_directory_the_hashes() {
    needs_machine!();
    test_support::need_command!("openssl");
    let env = TestEnv::new();
    let hash = subject_hash(&env);
    let taken = format!("etc/ssl/certs/{hash}.0");
    let layer = LayerBuilder::new()
        .file("etc/ssl/certs/ca-certificates.crt", BASE)
        .file("usr/share/ca-certificates/base.crt", BASE)
        .symlink(&taken, "/usr/share/ca-certificates/base.crt");
    env.push(&image(layer), APP);
    env.pull(APP).ok();
    let said = inject(&env, &[], &format!("cat {DEBIAN}"));
    assert_eq!(said, BASE.to_owned() + &added(&env));
    let script = format!("cd /etc/ssl/certs; ls | wc -l; cat {hash}.*; stat -c %a {hash}.1");
    let wanted = format!("3\n{BASE}{}644\n", added(&env));
    assert_eq!(inject(&env, &[], &script), wanted);
}

#[test]
fn openssl_verifies_with_the_bundle_and_the_directory_of_the_container() {
    needs_machine!();
    test_support::need_command!("openssl");
    let base = TestCa::new("Distribution");
    let unterminated = base.pem();
    let env = with(
        LayerBuilder::new()
            .file("etc/ssl/certs/ca-certificates.crt", unterminated.trim_end())
            .symlink("etc/ssl/certs/0123abcd.0", "ca-certificates.crt"),
    );
    let second = TestCa::new("Another private CA");
    let file = env.write("second.pem", second.pem());
    env.ucr(&["certs", "add", file.to_str().unwrap()]).ok();
    env.make_dir("out");
    let volume = format!("{}:/out", env.shown("out"));
    inject(&env, &["-v", &volume], "cp -r /etc/ssl/certs /out");
    let (directory, bundle) = (
        env.shown("out/certs"),
        env.shown("out/certs/ca-certificates.crt"),
    );
    let by_bundle = ["-CAfile", bundle.as_str(), "-no-CApath"];
    let by_hash = ["-CApath", directory.as_str(), "-no-CAfile"];
    for (ca, ways) in [
        (&base, &[by_bundle][..]),
        (&env.ca, &[by_bundle, by_hash]),
        (&second, &[by_bundle, by_hash]),
    ] {
        let leaf = env.write("leaf.pem", ca.issue(&["localhost"]).certificate);
        for way in ways {
            let verify = [&["verify"], &way[..], &[leaf.to_str().unwrap()]].concat();
            let output = openssl(&env, &verify);
            assert!(output.stdout.ends_with(": OK\n"), "{way:?} {output:?}");
        }
    }
}

#[test]
fn alpines_link_to_its_bundle_is_one_file() {
    needs_machine!();
    let env = with(
        LayerBuilder::new()
            .file("etc/ssl/certs/ca-certificates.crt", BASE)
            .symlink("etc/ssl/cert.pem", "certs/ca-certificates.crt")
            .symlink("etc/ssl1.1", "/etc/ssl"),
    );
    let named = ["-e", "SSL_CERT_FILE=/etc/ssl1.1/cert.pem"];
    for flags in [&[][..], &named] {
        let script = format!("cat {DEBIAN}; readlink /etc/ssl/cert.pem; ls /etc/ssl/certs");
        let rest = "certs/ca-certificates.crt\nca-certificates.crt\n";
        let wanted = BASE.to_owned() + &added(&env) + rest;
        assert_eq!(inject(&env, flags, &script), wanted);
    }
}

#[test]
fn red_hats_links_lead_to_one_file() {
    needs_machine!();
    let env = with(
        LayerBuilder::new()
            .file(EXTRACTED.trim_start_matches('/'), BASE)
            .symlink("etc/pki/tls/certs/ca-bundle.crt", EXTRACTED)
            .symlink("etc/pki/tls/cert.pem", "certs/ca-bundle.crt")
            .symlink("etc/ssl/certs", "../pki/tls/certs"),
    );
    let script = format!("cat {EXTRACTED}; find /etc/pki /etc/ssl | sort");
    let listed = "/etc/pki\n/etc/pki/ca-trust\n/etc/pki/ca-trust/extracted\n\
        /etc/pki/ca-trust/extracted/pem\n/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem\n\
        /etc/pki/tls\n/etc/pki/tls/cert.pem\n/etc/pki/tls/certs\n\
        /etc/pki/tls/certs/ca-bundle.crt\n/etc/ssl\n/etc/ssl/certs\n";
    let wanted = BASE.to_owned() + &added(&env) + listed;
    assert_eq!(inject(&env, &[], &script), wanted);
}

#[test]
fn suses_bundle_and_directory_get_the_certificates() {
    needs_machine!();
    test_support::need_command!("openssl");
    let env = with(
        LayerBuilder::new()
            .file("var/lib/ca-certificates/ca-bundle.pem", BASE)
            .file("var/lib/ca-certificates/pem/0123abcd.0", BASE)
            .symlink(
                "etc/ssl/ca-bundle.pem",
                "/var/lib/ca-certificates/ca-bundle.pem",
            )
            .symlink("etc/ssl/certs", "/var/lib/ca-certificates/pem"),
    );
    let hash = subject_hash(&env);
    let script = format!("cat /etc/ssl/ca-bundle.pem /etc/ssl/certs/{hash}.0");
    let wanted = BASE.to_owned() + &added(&env).repeat(2);
    assert_eq!(inject(&env, &[], &script), wanted);
}

#[test]
fn a_bundle_that_the_environment_names_is_added_to_or_made() {
    needs_machine!();
    let layer = LayerBuilder::new()
        .file("opt/one.pem", BASE)
        .file("opt/two.pem", BASE)
        .build();
    let image = images::builder()
        .layer(layer)
        .env("SSL_CERT_FILE=/opt/one.pem")
        .workdir("/opt")
        .build();
    let env = TestEnv::with_image(&image);
    let (base, added) = (BASE.to_owned(), added(&env));
    let both = base.clone() + &added;
    let cat = "cd /opt; cat one.pem; echo; cat two.pem; echo; cat $SSL_CERT_FILE";
    for (flags, wanted) in [
        (&[][..], [&both, &base, &both]),
        (&["-e", "SSL_CERT_FILE=/opt/two.pem"], [&base, &both, &both]),
        (&["-e", "SSL_CERT_FILE=two.pem"], [&base, &both, &both]),
        (&["-e", "SSL_CERT_FILE=new/ca.pem"], [&base, &base, &added]),
    ] {
        let wanted = wanted.map(String::as_str).join("\n");
        assert_eq!(inject(&env, flags, cat), wanted, "{flags:?}");
    }
}

#[test]
fn an_image_without_any_bundle_gets_one() {
    needs_machine!();
    let env = TestEnv::with_image(&images::busybox());
    let script = format!("cat {DEBIAN}; find /etc/ssl /etc/pki; stat -c %a /etc/ssl {DEBIAN}");
    let output = injecting(&env, &["-u", "user"], &script).said(&["/etc/pki"]);
    let listed = format!("/etc/ssl\n/etc/ssl/certs\n{DEBIAN}\n755\n644\n");
    assert_eq!(output.stdout, added(&env) + &listed);
}

#[test]
fn the_image_stays_as_it_is_and_a_read_only_root_is_no_hindrance() {
    needs_machine!();
    let env = with_file(DEBIAN, BASE);
    let layers = Sentinel::watch(&env.root().join("layers"));
    let cat = format!("cat {DEBIAN}");
    let wanted = BASE.to_owned() + &added(&env);
    assert_eq!(inject(&env, &["--read-only"], &cat), wanted);
    assert_eq!(inject(&env, &[], &format!("{cat}; rm {DEBIAN}")), wanted);
    assert_eq!(env.run_sh(&[], &cat).ok().stdout, BASE);
    layers.assert_unchanged();
}

#[test]
fn s23_a_volume_is_never_written_to() {
    needs_machine!();
    let env = with(
        LayerBuilder::new()
            .file("etc/ssl/certs/ca-certificates.crt", BASE)
            .symlink("etc/ssl/cert.pem", "certs/ca-certificates.crt")
            .file("etc/ssl/certs/0123abcd.0", ""),
    );
    env.make_dir("ssl");
    env.make_dir("ssl/certs");
    for name in ["ca-certificates.crt", "0123abcd.0"] {
        env.write(&format!("ssl/certs/{name}"), "host\n");
    }
    let host = Sentinel::watch(&env.path("ssl"));
    let directory = format!("{}:/etc/ssl", env.shown("ssl"));
    let file = format!("{}:{DEBIAN}", env.shown("ssl/certs/ca-certificates.crt"));
    for volume in [&directory, &file] {
        let flags = ["-v", volume, "-e", "SSL_CERT_FILE=/etc/ssl/certs/new.pem"];
        let output = injecting(&env, &flags, &format!("cat {DEBIAN}")).ok();
        assert_eq!(output.stdout, "host\n");
        output.said(&["--inject-ca adds nothing", DEBIAN, "is mounted there"]);
        host.assert_unchanged();
    }
}

#[test]
fn without_certificates_there_is_a_note_and_a_container() {
    needs_machine!();
    let env = with_file(DEBIAN, BASE);
    let added = std::fs::read_dir(env.certs_dir()).unwrap();
    let names: Vec<String> = added
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.len() > 64)
        .collect();
    let fingerprint = names[0].strip_suffix(".pem").unwrap();
    env.ucr(&["certs", "rm", fingerprint]).ok();
    let output = injecting(&env, &[], &format!("cat {DEBIAN}")).ok();
    assert_eq!(output.stdout, BASE);
    output.said(&["nothing to inject", "ucr certs add"]);

    let damaged = format!("certs/{}", names[0]);
    env.write(&damaged, "no certificate");
    // One damaged file is named, and breaks nothing.
    let output = injecting(&env, &[], "true").ok();
    output.said(&[&names[0], "ignoring", "nothing to inject"]);
}

/// Runs it on the image of `layer`, which must be refused with a message about `path`.
#[track_caller]
fn refuses(layer: LayerBuilder, flags: &[&str], texts: &[&str]) {
    let env = with(layer);
    let refused = injecting(&env, flags, "true").refused(125);
    assert_eq!(refused.stderr.lines().count(), 1, "{refused:?}");
    refused.said(&["cannot add to "]).said(texts);
    // Without the flag nobody looks at it.
    env.run_sh(&[], "true").ok();
}

#[test]
fn s23_what_is_no_regular_file_is_refused_by_name() {
    needs_machine!();
    let name = DEBIAN.trim_start_matches('/');
    for entry in [
        Entry::fifo(name),
        Entry::char_device(name, 1, 3),
        Entry::block_device(name, 7, 0),
        Entry::dir(name),
    ] {
        let layer = LayerBuilder::new().entry(entry);
        refuses(layer, &[], &[DEBIAN, "it is not a regular file"]);
    }
    let link = LayerBuilder::new()
        .entry(Entry::fifo("srv/fifo"))
        .symlink("etc/ssl/cert.pem", "/srv/fifo");
    refuses(link, &[], &["/etc/ssl/cert.pem", "not a regular file"]);
    let named = LayerBuilder::new().entry(Entry::fifo("srv/fifo"));
    let flags = ["-e", "SSL_CERT_FILE=/srv/fifo"];
    refuses(named, &flags, &["/srv/fifo", "not a regular file"]);
}

#[test]
fn s23_a_loop_of_links_is_refused_by_name() {
    needs_machine!();
    let new = LayerBuilder::new;
    let file = new()
        .symlink("etc/ssl/cert.pem", "other.pem")
        .symlink("etc/ssl/other.pem", "cert.pem");
    refuses(file, &[], &["/etc/ssl/cert.pem", "Too many levels"]);
    let directory = new().symlink("etc/ssl/certs", "certs");
    refuses(directory, &[], &["/etc/ssl/certs", "Too many levels"]);
}

#[test]
fn s23_a_bundle_of_more_than_16_mebibytes_is_refused_by_name() {
    needs_machine!();
    let large = vec![b'\n'; (16 << 20) + 1];
    let layer = LayerBuilder::new().file("etc/ssl/ca-bundle.pem", large);
    refuses(layer, &[], &["/etc/ssl/ca-bundle.pem", "it is larger than"]);
}

#[test]
fn s23_links_to_the_host_lead_into_the_container() {
    needs_machine!();
    let env = TestEnv::new();
    let host = env.make_dir("outside");
    for name in ["ca-certificates.crt", "0123abcd.0"] {
        env.write(&format!("outside/{name}"), "host\n");
    }
    let sentinel = Sentinel::plant(&host);
    let shown = env.shown("outside");
    let file = format!("{shown}/ca-certificates.crt");
    let up = |path: &str| "../".repeat(12) + path.trim_start_matches('/');
    let new = LayerBuilder::new;
    let leading = [
        (new().symlink("etc/ssl/certs", &shown), file.as_str()),
        (new().symlink("etc/ssl/certs", &up(&shown)), &file),
        (
            new().symlink("etc/ssl/certs", &up("")),
            "/ca-certificates.crt",
        ),
        (
            new()
                .symlink("etc/ssl/certs/ca-certificates.crt", &file)
                .symlink("etc/ssl/cert.pem", &up(&file)),
            &file,
        ),
    ];
    for (layer, lands) in leading {
        env.push(&image(layer), APP);
        env.pull(APP).ok();
        let flags = ["-e", &format!("SSL_CERT_FILE={DEBIAN}")];
        let said = inject(&env, &flags, &format!("cat {lands}"));
        assert_eq!(said, added(&env), "{lands}");
        sentinel.assert_unchanged();
    }
    // What the kernel shows there later is not there yet.
    env.push(&image(new().symlink("etc/ssl", "/proc/1/root")), APP);
    env.pull(APP).ok();
    inject(&env, &[], "true");
    for made in ["/ca-certificates.crt", "/certs"] {
        assert!(!Path::new(made).exists(), "{made}");
    }
}
