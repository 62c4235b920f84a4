//! Images that are no registry's: run from directories, archives and standard input.

use std::fs::File;
use std::process::Stdio;

use test_support::{Compression, ImageFiles, busybox_layer};

use crate::env::Home;
use crate::images;
use crate::output::Output;

/// Runs `ucr` with the file `name` as its standard input.
fn fed(home: &Home, name: &str, arguments: &[&str]) -> Output {
    let input = File::open(home.path(name)).unwrap();
    Output::of(home.command(arguments).stdin(input))
}

#[test]
fn a_directory_is_run_and_looked_at_again() {
    let home = Home::new();
    let first = images::builder().cmd(&["echo", "first"]).build();
    ImageFiles::of(&first).write(&home.path("app"));
    assert_eq!(home.ucr(&["run", "oci:app"]).ok().stdout, "first\n");
    assert_eq!(
        home.ucr(&["run", "--pull", "never", "oci:./app"])
            .ok()
            .stdout,
        "first\n"
    );
    let second = images::builder().cmd(&["echo", "second"]).build();
    ImageFiles::of(&second).write(&home.path("app"));
    assert_eq!(home.ucr(&["run", "oci:app"]).ok().stdout, "second\n");
    let listed = home.ucr(&["images", "--format", "json"]).ok();
    assert!(listed.stdout.contains(&home.shown("app")), "{listed:#?}");
}

#[test]
fn an_archive_is_read_from_a_file_a_pipe_and_standard_input() {
    let home = Home::new();
    let image = images::builder().cmd(&["echo", "hello"]).build();
    let saved = ImageFiles::docker_save(&image, &[busybox_layer()], &["team/app:1"]);
    home.write("saved.tar", saved.archive().bytes);
    home.write(
        "saved.tar.gz",
        saved.archive().compress(Compression::Gzip).bytes,
    );
    home.write("layout.tar", ImageFiles::of(&image).archive().bytes);
    let id = format!("{}\n", image.image_id());
    assert_eq!(
        home.ucr(&["pull", "docker-archive:saved.tar:team/app:1"])
            .ok()
            .stdout,
        id
    );
    for name in ["saved.tar", "saved.tar.gz"] {
        assert_eq!(
            fed(&home, name, &["pull", "docker-archive:-"]).ok().stdout,
            id
        );
        assert_eq!(fed(&home, name, &["run", "-"]).ok().stdout, "hello\n");
    }
    assert_eq!(
        fed(&home, "layout.tar", &["run", "-"]).ok().stdout,
        "hello\n"
    );
    let script = "cat layout.tar | \"$UCR\" pull oci-archive:-";
    assert_eq!(
        Output::of(home.shell(script, &[]).stdin(Stdio::null()))
            .ok()
            .stdout,
        id
    );
}

#[test]
fn standard_input_is_waited_for_until_the_deadline() {
    test_support::need_root!();
    let home = Home::new();
    let (silence, _writer) = std::io::pipe().unwrap();
    let mut command = home.command(&["pull", "--deadline", "200ms", "docker-archive:-"]);
    let refused = Output::of(command.stdin(silence)).refused(1);
    refused.said(&["it was not done before the deadline", "try: --deadline"]);
}

#[test]
fn what_is_wrong_with_a_file_is_said_with_its_name() {
    let home = Home::new();
    let missing = home.ucr(&["pull", "oci:nothing"]);
    missing
        .refused(1)
        .said(&[&format!("cannot open {}", home.shown("nothing"))]);
    home.make_dir("empty");
    let empty = home.ucr(&["pull", "oci:empty"]);
    empty.refused(1).said(&["it has no file \"oci-layout\""]);
    home.write("text", "no archive");
    let text = home.ucr(&["run", "docker-archive:text"]);
    text.refused(125)
        .said(&["the archive of the image is refused"]);
}
