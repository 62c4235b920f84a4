//! Several pulls at once on one store, by threads and by processes.
//!
//! Threads open the store for themselves: flock(2) belongs to an open file, so
//! they meet as processes do.

use std::io::Write as _;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};

use test_support::fake_registry::Recorded;
use test_support::{Image, ImageBuilder};
use ucr_images::{Deadline, ForeignLayers, Platform, Registries, Store};
use ucr_puller::{Budget, Event, Progress, Request, pull};

use crate::bench::{Bench, bulky, chain, image, settings};

/// Says when a layer is waited for that another is making, and how much of it is there.
struct Waits(Sender<u64>);

impl Progress for Waits {
    fn event(&self, event: Event<'_>) {
        if let Event::LayerWaiting { done, .. } = event {
            let _ = self.0.send(done);
        }
    }
}

fn waits() -> (Waits, Receiver<u64>) {
    let (sender, receiver) = mpsc::channel();
    (Waits(sender), receiver)
}

/// How often each blob was asked for.
#[track_caller]
fn assert_each_fetched_once(bench: &Bench, images: &[&Image]) {
    for image in images {
        for blob in &image.layers {
            let count = bench.registry.count(&format!("/blobs/{}", blob.digest));
            assert_eq!(count, 1, "{}", blob.digest);
        }
    }
}

#[track_caller]
fn assert_whole(bench: &Bench, name: &str) {
    bench.assert_heals(&bench.request(name));
    for part in ["tmp", "trash", "locks"] {
        assert_eq!(
            crate::bench::names(&bench.store_path().join(part)),
            [""; 0],
            "{part}"
        );
    }
}

#[test]
fn c5_two_pulls_of_one_image_fetch_each_layer_once() {
    let image = image((0..4).map(|n| bulky(&format!("f{n}"), 100_000)));
    let bench = Bench::serving(&image);
    let gate = bench
        .registry
        .gate(&format!("/blobs/{}", image.layers[0].digest), 10);
    let (progress, waiting) = waits();
    let request = bench.request("app:1");
    thread::scope(|scope| {
        let leader = scope.spawn(|| bench.pull("app:1"));
        gate.wait_reached(1);
        let follower = scope.spawn({
            let (bench, request, progress) = (&bench, &request, progress);
            move || bench.pull_with(request, &progress).unwrap()
        });
        waiting.recv().unwrap();
        gate.release();
        assert_eq!(leader.join().unwrap().id, follower.join().unwrap().id);
    });
    assert_each_fetched_once(&bench, &[&image]);
    bench.registry.heal();
    assert_whole(&bench, "app:1");
}

#[test]
fn c5_many_pulls_of_one_image_with_a_fix_up_layer_all_succeed() {
    let lower = crate::bench::layer().dir("tmp", 0o1777).build();
    let upper = crate::bench::layer().file("tmp/x", "x").build();
    let image = image([lower, upper, bulky("f", 50_000)]);
    let bench = Bench::serving(&image);
    thread::scope(|scope| {
        let pulls: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| bench.pull("app:1")))
            .collect();
        for pulled in pulls {
            assert_eq!(pulled.join().unwrap().lower.len(), 4);
        }
    });
    assert_each_fetched_once(&bench, &[&image]);
    assert_whole(&bench, "app:1");
}

#[test]
fn c6_overlapping_images_do_not_wait_for_each_other_in_a_circle() {
    let layers: Vec<_> = (0..6).map(|n| bulky(&format!("f{n}"), 60_000)).collect();
    let of = |numbers: &[usize]| image(numbers.iter().map(|&n| layers[n].clone()));
    let images = [of(&[1, 2, 3]), of(&[1, 2, 4]), of(&[5, 1])];
    for _ in 0..5 {
        let bench = Bench::new();
        for (name, image) in ["a", "b", "c"].iter().zip(&images) {
            bench.registry.put(name, "1", image);
        }
        thread::scope(|scope| {
            let pulls = ["a:1", "b:1", "c:1"].map(|name| {
                let bench = &bench;
                scope.spawn(move || bench.pull(name))
            });
            for pulled in pulls {
                pulled.join().unwrap();
            }
        });
        let fetched = bench.registry.requests("/blobs/");
        let mut blobs: Vec<_> = images.iter().flat_map(|image| &image.layers).collect();
        blobs.sort_by(|one, two| one.digest.cmp(&two.digest));
        blobs.dedup();
        for blob in blobs {
            let of_it = |one: &&Recorded| one.request.target.ends_with(&blob.digest);
            assert_eq!(fetched.iter().filter(of_it).count(), 1);
        }
        assert_eq!(bench.layers().len(), 5);
    }
}

