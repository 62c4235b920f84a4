use std::io::{BufRead, BufReader};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::process::{Command, Stdio};

use super::*;
use crate::files;
use crate::testing::Workshop;

/// A workshop with the CAs `base`, `one` and `two`, and a CAfile of the first.
fn workshop() -> Workshop {
    let workshop = Workshop::new();
    for name in ["base", "one", "two"] {
        workshop.ca(name);
    }
    workshop.write("cafile", workshop.read("base.pem"));
    workshop
}

fn certificates(workshop: &Workshop, names: &[&str]) -> Vec<Certificate> {
    let of = |name: &&str| workshop.input(&format!("{name}.pem")).certificates();
    names.iter().flat_map(|name| of(name).unwrap()).collect()
}

fn install(cafile: &Path, ours: &[Certificate]) -> Result<Installed, InstallError> {
    LockedCafile::open(cafile)?.install(ours)
}

fn install_into(workshop: &Workshop, name: &str, ours: &[&str]) -> Installed {
    install(&workshop.path(name), &certificates(workshop, ours)).unwrap()
}

/// Whose certificates a CAfile holds, in order.
fn held(workshop: &Workshop, name: &str) -> Vec<String> {
    let certificates = workshop.input(name).certificates().unwrap();
    let common_names = certificates
        .iter()
        .map(|one| one.facts().common_name.clone());
    common_names.map(Option::unwrap).collect()
}

/// The refusal's message and cause, without the directory of the test.
#[track_caller]
fn refusal(workshop: &Workshop, result: Result<impl std::fmt::Debug, InstallError>) -> String {
    let error = result.unwrap_err();
    let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}"));
    let text = format!("{error}{}", cause.unwrap_or_default());
    text.replace(
        &format!(
            "{}/",
            workshop
                .path("")
                .display()
                .to_string()
                .trim_end_matches('/')
        ),
        "",
    )
}

#[test]
fn what_is_installed_is_held_and_can_be_taken_out() {
    let workshop = workshop();
    let before = workshop.read("cafile");
    let installed = install_into(&workshop, "cafile", &["one", "two", "one"]);
    assert_eq!(installed.outcome, InstallOutcome::Installed);
    assert_eq!((installed.certificates, installed.also_elsewhere), (2, 0));
    assert_eq!(held(&workshop, "cafile"), ["base", "one", "two"]);
    assert_eq!(installed.backup, Some(workshop.path("cafile.ucr-backup")));
    assert_eq!(workshop.read("cafile.ucr-backup"), before);
    workshop.openssl("verify -CAfile cafile two.pem");

    let out = uninstall(&workshop.path("cafile")).unwrap();
    assert_eq!(
        (out.certificates, &out.backup),
        (Some(2), &installed.backup)
    );
    assert_eq!(workshop.read("cafile"), before);
    let again = uninstall(&workshop.path("cafile")).unwrap();
    assert_eq!(again.certificates, None);
}

#[test]
fn install_then_uninstall_gives_every_ending_back() {
    let workshop = workshop();
    let base = String::from_utf8(workshop.read("base.pem")).unwrap();
    let ours = certificates(&workshop, &["one"]);
    let others = certificates(&workshop, &["two"]);
    let crlf = base.replace('\n', "\r\n");
    for text in [
        &base,
        &crlf,
        &format!("\u{feff}{base}"),
        &format!("# about\r\n{base}"),
    ] {
        for cut in ["", "\n", "\r\n"] {
            for ending in [
                "", "\n", "\r\n", "\r", "\n\n", "\n\r", "# end", " ", "\n\t", "\nä\r",
            ] {
                let stem = text.trim_end();
                let original = format!("{stem}{cut}{ending}");
                if ending == "# end" && cut.is_empty() {
                    // Glued to the END line: refused, as by everybody who reads it.
                    continue;
                }
                let path = workshop.write("cafile", &original);
                install(&path, &ours).unwrap();
                assert_eq!(held(&workshop, "cafile"), ["base", "one"], "{original:?}");
                install(&path, &others).unwrap();
                assert_eq!(held(&workshop, "cafile"), ["base", "two"], "{original:?}");
                uninstall(&path).unwrap();
                assert_eq!(workshop.read("cafile"), original.as_bytes(), "{original:?}");
            }
        }
    }
}

