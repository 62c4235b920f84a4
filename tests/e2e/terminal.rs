//! A person at a terminal: `ucr certs fetch` shows, asks, and does as it is told.

use test_support::need_command;

use crate::env::Home;
use crate::made;
use crate::output::Output;

/// Fetches from a server that presents two certificates, and answers on a terminal.
fn fetch(home: &Home, answer: &str) -> Output {
    let root = made::root("Root");
    let server = made::presenting(&[&made::server(&root), &root]);
    let script = r#"printf '%s\n' "$2" | script -qec "$UCR certs fetch $1" /dev/null"#;
    Output::of(&mut home.shell(script, &[&server.host(), answer]))
}

fn listed(home: &Home) -> String {
    home.ucr(&["certs", "list"]).ok().stdout
}

#[test]
fn fetch_adds_the_one_that_is_chosen() {
    need_command!("script");
    let home = Home::new();
    let output = fetch(&home, "2").ok();
    for text in [
        "nothing but its word vouches for it",
        "  1. CN=registry, issued by CN=Root",
        "  2. CN=Root, issued by itself",
        "Compare the fingerprint",
        "Which one to trust [1-2, Enter for none]? ",
        "added ",
    ] {
        assert!(output.stdout.contains(text), "no {text:?} in {output:#?}");
    }
    let listed = listed(&home);
    assert!(listed.contains("CN=Root"), "{listed}");
    assert!(!listed.contains("CN=registry"), "{listed}");
}

#[test]
fn fetch_adds_the_first_one_too() {
    need_command!("script");
    let home = Home::new();
    fetch(&home, "1").ok();
    assert!(listed(&home).contains("CN=registry"), "{}", listed(&home));
}

#[test]
fn fetch_adds_nothing_on_any_other_answer() {
    need_command!("script");
    let home = Home::new();
    for answer in ["", "0", "3", "yes", "-1"] {
        let output = fetch(&home, answer).ended(1);
        let text = "ucr: nothing was added";
        assert!(output.stdout.contains(text), "{answer:?}: {output:#?}");
        assert!(!home.certs_dir().exists(), "{answer:?}");
    }
}
