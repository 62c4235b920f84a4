//! The bridge, published ports, and the files that go with them; each in a host of its own.

use std::collections::BTreeSet;
use std::io::Read as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::host::{Host, Namespace, ask, get, inside};
use crate::images;
use crate::output::{Output, Running};

const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 91, 0, 1);
const GATEWAY_6: Ipv6Addr = Ipv6Addr::new(0xfd75, 0x6372, 0x6230, 0, 0, 0, 0, 1);

macro_rules! needs_networks {
    () => {
        test_support::need_root!();
        test_support::need_command!("busybox", "nft", "ip", "nsenter");
    };
}

fn address(settings: &Value, key: &str) -> IpAddr {
    settings[key].as_str().unwrap().parse().unwrap()
}

#[test]
fn n2_a_port_leads_into_the_container_from_the_host_its_loopback_and_other_containers() {
    needs_networks!();
    let host = Host::new();
    let server = host.serve(&["--name", "web", "-p", "8080:80"], "hello");
    let hello = Some("hello".to_owned());
    let settings = host.settings("web");
    let (v4, v6) = (
        address(&settings, "IPAddress"),
        address(&settings, "GlobalIPv6Address"),
    );
    host.namespace.inside(|| {
        assert_eq!(get(GATEWAY, 8080), hello, "by an address of the host");
        assert_eq!(get(Ipv4Addr::LOCALHOST, 8080), hello, "by the loopback");
        assert_eq!(get(GATEWAY_6, 8080), hello, "by version 6");
        assert_eq!(get(v4, 80), hello, "by its own address");
        assert_eq!(get(v6, 80), hello, "by its own address of version 6");
        // Version 6 has no way out of its loopback: refused at once, and so clients go on with 4.
        let loopback = SocketAddr::new(Ipv6Addr::LOCALHOST.into(), 8080);
        let refused = TcpStream::connect(loopback).unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    });
    // Another one on the bridge, by the host's address and directly; and the container itself.
    let urls = format!(
        "for url in http://{GATEWAY}:8080 http://[{GATEWAY_6}]:8080 http://{v4}; do \
         wget -q -O - $url/index.html; done"
    );
    let said = host.run(&["--network", "bridge"], &urls).ok().stdout;
    assert_eq!(said, "hello\nhello\nhello\n");
    let own = format!("wget -q -O - http://{GATEWAY}:8080/index.html");
    let said = host.ucr(&["exec", "web", "sh", "-c", &own]).ok().stdout;
    assert_eq!(said, "hello\n");
    host.end(server);
    assert_eq!(host.rules(), Vec::<String>::new());
    assert_eq!(host.namespace.inside(|| get(GATEWAY, 8080)), None);
}

#[test]
fn n8_datagrams_reach_the_container_and_come_back() {
    needs_networks!();
    let host = Host::new();
    let flags = ["--name", "dns", "-p", "5353:53/udp", "-p", "5353:53/tcp"];
    let server = host.start(&flags, ":");
    let pid = host.inspect("dns")["State"]["Pid"].to_string();
    // A socket stays in the network in which it was made.
    let listen = || UdpSocket::bind("[::]:53").unwrap();
    let socket = inside(&format!("/proc/{pid}/ns/net"), listen);
    let asked = [
        IpAddr::from(GATEWAY),
        Ipv4Addr::LOCALHOST.into(),
        GATEWAY_6.into(),
    ];
    let answer = || {
        for _ in asked {
            let mut question = [0; 512];
            let (length, from) = socket.recv_from(&mut question).unwrap();
            socket.send_to(&question[..length], from).unwrap();
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(answer);
        for address in asked {
            assert_eq!(host.namespace.inside(|| ask(address, 5353)), "question");
        }
    });
    host.end(server);
}