#[test]
fn what_others_append_is_kept_and_not_glued() {
    let workshop = workshop();
    let base = String::from_utf8(workshop.read("base.pem")).unwrap();
    let two = String::from_utf8(workshop.read("two.pem")).unwrap();
    let path = workshop.write("cafile", base.trim_end());
    install_into(&workshop, "cafile", &["one"]);
    let installed = String::from_utf8(workshop.read("cafile")).unwrap();
    workshop.write("cafile", format!("{installed}{two}"));
    install_into(&workshop, "cafile", &["one", "two"]);
    assert_eq!(held(&workshop, "cafile"), ["base", "one", "two", "two"]);
    uninstall(&path).unwrap();
    assert_eq!(workshop.read("cafile"), format!("{base}{two}").as_bytes());
}

#[test]
fn nothing_new_touches_nothing() {
    let workshop = workshop();
    install_into(&workshop, "cafile", &["one"]);
    let identity = |name: &str| {
        let metadata = workshop.path(name).metadata().unwrap();
        (
            metadata.ino(),
            metadata.mtime(),
            metadata.mtime_nsec(),
            metadata.ctime_nsec(),
        )
    };
    let all = || ["cafile", "cafile.ucr-backup"].map(identity);
    let before = all();
    let again = install_into(&workshop, "cafile", &["one"]);
    assert_eq!(again.outcome, InstallOutcome::Unchanged);
    assert_eq!(all(), before);

    let other = install_into(&workshop, "cafile", &["two"]);
    assert_eq!(other.outcome, InstallOutcome::Replaced);
    assert_eq!(held(&workshop, "cafile"), ["base", "two"]);
    assert_eq!(
        identity("cafile.ucr-backup"),
        before[1],
        "it is from before the first change"
    );
}

#[test]
fn after_an_upgrade_of_the_cafile_the_new_one_is_kept_beside_the_old_one() {
    let workshop = workshop();
    let upgrade = |name: &str| {
        workshop.write("cafile", workshop.read(&format!("{name}.pem")));
        let backup = install_into(&workshop, "cafile", &["one"]).backup.unwrap();
        assert_eq!(held(&workshop, "cafile"), [name, "one"]);
        backup
    };
    let backup = |ending: &str| workshop.path(&format!("cafile.ucr-backup{ending}"));
    for (name, expected) in [
        ("base", ""),
        ("two", ".1"),
        ("one", ".2"),
        ("base", ""),
        ("two", ".1"),
    ] {
        assert_eq!(upgrade(name), backup(expected), "{name}");
    }
    for (name, ending) in [("base", ""), ("two", ".1"), ("one", ".2")] {
        let backup = format!("cafile.ucr-backup{ending}");
        assert_eq!(held(&workshop, &backup), [name]);
    }
    // The one of the file as it is without ours, whichever came last.
    let replaced = install_into(&workshop, "cafile", &["base"]);
    assert_eq!(replaced.backup, Some(backup(".1")));
    let out = uninstall(&workshop.path("cafile")).unwrap();
    assert_eq!(out.backup, Some(backup(".1")));
    assert_eq!(workshop.read("cafile"), workshop.read("two.pem"));
}

