//! `ucr-registry health`: how `ucr launch` is told of the containers of a task.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::fd::AsFd as _;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};
use serde_json::{Value, json};
use test_support::FakeRegistry;
use test_support::fake_registry::{Fault, Response};

use crate::binaries;
use crate::env::{Home, TestEnv};
use crate::images;
use crate::output::Running;

/// The helper, as whoever started it sees it.
struct Health {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
}

fn command(home: &Home) -> Command {
    let mut command = home.tool(binaries::ucr().with_file_name("ucr-registry"));
    command.arg("health");
    command
}

impl Health {
    fn start(home: &Home, request: &Value) -> Self {
        let mut child = command(home)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        writeln!(stdin, "{request}").unwrap();
        Self {
            stdout: BufReader::new(child.stdout.take().unwrap()),
            stdin: Some(stdin),
            child,
        }
    }

    /// The next thing that it tells.
    fn told(&mut self) -> Value {
        let mut line = String::new();
        assert_ne!(self.stdout.read_line(&mut line).unwrap(), 0, "it ended");
        serde_json::from_str(&line).unwrap()
    }

    /// Closes its standard input; it tells no more.
    fn end(mut self) {
        drop(self.stdin.take());
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Health {
    fn drop(&mut self) {
        // One that has ended is not killed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn milliseconds(milliseconds: u64) -> Value {
    json!({"secs": milliseconds / 1000, "nanos": milliseconds % 1000 * 1_000_000})
}

/// A check every 20 ms, without a grace, that kills after three failures.
fn check(probe: &Value) -> Value {
    json!({"probe": probe, "delay": milliseconds(0), "interval": milliseconds(20),
           "timeout": milliseconds(30_000), "grace": milliseconds(0), "kill_after": 3})
}

fn in_container(script: &str) -> Value {
    json!({"command": {"arguments": ["/bin/sh", "-c", script], "directory": null}})
}

fn request(home: &Home, checks: &[Value]) -> Value {
    json!({
        "container": "c",
        "ucr": binaries::ucr(),
        "arguments": ["--root", home.root(), "--state", home.state()],
        "network": null,
        "checks": checks,
    })
}

/// A container named `c` that runs `script`, then waits.
fn container(env: &TestEnv, flags: &[&str], script: &str) -> Running {
    let flags = [&["--name", "c", "--tmpfs", "/tmp"], flags].concat();
    env.start_sh(&flags, &format!("{script}\necho ready; sleep 1000"))
}

fn end(env: &TestEnv, running: Running) {
    env.ucr(&["kill", "c"]).ok();
    running.finish().ended(137);
}

#[test]
fn w39_a_command_is_run_with_what_the_container_has() {
    needs_machine!();
    let env = TestEnv::with_image(&images::busybox());
    let flags = ["--user", "1000:5", "-w", "/tmp", "-e", "A=b c"];
    let running = container(&env, &flags, "");
    let script = "test \"$A\" = 'b c' && test $(id -u) = 1000 && test $(pwd) = /tmp";
    let elsewhere = json!({"command": {"arguments": ["/bin/sh", "-c", "test $(pwd) = /bin"],
                                       "directory": "/bin"}});
    let checks = [check(&in_container(script)), check(&elsewhere)];
    let mut health = Health::start(&env, &request(&env, &checks));
    let mut told = [health.told(), health.told()];
    told.sort_by_key(|told| told["check"].as_u64());
    for (number, told) in told.iter().enumerate() {
        assert_eq!(
            (&told["check"], &told["healthy"]),
            (&json!(number), &json!(true)),
            "{told}"
        );
        assert_eq!(
            (&told["code"], &told["consecutive"]),
            (&json!(0), &json!(0))
        );
    }
    health.end();
    end(&env, running);
}

#[test]
fn failures_and_recovery_are_told_and_the_limit_kills() {
    needs_machine!();
    let env = TestEnv::with_image(&images::busybox());
    let running = container(&env, &[], "touch /tmp/well");
    let well = check(&in_container("test -e /tmp/well"));
    let mut health = Health::start(&env, &request(&env, &[well]));
    let exec = |script: &str| env.ucr(&["exec", "c", "sh", "-c", script]).ok();
    assert_eq!(health.told()["healthy"], true);
    exec("rm /tmp/well");
    let first = health.told();
    let expected = json!({"check": 0, "healthy": false, "consecutive": 1, "code": 1,
                          "message": "the command ended with exit code 1"});
    assert_eq!(first, expected);
    exec("touch /tmp/well");
    // There may have been one more in between; never three.
    let mut recovered = health.told();
    while recovered["healthy"] == false {
        assert_ne!(recovered["kill"], true, "too slow to be of use");
        recovered = health.told();
    }
    assert_eq!(
        (&recovered["healthy"], &recovered["consecutive"]),
        (&json!(true), &json!(0))
    );
    exec("rm /tmp/well");
    for consecutive in 1..=3 {
        let told = health.told();
        assert_eq!(told["consecutive"], consecutive);
        assert_eq!(told["kill"] == true, consecutive == 3, "{told}");
    }
    health.end();
    end(&env, running);
}

#[test]
fn a_command_that_takes_too_long_is_gone_from_the_container() {
    needs_machine!();
    let env = TestEnv::with_image(&images::busybox());
    let running = container(&env, &[], "");
    let mut slow = check(&in_container("sleep 7777 & sleep 8888; true"));
    slow["timeout"] = milliseconds(1500);
    slow["kill_after"] = json!(1);
    let mut health = Health::start(&env, &request(&env, &[slow]));
    let told = health.told();
    assert_eq!(
        (&told["healthy"], &told["kill"]),
        (&json!(false), &json!(true)),
        "{told}"
    );
    let left = "! grep -l -e 7777 -e 8888 /proc/[0-9]*/cmdline";
    // The shell that looks has these words in its own command line.
    let left = left.replace("7777", "77[7]7").replace("8888", "88[8]8");
    env.ucr(&["exec", "c", "sh", "-c", &left]).ok();
    health.end();
    end(&env, running);
}

#[test]
fn a_web_server_in_a_network_of_its_own_is_asked_from_within() {
    needs_machine!();
    let env = TestEnv::with_image(&images::busybox());
    let serve = "mkdir /tmp/www; echo ok > /tmp/www/ping; \
                 busybox httpd -p 127.0.0.1:8080 -h /tmp/www";
    let running = container(&env, &["--network", "none"], serve);
    let address = "127.0.0.1:8080";
    let checks = [
        check(&json!({"http": {"tls": false, "address": address, "path": "/ping"}})),
        check(&json!({"tcp": {"address": address}})),
        check(&in_container("true")),
    ];
    let mut asked = request(&env, &checks);
    let pid = &env.containers()[0]["pid"];
    asked["network"] = json!(format!("/proc/{pid}/ns/net"));
    let mut health = Health::start(&env, &asked);
    let mut told = [health.told(), health.told(), health.told()];
    told.sort_by_key(|told| told["check"].as_u64());
    assert_eq!(
        (&told[0]["healthy"], &told[0]["code"]),
        (&json!(true), &json!(200)),
        "{told:?}"
    );
    assert!(told.iter().all(|told| told["healthy"] == true), "{told:?}");
    health.end();
    // From outside nobody is there.
    let mut outside = Health::start(&env, &request(&env, &checks[1..2]));
    assert_eq!(outside.told()["healthy"], false);
    outside.end();
    end(&env, running);
}

#[test]
fn what_is_ill_at_first_has_the_grace_to_get_well() {
    needs_machine!();
    let home = Home::new();
    let server = FakeRegistry::http();
    server.fault_times("/ping", Fault::Status(503), 5);
    server.respond("/ping", |_| Response::new(200, "text/plain", "pong"));
    let probe = json!({"http": {"tls": false, "address": server.host(), "path": "/ping"}});
    let mut graceful = check(&probe);
    graceful["grace"] = milliseconds(600_000);
    let mut health = Health::start(&home, &request(&home, &[graceful]));
    let told = health.told();
    assert_eq!(
        (&told["healthy"], &told["code"]),
        (&json!(true), &json!(200)),
        "{told}"
    );
    // The ones before were done, and not told.
    assert!(server.count("/ping") >= 6);
    health.end();
}

#[test]
fn it_ends_with_whoever_started_it() {
    needs_machine!();
    let home = Home::new();
    let request = request(&home, &[]);
    home.write("request", format!("{request}\n"));
    // Its standard input stays open here, so that only its parent's end can end it.
    let script = "mkfifo fifo; exec 4<>fifo; \"$0\" health <fifo 4<&- & cat request >&4; \
                  echo $!; wait";
    let mut shell = home
        .tool("sh")
        .args(["-ec", script])
        .arg(binaries::ucr().with_file_name("ucr-registry"))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut stdout = BufReader::new(shell.stdout.take().unwrap());
    stdout.read_line(&mut line).unwrap();
    let fifo = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(home.path("fifo"))
        .unwrap();
    let pid = Pid::from_raw(line.trim().parse().unwrap()).unwrap();
    let pidfd = pidfd_open(pid, PidfdFlags::empty()).unwrap();
    // It has bound itself to the shell once it has read what it is asked.
    wait_until_read(&fifo);
    kill_process(Pid::from_child(&shell), Signal::KILL).unwrap();
    shell.wait().unwrap();
    let patience = Timespec {
        tv_sec: 60,
        tv_nsec: 0,
    };
    let ended = poll(
        &mut [PollFd::new(&pidfd.as_fd(), PollFlags::IN)],
        Some(&patience),
    );
    assert_eq!(ended, Ok(1));
    drop(fifo);
}

/// Waits until nothing is left to read.
fn wait_until_read(fifo: &std::fs::File) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while rustix::io::ioctl_fionread(fifo).unwrap() > 0 {
        assert!(std::time::Instant::now() < deadline);
        std::thread::yield_now();
    }
}

#[test]
fn what_cannot_be_done_is_said_at_once() {
    needs_machine!();
    let home = Home::new();
    let run = |request: &str| {
        let mut child = command(&home)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        writeln!(stdin, "{request}").unwrap();
        // Standard input stays open: it ends by itself.
        let status = child.wait().unwrap();
        assert_eq!(status.code(), Some(1));
        std::io::read_to_string(child.stderr.take().unwrap()).unwrap()
    };
    assert!(run("{}").contains("cannot be understood"));
    let tcp = check(&json!({"tcp": {"address": "127.0.0.1:1"}}));
    let mut asked = request(&home, &[tcp]);
    asked["network"] = json!("/no/such");
    assert!(run(&asked.to_string()).contains("/no/such"));
    asked["network"] = json!("/proc/self/ns/pid");
    assert!(run(&asked.to_string()).contains("setns"));
}
