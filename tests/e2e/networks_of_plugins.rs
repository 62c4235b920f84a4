//! Networks that plugins make (CNI), with Debian's own.

use std::net::Ipv4Addr;

use rustix::process::Signal;

use crate::host::{Host, get};

macro_rules! needs_plugins {
    () => {
        test_support::need_root!();
        test_support::need_command!("busybox", "nft", "ip", "nsenter", "iptables");
        if !std::path::Path::new("/usr/lib/cni/portmap").exists() {
            eprintln!("skipped: needs the package containernetworking-plugins");
            return;
        }
    };
}

const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 94, 0, 1);

/// A host with the network `net`: a bridge, addresses of the host's own list, ports.
fn host() -> Host {
    let host = Host::new();
    host.make_dir("net.d");
    let leases = host.shown("leases");
    let list = format!(
        r#"{{"cniVersion": "1.0.0", "name": "net", "plugins": [
            {{"type": "bridge", "bridge": "cni7", "isGateway": true, "ipMasq": true, "hairpinMode": true,
              "ipam": {{"type": "host-local", "dataDir": "{leases}", "ranges": [[{{"subnet": "10.94.0.0/24"}}]],
                        "routes": [{{"dst": "0.0.0.0/0"}}]}},
              "dns": {{"nameservers": ["192.0.2.53"], "search": ["net.example"]}}}},
            {{"type": "portmap", "capabilities": {{"portMappings": true}}}}]}}"#
    );
    host.write("net.d/10-net.conflist", list);
    let single = format!(
        r#"{{"cniVersion": "0.3.1", "name": "old", "type": "bridge", "bridge": "cni8",
            "ipam": {{"type": "host-local", "dataDir": "{leases}", "subnet": "10.95.0.0/24"}}}}"#
    );
    host.write("net.d/20-old.conf", single);
    let config = format!("[network]\ncni-config = [\"{}\"]\n", host.shown("net.d"));
    host.write("config.toml", config);
    host
}

/// Addresses that the plugin `host-local` gave away.
fn leases(host: &Host) -> usize {
    let entries = std::fs::read_dir(host.path("leases/net"));
    let names = entries
        .into_iter()
        .flatten()
        .map(|entry| entry.unwrap().file_name());
    let names = names.filter(|name| name.to_string_lossy().starts_with("10."));
    names.count()
}

#[test]
fn n3_a_network_by_name_has_its_plugins_addresses_names_and_ports() {
    needs_plugins!();
    let host = host();
    let flags = [
        "--name",
        "web",
        "--network",
        "net",
        "-p",
        "8080:80",
        "--hostname",
        "web",
    ];
    let server = host.serve(&flags, "hello");
    let settings = host.settings("web");
    let inside: Ipv4Addr = settings["IPAddress"].as_str().unwrap().parse().unwrap();
    assert_eq!(settings["Networks"]["net"]["Gateway"], "10.94.0.1");
    assert!(!settings["MacAddress"].as_str().unwrap().is_empty());
    host.namespace.inside(|| {
        assert_eq!(get(inside, 80).as_deref(), Some("hello"));
        assert_eq!(get(GATEWAY, 8080).as_deref(), Some("hello"));
        assert_eq!(get(Ipv4Addr::LOCALHOST, 8080).as_deref(), Some("hello"));
    });
    let script = "cat /etc/hosts /etc/resolv.conf";
    let files = host.ucr(&["exec", "web", "sh", "-c", script]).ok().stdout;
    for line in [
        &format!("{inside}\tweb"),
        "nameserver 192.0.2.53",
        "search net.example",
    ] {
        assert!(files.lines().any(|one| one == line), "{line}: {files}");
    }
    assert_eq!(leases(&host), 1);
    host.end(server);
    host.settle();
    assert_eq!(leases(&host), 0);
    let nat = host.namespace.shell("iptables-save -t nat");
    assert!(!nat.contains("8080"), "{nat}");
}

#[test]
fn n5_several_networks_are_interfaces_in_their_order() {
    needs_plugins!();
    let host = host();
    let flags = ["--network", "old", "--network", "net"];
    let script = "ip -o -4 address show | sed 's/^[0-9]*: //; s,/.*,,' | tr -s ' '";
    let said = host.run(&flags, script).ok().stdout;
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines[0], "lo inet 127.0.0.1");
    assert!(lines[1].starts_with("eth0 inet 10.95.0."), "{said}");
    assert!(lines[2].starts_with("eth1 inet 10.94.0."), "{said}");
    assert_eq!(lines.len(), 3);
    let refused = host
        .run(&["--network", "old", "-p", "80"], "true")
        .refused(125);
    refused.said(&["plugins do not map ports"]);
}

#[test]
fn n3_of_a_container_that_was_killed_plugins_take_away_what_they_added() {
    needs_plugins!();
    let host = host();
    let server = host.serve(&["--network", "net", "-p", "8080:80"], "hello");
    server.signal(Signal::KILL);
    server.finish();
    assert_eq!(leases(&host), 1);
    host.run(&[], "true").ok();
    assert_eq!(leases(&host), 0);
    let again = host.serve(&["--network", "net", "-p", "8080:80"], "again");
    assert_eq!(
        host.namespace.inside(|| get(GATEWAY, 8080)).as_deref(),
        Some("again")
    );
    host.end(again);
}

#[test]
fn n3_a_plugin_that_refuses_is_heard_and_what_came_before_is_taken_away() {
    needs_plugins!();
    let host = host();
    let script = host.write_secret(
        "fails",
        "#!/bin/sh\ncat >/dev/null\n[ $CNI_COMMAND = DEL ] && exit 0\n\
         echo '{\"code\": 100, \"msg\": \"no luck\", \"details\": \"today\"}'; exit 1\n",
    );
    std::fs::set_permissions(script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let list = std::fs::read_to_string(host.path("net.d/10-net.conflist")).unwrap();
    host.write("net.d/10-net.conflist", list.replace("portmap", "fails"));
    let image = format!("oci:{}", host.shown("app"));
    let mut command = host.command(&["run", "-q", "--network", "net", &image, "true"]);
    command.env(
        "CNI_PATH",
        format!("{}:/usr/lib/cni", host.path("").display()),
    );
    let refused = crate::output::Output::of(&mut command).refused(125);
    refused.said(&[
        "cannot use the network net",
        "ADD of the plugin fails: no luck: today",
    ]);
    assert_eq!(leases(&host), 0);
    let missing = host.run(&["--network", "net"], "true").refused(125);
    missing.said(&["there is no plugin \"fails\" in /opt/cni/bin, /usr/lib/cni"]);
    assert_eq!(leases(&host), 0);
    let unknown = host.run(&["--network", "other"], "true").refused(125);
    unknown.said(&["there is none of that name", "there are net, old"]);
}