#[test]
fn what_has_the_name_of_a_backup_is_never_overwritten() {
    let workshop = workshop();
    let before = workshop.read("cafile");
    std::fs::create_dir(workshop.path("cafile.ucr-backup")).unwrap();
    // A copy today, and the changed file tomorrow.
    symlink("cafile", workshop.path("cafile.ucr-backup.1")).unwrap();
    symlink("nowhere", workshop.path("cafile.ucr-backup.2")).unwrap();
    let path = workshop.write("cafile.ucr-backup.3", "mine");
    let installed = install_into(&workshop, "cafile", &["one"]);
    assert_eq!(installed.backup, Some(workshop.path("cafile.ucr-backup.4")));
    assert_eq!(workshop.read("cafile.ucr-backup.4"), before);
    assert!(workshop.path("cafile.ucr-backup.2").is_symlink());
    assert_eq!(std::fs::read(path).unwrap(), b"mine");
    assert!(!workshop.path("nowhere").exists());
}

#[test]
fn with_nothing_left_to_install_the_block_is_taken_out() {
    let workshop = workshop();
    let path = workshop.path("cafile");
    let before = workshop.read("cafile");
    let installed = install_into(&workshop, "cafile", &["one", "two"]);
    let emptied = install(&path, &[]).unwrap();
    assert_eq!(emptied.outcome, InstallOutcome::Emptied);
    assert_eq!((emptied.certificates, emptied.also_elsewhere), (0, 0));
    assert_eq!(emptied.backup, installed.backup);
    assert_eq!(workshop.read("cafile"), before);
    let error = install(&path, &[]).unwrap_err();
    assert!(matches!(error, InstallError::NothingAdded), "{error}");
    assert_eq!(workshop.read("cafile"), before);
}

#[test]
fn what_the_cafile_holds_already_is_counted_and_installed() {
    let workshop = workshop();
    for _ in 0..2 {
        let installed = install_into(&workshop, "cafile", &["base", "one"]);
        assert_eq!((installed.certificates, installed.also_elsewhere), (2, 1));
    }
    assert_eq!(held(&workshop, "cafile"), ["base", "base", "one"]);
}

#[test]
fn mode_owner_and_link_stay() {
    test_support::need_root!();
    let workshop = workshop();
    std::fs::create_dir(workshop.path("link")).unwrap();
    symlink("../cafile", workshop.path("link/cacert.pem")).unwrap();
    let target = workshop.path("cafile");
    std::fs::set_permissions(&target, PermissionsExt::from_mode(0o640)).unwrap();
    std::os::unix::fs::chown(&target, Some(1234), Some(4321)).unwrap();
    let installed = install_into(&workshop, "link/cacert.pem", &["one"]);
    assert!(workshop.path("link/cacert.pem").is_symlink());
    assert_eq!(
        files::names(&workshop.path("link")).unwrap(),
        ["cacert.pem"]
    );
    for path in [target, installed.backup.unwrap()] {
        let metadata = path.metadata().unwrap();
        assert_eq!((metadata.uid(), metadata.gid()), (1234, 4321));
        assert_eq!(metadata.mode() & 0o7777, 0o640);
    }
}

#[test]
fn what_is_no_sound_cafile_is_refused_with_nothing_changed() {
    let workshop = workshop();
    let base = String::from_utf8(workshop.read("base.pem")).unwrap();
    let half = base.replace("-----END CERTIFICATE-----\n", "");
    workshop.openssl("x509 -in base.pem -outform DER -out der");
    workshop.write("half", format!("{base}{half}"));
    workshop.write("empty", "");
    workshop.write("passwd", "root:x:0:0:root:/root:/bin/sh\n");
    let before = files::names(&workshop.path("")).unwrap();
    let ours = certificates(&workshop, &["one"]);
    let line = base.lines().count() + 1;
    for (name, expected) in [
        (
            "half",
            format!("half: PEM block 2 (line {line}) is damaged: its END line is missing"),
        ),
        ("empty", "empty holds no certificate".to_owned()),
        ("passwd", "passwd holds no certificate".to_owned()),
        (
            "base.key",
            "base.key holds no certificate, only private keys".to_owned(),
        ),
        ("none", "the CAfile none does not exist".to_owned()),
        ("no/such", "the CAfile no/such does not exist".to_owned()),
        ("", " is no regular file: name the CAfile itself".to_owned()),
        (
            "der",
            "der is not PEM, which alone holds more than it was made with".to_owned(),
        ),
    ] {
        let path = workshop.path(name);
        let content = std::fs::read(&path).ok();
        assert_eq!(
            refusal(&workshop, install(&path, &ours)),
            expected,
            "{name}"
        );
        assert_eq!(std::fs::read(&path).ok(), content);
    }
    let error = install(&workshop.path("cafile"), &[]).unwrap_err();
    assert!(matches!(error, InstallError::NothingAdded), "{error}");
    assert_eq!(files::names(&workshop.path("")).unwrap(), before);
}