#[test]
fn n6_one_address_of_the_host_leads_in_and_the_others_do_not() {
    needs_networks!();
    let host = Host::new();
    host.namespace.shell("ip address add 192.0.2.1/32 dev lo");
    let server = host.serve(
        &["-p", "127.0.0.1:8080:80", "-p", "192.0.2.1:8081:80"],
        "hello",
    );
    host.namespace.inside(|| {
        assert!(get(Ipv4Addr::LOCALHOST, 8080).is_some());
        assert_eq!(get(GATEWAY, 8080), None);
        assert!(get(Ipv4Addr::new(192, 0, 2, 1), 8081).is_some());
        assert_eq!(get(Ipv4Addr::LOCALHOST, 8081), None);
    });
    // Another one may have the same port of another address.
    let other = host.serve(&["-p", "10.91.0.1:8080:80"], "other");
    assert_eq!(
        host.namespace.inside(|| get(GATEWAY, 8080)).as_deref(),
        Some("other")
    );
    host.end(other);
    host.end(server);
    let foreign = host.run(&["-p", "198.51.100.1:1:1"], "true").refused(125);
    foreign.said(&["the port 1/tcp of the host cannot be had"]);
    let loopback = host.run(&["-p", "[::1]:1:1"], "true").refused(125);
    loopback.said(&["version 6 of IP does not route it", "try: 127.0.0.1"]);
    assert_eq!(host.rules(), Vec::<String>::new());
}

/// A neighbour of the host, 192.0.2.2 beside its 192.0.2.1, who knows a way to the containers.
fn neighbour(host: &Host) -> Namespace {
    let neighbour = Namespace::new();
    let pid = neighbour
        .path()
        .replace("/ns/net", "")
        .replace("/proc/", "");
    host.namespace.shell(&format!(
        "ip link add cable type veth peer name cable netns {pid}
         ip address add 192.0.2.1/24 dev cable; ip link set cable up"
    ));
    neighbour.shell(
        "ip address add 192.0.2.2/24 dev cable; ip link set cable up
         ip route add 10.91.0.0/16 via 192.0.2.1",
    );
    neighbour
}

#[test]
fn n2_containers_appear_outside_as_the_host_and_are_open_where_they_are_published_alone() {
    needs_networks!();
    let host = Host::new();
    let neighbour = neighbour(&host);
    let server = host.serve(&["--name", "web", "-p", "8080:80"], "hello");
    let inside = address(&host.settings("web"), "IPAddress");
    neighbour.inside(|| {
        let published = get(Ipv4Addr::new(192, 0, 2, 1), 8080);
        assert_eq!(published.as_deref(), Some("hello"));
        assert_eq!(
            get(inside, 80),
            None,
            "a neighbour gets to a port that is not published"
        );
    });
    assert!(host.namespace.inside(|| get(inside, 80)).is_some());
    let seen = neighbour.inside(|| {
        let listener = TcpListener::bind("192.0.2.2:9000").unwrap();
        let asked = host.run(&["--network", "bridge"], "nc -w 5 192.0.2.2 9000 -e true");
        let (_, peer) = listener.accept().unwrap();
        (asked.code, peer.ip())
    });
    assert_eq!(seen, (0, IpAddr::from([192, 0, 2, 1])));
    host.end(server);
}

#[test]
fn n2_the_loopback_of_the_host_is_closed_to_containers() {
    needs_networks!();
    let host = Host::new();
    let script = "ip link set lo down; ip address del 127.0.0.1/8 dev lo 2>/dev/null
        ip route add 127.0.0.0/8 via 10.91.0.1 dev eth0
        nc -w 1 10.91.0.1 9001 -e true && echo open
        nc -w 1 127.0.0.1 9000 -e true || echo closed";
    let said = host.namespace.inside(|| {
        let _closed = TcpListener::bind("127.0.0.1:9000").unwrap();
        let _open = TcpListener::bind("0.0.0.0:9001").unwrap();
        host.run(&["--network", "bridge", "--cap-add", "NET_ADMIN"], script)
    });
    assert_eq!(said.stdout, "open\nclosed\n", "{said:#?}");
}

