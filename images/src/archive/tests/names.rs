//! Names and traversal: L1 to L18.

use super::*;

#[test]
fn l1_l2_l4_a_name_that_climbs_above_the_root_is_refused() {
    for name in [
        "../evil",
        "..",
        "a/../../evil",
        "/../evil",
        "../root-evil/x",
        "../outside/file",
        "a/../../outside/dir/",
    ] {
        for entry in [
            Entry::file(name, "x"),
            Entry::dir(name),
            Entry::symlink(name, "/"),
        ] {
            let said = refusal([entry]);
            assert_contains(&said, "it climbs above the root");
        }
    }
}

#[test]
fn l2_a_name_that_comes_back_to_the_root_is_the_root() {
    assert_eq!(shape([Entry::dir("a/..")]), Vec::<String>::new());
    assert_contains(&refusal([Entry::file("a/..", "x")]), "the root of a layer");
}

#[test]
fn l3_l5_names_are_relative_to_the_root() {
    let entries = ["/abs/f", "//g", "./././h", "a//b", "x/../i"].map(|name| Entry::file(name, "x"));
    let expected = [
        "/a dir 0755 0:0",
        "/a/b file 0644 0:0",
        "/abs dir 0755 0:0",
        "/abs/f file 0644 0:0",
        "/g file 0644 0:0",
        "/h file 0644 0:0",
        "/i file 0644 0:0",
    ];
    assert_eq!(shape(entries), expected);
}

#[test]
fn l6_an_absolute_link_leads_inside_whether_its_target_is_there_or_not() {
    let case = Case::new();
    let outside = case.outside();
    let shape = case.unpack(
        layer()
            .symlink("l", "/abs")
            .file("l/f", "x")
            .symlink("dead", &outside)
            .file("dead/file", "overwritten?"),
    );
    assert!(
        shape.contains(&"/abs/f file 0644 0:0".to_owned()),
        "{shape:#?}"
    );
    assert!(
        shape.contains(&"/l symlink 0777 0:0 -> /abs".to_owned()),
        "{shape:#?}"
    );
    assert_eq!(
        case.content(&format!("{}/file", &outside[1..])),
        b"overwritten?"
    );
}

#[test]
fn l7_l8_a_relative_link_that_climbs_out_ends_at_the_root() {
    for target in [
        "../../../outside",
        "../outside",
        "a/../../../outside",
        "up/../../outside",
    ] {
        let case = Case::new();
        let shape = case.unpack(
            layer()
                .dir("a", 0o755)
                .symlink("up", "..")
                .symlink("l", target)
                .file("l/file", "x"),
        );
        assert!(
            shape.contains(&"/outside/file file 0644 0:0".to_owned()),
            "{target}: {shape:#?}"
        );
    }
}

#[test]
fn l9_a_loop_of_links_is_refused() {
    let entries = [
        Entry::symlink("a", "b"),
        Entry::symlink("b", "a"),
        Entry::file("a/x", "x"),
    ];
    assert_contains(&refusal(entries), "its path is a loop of links");
    let entries = [Entry::symlink("a", "a/b"), Entry::file("a/x/y", "x")];
    assert_contains(&refusal(entries), "its path is a loop of links");
}

#[test]
fn l10_l12_the_root_is_a_directory_and_nothing_else() {
    for name in [".", "/", "./", "a/.."] {
        for entry in [
            Entry::symlink(name, "/etc"),
            Entry::file(name, "x"),
            Entry::fifo(name),
            Entry::char_device(name, 1, 3),
            Entry::hardlink(name, "f"),
        ] {
            let said = refusal([Entry::file("f", ""), entry]);
            assert!(
                said.contains("the root of a layer can only be a directory")
                    || said.contains("its kind may not have"),
                "{name}: {said}"
            );
        }
    }
}

#[test]
fn l11_the_root_gets_the_attributes_of_its_entry() {
    let case = Case::new();
    let layer = layer()
        .entry(Entry::dir("./").mode(0o700).owner(5, 6).mtime(7))
        .file("f", "x")
        .build();
    let applied = case.apply(&layer).unwrap();
    assert!(applied.root_explicit);
    let listing = tree(&case.root());
    assert_contains(&listing, "/ dir 0700 5:6 mtime=7.000000000\n");
}

#[test]
fn l14_a_name_of_255_bytes_is_taken_and_one_of_256_is_not() {
    let name = "n".repeat(255);
    assert_eq!(
        shape([Entry::file(&name, "x")]),
        [format!("/{name} file 0644 0:0")]
    );
    let said = refusal([Entry::file("n".repeat(256), "x")]);
    assert_contains(&said, "File name too long");
}

#[test]
fn l14_a_path_as_long_as_the_kernel_takes_is_unpacked_and_can_be_removed() {
    let case = Case::new();
    let deep = "d/".repeat(2000) + "f";
    assert!(deep.len() < 4096);
    case.apply(&layer().file(&deep, "x").build()).unwrap();
    let parent = File::open(case.temp.path()).unwrap();
    ucr_sys::tree::remove_tree(parent.as_fd(), b"root").unwrap();
    assert!(!case.root().exists());

    let said = refusal([Entry::file("d/".repeat(2049) + "f", "x")]);
    assert_contains(&said, "File name too long");
}

#[test]
fn l15_bytes_of_a_name_are_kept_and_shown_escaped() {
    for name in [
        &b"\xff\xfe"[..],
        b"a\nb",
        b"\x1b[31m",
        b"back\\slash",
        b"c:d",
        b"-rf",
        b"caf\xc3\xa9",
        b"cafe\xcc\x81",
        b"A",
        b"a",
    ] {
        let expected = format!("/{} file 0644 0:0", name.escape_ascii());
        assert_eq!(shape([Entry::file(name, "x")]), [expected]);
    }
    let said = refusal([Entry::file(b"../\x1b[31m\n", "x")]);
    assert!(!said.contains(['\x1b', '\n']), "{said:?}");
}

#[test]
fn l15_names_that_only_look_alike_are_different() {
    let both = shape([Entry::file("A", "x"), Entry::file("a", "y")]);
    assert_eq!(both, ["/A file 0644 0:0", "/a file 0644 0:0"]);
}

#[test]
fn l16_a_nul_in_a_long_name_is_refused() {
    assert_contains(&refusal([Entry::file("x", "").pax("path", b"a\0b")]), "NUL");
    let link = Entry::symlink("x", "y").pax("linkpath", b"a\0b");
    assert_contains(&refusal([link]), "NUL");
    let case = Case::new();
    let said = case.refuse(layer().gnu_long_name(b"a\0b").file("x", ""));
    assert_contains(&said, "NUL");
}

#[test]
fn l17_a_hard_link_is_never_to_a_file_of_the_working_directory() {
    assert!(std::path::Path::new("Cargo.toml").exists());
    for target in ["Cargo.toml", "./Cargo.toml"] {
        let said = refusal([Entry::hardlink("x", target)]);
        assert_contains(&said, "which is not in this layer");
    }
}

#[test]
fn l18_a_hard_link_to_a_link_is_the_link_itself() {
    let case = Case::new();
    let target = format!("{}/file", case.outside());
    let shape = case.unpack(
        layer()
            .symlink("l", &target)
            .entry(Entry::hardlink("h", "l").mode(0o4777).owner(7, 7).mtime(1)),
    );
    let expected = [
        format!("/h symlink 0777 0:0 -> {target}"),
        format!("/l symlink 0777 0:0 -> {target}"),
    ];
    assert_eq!(shape, expected);
}