#[test]
fn damaged_markers_are_refused_by_install_and_uninstall() {
    let workshop = workshop();
    install_into(&workshop, "cafile", &["one"]);
    let text = String::from_utf8(workshop.read("cafile")).unwrap();
    let base = workshop
        .read("base.pem")
        .split(|&byte| byte == b'\n')
        .count();
    let lines = text.lines().count();
    let (begin, end) = (
        "# BEGIN certificates added by ucr\n",
        "# END certificates added by ucr\n",
    );
    let restore = "restore the file, or remove that block by hand";
    for (content, expected) in [
        (
            text.replace(end, ""),
            format!("the BEGIN of line {base} has no END: {restore}"),
        ),
        (
            text.replace(begin, ""),
            format!("the END of line {} has no BEGIN: {restore}", lines - 1),
        ),
        (
            format!("{text}{begin}{end}"),
            format!(
                "a second block begins in line {}: remove one of them by hand",
                lines + 1
            ),
        ),
        (
            text.replace(end, &format!("{begin}{end}")),
            format!("the BEGIN of line {base} has no END: {restore}"),
        ),
    ] {
        let path = workshop.write("cafile", &content);
        let expected = format!("cafile: the markers of ucr's certificates are damaged: {expected}");
        let ours = certificates(&workshop, &["two"]);
        assert_eq!(refusal(&workshop, install(&path, &ours)), expected);
        assert_eq!(refusal(&workshop, uninstall(&path)), expected);
        assert_eq!(workshop.read("cafile"), content.as_bytes());
    }
}

#[test]
fn a_block_that_was_damaged_is_repaired_or_taken_out() {
    let workshop = workshop();
    let before = workshop.read("cafile");
    let path = workshop.path("cafile");
    install_into(&workshop, "cafile", &["one"]);
    let damage = || {
        let text = String::from_utf8(workshop.read("cafile")).unwrap();
        let place = text.rfind("-----END").unwrap();
        workshop.write(
            "cafile",
            format!("{}{}", &text[..place], &text[place + 1..]),
        );
        workshop.input("cafile").certificates().unwrap_err();
    };
    damage();
    let repaired = install_into(&workshop, "cafile", &["one"]);
    assert_eq!(repaired.outcome, InstallOutcome::Replaced);
    assert_eq!(held(&workshop, "cafile"), ["base", "one"]);
    damage();
    uninstall(&path).unwrap();
    assert_eq!(workshop.read("cafile"), before);
}

#[test]
fn a_hostile_subject_cannot_forge_a_marker() {
    let workshop = workshop();
    workshop.openssl(
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout k -out evil.pem \
         -subj /CN=x\n#+END+certificates+added+by+ucr\n",
    );
    let before = workshop.read("cafile");
    install_into(&workshop, "cafile", &["evil", "one"]);
    let again = install_into(&workshop, "cafile", &["evil", "one"]);
    assert_eq!(again.outcome, InstallOutcome::Unchanged);
    let out = uninstall(&workshop.path("cafile")).unwrap();
    assert_eq!(out.certificates, Some(2));
    assert_eq!(workshop.read("cafile"), before);
}

