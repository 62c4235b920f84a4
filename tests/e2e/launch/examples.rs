//! The definitions of Marathon's documentation, as they are there (`examples/`): their registries
//! are ours, to which a proxy leads.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use test_support::{
    Entry, Image, ImageBuilder, Layer, LayerBuilder, RealRegistry, TestCa, TestProxy, busybox_layer,
};

use super::support::{Launched, told};
use crate::env::{CA_NAME, Home};
use crate::images;
use crate::output::{Output, Running};

/// Who may pull, as example 7 has it.
const ALICE: (&str, &str) = ("alice", "wonderland");
/// Docker Hub, where images without a registry are.
const HUB: &str = "registry-1.docker.io";
/// The registry of example 3.
const OTHER: &str = "some.docker.host.com";

/// A machine whose way to Docker Hub, and to another registry, ends at one of ours.
struct World {
    registry: RealRegistry,
    proxy: TestProxy,
    home: Home,
}

impl World {
    fn new() -> Self {
        let ca = TestCa::new(CA_NAME);
        let registry = RealRegistry::start_as(&ca, &[HUB, OTHER], ALICE);
        let proxy = TestProxy::http();
        let address: SocketAddr = registry.host().parse().unwrap();
        for host in [HUB, OTHER] {
            proxy.route(&format!("{host}:443"), address);
        }
        let home = Home::new();
        home.write("ca.crt", ca.der());
        home.ucr(&["certs", "add", &home.shown("ca.crt")]).ok();
        Self {
            registry,
            proxy,
            home,
        }
    }

    fn push(&self, image: &Image, repository: &str, tag: &str) {
        self.registry.push(image, repository, tag);
    }

    /// `ucr` behind the proxy.
    fn ucr(&self, arguments: &[&str]) -> Command {
        let mut command = self.home.command(arguments);
        command.env("https_proxy", self.proxy.url());
        command
    }

    /// The arguments that launch `task`.
    fn arguments(&self, task: &Value) -> Vec<String> {
        let text = serde_json::to_string(task).unwrap();
        self.home.write("task.json", text);
        let path = |name| self.home.shown(name);
        let flags = [
            ("--task", path("task.json")),
            ("--sandbox", path("sandbox")),
            ("--report", path("report")),
        ];
        let mut words = vec!["launch".to_owned()];
        for (flag, value) in flags {
            words.extend([flag.to_owned(), value]);
        }
        words
    }

    /// Launches `task`, for whom `with` adds what it needs.
    fn launch_with(&self, task: &Value, with: impl FnOnce(&mut Command)) -> Launched {
        drop(std::fs::remove_file(self.home.path("report")));
        let arguments = self.arguments(task);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let mut command = self.ucr(&arguments);
        with(&mut command);
        let output = Output::of(&mut command);
        Launched {
            told: told(&self.home),
            output,
        }
    }

    /// Launches `task` as alice, whom the agent knows.
    fn launch(&self, task: &Value) -> Launched {
        self.launch_with(task, as_alice)
    }

    fn stdout(&self) -> String {
        std::fs::read_to_string(self.home.path("sandbox").join("stdout")).unwrap()
    }
}

fn as_alice(command: &mut Command) {
    command
        .env("UCR_PRINCIPAL", ALICE.0)
        .env("UCR_SECRET", ALICE.1);
}

