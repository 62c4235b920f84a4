//! `ucr certs` by many at once, and killed at every call that changes something.

use std::collections::BTreeSet;
use std::process::{Child, Stdio};

use serde_json::Value;
use test_support::TestCa;

use crate::binaries;
use crate::env::TestEnv;
use crate::output::Output;

/// The calls that a change is made of, on every architecture.
const CHANGES: &str = "write,?rename,?renameat,?renameat2,fsync,?unlink,?unlinkat,?mkdir,?mkdirat";

/// Many more than any command here makes.
const MOST_CHANGES: u32 = 500;

/// The five certificates that are added and removed together.
const FIVE: [&str; 5] = ["1.pem", "2.pem", "3.pem", "4.pem", "5.pem"];

/// The text between which a block in a CAfile stands.
const BLOCK: &str = "# BEGIN certificates added by ucr";

/// Starts `ucr` with what it says kept for the test.
fn start(env: &TestEnv, arguments: &[&str]) -> Child {
    let mut command = env.command(arguments);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

/// The end of a command that [`start`] started.
#[track_caller]
fn end(child: Child) -> Output {
    child.wait_with_output().unwrap().into()
}

fn write_ca(env: &TestEnv, file: &str) -> String {
    let pem = TestCa::new(file).pem();
    env.write(file, &pem);
    pem
}

/// What is listed, as pairs of subject and registry; listing must succeed.
#[track_caller]
fn listed(env: &TestEnv) -> Vec<(String, Option<String>)> {
    let listed = env.ucr(&["certs", "list", "--format", "json"]).ok();
    assert_eq!(listed.stderr, "");
    let listed: Vec<Value> = serde_json::from_str(&listed.stdout).unwrap();
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let pair = |one: &Value| (text(&one["subject"]).unwrap(), text(&one["registry"]));
    listed.iter().map(pair).collect()
}

fn read(env: &TestEnv, name: &str) -> String {
    std::fs::read_to_string(env.path(name)).unwrap()
}

fn certificates_in(text: &str) -> usize {
    text.matches("-----BEGIN CERTIFICATE-----").count()
}

/// Nothing but certificates, the CAfile and the lock is in the store.
#[track_caller]
fn assert_tidy(env: &TestEnv) {
    for entry in std::fs::read_dir(env.certs_dir()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let own = name == ".lock" || name == "registries" || name.ends_with(".pem");
        assert!(own, "{name} was left");
    }
}

/// Runs `ucr` until its change number `nth`, at which it is killed; gives whether it ended before.
#[track_caller]
fn survives(env: &TestEnv, arguments: &[&str], nth: u32) -> bool {
    let mut command = env.tool("strace");
    command
        .args(["-f", "-qq", "-o", "/dev/null", "-e"])
        .arg(format!("trace={CHANGES}"))
        .args(["-e", &format!("inject={CHANGES}:signal=KILL:when={nth}")])
        .arg(binaries::ucr())
        .args(arguments);
    let output = Output::of(&mut command);
    assert!([0, 137].contains(&output.code), "{output:#?}");
    output.code == 0
}

/// Kills `ucr` at each of its changes in turn and checks what there is then; once it must live.
#[track_caller]
fn kill_at_each_change(env: &TestEnv, arguments: &[&str], mut check: impl FnMut()) {
    for nth in 1..MOST_CHANGES {
        let survived = survives(env, arguments, nth);
        check();
        if survived {
            assert!(nth > 4, "it made {nth} changes only");
            return;
        }
    }
    panic!("{arguments:?} never came to its end");
}

/// An environment in which one certificate was added, and five may be.
fn with_five_files() -> TestEnv {
    let env = TestEnv::new();
    for file in FIVE {
        write_ca(&env, file);
    }
    env
}

#[test]
fn fifty_adds_among_lists_removals_and_installs_lose_nothing() {
    needs_machine!();
    let env = TestEnv::untrusting();
    let original = write_ca(&env, "cacert.pem");
    write_ca(&env, "kept.pem");
    env.ucr(&["certs", "add", "kept.pem"]).ok();
    let mut wanted = BTreeSet::from([("CN=kept.pem".to_owned(), None)]);
    for number in 0..5 {
        let (file, name) = (format!("gone{number}.pem"), format!("--name=gone{number}"));
        write_ca(&env, &file);
        env.ucr(&["certs", "add", &name, &file]).ok();
    }
    for number in 0..20 {
        let registry = format!("r{}.example", number % 4);
        for (file, scope) in [
            (format!("all{number}.pem"), None),
            (format!("one{number}.pem"), Some(registry)),
        ] {
            write_ca(&env, &file);
            wanted.insert((format!("CN={file}"), scope));
        }
    }

    let install = ["certs", "install", "--into", "cacert.pem"];
    let mut running = Vec::new();
    for number in 0..25 {
        // Five of the twenty come twice.
        let which = number % 20;
        let registry = format!("--registry=r{}.example", which % 4);
        let (all, one) = (format!("all{which}.pem"), format!("one{which}.pem"));
        running.push(start(&env, &["certs", "add", &all]));
        running.push(start(&env, &["certs", "add", &registry, &one]));
        if number % 5 == 0 {
            let gone = format!("gone{}", number / 5);
            running.push(start(&env, &["certs", "list"]));
            running.push(start(&env, &["certs", "remove", &gone]));
            running.push(start(&env, &install));
        }
    }
    for child in running {
        end(child).ok();
    }

    let all = listed(&env);
    assert_eq!(all.len(), wanted.len(), "{all:?}");
    assert_eq!(all.into_iter().collect::<BTreeSet<_>>(), wanted);
    assert_tidy(&env);
    assert_eq!(certificates_in(&read(&env, "certs/cafile.pem")), 21);
    env.ucr(&install).ok();
    let cafile = read(&env, "cacert.pem");
    let block = cafile.strip_prefix(&original).unwrap();
    assert!(block.starts_with(BLOCK), "{block}");
    assert_eq!(block.matches(BLOCK).count(), 1);
    assert_eq!(certificates_in(block), 21);
    for (subject, _) in wanted.iter().filter(|(_, scope)| scope.is_none()) {
        assert_eq!(block.matches(&format!("# subject: {subject}\n")).count(), 1);
    }
    env.ucr(&["certs", "uninstall", "--from", "cacert.pem"])
        .ok();
    assert_eq!(read(&env, "cacert.pem"), original);
}

#[test]
fn installs_at_once_leave_what_was_added_before_the_last_of_them() {
    needs_machine!();
    let env = TestEnv::untrusting();
    write_ca(&env, "cacert.pem");
    let script = r#""$UCR" certs add "$1" && "$UCR" certs install --into cacert.pem"#;
    let files: Vec<_> = (0..20).map(|number| format!("ca{number}.pem")).collect();
    let start = |file: &String| {
        write_ca(&env, file);
        let mut shell = env.shell(script, &[file]);
        shell.stdout(Stdio::piped()).stderr(Stdio::piped());
        shell.spawn().unwrap()
    };
    let running: Vec<_> = files.iter().map(start).collect();
    for child in running {
        end(child).ok();
    }
    let cafile = read(&env, "cacert.pem");
    for file in &files {
        let subject = format!("# subject: CN={file}\n");
        assert_eq!(cafile.matches(&subject).count(), 1, "{file}");
    }
}

#[test]
fn an_add_that_is_killed_adds_all_or_nothing() {
    needs_machine!();
    test_support::need_command!("strace");
    let env = with_five_files();
    let add = [&["certs", "add", "--name=five"], FIVE.as_slice()].concat();
    let mut seen = BTreeSet::new();
    kill_at_each_change(&env, &add, || {
        let count = listed(&env).len();
        assert!([1, 6].contains(&count), "{count} are there");
        seen.insert(count);
        env.ucr(&add).ok();
        assert_eq!(listed(&env).len(), 6);
        assert_eq!(certificates_in(&read(&env, "certs/cafile.pem")), 6);
        assert_tidy(&env);
        env.ucr(&["certs", "remove", "five"]).ok();
    });
    assert_eq!(seen.len(), 2);
}

#[test]
fn a_removal_that_is_killed_leaves_whole_certificates_and_can_go_on() {
    needs_machine!();
    test_support::need_command!("strace");
    let env = with_five_files();
    let add = [&["certs", "add", "--name=five"], FIVE.as_slice()].concat();
    let remove = ["certs", "remove", "five"];
    env.ucr(&add).ok();
    kill_at_each_change(&env, &remove, || {
        match listed(&env).len() {
            1 => drop(env.ucr(&remove).refused(1)),
            _ => drop(env.ucr(&remove).ok()),
        }
        assert_eq!(listed(&env).len(), 1);
        env.ucr(&add).ok();
        assert_eq!(certificates_in(&read(&env, "certs/cafile.pem")), 6);
        assert_tidy(&env);
    });
}

#[test]
fn an_install_that_is_killed_leaves_the_old_cafile_or_the_new_one() {
    needs_machine!();
    test_support::need_command!("strace");
    let env = with_five_files();
    let original = write_ca(&env, "cacert.pem");
    let files = || {
        let entries = std::fs::read_dir(env.path("")).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name());
        names.collect::<BTreeSet<_>>()
    };
    let install = ["certs", "install", "--into", "cacert.pem"];
    env.ucr(&install).ok();
    let installed = read(&env, "cacert.pem");
    let before = files();
    let uninstall = ["certs", "uninstall", "--from", "cacert.pem"];
    // Without its backup, so that the next install writes one.
    let undo = || {
        env.ucr(&uninstall).ok();
        std::fs::remove_file(env.path("cacert.pem.ucr-backup")).unwrap();
    };
    undo();
    kill_at_each_change(&env, &install, || {
        let now = read(&env, "cacert.pem");
        assert!(now == original || now == installed, "{now}");
        if now == installed {
            assert_eq!(read(&env, "cacert.pem.ucr-backup"), original);
        }
        env.ucr(&install).ok();
        assert_eq!(read(&env, "cacert.pem"), installed);
        assert_eq!(read(&env, "cacert.pem.ucr-backup"), original);
        assert_eq!(files(), before);
        undo();
    });
}