#[test]
fn installs_at_once_leave_what_one_of_them_wrote() {
    let workshop = workshop();
    let before = workshop.read("cafile");
    let (one, two) = (
        certificates(&workshop, &["one"]),
        certificates(&workshop, &["two"]),
    );
    let path = workshop.path("cafile");
    std::thread::scope(|scope| {
        for number in 0..20 {
            let (ours, path) = (if number % 2 == 0 { &one } else { &two }, &path);
            scope.spawn(move || install(path, ours).unwrap());
        }
    });
    let held = held(&workshop, "cafile");
    assert!(
        held == ["base", "one"] || held == ["base", "two"],
        "{held:?}"
    );
    assert_eq!(workshop.read("cafile.ucr-backup"), before);
    uninstall(&path).unwrap();
    assert_eq!(workshop.read("cafile"), before);
}

#[test]
fn what_to_install_is_asked_for_when_nobody_else_installs() {
    let workshop = workshop();
    let locked = LockedCafile::open(&workshop.path("cafile")).unwrap();
    let directory = File::open(workshop.path("")).unwrap();
    assert!(directory.try_lock().is_err());
    locked.install(&certificates(&workshop, &["one"])).unwrap();
    directory.try_lock().unwrap();
}

#[test]
fn an_install_waits_for_the_one_before_it() {
    let workshop = workshop();
    let path = workshop.path("cafile");
    let held_back = SharedDir::lock(&workshop.path("")).unwrap();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| install_into(&workshop, "cafile", &["one"]));
        // Whatever is written under the lock is what the one that waits reads.
        let upgraded = workshop.read("two.pem");
        held_back
            .replace(OsStr::new("cafile"), &upgraded, None)
            .unwrap();
        drop(held_back);
        waiting.join().unwrap();
    });
    assert_eq!(held(&workshop, "cafile"), ["two", "one"]);
    uninstall(&path).unwrap();
}

const CHILD_DIRECTORY: &str = "UCR_TEST_INSTALL_CHILD";

/// Not a test: the process that `killed_installs_leave_a_whole_cafile` kills.
#[test]
#[ignore = "started by killed_installs_leave_a_whole_cafile"]
#[expect(
    clippy::disallowed_methods,
    reason = "a test process has no other way to be told"
)]
fn child_that_installs_and_uninstalls_forever() {
    let Some(directory) = std::env::var_os(CHILD_DIRECTORY) else {
        return;
    };
    let directory = PathBuf::from(directory);
    let read = |name: &str| Input::read(&directory.join(name)).unwrap().certificates();
    let (one, two) = (read("one.pem").unwrap(), read("two.pem").unwrap());
    let cafile = directory.join("cafile");
    loop {
        install(&cafile, &one).unwrap();
        println!("round");
        install(&cafile, &two).unwrap();
        uninstall(&cafile).unwrap();
    }
}

#[test]
fn killed_installs_leave_a_whole_cafile() {
    let workshop = workshop();
    let before = workshop.read("cafile");
    let mut whole = vec![before.clone()];
    for name in ["one", "two"] {
        install_into(&workshop, "cafile", &[name]);
        whole.push(workshop.read("cafile"));
    }
    for round in 1..=10 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "--nocapture"])
            .arg("install::tests::child_that_installs_and_uninstalls_forever")
            .env(CHILD_DIRECTORY, workshop.path(""))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // Killed at another point of its work each time.
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let rounds = lines
            .map(Result::unwrap)
            .filter(|line| line.contains("round"))
            .take(round);
        assert_eq!(rounds.count(), round);
        child.kill().unwrap();
        child.wait().unwrap();

        assert!(whole.contains(&workshop.read("cafile")), "{round}");
        assert_eq!(workshop.read("cafile.ucr-backup"), before);
        workshop.write(".ucr-new-cafile", "what a kill between two writes leaves");
        install_into(&workshop, "cafile", &["one"]);
        uninstall(&workshop.path("cafile")).unwrap();
        assert_eq!(workshop.read("cafile"), before);
        let leftover = files::names(&workshop.path("")).unwrap();
        assert!(
            leftover.iter().all(|name| !name.starts_with('.')),
            "{leftover:?}"
        );
    }
}