/// The example of that name, to the letter.
fn example(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("examples")
        .join(name);
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// `FROM busybox`, `CMD ["inky"]`, `ENTRYPOINT ["echo"]`.
fn inky() -> Image {
    let builder = ImageBuilder::new().layer(busybox_layer());
    builder.cmd(&["inky"]).entrypoint(&["echo"]).build()
}

#[test]
fn example_1_mounts_directories_of_the_host_as_they_are_asked_for() {
    needs_machine!();
    test_support::need_command!("unshare");
    let world = World::new();
    world.push(&images::busybox(), "group/image", "latest");
    let fragment = example("1-host-volumes.json");
    world
        .launch(&fragment)
        .ended("FAILED", 125)
        .output
        .said(&["id"]);
    // The smallest app that holds it; it says by its own means what it sees.
    let mut app = fragment;
    app["id"] = json!("/volumes");
    app["cmd"] = json!(
        "cat /etc/a/file; echo b >/etc/b/file; echo a 2>/dev/null >/etc/a/file || echo read-only"
    );
    let arguments = world.arguments(&app);
    let script = r#"mkdir -p data/a data/b; echo from-a >data/a/file
        mount -t tmpfs tmpfs /var; mkdir /var/data; mount --bind data /var/data
        exec "$UCR" "$@""#;
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let mut command = world.home.shell_with_own_mounts(script, &arguments);
    command.env("https_proxy", world.proxy.url());
    as_alice(&mut command);
    Output::of(&mut command).ok();
    assert_eq!(world.stdout(), "from-a\nread-only\n");
    assert_eq!(
        std::fs::read_to_string(world.home.path("data/b/file")).unwrap(),
        "b\n"
    );
}

#[test]
fn example_2_is_a_web_server_that_answers_at_its_port_of_the_host() {
    needs_machine!();
    test_support::need_command!("nft", "unshare", "ip", "python3");
    let world = World::new();
    world.push(&python(), "library/python", "3");
    let mut pull = world.ucr(&["pull", "-q", "python:3"]);
    as_alice(&mut pull);
    Output::of(&mut pull).ok();
    // A probe that comes soon; all else is as it is written.
    let mut app = example("2-bridged-webapp.json");
    app["healthChecks"][0]["delaySeconds"] = json!(0);
    app["healthChecks"][0]["intervalSeconds"] = json!(1);
    let arguments = world.arguments(&app);
    let script = r#"mkfifo status; ip link set lo up
        "$UCR" "$@" --status-fd 3 3>status & pid=$!
        while read -r line; do case $line in *'"healthy":true'*) break;; esac; done <status
        port=$(echo "$line" | sed 's/.*"ports":\[{"host_port":\([0-9]*\).*/\1/')
        busybox wget -q -O - "http://127.0.0.1:$port/" | grep title; echo "$port"
        kill -TERM $pid; cat <status >/dev/null & wait $pid || echo "ended with $?""#;
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let mut command = world.home.tool("unshare");
    command
        .env("UCR", crate::binaries::ucr())
        .args(["--net", "sh", "-ec", script, "sh"])
        .args(&arguments);
    as_alice(&mut command);
    let output = Output::of(&mut command).ok();
    let lines = output.lines();
    assert!(lines[0].contains("Directory listing for /"), "{output:#?}");
    let port: u16 = lines[1].parse().unwrap();
    assert!((31_000..=32_000).contains(&port));
    let told = told(&world.home);
    let running = told.iter().find(|line| line["state"] == "RUNNING").unwrap();
    assert_eq!(running["ports"][0]["service_port"], 9000);
    assert_eq!(running["ports"][1]["protocol"], "udp");
    assert_eq!(told.last().unwrap()["state"], "KILLED");
}

#[test]
fn example_3_finds_its_credential_in_the_archive_that_it_fetches() {
    needs_machine!();
    test_support::need_command!("unshare", "tar");
    let world = World::new();
    world.push(
        &images::builder().cmd(&["echo", "private"]).build(),
        "namespace/repo",
        "latest",
    );
    use base64::Engine as _;
    let auth = base64::engine::general_purpose::STANDARD.encode(format!("{}:{}", ALICE.0, ALICE.1));
    let config = json!({ "auths": { OTHER: { "auth": auth } } });
    world.home.make_dir("etc");
    world.home.make_dir("etc/.docker");
    world
        .home
        .write("etc/.docker/config.json", config.to_string());
    let arguments = world.arguments(&example("3-private-registry.json"));
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let script = r#"tar -C etc -czf docker.tar.gz .docker; mkdir upper work
        mount -t tmpfs tmpfs work; mkdir work/u work/w
        mount -t overlay overlay -o lowerdir=/etc,upperdir=work/u,workdir=work/w /etc
        cp docker.tar.gz /etc/docker.tar.gz; exec "$UCR" "$@""#;
    let mut command = world.home.shell_with_own_mounts(script, &arguments);
    command.env("https_proxy", world.proxy.url());
    Output::of(&mut command).ok();
    assert_eq!(world.stdout(), "private\n");
}

#[test]
fn example_4_asks_the_registry_though_the_image_is_there() {
    needs_machine!();
    let world = World::new();
    let says = |word: &str| images::builder().cmd(&["echo", word]).build();
    world.push(&says("old"), "group/image", "latest");
    let app = json!({ "id": "/pull", "container": example("4-force-pull.json") });
    world.launch(&app).ended("FINISHED", 0);
    assert_eq!(world.stdout(), "old\n");
    world.push(&says("new"), "group/image", "latest");
    world.launch(&app).ended("FINISHED", 0);
    assert_eq!(world.stdout(), "old\nnew\n");
}

