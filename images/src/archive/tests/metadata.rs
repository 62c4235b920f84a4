//! Owners, modes, times and attributes: L66 to L83.

use super::*;

/// A version 2 capability set (capabilities(7)): CAP_NET_RAW permitted and effective.
const CAPABILITY: [u8; 20] = [
    1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
];

#[test]
fn l66_l77_modes_are_exact_and_nothing_but_modes() {
    for (given, mode) in [
        (0o4755, "4755"),
        (0o2755, "2755"),
        (0o1777, "1777"),
        (0o6711, "6711"),
        (0, "0000"),
        (0o177_777, "7777"),
        (0o100_644, "0644"),
    ] {
        let file = Entry::file("f", "x").mode(given).owner(1, 2);
        let dir = Entry::dir("d").mode(given).owner(1, 2);
        let expected = [format!("/d dir {mode} 1:2"), format!("/f file {mode} 1:2")];
        assert_eq!(shape([file, dir]), expected, "{given:o}");
    }
}

#[test]
fn l67_a_file_keeps_its_capability_and_its_owner() {
    let file = Entry::file("ping", "x").owner(5, 5).mode(0o755);
    let shape = shape([file.xattr("security.capability", CAPABILITY)]);
    let value = CAPABILITY.escape_ascii();
    assert_eq!(
        shape,
        [format!("/ping file 0755 5:5 security.capability={value}")]
    );
}

#[test]
fn l68_l69_l72_attributes_of_overlayfs_the_host_and_libarchive_stay_out() {
    let keys = [
        "trusted.overlay.opaque",
        "trusted.overlay.redirect",
        "trusted.overlay.metacopy",
        "trusted.overlay.whiteout",
        "user.overlay.opaque",
        "security.selinux",
        "security.ima",
        "security.evm",
        "system.nfs4_acl",
    ];
    for key in keys {
        let value = if key.ends_with("redirect") {
            "/etc"
        } else {
            "y"
        };
        let entries = [
            Entry::dir("d").xattr(key, value),
            Entry::file("f", "").xattr(key, value),
        ];
        assert_eq!(
            shape(entries),
            ["/d dir 0755 0:0", "/f file 0644 0:0"],
            "{key}"
        );
    }
    let entry = Entry::file("f", "").pax("LIBARCHIVE.xattr.user.x", "eA==");
    assert_eq!(shape([entry]), ["/f file 0644 0:0"]);
}

/// An ACL of version 2: the owner, user 1000, the group, the mask, others; 7 each (acl(5)).
fn acl() -> Vec<u8> {
    let entries: [(u16, u32); 5] = [(1, !0), (2, 1000), (4, !0), (0x10, !0), (0x20, !0)];
    let mut acl = 2_u32.to_le_bytes().to_vec();
    for (tag, id) in entries {
        acl.extend(tag.to_le_bytes());
        acl.extend(7_u16.to_le_bytes());
        acl.extend(id.to_le_bytes());
    }
    acl
}

#[test]
fn w24_an_acl_of_a_file_is_kept() {
    let file = Entry::file("f", "x").mode(0o777);
    let shape = shape([file.xattr("system.posix_acl_access", acl())]);
    let value = acl().escape_ascii().to_string();
    let expected = format!("/f file 0777 0:0 system.posix_acl_access={value}");
    assert_eq!(shape, [expected]);
}

#[test]
fn l69_an_acl_for_what_comes_into_a_directory_is_not_passed_on() {
    let acl = acl();
    let shape = shape([
        Entry::dir("d").xattr("system.posix_acl_default", &acl),
        Entry::file("d/e/f", "x"),
        Entry::fifo("d/p"),
    ]);
    let expected = [
        "/d dir 0755 0:0",
        "/d/e dir 0755 0:0",
        "/d/e/f file 0644 0:0",
        "/d/p fifo 0644 0:0",
    ];
    assert_eq!(shape, expected);
}

