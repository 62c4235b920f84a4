//! A host of a test's own: a network namespace, so that this machine's tables stay as they are.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::ops::Deref;
use std::os::fd::AsFd as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use test_support::{ImageBuilder, ImageFiles};

use crate::binaries;
use crate::env::Home;
use crate::leftovers;
use crate::output::{Output, Running};

/// How long an answer is waited for that must not come.
const SILENCE: Duration = Duration::from_millis(500);

/// A network namespace, alive as long as this is.
#[derive(Debug)]
pub(crate) struct Namespace {
    keeper: Running,
}

impl Namespace {
    /// With a loopback alone.
    pub(crate) fn new() -> Self {
        let script = "ip link set lo up && echo ready && exec cat";
        let mut command = Command::new("unshare");
        command.args(["--net", "sh", "-ec", script]);
        let mut keeper = Running::spawn(command.stdin(Stdio::piped()));
        keeper.until("ready");
        Self { keeper }
    }

    /// Its path.
    pub(crate) fn path(&self) -> String {
        format!("/proc/{}/ns/net", self.keeper.pid())
    }

    /// `command` as it would run there.
    pub(crate) fn enter(&self, command: &Command) -> Command {
        let mut entered = Command::new("nsenter");
        entered.arg(format!("--net={}", self.path()));
        entered.arg(command.get_program()).args(command.get_args());
        entered.env_clear();
        for (name, value) in command.get_envs() {
            entered.env(name, value.unwrap_or_default());
        }
        if let Some(directory) = command.get_current_dir() {
            entered.current_dir(directory);
        }
        entered.stdin(Stdio::null());
        entered
    }

    /// Does `work` in a thread that is there.
    pub(crate) fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        inside(&self.path(), work)
    }

    /// The output of a shell script there.
    #[track_caller]
    pub(crate) fn shell(&self, script: &str) -> String {
        let mut shell = Command::new("sh");
        shell.args(["-ec", script]);
        shell.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        Output::of(&mut self.enter(&shell)).ok().stdout
    }
}

/// Does `work` in a thread that is in the network namespace at `path`.
pub(crate) fn inside<T: Send>(path: &str, work: impl FnOnce() -> T + Send) -> T {
    let namespace = File::open(path).unwrap();
    let enter = || {
        let kind = Some(LinkNameSpaceType::Network);
        move_into_link_name_space(namespace.as_fd(), kind).unwrap();
        work()
    };
    std::thread::scope(|scope| scope.spawn(enter).join().unwrap())
}

/// A host with `ucr` and an image of busybox.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) namespace: Namespace,
    home: Home,
}

impl Host {
    /// With an image that is `of`.
    pub(crate) fn with(of: ImageBuilder) -> Self {
        let home = Home::new();
        ImageFiles::of(&of.build()).write(&home.path("app"));
        Self {
            namespace: Namespace::new(),
            home,
        }
    }

    /// With an image that has nothing but busybox.
    pub(crate) fn new() -> Self {
        Self::with(crate::images::builder())
    }

    /// `ucr` there.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.home.tool(binaries::ucr());
        if self.home.path("config.toml").exists() {
            command.env("UCR_CONFIG", self.home.path("config.toml"));
        }
        command.args(arguments);
        self.namespace.enter(&command)
    }

    /// Runs `ucr` there to its end.
    pub(crate) fn ucr(&self, arguments: &[&str]) -> Output {
        Output::of(&mut self.command(arguments))
    }

    /// `ucr run` with `flags` of a shell script.
    pub(crate) fn run_command(&self, flags: &[&str], script: &str) -> Command {
        let image = format!("oci:{}", self.home.shown("app"));
        let words = [&["run", "-q"], flags, &[&image, "sh", "-c", script]].concat();
        self.command(&words)
    }

    /// Runs a shell script in a container to its end.
    pub(crate) fn run(&self, flags: &[&str], script: &str) -> Output {
        Output::of(&mut self.run_command(flags, script))
    }

    /// Starts a container that does `script`, says `ready`, and ends with its input.
    pub(crate) fn start(&self, flags: &[&str], script: &str) -> Running {
        let flags = [&["-i"], flags].concat();
        let script = format!("{script}; echo ready; read line");
        let mut command = self.run_command(&flags, &script);
        let mut running = Running::spawn(command.stdin(Stdio::piped()));
        running.until("ready");
        running
    }

    /// Starts a container with a web server on port 80 that answers `said`.
    pub(crate) fn serve(&self, flags: &[&str], said: &str) -> Running {
        // It is a daemon once it listens.
        let script = format!("echo {said} >/tmp/index.html; httpd -p 80 -h /tmp");
        self.start(flags, &script)
    }

    /// Waits until all that was given back is, and returns what still leads somewhere.
    pub(crate) fn rules(&self) -> Vec<String> {
        leftovers::wait_for_networks(&self.home.state());
        let tables = self.namespace.shell("nft list ruleset");
        let lines = tables.lines().map(str::trim);
        let is_one = |line: &&str| line.contains(" : ") && !line.contains("type ");
        lines.filter(is_one).map(str::to_owned).collect()
    }

    /// Cables between the host and containers.
    pub(crate) fn cables(&self) -> Vec<String> {
        let links = self.namespace.shell("ip -o link show type veth");
        links.lines().map(str::to_owned).collect()
    }

    /// What `ucr inspect` says of a container.
    pub(crate) fn inspect(&self, name: &str) -> serde_json::Value {
        let shown = self.ucr(&["inspect", name]).ok().stdout;
        let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
        shown[0].clone()
    }

    /// What it says of its network.
    pub(crate) fn settings(&self, name: &str) -> serde_json::Value {
        self.inspect(name)["NetworkSettings"].clone()
    }

    /// Ends a container.
    #[track_caller]
    pub(crate) fn end(&self, mut running: Running) {
        running.close_stdin();
        let ended = running.finish();
        assert!(ended.code <= 1, "{ended:#?}");
    }

    /// Waits until what ended has given everything back; nothing runs any more.
    pub(crate) fn settle(&self) {
        leftovers::wait_for_networks(&self.home.state());
    }
}

impl Deref for Host {
    type Target = Home;

    fn deref(&self) -> &Home {
        &self.home
    }
}

/// What a web server at `address` answers to whoever is in this thread's network; none if it is
/// refused, or nobody answers.
pub(crate) fn get(address: impl Into<IpAddr>, port: u16) -> Option<String> {
    let address = SocketAddr::new(address.into(), port);
    let mut stream = TcpStream::connect_timeout(&address, SILENCE).ok()?;
    stream.write_all(b"GET /index.html HTTP/1.0\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (_, body) = answer.split_once("\r\n\r\n")?;
    Some(body.trim_end().to_owned())
}

/// What comes back of a datagram.
pub(crate) fn ask(address: impl Into<IpAddr>, port: u16) -> String {
    let address: IpAddr = address.into();
    let any: &str = if address.is_ipv4() {
        "0.0.0.0:0"
    } else {
        "[::]:0"
    };
    let socket = UdpSocket::bind(any).unwrap();
    socket.connect((address, port)).unwrap();
    socket.send(b"question").unwrap();
    let mut answer = [0; 512];
    let length = socket.recv(&mut answer).unwrap();
    String::from_utf8_lossy(&answer[..length]).into_owned()
}