#[test]
fn example_5_gives_its_arguments_to_the_entrypoint() {
    needs_machine!();
    let world = World::new();
    world.push(&inky(), "mesosphere/inky", "latest");
    world
        .launch(&example("5-args-entrypoint.json"))
        .ended("FINISHED", 0);
    assert_eq!(world.stdout(), "hello\n");
}

#[test]
fn example_6_names_the_parameter_that_cannot_be_and_runs_without_it() {
    needs_machine!();
    let world = World::new();
    let image = ImageBuilder::new()
        .layer(busybox_layer())
        .entrypoint(&["sh", "-c"]);
    world.push(&image.build(), "mesosphere/inky", "latest");
    let mut app = example("6-privileged-parameters.json");
    let refused = world.launch(&app).ended("FAILED", 125);
    refused
        .output
        .said(&["container.docker.parameters[2].key", "lxc-conf"]);
    let parameters = app["container"]["docker"]["parameters"]
        .as_array_mut()
        .unwrap();
    parameters.pop();
    app["args"] = json!(["hostname; cat /taken/file; grep CapEff /proc/self/status"]);
    world.home.make_dir("volume");
    world.home.write("volume/file", "of another\n");
    let volume = format!("{}:/taken", world.home.shown("volume"));
    let flags = [
        "run",
        "-q",
        "--name",
        "another-container",
        "-v",
        &volume,
        "mesosphere/inky",
    ];
    let mut other = world.ucr(&[&flags[..], &["echo ready; sleep 1000"]].concat());
    as_alice(&mut other);
    let mut other = Running::spawn(&mut other);
    other.until("ready");
    world.launch(&app).ended("FINISHED", 0);
    let out = world.stdout();
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines[..2], ["a.corp.org", "of another"]);
    // All that this machine's root has.
    let own = std::fs::read_to_string("/proc/self/status").unwrap();
    let own = own.lines().find(|line| line.starts_with("CapEff")).unwrap();
    assert_eq!(lines[2], own);
    other.signal(rustix::process::Signal::TERM);
    other.finish();
}

#[test]
fn example_7_pulls_as_who_its_credential_says() {
    needs_machine!();
    let world = World::new();
    world.push(&inky(), "mesosphere/inky", "latest");
    let app = example("7-mesos-credential.json");
    world.launch_with(&app, |_| ()).ended("FINISHED", 0);
    assert_eq!(world.stdout(), "hello\n");
    // It was this task's alone: without it nobody is let in, though the image is there.
    let mut without = app;
    let docker = without["container"]["docker"].as_object_mut().unwrap();
    docker.remove("credential");
    let refused = world.launch_with(&without, |_| ()).ended("FAILED", 125);
    assert_eq!(refused.last()["code"], "credential-missing");
    assert!(!refused.output.stderr.contains(ALICE.1));
}

/// This machine's Python, with its libraries and all that its web server needs.
fn python() -> Image {
    let mut layer = LayerBuilder::new()
        .dir("usr/", 0o755)
        .dir("usr/bin/", 0o755);
    let program = std::fs::canonicalize("/usr/bin/python3").unwrap();
    let libraries = Command::new("ldd").arg(&program).output().unwrap();
    let libraries = String::from_utf8(libraries.stdout).unwrap();
    let paths = libraries
        .split_whitespace()
        .filter(|word| word.starts_with('/'));
    for path in paths.map(Path::new).chain([program.as_path()]) {
        let name = path.to_str().unwrap().trim_start_matches('/');
        let content = std::fs::read(path).unwrap();
        layer = layer.entry(Entry::file(name, content).mode(0o755));
    }
    let name = program.file_name().unwrap().to_str().unwrap();
    layer = layer.symlink("usr/bin/python3", name);
    let modules = Path::new("/usr/lib").join(name);
    layer = with_modules(layer, &modules);
    let rest: Layer = layer.build();
    ImageBuilder::new()
        .layer(busybox_layer())
        .layer(rest)
        .cmd(&["python3"])
        .build()
}

/// The modules of a directory, but for what is compiled, tested, or of other packages.
fn with_modules(mut layer: LayerBuilder, directory: &Path) -> LayerBuilder {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        let left_out = [
            "__pycache__",
            "test",
            "tests",
            "dist-packages",
            "ensurepip",
            "idlelib",
        ];
        if path.is_dir() && !left_out.contains(&name) && !name.starts_with("config-") {
            layer = with_modules(layer, &path);
        } else if path.is_file() {
            let inside = path.to_str().unwrap().trim_start_matches('/');
            layer = layer.file(inside, std::fs::read(&path).unwrap());
        }
    }
    layer
}
