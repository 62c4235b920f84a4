//! What `ucr` does by itself, and what it leaves to `ucr-registry`.

use std::path::{Path, PathBuf};

use test_support::RealRegistry;

use crate::binaries;
use crate::env::{APP, TestEnv};
use crate::images;
use crate::output::Output;

/// `ucr` and `ucr-init` alone, in a directory of their own.
fn alone(env: &TestEnv) -> PathBuf {
    let place = env.make_dir("alone");
    for name in ["ucr", "ucr-init"] {
        std::fs::copy(binaries::ucr().with_file_name(name), place.join(name)).unwrap();
    }
    place.join("ucr")
}

/// Runs `echo hi` by `ucr` alone, as somebody.
fn run((env, ucr): (&TestEnv, &Path), flags: &[&str], secret: &str) -> Output {
    let image = env.reference(APP);
    let mut command = env.tool(ucr);
    command.arg("run").args(flags).args([&image, "echo", "hi"]);
    command.env("UCR_PRINCIPAL", RealRegistry::USER);
    Output::of(command.env("UCR_SECRET", secret))
}

#[test]
fn who_was_let_in_starts_what_is_there_without_the_other_executable() {
    needs_machine!();
    let env = TestEnv::with_image(&images::busybox());
    let ucr = alone(&env);
    let alone = (&env, ucr.as_path());
    let flags = ["-q", "--cafile", "ca.pem", "-m", "64m", "--name", "web"];
    let output = run(alone, &flags, RealRegistry::PASSWORD).ok();
    assert_eq!(output.stdout, "hi\n");
    env.write_secret("secret", RealRegistry::PASSWORD);
    let flags = ["--secret-file", "secret", "--authfile", "none"];
    run(alone, &flags, "another").ok();
}

#[test]
fn what_has_to_be_asked_is_left_to_the_other_executable() {
    needs_machine!();
    let env = TestEnv::with_image(&images::busybox());
    env.write_secret("secret", RealRegistry::PASSWORD);
    let ucr = alone(&env);
    let missing = "ucr-registry is missing: looked for ";
    for (flags, secret) in [
        (&[][..], "another"),
        (&["--pull", "always"], RealRegistry::PASSWORD),
        (&["--inject-ca"], RealRegistry::PASSWORD),
        (&["--secret-file", "-"], RealRegistry::PASSWORD),
        (&["--no-such-flag"], RealRegistry::PASSWORD),
    ] {
        let output = run((&env, &ucr), flags, secret).refused(125);
        assert!(output.stderr.contains(missing), "{flags:?}: {output:?}");
    }
    for words in [
        &["pull", "x"][..],
        &["certs", "list"],
        &["--help"],
        &["nonsense"],
    ] {
        Output::of(env.tool(&ucr).args(words))
            .refused(125)
            .said(&[missing]);
    }
    Output::of(env.tool(&ucr).arg("ps")).ok();
}

#[test]
fn what_can_be_read_only_once_is_read_by_who_goes_on() {
    needs_machine!();
    let env = TestEnv::new();
    env.push(&images::busybox(), APP);
    let image = env.reference(APP);
    let script =
        r#"echo A=b | "$UCR" run -q --cafile ca.pem --env-file /dev/stdin "$1" sh -c 'echo $A'"#;
    for place in ["the registry", "the store"] {
        let output = Output::of(env.as_user(&mut env.shell(script, &[&image]))).ok();
        assert_eq!(output.stdout, "b\n", "{place}");
    }
    let script = r#"printf %s "$2" | "$UCR" run -q --pull "$3" --cafile ca.pem --secret-file "$4" "$1" echo hi"#;
    for pull in ["always", "missing"] {
        for file in ["-", "/dev/stdin"] {
            let words = [&image, RealRegistry::PASSWORD, pull, file];
            let mut command = env.shell(script, &words);
            let output = Output::of(command.env("UCR_PRINCIPAL", RealRegistry::USER)).ok();
            assert_eq!(output.stdout, "hi\n", "{pull} {file}");
        }
    }
}

#[test]
fn what_was_taken_before_the_handover_is_free_behind_it() {
    needs_machine!();
    let env = TestEnv::new();
    env.push(&images::busybox(), APP);
    let script = r#"exec "$UCR" run --name web --cafile ca.pem --status-fd 3 "$1" id -u 3>told"#;
    let image = env.reference(APP);
    let output = Output::of(env.as_user(&mut env.shell(script, &[&image]))).ok();
    assert_eq!(output.stdout, "0\n");
    let told = std::fs::read_to_string(env.path("told")).unwrap();
    let count = |event: &str| told.matches(&format!("\"event\":\"{event}\"")).count();
    assert_eq!((count("pulled"), count("started")), (1, 1), "{told}");
    assert_eq!(env.leftovers(), [""; 0]);
}
