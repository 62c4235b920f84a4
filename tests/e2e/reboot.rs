//! What a power cut may have taken is not trusted after it, and nothing else is fetched again.

use std::path::PathBuf;

use test_support::RealRegistry;

use crate::env::{APP, TestEnv};
use crate::images;
use crate::output::Output;

/// Another boot, as far as `ucr` can tell: in a mount namespace where the kernel's
/// `/proc/sys/kernel/random/boot_id` is covered by `boot`.
const REBOOT: &str = r#"
    test "$1" = same || mount --bind boot /proc/sys/kernel/random/boot_id
    shift
    exec $UNDER "$UCR" "$@""#;

/// Whoever waits for the disk dies of it.
const KILLED_AT_SYNC: &str = "strace -f -o /dev/null -e trace=syncfs -e inject=syncfs:signal=KILL";
/// The disk does not take what was written.
const FAILS_AT_SYNC: &str = "strace -f -o /dev/null -e trace=syncfs -e inject=syncfs:error=EIO";

struct Machine {
    env: TestEnv,
    layer: String,
}

impl Machine {
    fn new() -> Self {
        let env = TestEnv::new();
        let image = images::builder().cmd(&["echo", "whole"]).build();
        env.push(&image, APP);
        env.write("boot", "11111111-2222-3333-4444-555555555555\n");
        let layer = image.layers[0].digest.clone();
        Self { env, layer }
    }

    /// Runs the image, pulled when it is missing, in this boot or another.
    fn run(&self, boot: &str) -> Output {
        self.run_under("", boot)
    }

    /// The same under another program.
    fn run_under(&self, program: &str, boot: &str) -> Output {
        let image = self.env.reference(APP);
        let mut shell = self
            .env
            .shell_with_own_mounts(REBOOT, &[boot, "run", "-q", &image]);
        shell.env("UCR_PRINCIPAL", RealRegistry::USER);
        shell.env("UNDER", program);
        Output::of(shell.env("UCR_SECRET", RealRegistry::PASSWORD))
    }

    /// How often the layer was fetched, when it was at least `least` times.
    fn fetched(&self, least: usize) -> usize {
        let request = format!("GET /v2/team/app/blobs/{}", self.layer);
        self.env.registry.count(&request, least)
    }

    /// The directory of the only layer.
    fn tree(&self) -> PathBuf {
        let layers = self.env.root().join("layers/sha256");
        let mut entries = std::fs::read_dir(layers).unwrap();
        entries.next().unwrap().unwrap().path()
    }

    /// Waits until whoever made the layer has seen it on the disk, or died.
    fn wait_settled(&self) {
        let index = self.tree().join("index");
        let mut flock = self.env.tool("flock");
        Output::of(flock.arg("-s").arg(index).arg("true")).ok();
    }

    fn meta(&self) -> String {
        std::fs::read_to_string(self.tree().join("meta")).unwrap()
    }
}

#[test]
fn what_was_not_synced_before_a_reboot_is_fetched_again() {
    needs_machine!();
    test_support::need_command!("unshare", "strace", "flock");
    let machine = Machine::new();
    let first = machine.run_under(KILLED_AT_SYNC, "same");
    assert_eq!(first.stdout, "whole\n");
    machine.wait_settled();
    assert!(machine.meta().contains("\"boot\""), "{}", machine.meta());
    assert_eq!(machine.run("same").ok().stdout, "whole\n");
    assert_eq!(machine.fetched(1), 1);
    assert_eq!(machine.run("another").ok().stdout, "whole\n");
    assert_eq!(machine.fetched(2), 2);
    assert_eq!(machine.run("another").ok().stdout, "whole\n");
    assert_eq!(machine.fetched(2), 2);
    machine.wait_settled();
}

#[test]
fn what_run_has_pulled_is_synced_beside_the_task_and_good_after_a_reboot() {
    needs_machine!();
    test_support::need_command!("unshare", "flock");
    let machine = Machine::new();
    assert_eq!(machine.run("same").ok().stdout, "whole\n");
    machine.wait_settled();
    assert!(machine.meta().contains("\"durable\""), "{}", machine.meta());
    assert_eq!(machine.run("another").ok().stdout, "whole\n");
    assert_eq!(machine.fetched(1), 1);
}

#[test]
fn c2_what_the_disk_did_not_take_is_fetched_again() {
    needs_machine!();
    test_support::need_command!("unshare", "strace", "flock");
    let machine = Machine::new();
    let first = machine.run_under(FAILS_AT_SYNC, "same");
    assert_eq!(first.ok().stdout, "whole\n");
    // strace has waited for all that it traced: the layer is out of the store.
    assert_eq!(machine.run("same").ok().stdout, "whole\n");
    assert_eq!(machine.fetched(2), 2);
    machine.wait_settled();
}

#[test]
fn what_a_run_left_unsettled_is_read_back_by_the_next_pull() {
    needs_machine!();
    test_support::need_command!("unshare", "strace", "flock");
    let machine = Machine::new();
    machine.run_under(KILLED_AT_SYNC, "same");
    machine.wait_settled();
    machine.env.pull(APP).ok();
    assert!(machine.meta().contains("\"durable\""), "{}", machine.meta());
    assert_eq!(machine.run("another").ok().stdout, "whole\n");
    assert_eq!(machine.fetched(1), 1);
}

#[test]
fn what_pull_has_synced_is_good_after_a_reboot() {
    needs_machine!();
    test_support::need_command!("unshare");
    let machine = Machine::new();
    machine.env.pull(APP).ok();
    assert_eq!(machine.run("another").ok().stdout, "whole\n");
    assert_eq!(machine.fetched(1), 1);
}
