//! The arrows between the crates, and what the executables need of a machine.

#![expect(
    clippy::unwrap_used,
    reason = "a test may; clippy sees only functions marked as one"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

#[path = "e2e/binaries.rs"]
mod binaries;

/// Which of our crates each may use: design.md, section 3.
const ARROWS: [(&str, &[&str]); 13] = [
    (
        "ucr",
        &[
            "ucr-certs",
            "ucr-credentials",
            "ucr-executor",
            "ucr-images",
            "ucr-puller",
            "ucr-runtime",
            "ucr-sys",
            "ucr-sys-curl",
        ],
    ),
    (
        "ucr-puller",
        &[
            "ucr-credentials",
            "ucr-images",
            "ucr-sys",
            "ucr-sys-curl",
            "ucr-sys-openssl",
        ],
    ),
    ("ucr-credentials", &["ucr-images", "ucr-sys"]),
    ("ucr-executor", &["ucr-images", "ucr-sys"]),
    ("ucr-images", &["ucr-sys"]),
    ("ucr-certs", &["ucr-sys", "ucr-sys-openssl"]),
    ("ucr-runtime", &["ucr-seccomp", "ucr-sys"]),
    ("ucr-seccomp", &["ucr-sys"]),
    ("ucr-init", &["ucr-runtime", "ucr-sys"]),
    ("ucr-sys", &[]),
    ("ucr-sys-curl", &[]),
    ("ucr-sys-openssl", &[]),
    ("test-support", &[]),
];

/// What only one crate may use, because it is the one that knows about it.
const OWNED: [(&str, &[&str]); 6] = [
    ("curl", &["ucr-puller", "ucr-sys-curl"]),
    ("libc", &["ucr-sys"]),
    ("libseccomp", &["ucr-seccomp"]),
    ("openssl", &["ucr-certs", "ucr-sys-openssl"]),
    ("clap", &["ucr"]),
    ("serde-saphyr", &["ucr"]),
];

/// What an agent has: the C library, and no TLS or compression of the distribution's.
const SHARED: [&str; 5] = [
    "libc.so.6",
    "libm.so.6",
    "libgcc_s.so.1",
    "ld-linux-x86-64.so.2",
    "ld-linux-aarch64.so.1",
];

/// The oldest C library that the executables run with.
const GLIBC: (u32, u32) = (2, 34);

fn cargo(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO"))
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The crates of the workspace, each with what it depends on outside its tests.
fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let metadata = cargo(&[
        "metadata",
        "--no-deps",
        "--offline",
        "--format-version",
        "1",
    ]);
    let metadata: Value = serde_json::from_str(&metadata).unwrap();
    let name = |value: &Value| value["name"].as_str().unwrap().to_owned();
    let used = |package: &Value| {
        let all = package["dependencies"].as_array().unwrap();
        let used = all.iter().filter(|one| one["kind"] != "dev");
        used.map(name).collect()
    };
    let packages = metadata["packages"].as_array().unwrap();
    packages.iter().map(|one| (name(one), used(one))).collect()
}

#[test]
fn crates_use_each_other_only_along_the_arrows() {
    let allowed = BTreeMap::from(ARROWS);
    for (package, used) in dependencies() {
        let Some(allowed) = allowed.get(package.as_str()) else {
            panic!("{package} is in no arrow: say here what it may use");
        };
        let ours = |name: &&String| name.starts_with("ucr") || *name == "test-support";
        for name in used.iter().filter(ours) {
            assert!(
                allowed.contains(&name.as_str()),
                "{package} may not use {name}"
            );
        }
    }
}

#[test]
fn one_crate_owns_libcurl_and_one_the_system() {
    for (package, used) in dependencies() {
        for (owned, owners) in OWNED {
            let raw = format!("{owned}-sys");
            let uses = used.contains(owned) || used.contains(&raw);
            assert!(
                !uses || owners.contains(&package.as_str()),
                "{package} uses {owned}"
            );
        }
    }
}

