//! Where a store can stand, and what is said where it cannot.

use crate::env::{APP, TestEnv};
use crate::images;
use crate::output::Output;

/// Runs a script that mounts something on the empty directory `root` before anything else.
fn in_place(env: &TestEnv, script: &str) -> Output {
    env.make_dir("root");
    let image = env.reference(APP);
    Output::of(env.as_user(&mut env.shell_with_own_mounts(script, &[&image])))
}

fn env() -> TestEnv {
    let env = TestEnv::new();
    let image = images::builder().cmd(&["echo", "here"]).build();
    env.push(&image, APP);
    env
}

/// Pulls and runs in what was mounted, and cleans up before it is gone.
const PULL: &str = r#""$UCR" pull -q --principal tester --secret-file secret "$1""#;

#[test]
fn c19_a_store_in_memory_works() {
    needs_machine!();
    test_support::need_command!("unshare");
    let script = format!(
        r#"mount -t tmpfs tmpfs "$UCR_ROOT"; {PULL}; "$UCR" run --pull never "$1"
        "$UCR" verify --deep"#
    );
    let output = in_place(&env(), &script).ok();
    assert!(output.stdout.ends_with("here\n"), "{output:?}");
}

#[test]
fn c19_a_store_on_overlayfs_is_refused_with_the_reason() {
    needs_machine!();
    test_support::need_command!("unshare");
    let script = format!(
        r#"mkdir m; mount -t tmpfs tmpfs m; mkdir m/l m/u m/w
        mount -t overlay overlay -o lowerdir=m/l,upperdir=m/u,workdir=m/w "$UCR_ROOT"
        {PULL} || code=$?
        "$UCR" run --pull never "$1" || exit $code"#
    );
    in_place(&env(), &script).ended(1).said(&[
        "cannot keep a store",
        "overlayfs",
        "put it on a volume",
    ]);
}

#[test]
fn c19_a_store_where_nothing_is_counted_works() {
    needs_machine!();
    test_support::need_command!("unshare");
    let script = format!(
        r#"mount -t tmpfs -o size=0,nr_inodes=0 tmpfs "$UCR_ROOT"
        stat -f -c '%b %c' "$UCR_ROOT"; {PULL}; "$UCR" run --pull never "$1"
        "$UCR" gc --keep-free 10%"#
    );
    let output = in_place(&env(), &script).ok();
    assert!(output.stdout.starts_with("0 0\n"), "{output:?}");
    assert!(output.stdout.contains("here\n"), "{output:?}");
}

#[test]
fn c19_xfs_without_file_types_is_refused_with_the_reason() {
    needs_machine!();
    test_support::need_command!("unshare", "mkfs.xfs", "losetup");
    let script = format!(
        r#"truncate -s 400M disk; mkfs.xfs -q -m crc=0 -n ftype=0 disk || {{ echo no such mkfs; exit; }}
        mount -o loop disk "$UCR_ROOT" || {{ echo no such kernel; exit; }}; {PULL}"#
    );
    let output = in_place(&env(), &script);
    for (said, why) in [
        ("no such mkfs", "this mkfs.xfs makes file types always"),
        (
            "no such kernel",
            "this kernel mounts no xfs of version 4 (CONFIG_XFS_SUPPORT_V4), and 5 has file types",
        ),
    ] {
        if output.stdout.contains(said) {
            println!("skipped: {why}");
            return;
        }
    }
    output.ended(1).said(&["cannot keep a store", "ftype=0"]);
}

#[test]
fn c19_ext4_without_file_types_is_refused_with_the_reason() {
    needs_machine!();
    test_support::need_command!("unshare", "mkfs.ext4", "losetup");
    let script = format!(
        r#"truncate -s 64M disk; mkfs.ext4 -q -F -O ^filetype disk
        mount -o loop disk "$UCR_ROOT"; {PULL}"#
    );
    in_place(&env(), &script)
        .ended(1)
        .said(&["cannot keep a store", "does not tell the type of a file"]);
}

#[test]
fn c19_a_directory_that_folds_case_is_refused_with_the_reason() {
    needs_machine!();
    test_support::need_command!("unshare");
    let script = format!(
        r#"mount -t tmpfs -o casefold tmpfs "$UCR_ROOT" 2>/dev/null &&
            mkdir "$UCR_ROOT/s" && chattr +F "$UCR_ROOT/s" 2>/dev/null ||
            {{ echo no case folding; exit; }}
        export UCR_ROOT="$UCR_ROOT/s"; {PULL}"#
    );
    let output = in_place(&env(), &script);
    if output.stdout.contains("no case folding") {
        println!("skipped: this kernel folds no case");
        return;
    }
    output
        .ended(1)
        .said(&["cannot keep a store", "case folding"]);
}

#[test]
fn c19_a_place_of_somebody_else_open_to_others_or_in_use_is_no_store() {
    needs_machine!();
    let env = env();
    let script = format!(r#"touch root/x; chown 7 root; {PULL}"#);
    in_place(&env, &script)
        .ended(1)
        .said(&["belongs to user 7"]);
    let script = format!(r#"chown 0 root; chmod 0775 root; {PULL}"#);
    let output = Output::of(&mut env.shell(&script, &[&env.reference(APP)]));
    output
        .ended(1)
        .said(&["others may write to it", "chmod 0700"]);
    let script = format!(r#"chmod 0755 root; {PULL}"#);
    let output = Output::of(&mut env.shell(&script, &[&env.reference(APP)]));
    let output = output
        .ended(1)
        .said(&["there are other things", "name an empty directory"]);
    assert!(!output.stderr.contains("openat"), "{output:?}");
    // Root may write where the mode forbids it; others see nothing either way.
    let script = format!(r#"rm root/x; chmod 0555 root; {PULL} >&2; stat -c %a root"#);
    let output = Output::of(&mut env.shell(&script, &[&env.reference(APP)]));
    assert_eq!(output.ok().stdout, "700\n");
}

#[test]
fn c18_a_read_only_store_runs_what_it_has_and_nothing_is_made_in_it() {
    needs_machine!();
    test_support::need_command!("unshare");
    let env = env();
    env.pull(APP).ok();
    let before = test_support::tree(&env.root());
    let script = r#"
        mount --bind root root; mount -o remount,bind,ro root
        "$UCR" run --pull never "$1"
        "$UCR" images -q
        "$UCR" verify --deep
        ! "$UCR" pull -q --principal tester --secret-file secret "$1" || exit 9
        ! "$UCR" rmi "$1" || exit 9
        ls -A "$UCR_STATE/store/leases" "$UCR_STATE/store/containers""#;
    let mut shell = env.shell_with_own_mounts(script, &[&env.reference(APP)]);
    let output = Output::of(env.as_user(&mut shell)).ok();
    assert!(output.stdout.starts_with("here\n"), "{output:?}");
    let places = ["containers", "leases"].map(|name| {
        let place = env.state().join("store").join(name);
        format!("{}:\n", place.display())
    });
    assert!(output.stdout.ends_with(&places.join("\n")), "{output:?}");
    let refused = "is mounted read-only: what is in it can be run";
    assert_eq!(output.stderr.matches(refused).count(), 2, "{output:?}");
    assert_eq!(test_support::tree(&env.root()), before);
}

#[test]
fn c18_a_read_only_place_without_a_store_is_refused_in_one_line() {
    needs_machine!();
    test_support::need_command!("unshare");
    let script = r#"mount -t tmpfs -o ro tmpfs "$UCR_ROOT"; "$UCR" run --pull never "$1""#;
    in_place(&env(), script)
        .refused(125)
        .said(&["there is no store in it, and it is read-only"]);
}
