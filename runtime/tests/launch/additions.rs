//! Text for files of the image: where it lands, and where it must not.

use std::path::Path;

use ucr_runtime::plan::{AddedFile, Additions, HashDirectory, HashedFile, Missing};

use crate::support::{Container, privileged, write};

/// A container that adds "new" to `files`, and a file to `/certs` if that has hashes.
fn adding(files: &[&str], script: &str) -> Container {
    let mut container = Container::sh(script);
    let files = files.iter().map(|&path| AddedFile {
        path: path.into(),
        missing: Missing::Skip,
    });
    let hashed = HashedFile {
        hash: "0123abcd".into(),
        content: "hashed\n".into(),
    };
    container.additions = Some(Additions {
        text: "new\n".into(),
        files: files.collect(),
        fallback: "/etc/deep/fallback".into(),
        hashed: HashDirectory {
            path: "/certs".into(),
            files: vec![hashed],
        },
    });
    container
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).expect("read")
}

#[test]
fn text_lands_in_the_containers_own_layer() {
    if !privileged() {
        return;
    }
    for read_only in [false, true] {
        let mut container = adding(
            &["/etc/one", "/etc/two"],
            "cat /etc/one /certs/*; ls /etc; stat -c %a /etc/one /certs/0123abcd.1",
        );
        container.patch(serde_json::json!({"root": {"readonly": read_only}}));
        let layer = container.layer().to_owned();
        write(&layer.join("etc/one"), "old");
        write(&layer.join("certs/0123abcd.0"), "first\n");
        let output = container.run();
        let wanted = "old\nnew\nfirst\nhashed\ngroup\none\npasswd\n644\n644\n";
        assert_eq!(output.stdout, wanted, "{output:?}");
        assert_eq!(read(&layer.join("etc/one")), "old");
        let names = std::fs::read_dir(layer.join("certs")).expect("list");
        assert_eq!(names.count(), 1);
        container.assert_gone();
    }
}

#[test]
fn names_of_one_inode_in_a_layer_each_get_it_and_links_to_them_no_second_time() {
    if !privileged() {
        return;
    }
    let files = ["/etc/one", "/etc/link", "/etc/two", "/etc/one"];
    let container = adding(&files, "cat /etc/one; echo; cat /etc/two");
    let etc = container.layer().join("etc");
    write(&etc.join("one"), "old\n");
    std::fs::hard_link(etc.join("one"), etc.join("two")).expect("link");
    std::os::unix::fs::symlink("two", etc.join("link")).expect("symlink");
    let output = container.run();
    assert_eq!(output.stdout, "old\nnew\n\nold\nnew\n", "{output:?}");
}

#[test]
fn without_any_of_the_files_the_fallback_is_made() {
    if !privileged() {
        return;
    }
    let container = adding(&["/etc/none"], "cat /etc/deep/fallback; ls -d /certs");
    let output = container.run();
    assert!(output.stdout.starts_with("new\n"), "{output:?}");
    assert!(output.stderr.contains("/certs: No such file"), "{output:?}");
}

#[test]
fn s23_a_volume_is_never_added_to() {
    if !privileged() {
        return;
    }
    let mut container = adding(
        &["/vol/one", "/etc/two"],
        "cat /vol/one /etc/two; ls /certs",
    );
    let layer = container.layer().to_owned();
    for name in ["vol/one", "etc/two", "certs/0123abcd.0"] {
        write(&layer.join(name), "image\n");
    }
    let data = container.temp.path().join("data");
    for name in ["one", "0123abcd.0"] {
        write(&data.join(name), "host\n");
    }
    let file = data.join("one");
    container.bind(&data, "/vol", &["rbind"]);
    container.bind(&data, "/certs", &["rbind"]);
    container.bind(&file, "/etc/two", &["bind"]);
    let output = container.run();
    assert_eq!(output.stdout, "host\nhost\n0123abcd.0\none\n", "{output:?}");
    assert_eq!(read(&file), "host\n");
    container.assert_gone();
}

#[test]
fn s23_a_device_of_the_image_is_refused_by_name() {
    if !privileged() {
        return;
    }
    let container = adding(&["/etc/one"], "true");
    let status = std::process::Command::new("mknod")
        .arg(container.layer().join("etc/one"))
        .args(["c", "1", "3"])
        .status();
    assert!(status.expect("mknod").success());
    let output = container.run();
    assert_eq!(output.code, 125);
    let words = "cannot add to \"/etc/one\": it is not a regular file";
    assert!(output.stderr.contains(words), "{}", output.stderr);
    container.assert_gone();
}