#[test]
fn l70_values_of_attributes_are_exact_and_the_last_counts() {
    let file = Entry::file("f", "")
        .xattr("user.binary", b"a\0b\nc\xff")
        .xattr("user.empty", "")
        .xattr("user.twice", "first")
        .xattr("user.twice", "last");
    let expected = "/f file 0644 0:0 user.binary=a\\x00b\\nc\\xff user.empty= user.twice=last";
    assert_eq!(shape([file]), [expected]);
}

#[test]
fn l70_an_attribute_that_is_too_large_is_no_full_disk() {
    let large = Entry::file("f", "").xattr("user.x", vec![b'x'; (64 << 10) + 1]);
    assert_refused_for_its_attributes(&Case::new(), large);
}

#[track_caller]
fn assert_refused_for_its_attributes(case: &Case, entry: Entry) {
    let error = case.apply(&of([entry]).build()).unwrap_err();
    assert_contains(&chain(&error), "user.x");
    assert!(!error.is_out_of_space(), "{error}");
}

#[test]
fn l70_attributes_that_the_file_system_has_no_room_for_are_no_full_disk() {
    let large = Entry::file("f", "").xattr("user.x", vec![b'x'; 60_000]);
    let many = (0..1000).fold(Entry::file("f", ""), |entry, n| {
        entry.xattr(&format!("user.x{n}"), "value")
    });
    for entry in [large, many] {
        let case = Case::new();
        match Limits::here(&case) {
            Some(Limits::Ext4) => assert_refused_for_its_attributes(&case, entry),
            Some(Limits::Kernel) => {
                case.apply(&of([entry]).build()).unwrap();
            }
            None => {}
        }
    }
}

#[test]
fn l71_user_attributes_of_what_cannot_have_them_are_left_out() {
    let shape = shape([
        Entry::symlink("l", "x").xattr("user.x", "y"),
        Entry::fifo("p").xattr("user.x", "y"),
    ]);
    assert_eq!(shape, ["/l symlink 0777 0:0 -> x", "/p fifo 0644 0:0"]);
}

#[test]
fn l73_large_ids_are_kept() {
    for id in [65_534, 1 << 31, (1 << 32) - 2] {
        let expected = [format!("/f file 0644 {id}:{id}")];
        assert_eq!(shape([Entry::file("f", "").owner(id, id)]), expected);
        let text = id.to_string();
        let pax = Entry::file("f", "").pax("uid", &text).pax("gid", &text);
        assert_eq!(shape([pax]), expected);
    }
}

#[test]
fn l74_ids_that_wrap_or_mean_nobody_are_refused() {
    for id in [(1 << 32) - 1, (1 << 32) + 5, (1 << 63) - 1, -1, -5] {
        refusal([Entry::file("f", "").mode(0o4755).owner(id, 0)]);
        refusal([Entry::file("f", "").mode(0o2755).owner(0, id)]);
    }
    for id in [
        "-1",
        "+5",
        "4294967295",
        "4294967301",
        "9223372036854775808",
        "1 ",
        "0x1",
        "",
    ] {
        refusal([Entry::file("f", "").pax("uid", id)]);
        refusal([Entry::file("f", "").pax("gid", id)]);
    }
}