#[test]
fn ucr_init_is_built_of_little() {
    let tree = cargo(&[
        "tree",
        "--offline",
        "--package",
        "ucr-init",
        "--edges",
        "normal",
        "--prefix",
        "none",
    ]);
    let names: BTreeSet<&str> = tree
        .lines()
        .filter_map(|line| line.split(' ').next())
        .collect();
    for absent in [
        "curl",
        "curl-sys",
        "openssl",
        "openssl-sys",
        "rustls",
        "oci-spec",
        "libseccomp",
        "clap",
        "tracing",
        "ucr-images",
        "ucr-credentials",
        "ucr-puller",
        "ucr-certs",
    ] {
        assert!(!names.contains(absent), "ucr-init pulls in {absent}");
    }
    assert!(
        names.contains("ucr-runtime") && names.len() < 40,
        "{names:?}"
    );
}

/// The sources of the workspace, without what is built of them.
fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Whether a line of code has the keyword, not the name of a lint.
fn is_unsafe(line: &str) -> bool {
    let code = line.split("//").next().unwrap_or_default();
    let word = |c: char| !(c.is_alphanumeric() || c == '_');
    code.split(word).any(|word| word == concat!("un", "safe"))
}

#[test]
fn unsafe_code_is_in_sys_alone() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    sources(root, &mut files);
    assert!(files.len() > 100, "{files:?}");
    for file in files
        .iter()
        .filter(|file| !file.starts_with(root.join("sys")))
    {
        let text = std::fs::read_to_string(file).unwrap();
        if let Some(line) = text.lines().find(|line| is_unsafe(line)) {
            panic!("{}: {line}", file.display());
        }
    }
}

/// All of them, as they are installed.
fn executables() -> [PathBuf; 3] {
    let ucr = binaries::ucr();
    [
        ucr.to_owned(),
        ucr.with_file_name("ucr-init"),
        ucr.with_file_name("ucr-registry"),
    ]
}

fn readelf(flag: &str, program: &Path) -> String {
    let output = Command::new("readelf")
        .args(["--wide", flag])
        .arg(program)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn only_what_asks_registries_has_libcurl_and_openssl_in_it() {
    let holds = |program: &Path, text: &str| {
        let bytes = std::fs::read(program).unwrap();
        bytes
            .windows(text.len())
            .any(|window| window == text.as_bytes())
    };
    for program in executables() {
        let asks = program.ends_with("ucr-registry");
        for text in ["CURL_SSL_BACKEND", "OpenSSL "] {
            assert_eq!(
                holds(&program, text),
                asks,
                "{text} in {}",
                program.display()
            );
        }
    }
}

#[test]
fn an_agent_needs_the_c_library_and_nothing_else() {
    test_support::need_command!("readelf");
    for program in executables() {
        let dynamic = readelf("--dynamic", &program);
        let needed: Vec<&str> = dynamic
            .lines()
            .filter(|line| line.contains("(NEEDED)"))
            .filter_map(|line| line.split(['[', ']']).nth(1))
            .collect();
        assert!(needed.contains(&"libc.so.6"), "{dynamic}");
        let strange: Vec<_> = needed
            .iter()
            .filter(|name| !SHARED.contains(name))
            .collect();
        assert!(
            strange.is_empty(),
            "{} needs {strange:?}",
            program.display()
        );
        assert!(
            !dynamic.contains("RPATH") && !dynamic.contains("RUNPATH"),
            "{dynamic}"
        );
    }
}

#[test]
fn the_c_library_may_be_as_old_as_promised() {
    test_support::need_command!("readelf");
    for program in executables() {
        let versions = readelf("--version-info", &program);
        let parse = |text: &str| {
            let (major, minor) = text.split_once('.').unwrap();
            let minor = minor.split('.').next().unwrap();
            (major.parse::<u32>().unwrap(), minor.parse::<u32>().unwrap())
        };
        let words = versions.split_whitespace();
        let used: BTreeSet<_> = words
            .filter_map(|word| word.strip_prefix("GLIBC_"))
            .filter(|version| version.starts_with(|c: char| c.is_ascii_digit()))
            .map(|version| parse(version.trim_end_matches([')', ','])))
            .collect();
        let newest = used.last().copied().unwrap();
        assert!(
            newest <= GLIBC,
            "{} needs glibc {newest:?}",
            program.display()
        );
    }
}