#[test]
fn c7_when_the_leader_fails_half_way_the_waiter_takes_over() {
    let image = image((0..3).map(|n| bulky(&format!("f{n}"), 200_000)));
    let bench = Bench::serving(&image);
    let blob = &image.layers[0];
    let mut wrong = blob.bytes.clone();
    wrong[150_000] ^= 1;
    bench.registry.put_blob("app", &blob.digest, wrong);
    let gate = bench
        .registry
        .gate(&format!("/blobs/{}", blob.digest), 100_000);
    let (progress, waiting) = waits();
    let request = bench.request("app:1");
    thread::scope(|scope| {
        let leader = scope.spawn(|| bench.pull_with(&request, &()).map(|image| image.id));
        gate.wait_reached(1);
        let follower = scope.spawn({
            let (bench, request) = (&bench, &request);
            move || bench.pull_with(request, &progress).map(|image| image.id)
        });
        waiting.recv().unwrap();
        bench
            .registry
            .put_blob("app", &blob.digest, blob.bytes.clone());
        gate.release();
        assert!(leader.join().unwrap().is_err());
        follower.join().unwrap().unwrap();
    });
    assert_eq!(bench.registry.count(&format!("/blobs/{}", blob.digest)), 2);
    assert_whole(&bench, "app:1");
}

/// Tells other processes what to pull: `app:1` into the bench's store.
fn write_job(bench: &Bench) {
    let store = bench.store_path().display().to_string();
    let text = [bench.registry.host(), store, bench.ca.pem()].join("\n");
    let mut job = std::fs::File::create(bench.temp.path().join("job")).unwrap();
    job.write_all(text.as_bytes()).unwrap();
}

fn process(bench: &Bench) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "concurrency::pull_by_another_process"])
        .args(["--ignored", "--nocapture"])
        .current_dir(bench.temp.path())
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
#[ignore = "done by other tests, as a process of its own"]
fn pull_by_another_process() {
    let Ok(job) = std::fs::read_to_string("job") else {
        return;
    };
    let mut parts = job.splitn(3, '\n');
    let (host, store, pem) = (
        parts.next().unwrap(),
        parts.next().unwrap(),
        parts.next().unwrap(),
    );
    let store = Store::open(std::path::Path::new(store)).unwrap();
    let request = Request {
        reference: format!("{host}/app:1").parse().unwrap(),
        platform: Platform::host(),
        credentials: Arc::new(()),
        registries: Registries::default(),
        budget: Budget::default(),
        foreign: ForeignLayers::default(),
    };
    let pulled = pull(&store, settings(&store, pem), &request, &());
    assert!(pulled.is_ok(), "{}", chain(&pulled.unwrap_err()));
}

#[test]
fn c5_two_processes_fetch_each_layer_once() {
    let image = image((0..6).map(|n| bulky(&format!("f{n}"), 100_000)));
    let bench = Bench::serving(&image);
    write_job(&bench);
    let mut processes = [process(&bench), process(&bench)];
    for process in &mut processes {
        assert!(process.wait().unwrap().success());
    }
    assert_each_fetched_once(&bench, &[&image]);
    assert_whole(&bench, "app:1");
}

/// Kills who pulls; returns how long it took a waiter to ask for what is missing.
fn take_over() -> Duration {
    let image = image((0..3).map(|n| bulky(&format!("f{n}"), 400_000)));
    let bench = Bench::serving(&image);
    let first = format!("/blobs/{}", image.layers[0].digest);
    let gate = bench.registry.gate(&first, 200_000);
    write_job(&bench);
    let mut leader = process(&bench);
    gate.wait_reached(1);
    let (progress, waiting) = waits();
    let request = bench.request("app:1");
    let killed = thread::scope(|scope| {
        let follower = scope.spawn({
            let (bench, request) = (&bench, &request);
            move || bench.pull_with(request, &progress).unwrap()
        });
        // That the server has sent them does not mean that the leader has them.
        assert!(waiting.iter().any(|done| done >= 131_072));
        let killed = Instant::now();
        leader.kill().unwrap();
        leader.wait().unwrap();
        gate.release();
        follower.join().unwrap();
        killed
    });
    // The waiter fetched what the dead one had not.
    let requests = bench.registry.requests(&first);
    let ranges: Vec<_> = requests
        .iter()
        .map(|recorded| recorded.request.header("range"))
        .collect();
    assert_eq!(ranges, [None, Some("bytes=131072-")]);
    // What the dead left is swept by whoever comes next.
    bench.store().sweep().unwrap();
    bench.registry.heal();
    assert_whole(&bench, "app:1");
    requests[1].at.duration_since(killed)
}

