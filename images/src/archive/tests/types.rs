//! Types of entries: L54 to L65.

use test_support::Magic;

use super::*;

#[test]
fn l54_l56_devices_and_pipes_are_made() {
    let shape = shape([
        Entry::char_device("null", 1, 3).mode(0o666),
        Entry::block_device("disk", 8, 0).mode(0o660).owner(0, 6),
        Entry::fifo("etc/passwd").mode(0o600),
    ]);
    let expected = [
        "/disk block 0660 0:6 device=8:0",
        "/etc dir 0755 0:0",
        "/etc/passwd fifo 0600 0:0",
        "/null char 0666 0:0 device=1:3",
    ];
    assert_eq!(shape, expected);
}

#[test]
fn l55_a_device_number_that_linux_has_not_is_refused() {
    for (major, minor) in [(-1, 0), (0, -1), (1 << 12, 0), (1, 1 << 20), (1 << 33, 1)] {
        for entry in [
            Entry::char_device("d", major, minor),
            Entry::block_device("d", major, minor),
        ] {
            refusal([entry]);
        }
    }
}

#[test]
fn l57_l58_types_that_nobody_knows_are_refused() {
    for flag in *b"ZVMDNAI" {
        let said = refusal([Entry::new(flag, "f").content("x")]);
        assert_contains(&said, "it is of an unknown kind");
    }
    assert_eq!(
        shape([Entry::new(b'7', "f").content("x")]),
        ["/f file 0644 0:0"]
    );
}

#[test]
fn l59_a_sparse_file_is_refused_and_its_map_never_taken_for_content() {
    let sparse = "a sparse file";
    assert_contains(
        &refusal([Entry::new(b'S', "f").magic(Magic::Gnu).content("x")]),
        sparse,
    );
    for key in [
        "GNU.sparse.major",
        "GNU.sparse.map",
        "GNU.sparse.name",
        "GNU.sparse.size",
    ] {
        let said = refusal([Entry::file("f", "1\n0\n512\n").pax(key, "1")]);
        assert!(
            said.contains(sparse) || said.contains("no tar archive"),
            "{key}: {said}"
        );
    }
    let entry = Entry::file("f", "1\n0\n1\nx")
        .pax("GNU.sparse.major", "1")
        .pax("GNU.sparse.minor", "0");
    refusal([entry]);
}

#[test]
fn l60_an_archive_of_unix_v7_has_directories_too() {
    let entry = Entry::new(0, "d/").magic(Magic::V7).mode(0o750);
    assert_eq!(shape([entry]), ["/d dir 0750 0:0"]);
    let entry = Entry::new(0, "f").magic(Magic::V7).content("x");
    assert_eq!(shape([entry]), ["/f file 0644 0:0"]);
}

#[test]
fn l61_content_is_for_files_only() {
    for entry in [
        Entry::dir("d"),
        Entry::symlink("l", "x"),
        Entry::fifo("p"),
        Entry::char_device("c", 1, 3),
        Entry::block_device("b", 8, 0),
    ] {
        assert_contains(
            &refusal([entry.clone().content("smuggled")]),
            "it has content",
        );
        assert_contains(&refusal([entry.claim_size(1)]), "it has content");
    }
}

#[test]
fn l62_a_file_is_no_directory() {
    for parent in [
        Entry::file("f", "x"),
        Entry::fifo("f"),
        Entry::char_device("f", 1, 3),
    ] {
        let said = refusal([parent, Entry::file("f/x", "x")]);
        assert_contains(&said, "\"f\" on its way is a file");
    }
}

#[test]
fn l63_a_directory_replaced_by_a_link_is_gone_and_the_link_leads_inside() {
    let case = Case::new();
    let outside = case.outside();
    let shape = case.unpack(
        layer()
            .dir("d", 0o755)
            .file("d/old", "x")
            .symlink("d", &outside)
            .file("d/file", "x"),
    );
    assert!(
        shape.contains(&format!("/d symlink 0777 0:0 -> {outside}")),
        "{shape:#?}"
    );
    assert!(
        shape.contains(&format!("{outside}/file file 0644 0:0")),
        "{shape:#?}"
    );
    assert!(!shape.iter().any(|line| line.contains("old")), "{shape:#?}");
}

type Made = (&'static str, fn() -> Entry);

#[test]
fn l64_the_last_entry_of_a_name_counts() {
    let make: [Made; 5] = [
        ("/x file 0644 0:0", || Entry::file("x", "content")),
        ("/x dir 0755 0:0", || Entry::dir("x")),
        ("/x symlink 0777 0:0 -> y", || Entry::symlink("x", "y")),
        ("/x fifo 0644 0:0", || Entry::fifo("x")),
        ("/x char 0644 0:0 device=1:3", || {
            Entry::char_device("x", 1, 3)
        }),
    ];
    for (_, first) in make {
        for (expected, last) in make {
            let shape = shape([first(), last()]);
            assert_eq!(shape.len(), 1);
            // A directory that replaced something hides the lower layers' one.
            let plain = shape[0].replace(" trusted.overlay.opaque=y", "");
            assert_eq!(plain, expected);
        }
    }
}

#[test]
fn l64_a_shorter_file_in_place_of_a_longer_one_has_nothing_of_it() {
    let case = Case::new();
    case.unpack(layer().file("f", "a long text").file("f", "short"));
    assert_eq!(case.content("f"), b"short");
}

#[test]
fn l65_directories_that_a_launch_needs_may_be_anything_in_a_layer() {
    let entries = [
        Entry::symlink("dev", "../../.."),
        Entry::symlink("etc", "/outside"),
        Entry::file("proc", "x"),
        Entry::fifo("run"),
        Entry::char_device("sys", 1, 3),
        Entry::symlink("tmp", "dev"),
    ];
    let expected = [
        "/dev symlink 0777 0:0 -> ../../..",
        "/etc symlink 0777 0:0 -> /outside",
        "/proc file 0644 0:0",
        "/run fifo 0644 0:0",
        "/sys char 0644 0:0 device=1:3",
        "/tmp symlink 0777 0:0 -> dev",
    ];
    assert_eq!(shape(entries), expected);
}
