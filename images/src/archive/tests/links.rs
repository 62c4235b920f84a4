//! Links: L19 to L35, and the advisories on them.

use std::os::unix::fs::MetadataExt;

use super::*;

fn links_of(case: &Case, path: &str) -> u64 {
    case.root().join(path).symlink_metadata().unwrap().nlink()
}

#[test]
fn l19_a_hard_link_is_a_second_name() {
    let case = Case::new();
    case.unpack(layer().file("a", "x").hardlink("d/b", "a"));
    assert_eq!((links_of(&case, "a"), links_of(&case, "d/b")), (2, 2));
}

#[test]
fn l20_l21_l22_a_hard_link_is_resolved_below_the_root() {
    for target in [
        "/etc/passwd",
        "abs/passwd",
        "rel/passwd",
        "etc/./x/../passwd",
    ] {
        let case = Case::new();
        case.unpack(
            layer()
                .file("etc/passwd", "image's")
                .symlink("abs", "/etc")
                .symlink("rel", "../../../etc")
                .hardlink("h", target),
        );
        assert_eq!(case.content("h"), b"image's", "{target}");
        assert_eq!(links_of(&case, "etc/passwd"), 2, "{target}");
    }
    let said = refusal([Entry::hardlink("h", "../../../../etc/passwd")]);
    assert_contains(&said, "it climbs above the root");
}

#[test]
fn l21_a_hard_link_through_a_link_that_leads_out_finds_nothing() {
    let case = Case::new();
    let outside = case.outside();
    let said = case.refuse(layer().symlink("l", &outside).hardlink("h", "l/file"));
    assert_contains(&said, "\"l/file\", which is not in this layer");
    let said = case.refuse(layer().hardlink("h", &format!("{outside}/file")));
    assert_contains(&said, "which is not in this layer");
}

#[test]
fn l23_l24_a_hard_link_to_what_is_not_there_yet_names_both() {
    let said = refusal([Entry::hardlink("new", "old"), Entry::file("old", "x")]);
    assert_contains(&said, "\"new\"");
    assert_contains(&said, "\"old\", which is not in this layer");
}

#[test]
fn l25_a_hard_link_to_itself_loses_nothing() {
    let case = Case::new();
    let shape = case.unpack(
        layer()
            .file("a", "x")
            .hardlink("a", "a")
            .hardlink("a", "./a"),
    );
    assert_eq!(shape, ["/a file 0644 0:0"]);
    assert_eq!(case.content("a"), b"x");
    assert_contains(&refusal([Entry::hardlink("a", "a")]), "not in this layer");
}

#[test]
fn l26_a_hard_link_to_a_directory_is_refused() {
    for target in ["d", "d/", "."] {
        let said = refusal([Entry::dir("d"), Entry::hardlink("h", target)]);
        assert!(
            said.contains("it links to a directory") || said.contains("it links to the root"),
            "{said}"
        );
    }
}

#[test]
fn l27_a_hard_link_to_a_dangling_link_is_taken() {
    let expected = [
        "/h symlink 0777 0:0 -> later",
        "/l symlink 0777 0:0 -> later",
        "/later file 0644 0:0",
    ];
    let entries = [
        Entry::symlink("l", "later"),
        Entry::hardlink("h", "l"),
        Entry::file("later", "x"),
    ];
    assert_eq!(shape(entries), expected);
}

#[test]
fn l28_a_hard_link_with_content_is_refused() {
    let said = refusal([
        Entry::file("a", "x"),
        Entry::hardlink("h", "a").content("smuggled"),
    ]);
    assert_contains(&said, "it has content");
}

#[test]
fn l29_more_links_than_the_file_system_has_room_for_are_an_error() {
    let names = (0..70_000).map(|n| Entry::hardlink(format!("h{n}"), "a"));
    let layer = of(std::iter::once(Entry::file("a", "x")).chain(names)).build();
    let case = Case::new();
    let Some(limits) = Limits::here(&case) else {
        return;
    };
    let applied = case.apply(&layer).map_err(|error| chain(&error));
    match limits {
        Limits::Ext4 => assert_contains(&applied.unwrap_err(), "Too many links"),
        Limits::Kernel => {
            applied.unwrap();
            let links = std::fs::metadata(case.root().join("a")).unwrap().nlink();
            assert_eq!(links, 70_001);
        }
    }
}

