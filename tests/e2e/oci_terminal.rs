//! `ucr oci` with terminals.

use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::net::UnixListener;

use serde_json::json;

use crate::oci_bundle::{Bundle, needs_containers};
use crate::screen::Screen;

fn with_terminal(script: &str) -> Bundle {
    let mut bundle = Bundle::sh(script);
    bundle.config["process"]["terminal"] = json!(true);
    bundle.config["process"]["consoleSize"] = json!({"height": 20, "width": 70});
    bundle
}

#[test]
fn the_console_socket_gets_the_callers_side_of_the_terminal() {
    needs_containers!();
    let script = "readlink /proc/self/fd/0; readlink /proc/self/fd/2; stat -c %t,%u /dev/console; \
                  : < /dev/tty && echo own; busybox stty size";
    let bundle = with_terminal(script);
    let socket = bundle.shown("socket");
    let listener = UnixListener::bind(&socket).unwrap();
    bundle.create(&["--console-socket", &socket]).ok();
    let (connection, _) = listener.accept().unwrap();
    let (_, master) = ucr_sys::message::receive(connection.as_fd())
        .unwrap()
        .unwrap();
    bundle.verb(&["start", &bundle.id]).ok();
    let mut shown = Vec::new();
    // The end of a terminal whose other side is closed is an error, EIO.
    File::from(master.unwrap())
        .read_to_end(&mut shown)
        .unwrap_err();
    let shown = String::from_utf8(shown).unwrap();
    let lines: Vec<&str> = shown.lines().collect();
    assert_eq!(lines, ["/dev/pts/0", "/dev/pts/0", "88,0", "own", "20 70"]);
    bundle.wait();
}

#[test]
fn run_shows_the_terminal_on_that_of_its_caller() {
    needs_containers!();
    let bundle = with_terminal("echo ready; read line; echo \"got $line\"; exit 5");
    bundle.save();
    let words = ["run", "--bundle", &bundle.shown(""), &bundle.id];
    let mut screen = Screen::start(&bundle.command(&words));
    screen.until("ready");
    screen.strike("keys\r");
    let (code, shown) = screen.finish();
    assert_eq!(code, Some(5), "{shown}");
    assert!(shown.ends_with("got keys\r\n"), "{shown}");
}

#[test]
fn a_terminal_that_nobody_shows_is_refused_and_the_other_way_round() {
    needs_containers!();
    let bundle = with_terminal("true");
    let refused = bundle.create(&[]).ended(1);
    refused.said(&["--console-socket is missing"]);
    let socket = bundle.shown("socket");
    let refused = bundle.create(&["--console-socket", &socket]).ended(1);
    refused.said(&["cannot connect to the console socket", "No such file"]);
    let _listener = UnixListener::bind(&socket).unwrap();
    let bundle_without = Bundle::sh("true");
    let refused = bundle_without
        .create(&["--console-socket", &socket])
        .ended(1);
    refused.said(&["--console-socket is of no use"]);
}
