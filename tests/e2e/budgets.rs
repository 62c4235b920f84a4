//! What an image may take: by flags, by the configuration, and by the disk.

use ucr_sys::Dir;

use crate::env::TestEnv;
use crate::images;
use crate::output::Output;

const NAME: &str = "team/app:1";

#[test]
fn each_limit_is_named_with_the_flag_that_raises_it() {
    needs_machine!();
    let env = TestEnv::new();
    env.push(&images::file("noise", images::noise(300_000)), NAME);
    for (flag, little, enough, said) in [
        ("--max-bytes", "200k", "1m", "where 200.0 KiB are allowed"),
        (
            "--max-unpacked",
            "250k",
            "1m",
            "than the 250.0 KiB that are allowed",
        ),
        ("--max-files", "0", "1", "than the 0 that are allowed"),
        (
            "--max-layers",
            "0",
            "1",
            "has 1 layers, where 0 are allowed",
        ),
    ] {
        let refused = env.pull_with(&["-q", flag, little], NAME).refused(1);
        refused.said(&[&env.reference(NAME), said, &format!("try: {flag} ")]);
        assert_eq!(env.leftovers(), Vec::<String>::new());
        env.pull_with(&["-q", flag, enough], NAME).ok();
        let home = Dir::open(env.path("")).unwrap();
        home.remove_tree("root").unwrap();
    }
}

#[test]
fn the_configuration_limits_every_pull_and_a_flag_one() {
    needs_machine!();
    let env = TestEnv::new();
    env.push(&images::file("noise", images::noise(300_000)), NAME);
    let config = env.write("budget.toml", "[pull]\nmax-bytes = \"100k\"\n");
    let config = config.display().to_string();
    let pull = |flags: &[&str]| {
        let mut command = env.pull_command(&[&["-q"], flags].concat(), NAME);
        Output::of(command.env("UCR_CONFIG", &config))
    };
    pull(&[]).refused(1).said(&["max-bytes in [pull]"]);
    pull(&["--max-bytes", "1m"]).ok();
}

#[test]
fn p76_a_bomb_is_stopped_before_it_fills_the_disk() {
    needs_machine!();
    test_support::need_command!("unshare");
    let env = TestEnv::new();
    env.push(&images::file("zeros", vec![0; 160 << 20]), NAME);
    env.make_dir("root");
    let script = r#"
        mount -t tmpfs -o size=128m tmpfs "$UCR_ROOT"
        code=0
        "$UCR" pull -q --principal tester --secret-file secret "$1" || code=$?
        ls -A "$UCR_ROOT/tmp" "$UCR_ROOT/trash" "$UCR_ROOT/partial"
        exit $code"#;
    let output = Output::of(&mut env.shell_with_own_mounts(script, &[&env.reference(NAME)]));
    let root = env.root().display().to_string();
    let output = output
        .ended(1)
        .said(&[&root, "is not filled any further", "make room"]);
    let said = format!("{root}/partial:\n\n{root}/tmp:\n\n{root}/trash:\n");
    assert_eq!(output.stdout, said, "{output:?}");
}