/// A process of several threads gets no user namespace, so this test goes on in another.
#[test]
fn l75_an_owner_that_a_user_namespace_has_not_is_named() {
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap();
    // How many IDs there are: in there, root's alone.
    if map.split_whitespace().nth(2) == Some("1") {
        let said = refusal([Entry::file("d/f", "").owner(70_000, 5)]);
        assert_contains(&said, "its entry \"d/f\"");
        assert_contains(&said, "/d/f, 70000:5): Invalid argument");
        return;
    }
    test_support::need_command!("unshare");
    let name = "archive::tests::metadata::l75_an_owner_that_a_user_namespace_has_not_is_named";
    let output = std::process::Command::new("unshare")
        .args(["--user", "--map-root-user"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", name])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
    assert_contains(&said, "1 passed");
}

#[test]
fn l76_names_of_owners_are_not_looked_up() {
    let file = Entry::file("f", "")
        .owner(7, 8)
        .pax("uname", "root")
        .pax("gname", "root");
    assert_eq!(shape([file]), ["/f file 0644 7:8"]);
}

#[test]
fn l78_directories_closed_to_their_owner_are_filled_all_the_same() {
    let shape = shape([
        Entry::dir("a").mode(0),
        Entry::file("a/f", "x").mode(0),
        Entry::dir("b").mode(0o555).owner(9, 9),
        Entry::dir("b/c"),
    ]);
    let expected = [
        "/a dir 0000 0:0",
        "/a/f file 0000 0:0",
        "/b dir 0555 9:9",
        "/b/c dir 0755 0:0",
    ];
    assert_eq!(shape, expected);
}

fn time_of(entry: Entry) -> String {
    let case = Case::new();
    case.unpack(of([entry]));
    let listing = tree(&case.root());
    let line = listing
        .lines()
        .find(|line| line.starts_with("/f "))
        .unwrap();
    let word = line.split(' ').find_map(|word| word.strip_prefix("mtime="));
    word.unwrap().to_owned()
}

#[test]
fn l79_times_of_all_kinds_are_kept_or_clamped() {
    let file = || Entry::file("f", "x");
    assert_eq!(time_of(file().mtime(0)), "0.000000000");
    assert_eq!(time_of(file().mtime(-5)), "-5.000000000");
    assert_eq!(time_of(file().mtime(1 << 33)), "8589934592.000000000");
    assert_eq!(time_of(file().pax("mtime", "-1.25")), "-2.750000000");
    assert_eq!(time_of(file().pax("mtime", "1.5")), "1.500000000");
    for far in [1 << 40, 1_000_000_000_000_000_000, i128::from(i64::MAX)] {
        // As far as the file system can count (ext4: the year 2446).
        let seconds = time_of(file().mtime(far));
        assert!(seconds.parse::<f64>().unwrap() > 2e9, "{seconds}");
    }
    time_of(file().pax("mtime", "1000000000000000000000"));
    for none in ["NaN", "", "inf", "1e9", "yesterday"] {
        assert_contains(
            &refusal([file().pax("mtime", none)]),
            "a PAX time that is none",
        );
    }
}

#[test]
fn l80_a_directory_keeps_its_time_whatever_comes_into_it_later() {
    let case = Case::new();
    case.unpack(
        layer()
            .entry(Entry::dir("d").mtime(1000))
            .entry(Entry::dir("d/e").mtime(2000))
            .file("d/e/f", "x")
            .file("d/g", "x")
            .entry(Entry::dir("./").mtime(3000)),
    );
    let listing = tree(&case.root());
    for line in [
        "/ dir 0755 0:0 mtime=3000.000000000\n",
        "/d dir 0755 0:0 mtime=1000.000000000\n",
        "/d/e dir 0755 0:0 mtime=2000.000000000\n",
    ] {
        assert_contains(&listing, line);
    }
}

#[test]
fn l80_a_link_and_a_device_keep_their_time_and_a_hard_link_changes_none() {
    let case = Case::new();
    case.unpack(
        layer()
            .entry(Entry::symlink("l", "x").mtime(1))
            .entry(Entry::fifo("p").mtime(2))
            .entry(Entry::file("f", "x").mtime(3))
            .entry(Entry::hardlink("h", "f").mtime(4)),
    );
    let listing = tree(&case.root());
    for (name, seconds) in [("/l ", 1), ("/p ", 2), ("/f ", 3), ("/h ", 3)] {
        let line = listing.lines().find(|line| line.starts_with(name)).unwrap();
        assert_contains(line, &format!("mtime={seconds}.000000000"));
    }
}

/// The umask belongs to the process, so the tests of this file run in others.
#[test]
fn l81_the_callers_umask_changes_nothing() {
    for umask in ["000", "077", "777"] {
        let status = std::process::Command::new("sh")
            .args(["-c", &format!("umask {umask}; exec \"$0\" \"$@\"")])
            .arg(std::env::current_exe().unwrap())
            .args(["archive::tests::metadata", "archive::tests::names::l3"])
            .args(["--skip", "l81", "--skip", "l82_a_layer", "--quiet"])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&status.stdout);
        assert!(status.status.success(), "umask {umask}: {said}");
        assert!(!said.contains(" 0 passed"), "{said}");
    }
}

#[test]
fn l82_what_only_its_content_implies_is_reported() {
    let case = Case::new();
    let layer = layer()
        .file("tmp/x", "x")
        .dir("etc", 0o700)
        .file("etc/y/z", "x")
        .dir("late/dir", 0o700)
        .dir("late", 0o700)
        .build();
    let applied = case.apply(&layer).unwrap();
    assert_eq!(applied.implied, [b"etc/y".to_vec(), b"tmp".to_vec()]);
    assert!(!applied.root_explicit);
}

#[test]
fn l82_l80_what_is_reached_through_a_link_is_noted_where_it_is() {
    let case = Case::new();
    let layer = layer()
        .symlink("l", "real")
        .file("l/implied/f", "x")
        .file("l/late/f", "x")
        .entry(Entry::dir("l/late").mode(0o700).mtime(1000))
        .file("l/late/g", "x")
        .dir("l/opaque", 0o755)
        .whiteout("l/opaque/x")
        .opaque("l/opaque")
        .build();
    let applied = case.apply(&layer).unwrap();
    assert_eq!(
        applied.implied,
        [b"real".to_vec(), b"real/implied".to_vec()]
    );
    let listing = tree(&case.root());
    assert_contains(&listing, "/real/late dir 0700 0:0 mtime=1000.000000000\n");
    assert!(!listing.contains("opaque/x"), "{listing}");
}

#[test]
fn l82_a_layer_that_implies_gigabytes_of_paths_is_refused() {
    let names = (0..5).map(|n| format!("{n}/{}f", "d/".repeat(1900)));
    let said = refusal(names.map(|name| Entry::file(name, "")));
    assert_contains(&said, "implies too many directories");
}

#[test]
fn l83_a_set_group_id_bit_of_the_root_is_not_passed_on() {
    let case = Case::new();
    let root = File::open(case.root()).unwrap();
    ucr_sys::at::set_owner_fd(root.as_fd(), 0, 50).unwrap();
    ucr_sys::at::set_mode_fd(root.as_fd(), 0o2755).unwrap();
    let shape = case.unpack(layer().file("implied/f", "x").dir("d", 0o755));
    let expected = [
        "/d dir 0755 0:0",
        "/implied dir 0755 0:0",
        "/implied/f file 0644 0:0",
    ];
    assert_eq!(shape, expected);
}

#[test]
fn l83_a_directory_that_gets_a_group_later_does_not_pass_it_on() {
    let case = Case::new();
    let shared = Entry::dir("d").owner(0, 50).mode(0o2755);
    let in_a_directory = layer()
        .file("d/before", "x")
        .entry(shared)
        .file("d/after", "y")
        .file("d/before", "z");
    let expected = [
        "/d dir 2755 0:50",
        "/d/after file 0644 0:0",
        "/d/before file 0644 0:0",
    ];
    assert_eq!(case.unpack(in_a_directory), expected);

    let case = Case::new();
    let root = Entry::dir(".").owner(0, 50).mode(0o2755);
    let in_the_root = layer().file("before", "x").entry(root).file("after", "y");
    let expected = ["/after file 0644 0:0", "/before file 0644 0:0"];
    assert_eq!(case.unpack(in_the_root), expected);
}

#[test]
fn a_directory_that_is_replaced_is_not_written_to_any_more() {
    let case = Case::new();
    let layer = layer()
        .file("d/old", "x")
        .file("other/f", "x")
        .symlink("d", "other")
        .file("d/new", "y");
    let expected = [
        "/d symlink 0777 0:0 -> other",
        "/other dir 0755 0:0",
        "/other/f file 0644 0:0",
        "/other/new file 0644 0:0",
    ];
    assert_eq!(case.unpack(layer), expected);
}
