//! `ucr certs convert`, `export`, `install` and `uninstall`: certificates as files for others.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use test_support::{Sentinel, TestCa};

use crate::env::{CA_NAME, TestEnv};
use crate::output::Output;

/// Runs `openssl` with words separated by spaces in the environment's directory; gives its bytes.
#[track_caller]
fn openssl(env: &TestEnv, words: &str) -> Vec<u8> {
    let mut command: Command = env.tool("openssl");
    let output = command.args(words.split(' ')).output().unwrap();
    assert!(output.status.success(), "openssl {words}: {output:?}");
    output.stdout
}

fn read(path: impl AsRef<Path>) -> Vec<u8> {
    std::fs::read(path).unwrap()
}

#[test]
fn what_openssl_converts_is_converted_to_the_same_bytes() {
    needs_machine!();
    let env = TestEnv::untrusting();
    let pem = openssl(&env, "x509 -in ca.crt -inform DER -outform PEM");
    let der = openssl(&env, "x509 -in ca.pem -outform DER");
    let converted = env.ucr(&["certs", "convert", "ca.crt"]).ok();
    assert_eq!(converted.stdout.as_bytes(), pem);
    let said = env.ucr(&["certs", "convert", "ca.pem", "--to", "der", "-o", "out.der"]);
    assert_eq!(said.ok().stdout, "wrote 1 certificate to out.der\n");
    assert_eq!(read(env.path("out.der")), der);
    let script = r#""$UCR" certs convert - --to der <ca.pem | cmp - "$1""#;
    Output::of(&mut env.shell(script, &["ca.crt"])).ok();

    // In place: everything is read before anything is written, and the mode stays.
    let path = env.write_secret("in-place", env.ca.der());
    env.ucr(&["certs", "convert", "in-place", "-o", "in-place"])
        .ok();
    assert_eq!(read(&path), pem);
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn convert_refuses_what_would_lose_something() {
    needs_machine!();
    test_support::need_command!("script");
    let env = TestEnv::untrusting();
    let pem = env.ca.pem();
    env.write("three.pem", pem.repeat(3));
    let before = env.write("out", "precious");
    let to_der = ["certs", "convert", "three.pem", "--to", "der", "-o", "out"];
    let refused = env.ucr(&to_der).refused(1);
    refused.said(&["DER holds one certificate, three.pem holds 3"]);
    assert_eq!(read(&before), b"precious");
    let device = ["certs", "convert", "ca.pem", "-o", "/dev/null"];
    env.ucr(&device).refused(1).said(&["/dev/null"]);

    let script = r#"script -qec '"$UCR" certs convert ca.pem --to der' /dev/null"#;
    let refused = Output::of(&mut env.shell(script, &[])).ended(1);
    assert!(refused.stdout.contains("try: -o FILE"), "{refused:?}");

    let key = env.ca.issue(&["localhost"]).key;
    env.write_secret("both.pem", format!("{key}{pem}"));
    let converted = env.ucr(&["certs", "convert", "both.pem"]).ok();
    assert_eq!(converted.stdout, pem);
    converted.said(&["both.pem holds private keys as well: left out 1"]);
}

#[test]
fn what_was_added_goes_into_a_cafile_and_out_of_it() {
    needs_machine!();
    let env = TestEnv::new();
    let other = TestCa::new("Of the package");
    // No line end: the package's own way, which comes back.
    let original = other.pem().trim_end().to_owned();
    let cafile = env.write("cacert.pem", &original);
    let install = ["certs", "install", "--into", "cacert.pem"];
    let installed = env.ucr(&install).ok();
    let expected = "installed 1 certificate into cacert.pem, backup ./cacert.pem.ucr-backup\n";
    assert_eq!(installed.stdout, expected);
    let both = read(&cafile);
    for needle in [original.trim_end(), env.ca.pem().trim_end()] {
        assert!(String::from_utf8_lossy(&both).contains(needle), "{both:?}");
    }
    openssl(&env, "verify -CAfile cacert.pem ca.pem");

    let again = env.ucr(&install).ok();
    let expected = "cacert.pem already holds 1 certificate of ucr's\n";
    assert_eq!(again.stdout, expected);
    let another = env.write("another.crt", TestCa::new("Another").der());
    let another = another.to_str().unwrap();
    env.ucr(&["certs", "add", another]).ok();
    let with_json = [install.as_slice(), &["--format", "json"]].concat();
    let replaced: Value = serde_json::from_str(&env.ucr(&with_json).ok().stdout).unwrap();
    assert_eq!(replaced["outcome"], "replaced");
    assert_eq!(
        (&replaced["certificates"], &replaced["alsoElsewhere"]),
        (&json!(2), &json!(0))
    );

    // Under the name of the other direction's flag, too.
    let out = env
        .ucr(&["certs", "uninstall", "--into", "cacert.pem"])
        .ok();
    let expected = "took 2 certificates out of cacert.pem, backup ./cacert.pem.ucr-backup stays\n";
    assert_eq!(out.stdout, expected);
    assert_eq!(read(&cafile), original.as_bytes());
    let from = [
        "certs",
        "uninstall",
        "--from",
        "cacert.pem",
        "--format",
        "json",
    ];
    let nothing: Value = serde_json::from_str(&env.ucr(&from).ok().stdout).unwrap();
    assert_eq!(
        (&nothing["outcome"], &nothing["certificates"]),
        (&json!("unchanged"), &json!(0))
    );
}

#[test]
fn what_is_distrusted_leaves_the_cafile_by_the_next_install() {
    needs_machine!();
    let env = TestEnv::untrusting();
    let original = TestCa::new("Of the package").pem();
    let cafile = env.write("cacert.pem", &original);
    let install = ["certs", "install", "--into", "cacert.pem"];
    let with_json = [install.as_slice(), &["--format", "json"]].concat();
    let add = || env.ucr(&["certs", "add", "--name", "corp", "ca.crt"]).ok();
    let remove = || env.ucr(&["certs", "remove", "corp"]).ok();
    for _ in 0..2 {
        add();
        env.ucr(&install).ok();
        remove();
        let emptied = env.ucr(&with_json).ok();
        let emptied: Value = serde_json::from_str(&emptied.stdout).unwrap();
        assert_eq!(emptied["outcome"], "emptied");
        assert_eq!(emptied["certificates"], 0);
        assert_eq!(read(&cafile), original.as_bytes());
    }
    add();
    env.ucr(&install).ok();
    remove();
    let expected = "took what cacert.pem held of ucr's out: nothing is added any more\n";
    assert_eq!(env.ucr(&install).ok().stdout, expected);
    let refused = env.ucr(&install).refused(1);
    refused.said(&["no certificate was added"]);
}

#[test]
fn install_refuses_with_nothing_changed() {
    needs_machine!();
    let env = TestEnv::untrusting();
    let install = |cafile: &str| env.ucr(&["certs", "install", "--into", cafile]);
    let refused = install("ca.pem").refused(1);
    refused.said(&["no certificate was added", "try: ucr certs add"]);
    env.ucr(&["certs", "add", "ca.crt"]).ok();
    let pem = env.ca.pem();
    env.write("half.pem", format!("{pem}{}", &pem[..200]));
    env.write(
        "markers.pem",
        format!("{pem}# BEGIN certificates added by ucr\n"),
    );
    let before = Sentinel::watch(&env.path(""));
    for (cafile, said) in [
        ("half.pem", "half.pem: PEM block 2"),
        (
            "markers.pem",
            "markers.pem: the markers of ucr's certificates are damaged",
        ),
        ("ca.crt", "try: ucr certs convert ca.crt -o ca.crt"),
        ("certs", "certs is no regular file"),
        ("/no/such.pem", "the CAfile /no/such.pem does not exist"),
    ] {
        install(cafile).refused(1).said(&[said]);
    }
    env.ucr(&["certs", "install"]).ended(2).said(&["--into"]);
    before.assert_unchanged();
}

/// An environment with one added certificate, and a base of one other as `base.pem`.
fn with_base() -> TestEnv {
    let env = TestEnv::new();
    env.write("base.pem", TestCa::new("Base").pem());
    env
}

#[test]
fn what_is_trusted_leaves_as_one_file() {
    needs_machine!();
    let env = with_base();
    let export = ["certs", "export", "--base", "base.pem", "--cafile"];
    let run = |rest: &[&str]| env.ucr(&[export.as_slice(), rest].concat());
    let written = run(&["out.pem"]).ok();
    assert_eq!(written.stdout, "wrote 2 certificates to out.pem\n");
    let text = String::from_utf8(read(env.path("out.pem"))).unwrap();
    for needle in ["CN=Base\n", &format!("CN={CA_NAME}\n"), &env.ca.pem()] {
        assert!(text.contains(needle), "no {needle:?} in {text}");
    }
    assert_eq!(run(&["-"]).ok().stdout, text);
    let as_json = run(&["out.pem", "--format", "json"]).ok();
    let as_json: Value = serde_json::from_str(&as_json.stdout).unwrap();
    assert_eq!(as_json, json!({ "certificates": 2, "file": "out.pem" }));

    let before = Sentinel::watch(&env.path(""));
    let own = run(&["base.pem"]).refused(1);
    own.said(&[
        "base.pem is what trust begins with",
        "ucr certs install --into",
    ]);
    let own = run(&["certs/cafile.pem"]).refused(1);
    own.said(&["holds the added certificates themselves"]);
    run(&["no/such/out.pem"])
        .refused(1)
        .said(&["no/such/out.pem"]);
    env.ucr(&["certs", "export"]).ended(2).said(&["--hash-dir"]);
    run(&["x", "--hash-dir", "y"]).ended(2);
    run(&["x", "--registry", "y"]).ended(2);
    before.assert_unchanged();
}

#[test]
fn what_is_trusted_leaves_as_a_directory_for_openssl() {
    needs_machine!();
    let env = with_base();
    let export = ["certs", "export", "--base", "base.pem", "--hash-dir"];
    let run = |rest: &[&str]| env.ucr(&[export.as_slice(), rest].concat());
    let written = run(&["dir"]).ok();
    assert_eq!(written.stdout, "wrote 2 certificates to dir\n");
    let verify = "verify -no-CAfile -no-CAstore -CApath dir";
    for name in ["ca.pem", "base.pem"] {
        openssl(&env, &format!("{verify} {name}"));
    }
    env.write("base.pem", env.ca.pem());
    let again = run(&["dir"]).ok();
    let expected = "wrote 1 certificate to dir, removed 1 trusted no longer\n";
    assert_eq!(again.stdout, expected);
    run(&["certs"])
        .refused(1)
        .said(&["nothing else is written there"]);
}

#[test]
fn what_was_added_leaves_for_dockerd() {
    needs_machine!();
    let env = with_base();
    let export = ["certs", "export", "--docker-dir", "certs.d"];
    let run = |rest: &[&str]| env.ucr(&[export.as_slice(), rest].concat());
    let refused = run(&[]).refused(1);
    refused.said(&[
        "no registry to write certificates for",
        "try: --registry HOST",
    ]);
    let registries = [
        "--registry",
        "R.example:5000",
        "--registry",
        "other.example",
    ];
    let written = run(&registries).ok();
    let expected = [
        "wrote 1 certificate to certs.d/other.example/ucr.crt",
        "wrote 1 certificate to certs.d/r.example:5000/ucr.crt",
    ];
    assert_eq!(written.lines(), expected);
    let text = read(env.path("certs.d/other.example/ucr.crt"));
    assert!(String::from_utf8(text).unwrap().ends_with(&env.ca.pem()));
    run(&["--registry", "../etc"]).ended(2);
    // Those of an earlier export need no flag either.
    assert_eq!(run(&[]).ok().stdout, written.stdout);

    // A registry with certificates of its own needs no flag; it gets those for all as well.
    let own = env.write("own.pem", TestCa::new("Own").pem());
    let own = own.to_str().unwrap();
    env.ucr(&[
        "certs",
        "add",
        "--registry",
        "own.example",
        "--name",
        "own",
        own,
    ])
    .ok();
    let written = run(&[]).ok();
    let own = "wrote 2 certificates to certs.d/own.example/ucr.crt";
    assert_eq!(written.lines(), [expected[0], own, expected[1]]);
}

#[test]
fn what_is_distrusted_leaves_dockerd_s_directory_by_the_next_export() {
    needs_machine!();
    let env = with_base();
    let export = ["certs", "export", "--docker-dir", "certs.d"];
    let run = |rest: &[&str]| env.ucr(&[export.as_slice(), rest].concat());
    let own = env.write("own.pem", TestCa::new("Own").pem());
    let own = own.to_str().unwrap();
    let add = ["certs", "add", "--registry", "own.example", "--name", "own"];
    env.ucr(&[add.as_slice(), &[own]].concat()).ok();
    run(&["--registry", "other.example"]).ok();
    env.make_dir("certs.d/mine.example");
    let mine = env.write("certs.d/mine.example/ucr.crt", env.ca.pem());

    // Whichever registry is named now.
    env.ucr(&["certs", "remove", "own"]).ok();
    let written = run(&["--registry", "third.example"]).ok();
    let file = |registry: &str| format!("wrote 1 certificate to certs.d/{registry}/ucr.crt");
    let expected = ["other.example", "own.example", "third.example"].map(file);
    assert_eq!(written.lines(), expected);

    let listed = env.ucr(&["certs", "list", "--format", "json"]).ok();
    let listed: Value = serde_json::from_str(&listed.stdout).unwrap();
    let fingerprint = listed[0]["fingerprint"].as_str().unwrap();
    env.ucr(&["certs", "remove", fingerprint]).ok();
    let removed = run(&["--registry", "new.example", "--format", "json"]).ok();
    let removed: Value = serde_json::from_str(&removed.stdout).unwrap();
    let outcomes = removed.as_array().unwrap().iter();
    let outcomes: Vec<_> = outcomes
        .map(|one| one["outcome"].as_str().unwrap())
        .collect();
    assert_eq!(outcomes, ["nothing", "removed", "removed", "removed"]);
    for registry in ["other.example", "own.example", "third.example"] {
        let file = env.path(&format!("certs.d/{registry}/ucr.crt"));
        assert!(!file.exists(), "{registry}");
    }
    assert_eq!(read(mine), env.ca.pem().as_bytes());
    let refused = run(&["--registry", "other.example"]).refused(1);
    refused.said(&["no certificate was added", "ucr certs add"]);
}

#[test]
fn an_export_to_where_ucr_looks_itself_does_not_outlive_what_is_trusted() {
    needs_machine!();
    let env = TestEnv::untrusting();
    let host = env.registry.host();
    let ucr = |arguments: &[&str]| {
        let mut command = env.command(arguments);
        Output::of(command.env("XDG_CONFIG_HOME", env.path("config")))
    };
    let directory = env.shown("config/containers/certs.d");
    let check = || ucr(&["certs", "check", host]);
    ucr(&["certs", "add", "--name", "corp", "ca.crt"]).ok();
    let export = ["certs", "export", "--docker-dir", &directory];
    ucr(&[export.as_slice(), &["--registry", host]].concat()).ok();
    check().ok();
    ucr(&["certs", "remove", "corp"]).ok();
    check().ended(1);

    // It does look there.
    let file = |name: &str| Path::new(&directory).join(host).join(name);
    std::fs::copy(file("ucr.crt"), file("mine.crt")).unwrap();
    check().ok();
    let removed = ucr(&export).ok();
    let expected = format!(
        "removed {}, no certificate being left for it\n",
        file("ucr.crt").display()
    );
    assert_eq!(removed.stdout, expected);
    assert!(file("mine.crt").exists());
}

#[test]
fn nothing_is_written_into_the_trust_store_but_by_its_own_commands() {
    needs_machine!();
    let env = with_base();
    let entries = std::fs::read_dir(env.certs_dir()).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let stored: Vec<String> = names.filter(|name| name.len() > 64).collect();
    let stored = format!("certs/{}", stored[0]);
    for words in [
        ["install", "--into", &stored].as_slice(),
        &["convert", "ca.pem", "-o", &stored],
        &["convert", "ca.pem", "-o", "certs/new.pem"],
        &["export", "--cafile", "certs/new.pem"],
    ] {
        let refused = env.ucr(&[&["certs"], words].concat()).refused(1);
        refused.said(&["holds the added certificates themselves"]);
    }
    let listed = env.ucr(&["certs", "list"]).ok();
    assert_eq!(listed.stderr, "", "nothing was damaged");
}
