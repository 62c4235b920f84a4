//! What a power cut may have taken is not trusted after it, and nothing else is fetched again.

use test_support::RealRegistry;

use crate::env::{APP, TestEnv};
use crate::images;
use crate::output::Output;

/// Another boot, as far as `ucr` can tell: in a mount namespace where the kernel's
/// `/proc/sys/kernel/random/boot_id` is covered by `boot`.
const REBOOT: &str = r#"
    test "$1" = same || mount --bind boot /proc/sys/kernel/random/boot_id
    shift
    exec "$UCR" "$@""#;

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
        let image = self.env.reference(APP);
        let mut shell = self
            .env
            .shell_with_own_mounts(REBOOT, &[boot, "run", "-q", &image]);
        shell.env("UCR_PRINCIPAL", RealRegistry::USER);
        Output::of(shell.env("UCR_SECRET", RealRegistry::PASSWORD))
    }

    /// How often the layer was fetched, when it was at least `least` times.
    fn fetched(&self, least: usize) -> usize {
        let request = format!("GET /v2/team/app/blobs/{}", self.layer);
        self.env.registry.count(&request, least)
    }
}

#[test]
fn what_was_not_synced_before_a_reboot_is_fetched_again() {
    needs_machine!();
    test_support::need_command!("unshare");
    let machine = Machine::new();
    assert_eq!(machine.run("same").ok().stdout, "whole\n");
    assert_eq!(machine.run("same").ok().stdout, "whole\n");
    assert_eq!(machine.fetched(1), 1);
    assert_eq!(machine.run("another").ok().stdout, "whole\n");
    assert_eq!(machine.fetched(2), 2);
    assert_eq!(machine.run("another").ok().stdout, "whole\n");
    assert_eq!(machine.fetched(2), 2);
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