#[test]
fn n7_a_hundred_starts_at_once_have_ports_of_their_own_and_leave_nothing() {
    needs_networks!();
    const MANY: usize = 100;
    let host = Host::new();
    // Pulled once; bridge and table are made by whoever comes first.
    host.run(&[], "true").ok();
    let start = |number: usize| {
        let name = format!("c{number}");
        let flags = ["-i", "--name", &name, "-p", "80", "-p", "53/udp"];
        let mut command = host.run_command(&flags, "echo ready; read line");
        Running::spawn(command.stdin(Stdio::piped()))
    };
    let mut running: Vec<Running> = (0..MANY).map(start).collect();
    running.iter_mut().for_each(|one| one.until("ready"));
    let shown = host.ucr(&["ps", "--format", "json"]).ok().stdout;
    let shown: Value = serde_json::from_str(&shown).unwrap();
    let all = |port: &str| {
        let hosts = shown.as_array().unwrap().iter();
        let hosts =
            hosts.map(|one| one["NetworkSettings"]["Ports"][port][0]["HostPort"].to_string());
        hosts.collect::<BTreeSet<_>>().len()
    };
    assert_eq!((all("80/tcp"), all("53/udp")), (MANY, MANY));
    assert_eq!(host.cables().len(), MANY);
    running.iter_mut().for_each(Running::close_stdin);
    for one in running {
        assert!(one.finish().code <= 1);
    }
    assert_eq!(host.rules(), Vec::<String>::new());
    assert_eq!(host.leftovers(), Vec::<String>::new());
    wait_for_cables(&host);
}

