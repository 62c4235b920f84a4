//! Name servers that answer late, or never.

use std::net::UdpSocket;
use std::process::Command;
use std::thread;

use test_support::{FakeRegistry, TestCa};

use crate::env::Home;
use crate::images;
use crate::output::Output;

/// An address of loopback that nobody else listens on.
const SERVER: &str = "127.73.0.1:53";
const NAME: &str = "registry.slow.test";

/// In a mount namespace where the resolver's configuration is covered by `resolv.conf`.
const RESOLVING: &str = r#"
    mount --bind resolv.conf /etc/resolv.conf
    exec "$UCR" "$@""#;

/// Answers questions for names: 127.0.0.1, no IPv6, and nothing at all to the first `deaf` ones.
fn serve_names(socket: &UdpSocket, deaf: usize) {
    let mut buffer = [0; 512];
    let mut asked = 0;
    while let Ok((length, client)) = socket.recv_from(&mut buffer) {
        let question = &buffer[..length];
        if length == 0 {
            return;
        }
        asked += 1;
        if asked > deaf {
            socket.send_to(&answer(question), client).unwrap();
        }
    }
}

/// The answer to a question (RFC 1035, section 4).
fn answer(question: &[u8]) -> Vec<u8> {
    let name = question[12..].iter().position(|byte| *byte == 0).unwrap();
    let end = 12 + name + 1 + 4;
    let is_for_ipv4 = question[end - 4..end] == [0, 1, 0, 1];
    let mut answer = question[..end].to_vec();
    // A response without an error, of one question and perhaps one record.
    answer[2..12].copy_from_slice(&[0x81, 0x80, 0, 1, 0, u8::from(is_for_ipv4), 0, 0, 0, 0]);
    if is_for_ipv4 {
        // The name of the question, A, IN, a minute, four bytes.
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 127, 0, 0, 1]);
    }
    answer
}

/// Pulls from a registry by a name whose server says nothing to the first `deaf` questions.
fn pull(deaf: usize, options: &str) -> Output {
    let home = Home::new();
    let ca = TestCa::new("Example Corp CA");
    home.write("ca.pem", ca.pem());
    let registry = FakeRegistry::with_tls(ca.issue(&[NAME]).server_config());
    registry.put("app", "1", &images::file("f", "x"));
    let server = SERVER.strip_suffix(":53").unwrap();
    home.write("resolv.conf", format!("nameserver {server}\n{options}\n"));
    let name = format!("{NAME}:{}/app:1", registry.address().port());
    let arguments = ["pull", "-q", "--retry", "1", "--cafile", "ca.pem", &name];
    let mut command: Command = home.shell_with_own_mounts(RESOLVING, &arguments);
    let socket = UdpSocket::bind(SERVER).unwrap();
    thread::scope(|scope| {
        scope.spawn(|| serve_names(&socket, deaf));
        let output = Output::of(&mut command);
        // An empty question is the end.
        socket.send_to(&[], SERVER).unwrap();
        output
    })
}

#[test]
fn p64_a_name_server_that_answers_late_or_never() {
    test_support::need_root!();
    test_support::need_command!("unshare");
    // Both kinds of address are asked for at once, and after a second once more.
    pull(2, "options timeout:1 attempts:3").ok();
    let failed = pull(usize::MAX, "options timeout:1 attempts:1");
    failed.refused(1).said(&["cannot find", NAME]);
}