#[test]
fn l30_a_link_that_says_nothing_or_too_much_is_refused() {
    assert_contains(&refusal([Entry::symlink("l", "")]), "it links to nothing");
    assert_contains(&refusal([Entry::hardlink("l", "")]), "it links to nothing");
    let said = refusal([Entry::symlink("l", "x".repeat(4096))]);
    assert_contains(&said, "File name too long");
    let case = Case::new();
    let long = Entry::new(b'K', "././@LongLink").magic(test_support::Magic::Gnu);
    let said = case.refuse(layer().entry(long.content(b"a\0b\0")).symlink("l", "x"));
    assert_contains(&said, "NUL");
}

#[test]
fn l31_the_last_of_several_entries_counts_and_no_link_is_followed() {
    let case = Case::new();
    let file = format!("{}/file", case.outside());
    let shape = case.unpack(
        layer()
            .symlink("a", &file)
            .symlink("a", "elsewhere")
            .symlink("b", &file)
            .dir("b", 0o700)
            .symlink("c", &file)
            .file("c", "x")
            .symlink("d", &file)
            .entry(Entry::fifo("d").mode(0o777)),
    );
    let expected = [
        "/a symlink 0777 0:0 -> elsewhere",
        "/b dir 0700 0:0 trusted.overlay.opaque=y",
        "/c file 0644 0:0",
        "/d fifo 0777 0:0",
    ];
    assert_eq!(shape, expected);
}

#[test]
fn l32_l34_s55_a_directory_replaces_a_link_to_one() {
    for name in ["d", "d/", "./d/"] {
        let case = Case::new();
        let dir = format!("{}/dir", case.outside());
        let shape = case.unpack(
            layer()
                .symlink("d", &dir)
                .dir(name, 0o777)
                .file("d/inner", "x"),
        );
        let expected = [
            "/d dir 0777 0:0 trusted.overlay.opaque=y",
            "/d/inner file 0644 0:0",
        ];
        assert_eq!(shape, expected, "{name}");
    }
}

#[test]
fn l33_a_file_over_a_hard_link_leaves_the_other_name_alone() {
    let case = Case::new();
    let shape = case.unpack(
        layer()
            .file("a", "old")
            .hardlink("b", "a")
            .symlink("d", "a")
            .dir("d", 0o755)
            .entry(Entry::file("b", "new").mode(0o4755)),
    );
    assert_eq!(
        (case.content("a"), case.content("b")),
        (b"old".to_vec(), b"new".to_vec())
    );
    assert_eq!(shape[0], "/a file 0644 0:0");
    assert_eq!(shape[1], "/b file 4755 0:0");
}

#[test]
fn l35_what_aufs_kept_for_itself_is_left_out() {
    let shape = shape([
        Entry::dir(".wh..wh.plnk"),
        Entry::file(".wh..wh.plnk/1", "x"),
        Entry::file(".wh..wh.aufs", ""),
        Entry::file("f", "x"),
    ]);
    assert_eq!(shape, ["/f file 0644 0:0"]);
    let said = refusal([
        Entry::dir(".wh..wh.plnk"),
        Entry::file(".wh..wh.plnk/1", "x"),
        Entry::hardlink("f", ".wh..wh.plnk/1"),
    ]);
    assert_contains(&said, "not in this layer");
}

#[test]
fn l31_what_replaces_a_link_on_its_own_way_stands_where_the_link_did() {
    // `l/l` is `l` itself, until it is replaced.
    let link = || Entry::symlink("l", ".");
    assert_eq!(
        shape([link(), Entry::file("l/l", "x")]),
        ["/l file 0644 0:0"]
    );
    assert_eq!(
        shape([link(), Entry::symlink("l/l", "x")]),
        ["/l symlink 0777 0:0 -> x"]
    );
    let file = || Entry::file("f", "x");
    assert_eq!(
        shape([file(), link(), Entry::hardlink("l/l", "f")]),
        ["/f file 0644 0:0", "/l file 0644 0:0"]
    );
    for directory in [Entry::dir("l/l"), Entry::opaque("l/l")] {
        assert_eq!(
            shape([link(), directory]),
            ["/l dir 0755 0:0 trusted.overlay.opaque=y"]
        );
    }
    // Nor is a directory made again because the way back led through it.
    let back = [Entry::symlink("d/up", ".."), Entry::file("d/up/d", "x")];
    assert_eq!(shape(back), ["/d file 0644 0:0"]);
}

#[test]
fn s52_a_mode_never_reaches_through_a_hard_link_to_a_link() {
    let case = Case::new();
    let file = format!("{}/file", case.outside());
    case.unpack(
        layer()
            .symlink("l", &file)
            .hardlink("h", "l")
            .entry(Entry::file("h", "x").mode(0o777).owner(9, 9)),
    );
    assert_eq!(case.content("h"), b"x");
}
