//! Whiteouts in the form that overlayfs reads: L36 to L52.

use super::*;

const GONE: &str = "char 0600 0:0 device=0:0";
const OPAQUE: &str = "trusted.overlay.opaque=y";

#[test]
fn l36_l40_l42_a_whiteout_hides_a_name_and_its_marker_is_not_seen() {
    let shape = shape([
        Entry::dir("d"),
        Entry::whiteout("f"),
        Entry::whiteout("d/g"),
    ]);
    let expected = [
        "/d dir 0755 0:0".to_owned(),
        format!("/d/g {GONE}"),
        format!("/f {GONE}"),
    ];
    assert_eq!(shape, expected);
}

#[test]
fn l37_l38_a_whiteout_of_no_name_is_refused_before_anything_is_touched() {
    for name in [".wh.", ".wh..", ".wh...", "a/.wh...", "a/.wh."] {
        let case = Case::new();
        let said = case.refuse(layer().file("a/f", "x").file(name, ""));
        assert_contains(&said, "whiteout of no name");
        assert_eq!(
            case.shape(),
            ["/a dir 0755 0:0", "/a/f file 0644 0:0"],
            "{name}"
        );
    }
}

#[test]
fn l39_a_whiteout_by_a_detour_stays_inside() {
    assert_eq!(
        shape([Entry::file("dne/../.wh.etc", "")]),
        [format!("/etc {GONE}")]
    );
    assert_contains(
        &refusal([Entry::file("../.wh.outside", "")]),
        "climbs above",
    );
}

#[test]
fn l41_a_whiteout_below_a_link_is_resolved_inside() {
    let case = Case::new();
    let outside = case.outside();
    let shape = case.unpack(
        layer()
            .symlink("l", &outside)
            .whiteout("l/file")
            .opaque("l/dir"),
    );
    assert!(
        shape.contains(&format!("{outside}/file {GONE}")),
        "{shape:#?}"
    );
    assert!(
        shape.contains(&format!("{outside}/dir dir 0755 0:0 {OPAQUE}")),
        "{shape:#?}"
    );
}

#[test]
fn l43_l44_what_a_layer_adds_stays_whatever_it_hides() {
    let file = || Entry::file("f", "x");
    assert_eq!(shape([file(), Entry::whiteout("f")]), ["/f file 0644 0:0"]);
    assert_eq!(shape([Entry::whiteout("f"), file()]), ["/f file 0644 0:0"]);
}

#[test]
fn l45_a_whiteout_and_a_directory_of_that_name_make_it_opaque_in_any_order() {
    let expected = [
        format!("/d dir 0755 0:0 {OPAQUE}"),
        "/d/new file 0644 0:0".to_owned(),
    ];
    let (gone, dir, new) = (
        || Entry::whiteout("d"),
        || Entry::dir("d"),
        || Entry::file("d/new", "x"),
    );
    for entries in [
        vec![gone(), new()],
        vec![new(), gone()],
        vec![gone(), dir(), new()],
        vec![dir(), gone(), new()],
        vec![dir(), new(), gone()],
    ] {
        assert_eq!(shape(entries), expected);
    }
}

#[test]
fn l46_an_opaque_marker_means_the_same_wherever_it_stands() {
    let expected = [
        format!("/d dir 0700 0:0 {OPAQUE}"),
        "/d/a file 0644 0:0".to_owned(),
        "/d/b file 0644 0:0".to_owned(),
    ];
    let entries = [
        Entry::dir("d").mode(0o700),
        Entry::file("d/a", "x"),
        Entry::file("d/b", "x"),
    ];
    for at in 0..=entries.len() {
        let mut all = entries.to_vec();
        all.insert(at, Entry::opaque("d"));
        assert_eq!(shape(all), expected, "marker at {at}");
    }
}

#[test]
fn l47_an_opaque_root_is_reported_and_keeps_what_the_layer_adds() {
    let case = Case::new();
    let layer = layer().file("a", "x").opaque("").whiteout("gone").build();
    let applied = case.apply(&layer).unwrap();
    assert!(applied.root_opaque);
    assert_eq!(case.shape(), ["/a file 0644 0:0"]);
}

#[test]
fn l48_an_opaque_marker_never_reaches_through_what_bears_its_directorys_name() {
    let case = Case::new();
    let outside = case.outside();
    let shape = case.unpack(
        layer()
            .opaque("none/such")
            .symlink("l", &outside)
            .opaque("l")
            .file("f", "x")
            .opaque("f"),
    );
    let expected = [
        format!("/f dir 0755 0:0 {OPAQUE}"),
        format!("/l dir 0755 0:0 {OPAQUE}"),
        "/none dir 0755 0:0".to_owned(),
        format!("/none/such dir 0755 0:0 {OPAQUE}"),
    ];
    assert_eq!(shape, expected);
}

#[test]
fn l49_an_opaque_directory_holds_no_whiteouts() {
    let before = shape([Entry::dir("d"), Entry::whiteout("d/x"), Entry::opaque("d")]);
    let after = shape([Entry::opaque("d"), Entry::dir("d"), Entry::whiteout("d/x")]);
    assert_eq!(before, [format!("/d dir 0755 0:0 {OPAQUE}")]);
    assert_eq!(before, after);
}

#[test]
fn l49_nor_does_a_directory_below_an_opaque_one() {
    let shape = shape([
        Entry::dir("d"),
        Entry::opaque("d"),
        Entry::dir("d/e"),
        Entry::whiteout("d/e/x"),
        Entry::file("d/e/y", "x"),
    ]);
    let expected = [
        format!("/d dir 0755 0:0 {OPAQUE}"),
        "/d/e dir 0755 0:0".to_owned(),
        "/d/e/y file 0644 0:0".to_owned(),
    ];
    assert_eq!(shape, expected);
}

#[test]
fn l50_a_whiteout_is_an_empty_file_or_refused() {
    for name in [".wh.f", "d/.wh.f", ".wh..wh..opq"] {
        for entry in [
            Entry::dir(name),
            Entry::symlink(name, "x"),
            Entry::char_device(name, 1, 3),
            Entry::fifo(name),
            Entry::file(name, "content"),
        ] {
            assert_contains(&refusal([entry]), "a whiteout must be an empty file");
        }
    }
    let said = refusal([Entry::file(".wh.etc/somefile", "x")]);
    assert_contains(&said, "the name of a whiteout");
}

#[test]
fn l51_other_reserved_names_are_left_out() {
    let names = [
        ".wh..wh.aufs",
        ".wh..wh.orph",
        ".wh..wh.plnk",
        "d/.wh..wh.aufs",
    ];
    assert_eq!(
        shape(names.map(|name| Entry::file(name, ""))),
        Vec::<String>::new()
    );
}

#[test]
fn l52_a_device_that_overlayfs_takes_for_a_whiteout_is_refused() {
    let said = refusal([Entry::char_device("etc", 0, 0)]);
    assert_contains(&said, "a character device 0:0 would hide");
    assert_eq!(
        shape([Entry::block_device("b", 0, 0)]),
        ["/b block 0644 0:0 device=0:0"]
    );
}
