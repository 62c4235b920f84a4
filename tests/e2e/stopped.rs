//! Who waits for a process that was stopped says so, and goes on when that one does, or dies.

use rustix::process::Signal;
use test_support::fake_registry::Gate;
use test_support::{FakeRegistry, Image};

use crate::env::Home;
use crate::output::{Output, Running};
use crate::progress_json::{pull, serving};

/// How much of the layer is there when its maker stops.
const HALF: usize = 1 << 20;

struct Waiting {
    home: Home,
    registry: FakeRegistry,
    image: Image,
    _gate: Gate,
    leader: Running,
    waiter: Running,
}

/// A process that was stopped in the middle of a layer, and one that has said that it waits for it.
fn waiting() -> Waiting {
    let (home, registry, image) = serving();
    let gate = registry.gate(&image.layers[0].digest, HALF);
    let mut leader = Running::spawn(&mut pull(&home, &registry, &["--progress", "json"]));
    gate.wait_reached(1);
    // That the server has sent bytes does not mean that the leader has any.
    leader.until_said("\"event\":\"bytes\"");
    leader.stop();
    // Nothing else keeps it from going on.
    gate.release();
    let mut waiter = Running::spawn(&mut pull(&home, &registry, &["--progress", "plain"]));
    let who = format!("another ucr (process {})", leader.pid());
    waiter.until_said(&format!("{who} has got nothing of it for 5 s"));
    Waiting {
        home,
        registry,
        image,
        _gate: gate,
        leader,
        waiter,
    }
}

#[test]
fn c8_who_waits_for_a_process_that_was_stopped_goes_on_when_it_does() {
    test_support::need_root!();
    let waiting = waiting();
    waiting.leader.signal(Signal::CONT);
    waiting.leader.finish().ok();
    let pulled = waiting.waiter.finish().ok();
    assert_eq!(pulled.stdout.trim_end(), waiting.image.image_id());
    let layer = &waiting.image.layers[0].digest;
    assert_eq!(waiting.registry.count(layer), 1);
}

#[test]
fn c8_who_waits_for_a_process_that_was_stopped_goes_on_when_it_is_killed() {
    test_support::need_root!();
    let waiting = waiting();
    waiting.leader.signal(Signal::KILL);
    waiting.leader.finish().ended(137);
    let pulled = waiting.waiter.finish().ok();
    assert_eq!(pulled.stdout.trim_end(), waiting.image.image_id());
    let layer = &waiting.image.layers[0].digest;
    let requests = waiting.registry.requests(layer);
    assert_eq!(requests.len(), 2);
    // What the dead one had of it is gone on with.
    assert!(
        requests[1].request.header("range").is_some(),
        "{requests:?}"
    );
    // What it left is swept by whoever comes next.
    Output::of(&mut pull(&waiting.home, &waiting.registry, &["-q"])).ok();
}