/// Waits until the last cable is gone, which the kernel removes with its namespace, some time after.
fn wait_for_cables(host: &Host) {
    let script = "ip monitor link >changes & trap 'kill $!' EXIT
        while [ -n \"$(ip -o link show type veth)\" ]; do read -t 1 line <changes || :; done";
    let mut shell = host.tool("bash");
    let fifo = Output::of(host.tool("mkfifo").arg("changes")).ok();
    assert_eq!(fifo.stderr, "");
    shell.args(["-c", script]);
    Output::of(&mut host.namespace.enter(&shell)).ok();
}

#[test]
fn c13_of_a_container_that_was_killed_the_next_command_gives_everything_back() {
    needs_networks!();
    let host = Host::new();
    let killed = host.serve(&["-p", "8080:80"], "hello");
    killed.signal(Signal::KILL);
    killed.finish();
    assert!(!host.rules().is_empty());
    // Another who wants nothing of it gives it back; then one who wants the same port has it.
    host.run(&["--network", "none"], "true").ok();
    assert_eq!(host.rules(), Vec::<String>::new());
    let again = host.serve(&["-p", "8080:80"], "again");
    assert_eq!(
        host.namespace.inside(|| get(GATEWAY, 8080)).as_deref(),
        Some("again")
    );
    again.signal(Signal::KILL);
    again.finish();
    let third = host.serve(&["-p", "8080:80"], "third");
    assert_eq!(
        host.namespace.inside(|| get(GATEWAY, 8080)).as_deref(),
        Some("third")
    );
    host.end(third);
    wait_for_cables(&host);
}

#[test]
fn n7_a_port_is_free_again_as_soon_as_its_container_has_ended() {
    needs_networks!();
    let host = Host::new();
    for number in 0..10 {
        let said = number.to_string();
        let mut server = host.serve(&["-p", "8080:80"], &said);
        assert_eq!(host.namespace.inside(|| get(GATEWAY, 8080)), Some(said));
        server.close_stdin();
        server.finish();
    }
}

#[test]
fn n7_who_has_a_port_is_said_by_name() {
    needs_networks!();
    let host = Host::new();
    let server = host.serve(&["--name", "web", "-p", "8080:80"], "hello");
    let taken = host.run(&["-p", "8080:80"], "true").refused(125);
    taken.said(&["the port 8080/tcp of the host is that of container web"]);
    let twice = host
        .run(&["-p", "8081:80", "-p", "8081:81"], "true")
        .refused(125);
    twice.said(&["8081/tcp", "this container twice"]);
    host.namespace.inside(|| {
        // A program of the host finds the port taken, and takes others away from us.
        assert!(TcpListener::bind("0.0.0.0:8080").is_err());
        assert!(TcpListener::bind("[::]:8080").is_err());
        let _other = TcpListener::bind("0.0.0.0:8082").unwrap();
        let taken = host.run(&["-p", "8082:80"], "true").refused(125);
        taken.said(&[
            "the port 8082/tcp of the host cannot be had",
            "in use",
            "try: ss ",
        ]);
        let found = host.run(&["-p", "8080-8083:80"], "true");
        found.ok();
    });
    let none = host.run(&["-p", "8080-8080:80"], "true").refused(125);
    none.said(&["8080/tcp"]);
    host.end(server);
}

#[test]
fn n2_rules_that_nft_refuses_end_the_start_in_its_words() {
    needs_networks!();
    let host = Host::new();
    host.run(&["-p", "8079:80"], "true").ok();
    let foreign = "nft add element inet ucr0 any4 '{ tcp . 8080 : 10.91.0.99 . 1 }'";
    host.namespace.shell(foreign);
    let refused = host.run(&["-p", "8080:80"], "echo ran");
    assert_eq!(
        (refused.code, refused.stdout.as_str()),
        (125, ""),
        "{refused:#?}"
    );
    refused.said(&[
        "cannot connect the container: nft refused the rules: ",
        "File exists",
    ]);
    // What is not ours stays, and nothing else.
    let left = host.rules();
    assert!(
        left.len() == 1 && left[0].contains("10.91.0.99"),
        "{left:?}"
    );
}

#[test]
fn n2_rules_that_somebody_flushed_are_there_again_with_the_next_start() {
    needs_networks!();
    let host = Host::new();
    let server = host.serve(&["-p", "8080:80"], "hello");
    host.namespace.shell("nft flush ruleset");
    assert_eq!(host.namespace.inside(|| get(GATEWAY, 8080)), None);
    let other = host.serve(&["-p", "8081:80"], "other");
    host.namespace.inside(|| {
        assert_eq!(get(GATEWAY, 8080).as_deref(), Some("hello"));
        assert_eq!(get(GATEWAY, 8081).as_deref(), Some("other"));
    });
    host.namespace.shell("nft flush ruleset");
    host.end(server);
    host.end(other);
}

#[test]
fn n2_what_is_left_on_the_host_is_the_bridge_and_its_table() {
    needs_networks!();
    let host = Host::new();
    host.run(&["-p", "80"], "true").ok();
    wait_for_cables(&host);
    assert_eq!(host.rules(), Vec::<String>::new());
    let links = host.namespace.shell("ip -o link | cut -d: -f2");
    assert_eq!(links.split_whitespace().collect::<Vec<_>>(), ["lo", "ucr0"]);
    let tables = host.namespace.shell("nft list tables");
    assert_eq!(tables, "table inet ucr0\n");
}

#[test]
fn n2_a_bridge_that_is_not_ours_or_anothers_is_left_alone() {
    needs_networks!();
    let host = Host::new();
    host.namespace.shell("ip link add ucr0 type bridge");
    let refused = host.run(&["--network", "bridge"], "true").refused(125);
    refused.said(&["the interface ucr0 is there, and ucr did not make it"]);
    host.namespace.shell(
        "ip link delete ucr0; ip link add other type veth peer name peer; ip link set peer up
        ip address add 10.91.7.1/24 dev other; ip link set other up",
    );
    let refused = host.run(&["--network", "bridge"], "true").refused(125);
    refused.said(&[
        "10.91.0.0/16 of the bridge is that of other (10.91.7.0/24) already",
        "subnet",
    ]);
    let config =
        "[network]\nbridge = \"br.x\"\nsubnet = \"10.92.0.0/24\"\nsubnet6 = \"none\"\nmtu = 1400\n";
    host.write("config.toml", config);
    let script =
        "ip -o address show dev eth0 | grep -c 'inet6 fd'; ip -o link show eth0; hostname -i";
    let said = host.run(&["--network", "bridge"], script).ok().stdout;
    assert!(
        said.starts_with("0\n") && said.contains("mtu 1400"),
        "{said}"
    );
    assert!(said.contains("10.92.0.2"), "{said}");
    host.write(
        "config.toml",
        config.replace("10.92.0.0/24", "10.93.0.0/24"),
    );
    let refused = host.run(&["--network", "bridge"], "true").refused(125);
    refused.said(&[
        "the bridge br.x was made as",
        "10.92.0.0/24",
        "ip link delete br.x",
    ]);
}

#[test]
fn n9_names_and_addresses_of_the_container_are_in_its_files() {
    needs_networks!();
    let host = Host::new();
    let flags = [
        "--network",
        "bridge",
        "--hostname",
        "web.example",
        "--dns",
        "192.0.2.53",
    ];
    let script = "cat /etc/hosts /etc/hostname /etc/resolv.conf; \
        ip -o address show dev eth0 scope global | sed 's/.*inet6* //; s, .*,,'; ping -c 1 web.example";
    let said = host.run(&flags, script).ok().stdout;
    for line in [
        "127.0.0.1\tlocalhost",
        "::1\tlocalhost ip6-localhost ip6-loopback",
        "10.91.0.2\tweb.example",
        "fd75:6372:6230::2\tweb.example",
        "web.example",
        "nameserver 192.0.2.53",
        "10.91.0.2/16",
        "fd75:6372:6230::2/64",
    ] {
        assert!(said.lines().any(|one| one == line), "{line}: {said}");
    }
}

/// Runs a container of the bridge on a host whose resolv.conf says `text`.
fn resolved(host: &Host, text: &str) -> Output {
    host.write("resolv.conf", text);
    let script = "mount --bind resolv.conf /etc/resolv.conf && exec \"$@\"";
    let mut command = host.tool("unshare");
    let run = host.run_command(&["--network", "bridge"], "cat /etc/resolv.conf");
    command.args(["--mount", "sh", "-ec", script, "sh"]);
    command.arg(run.get_program()).args(run.get_args());
    Output::of(&mut command)
}

#[test]
fn w46_a_resolver_of_the_hosts_loopback_is_not_the_containers() {
    needs_networks!();
    let host = Host::new();
    let some = "nameserver 127.0.0.53\nnameserver 192.0.2.53\nsearch corp.example\n";
    let both = resolved(&host, some).ok();
    assert_eq!(both.stdout, "nameserver 192.0.2.53\nsearch corp.example\n");
    assert_eq!(both.stderr, "");
    if std::path::Path::new("/run/systemd/resolve/resolv.conf").exists() {
        return;
    }
    let none = resolved(&host, "nameserver ::1\noptions edns0\n").ok();
    assert_eq!(none.stdout, "options edns0\n");
    none.said(&["ucr: the container has no name server: of this host's, ::1 is its own loopback"]);
}

#[test]
fn n2_ports_and_addresses_are_listed_inspected_and_reported() {
    needs_networks!();
    let image = images::builder().process("ExposedPorts", json!({"80/tcp": {}, "53/udp": {}}));
    let host = Host::with(image);
    let report = host.shown("report");
    let flags = [
        "--name",
        "web",
        "-p",
        "127.0.0.1:8080:80",
        "-P",
        "--report",
        &report,
    ];
    let server = host.serve(&flags, "hello");
    let settings = host.settings("web");
    assert_eq!(settings["IPAddress"], "10.91.0.2");
    assert_eq!(settings["IPPrefixLen"], 16);
    assert_eq!(settings["Gateway"], "10.91.0.1");
    assert_eq!(settings["GlobalIPv6Address"], "fd75:6372:6230::2");
    assert_eq!(
        settings["Networks"]["bridge"]["MacAddress"],
        "02:75:00:00:00:02"
    );
    let bound = json!([{"HostIp": "127.0.0.1", "HostPort": "8080"}]);
    assert_eq!(settings["Ports"]["80/tcp"], bound);
    let any = settings["Ports"]["53/udp"][0]["HostPort"].as_str().unwrap();
    let number: u16 = any.parse().unwrap();
    assert!((31_000..=32_000).contains(&number));
    let listed = host.ucr(&["ps"]).ok().stdout;
    let ports = format!("127.0.0.1:8080->80/tcp, 0.0.0.0:{any}->53/udp, [::]:{any}->53/udp");
    assert!(
        listed.contains("PORTS") && listed.contains(&ports),
        "{listed}"
    );
    host.end(server);
    let lines = std::fs::read_to_string(&report).unwrap();
    let lines = lines
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    let started = lines
        .into_iter()
        .find(|line| line["event"] == "started")
        .unwrap();
    assert_eq!(started["ip"], "10.91.0.2");
    let ports = json!([
        {"address": "127.0.0.1", "host": 8080, "container": 80, "protocol": "tcp"},
        {"host": number, "container": 53, "protocol": "udp"},
    ]);
    assert_eq!(started["ports"], ports);
}

#[test]
fn i35_a_container_with_ids_of_its_own_is_on_the_bridge_too() {
    needs_networks!();
    let host = Host::new();
    let flags = ["--name", "mapped", "--userns", "auto", "-p", "8080:80"];
    let server = host.serve(&flags, "hello");
    assert_eq!(
        host.namespace.inside(|| get(GATEWAY, 8080)).as_deref(),
        Some("hello")
    );
    // The network is not its to change; the setting that lets it have small ports is in force.
    let script = "cat /proc/sys/net/ipv4/ip_unprivileged_port_start; ls /sys/class/net >/dev/null && \
        ip link set eth0 down 2>/dev/null || echo kept";
    let said = host
        .ucr(&["exec", "mapped", "sh", "-c", script])
        .ok()
        .stdout;
    assert_eq!(said, "0\nkept\n");
    host.end(server);
}

#[test]
fn i43_the_network_of_a_container_ends_with_its_processes() {
    needs_networks!();
    let host = Host::new();
    let flags = [
        "--no-init",
        "-p",
        "8080:80",
        "--sysctl",
        "net.ipv4.ip_default_ttl=77",
        "-u",
        "user",
    ];
    let server = host.start(
        &flags,
        "cat /proc/sys/net/ipv4/ip_default_ttl; nc -l -p 80 & echo",
    );
    assert_eq!(host.cables().len(), 1);
    server.signal(Signal::KILL);
    server.finish();
    wait_for_cables(&host);
    host.run(&[], "true").ok();
    assert_eq!(host.rules(), Vec::<String>::new());
}

#[test]
fn n4_flags_that_do_not_go_together_are_refused() {
    test_support::need_root!();
    let host = Host::new();
    for (flags, said) in [
        (
            &["--network", "host", "-p", "80"][..],
            "-p does not go with --network host",
        ),
        (
            &["--network", "none", "-P"],
            "-p does not go with --network none",
        ),
        (
            &["--network", "host", "--network", "x"],
            "each stand for themselves",
        ),
        (
            &["--network", "bridge", "--network", "x"],
            "host, none and bridge stand for themselves",
        ),
        (&["--network", "nowhere"], "there is none of that name"),
    ] {
        host.run(flags, "true").refused(125).said(&[said]);
    }
    for flags in [["--network", "../x"], ["-p", "80:x"], ["-p", "::1:80:80"]] {
        let refused = host.run(&flags, "true");
        assert_eq!(
            (refused.code, refused.stdout.as_str()),
            (125, ""),
            "{refused:#?}"
        );
    }
}

#[test]
fn n2_a_listener_in_the_container_sees_who_asks_from_outside() {
    needs_networks!();
    let host = Host::new();
    let neighbour = neighbour(&host);
    let script = "nc -l -p 80 -e sh -c 'read line; netstat -tn' & echo";
    let server = host.start(&["-p", "8080:80"], script);
    let answer = neighbour.inside(|| {
        let mut stream = loop {
            // The listener is on its way.
            let address = SocketAddr::from(([192, 0, 2, 1], 8080));
            if let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_secs(5)) {
                break stream;
            }
        };
        std::io::Write::write_all(&mut stream, b"\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    });
    assert!(answer.contains("192.0.2.2:"), "{answer}");
    host.end(server);
}
