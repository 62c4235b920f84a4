//! The real binaries, end to end: a real registry, real images, real containers.
//!
//! Each test has an environment of its own ([`env::TestEnv`]) and says why when
//! this machine cannot run it. Nothing is waited for by time.

#![expect(
    clippy::unwrap_used,
    reason = "a test may; clippy sees only functions marked as one"
)]

/// Returns from the test, with the reason printed, where containers or the registry cannot run.
macro_rules! needs_machine {
    () => {
        test_support::need_root!();
        test_support::need_command!("docker-registry", "htpasswd", "busybox");
    };
}

mod auth_files;
mod authorities;
mod binaries;
mod budgets;
mod cafiles;
mod cdi;
mod certs;
mod certs_check;
mod certs_crash;
mod certs_files;
mod cgroup_parent;
mod client_certs;
mod containers;
mod early_writing;
mod env;
mod exec;
mod explain;
mod flags;
mod foreign;
mod handover;
mod health;
mod host;
mod hostile;
mod images;
mod independent;
mod inject_ca;
mod isolation;
mod launch;
mod leftovers;
mod lifecycle;
mod limits;
mod local_images;
mod login;
mod made;
mod many_layers;
mod messages;
mod networks;
mod networks_of_plugins;
mod no_init;
mod oci_bundle;
mod oci_ending;
mod oci_exec;
mod oci_isolation;
mod oci_lifecycle;
mod oci_podman;
mod oci_terminal;
mod oci_update;
mod output;
mod prepare;
mod progress_json;
mod proxies;
mod pull;
mod reboot;
mod refusals;
mod report;
mod run;
mod schema1;
mod screen;
mod secrets;
mod security_options;
mod server_names;
mod slow_names;
mod stopped;
mod store_gc;
mod store_places;
mod store_verify;
mod streams;
mod terminal;
mod terminals;
mod tls_table;
mod trust;
mod userns;
mod verdict;
mod volumes_from;
mod weak_servers;

#[test]
fn no_file_of_these_tests_is_forgotten() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/e2e");
    assert_named(std::path::Path::new(folder), "main.rs");
}

/// All files of a folder have to be in `mod` lines of `main`; those of a folder in it, in the file
/// of its name.
fn assert_named(folder: &std::path::Path, main: &str) {
    let modules = std::fs::read_to_string(folder.join(main)).unwrap();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() {
            assert_named(&path, &format!("../{name}.rs"));
        } else {
            let module = name.strip_suffix(".rs").unwrap();
            assert!(
                name == main || modules.contains(&format!("\nmod {module};\n")),
                "{name} is in no `mod` line of {main}"
            );
        }
    }
}