#[test]
fn c7_when_the_leader_is_killed_the_waiter_takes_over() {
    // A machine that is busy with other things gets three tries.
    let soon = Duration::from_secs(1);
    let is_soon = (0..3).any(|_| take_over() < soon);
    assert!(is_soon, "three times it took longer than a second");
}

/// Says what is told of whom another is waiting for.
struct Stalls(Sender<(Option<u32>, bool)>);

impl Progress for Stalls {
    fn event(&self, event: Event<'_>) {
        let told = match event {
            Event::LayerWaiting { holder, .. } => (holder, false),
            Event::LayerStalled { holder, since, .. } => {
                assert!(since >= std::time::Duration::from_secs(1));
                (holder, true)
            }
            _ => return,
        };
        let _ = self.0.send(told);
    }
}

#[test]
fn c8_who_waits_for_a_stopped_process_says_for_whom_and_gives_up_at_the_deadline() {
    let image = image([bulky("f", 400_000)]);
    let bench = Bench::serving(&image);
    let gate = bench
        .registry
        .gate(&format!("/blobs/{}", image.layers[0].digest), 200_000);
    write_job(&bench);
    let mut leader = process(&bench);
    gate.wait_reached(1);
    let (sender, told) = mpsc::channel();
    let request = bench.request("app:1");
    let failed = bench.pull_changed(
        &request,
        |settings| {
            let soon = std::time::Duration::from_secs(7);
            settings.patience.deadline = Deadline::within(soon);
        },
        &Stalls(sender),
    );
    let text = failed.unwrap_err().text;
    let told: Vec<_> = told.iter().collect();
    assert_eq!(told.first(), Some(&(Some(leader.id()), false)));
    assert_eq!(told.last(), Some(&(Some(leader.id()), true)));
    let named = format!("another ucr (process {}), which is pulling it", leader.id());
    crate::bench::assert_contains(&text, &named);
    gate.release();
    assert!(leader.wait().unwrap().success());
    bench.registry.heal();
    assert_whole(&bench, "app:1");
}

#[test]
fn c25_who_gives_up_waiting_does_not_disturb_who_pulls() {
    let image = image([bulky("f", 400_000)]);
    let bench = Bench::serving(&image);
    let first = format!("/blobs/{}", image.layers[0].digest);
    let gate = bench.registry.gate(&first, 200_000);
    let (progress, waiting) = waits();
    let request = bench.request("app:1");
    thread::scope(|scope| {
        let leader = scope.spawn(|| bench.pull("app:1"));
        gate.wait_reached(1);
        let soon = std::time::Duration::from_millis(300);
        let hurry = |settings: &mut ucr_puller::http::Settings| {
            settings.patience.deadline = Deadline::within(soon);
        };
        assert!(bench.pull_changed(&request, hurry, &progress).is_err());
        waiting.recv().unwrap();
        gate.release();
        leader.join().unwrap();
    });
    assert_eq!(bench.registry.count(&first), 1);
}

#[test]
fn s83_two_images_that_disagree_on_a_blob_do_not_spoil_it_for_each_other() {
    let honest = image([bulky("f", 300_000)]);
    let other = test_support::sha256_digest(b"another layer");
    let lying = ImageBuilder::new()
        .layer(bulky("f", 300_000))
        .cmd(&["true"])
        .edit_config(move |config| config["rootfs"]["diff_ids"][0] = other.into())
        .build();
    assert_eq!(honest.layers[0].digest, lying.layers[0].digest);
    let bench = Bench::new();
    bench.registry.put("honest", "1", &honest);
    bench.registry.put("lying", "1", &lying);
    for _ in 0..5 {
        thread::scope(|scope| {
            let good = scope.spawn(|| bench.pull("honest:1"));
            let bad = scope.spawn(|| bench.pull_with(&bench.request("lying:1"), &()));
            let error = bad.join().unwrap().unwrap_err();
            assert_eq!(
                error.kind(),
                ucr_images::ErrorKind::Integrity,
                "{}",
                chain(&error)
            );
            good.join().unwrap();
        });
        assert_eq!(bench.layers().len(), 1);
        ucr_sys::Dir::open(bench.temp.path())
            .unwrap()
            .remove_tree("store")
            .unwrap();
    }
}
