//! The supervisor: one small process for as long as a container lives.

use std::cell::Cell;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use ucr_sys::process::{self, Child, Cloned, Ended, Namespaces, SingleThreaded};
use ucr_sys::{descriptors, signal};

use super::between::Side;
use super::caller::Caller;
use super::connection::Connection;
use super::guard::{Guard, Guarded};
use super::outcome::{Error, Leftover, Note, Outcome, exit_code};
use super::protocol::{Channel, Message};
use super::report::Reporter;
use super::{create, hooked, init, join, outside, pid_file};
use crate::cgroup::made::{self, Made};
use crate::cgroup::{Version, freezer, group};
use crate::oci::hooks;
use crate::plan::{Network, Order, PidOne, Plan, Rootfs};
use crate::rootfs::sources;
use crate::state::{self, Entry, Record, Status};
use crate::volumes::Lease;

/// Does what the order in descriptor `plan` says: runs a container to its end, makes one that is
/// handed over, or runs another task in one.
///
/// To be called first thing by a process that was just executed: every other
/// descriptor above the standard three is closed, but for those that the plan
/// names. Returns twice over: in pid 1 of the container it does not return at all.
pub fn supervise(plan: i32) -> Outcome {
    let failed = |error: Error| Outcome {
        code: error.exit_code(),
        ended: None,
        error: Some(error),
        notes: Vec::new(),
        leftovers: Vec::new(),
    };
    let (plan, proof) = match begin(plan) {
        Ok((Order::Container(plan), proof)) => (*plan, proof),
        Ok((Order::Join(joining), proof)) => return join::join(&joining, &proof),
        Err(error) => return failed(error),
    };
    if plan.handed_over.is_some() {
        return create::create(plan, proof);
    }
    match prepare(plan, proof) {
        Ok((supervisor, mut caller)) => {
            let outcome = supervisor.run(&mut caller);
            supervisor.reporter.ended(&supervisor.plan.id, &outcome);
            outcome
        }
        Err(error) => failed(error),
    }
}

fn begin(number: i32) -> Result<(Order, SingleThreaded), Error> {
    // First: an end that is not announced would be waited for in vain.
    signal::notice_children().map_err(Error::System)?;
    let proof = SingleThreaded::check().map_err(Error::System)?;
    process::set_name(c"ucr-init").map_err(Error::System)?;
    process::forbid_tracing().map_err(Error::System)?;
    Ok((read_order(number)?, proof))
}

fn prepare(plan: Plan, proof: SingleThreaded) -> Result<(Supervisor, Caller), Error> {
    let told = plan.report.as_ref().map_or(&[][..], |report| &report.sinks);
    let connected = plan.network.as_ref().map(Network::descriptors);
    let connected = connected.unwrap_or_default();
    let kept = [&plan.held[..], told, &connected].concat();
    let kept = descriptors::adopt_only(&proof, &kept).map_err(Error::System)?;
    let (sinks, kept): (Vec<_>, Vec<_>) = kept
        .into_iter()
        .partition(|fd| told.contains(&fd.as_raw_fd()));
    let (connected, held) = kept
        .into_iter()
        .partition(|fd| connected.contains(&fd.as_raw_fd()));
    let connection = Connection::new(&plan, connected);
    let reporter = Reporter::new(plan.report.as_ref(), sinks);
    let caller = Caller::new().map_err(Error::System)?;
    let supervisor = Supervisor {
        plan,
        proof,
        reporter,
        connection,
        held,
        is_over_time: Cell::new(false),
    };
    Ok((supervisor, caller))
}

fn read_order(number: i32) -> Result<Order, Error> {
    let mut bytes = Vec::new();
    // A second way to the same file: its own descriptor is closed with the others.
    File::open(format!("/proc/self/fd/{number}"))
        .and_then(|mut file| file.read_to_end(&mut bytes))
        .map_err(Error::Read)?;
    Order::decode(&bytes).map_err(Error::Plan)
}

struct Supervisor {
    plan: Plan,
    proof: SingleThreaded,
    /// Who is told how it goes.
    reporter: Reporter,
    /// What it is connected by.
    connection: Connection,
    /// The caller's locks, for as long as this process lives.
    held: Vec<OwnedFd>,
    /// Whether this process ended the container when its time was over.
    is_over_time: Cell<bool>,
}

impl Supervisor {
    /// Starts, watches and clears away, whatever happens in between.
    fn run(&self, caller: &mut Caller) -> Outcome {
        let mut record = self.record();
        let entry = match Entry::create(&self.plan.state_root, &record) {
            Ok(entry) => entry,
            Err(error) => {
                // The work directory is ours alone: no other container can have it.
                let mut leftovers = self.remove_trees();
                leftovers.extend(self.end_connection());
                let error = Error::State(error);
                return Outcome {
                    code: 125,
                    ended: None,
                    error: Some(error),
                    notes: Vec::new(),
                    leftovers,
                };
            }
        };
        let ended = self.run_container(&entry, &mut record, caller);
        let notes = self.notes(&ended);
        let (code, ended, error) = match ended {
            Ok(ended) => (exit_code(ended), Some(ended), None),
            Err(error) => (error.exit_code(), None, Some(error)),
        };
        let mut outcome = Outcome {
            code,
            ended,
            error,
            notes,
            leftovers: Vec::new(),
        };
        let made = std::mem::take(&mut record.made);
        // Before the record of the living goes: who waits for the end then looks for it here.
        let remembered = state::remember(&self.plan.state_root, &remembrance(record, &outcome));
        self.clear(entry, &made, &mut outcome);
        outcome
            .leftovers
            .extend(remembered.err().map(Leftover::Files));
        outcome
    }

    /// What a sweep needs, should this process be killed at any time from here on.
    fn record(&self) -> Record {
        let Plan {
            id, name, about, ..
        } = &self.plan;
        let mut record = Record::new(id.clone(), name.clone(), about.clone());
        record.ids.clone_from(&self.plan.ids);
        record.volumes.clone_from(&self.plan.volumes);
        let about = self.plan.network.as_ref().map(|network| &network.about);
        record.network = about.cloned().unwrap_or_default();
        record.cgroups = self.cgroups();
        record
    }

    fn trees(&self) -> Vec<PathBuf> {
        let mut trees = match &self.plan.rootfs {
            Rootfs::Overlay(overlay) => vec![overlay.work_dir.as_path().to_path_buf()],
            Rootfs::Host(place) => vec![place.as_path().to_path_buf()],
            Rootfs::Directory(_) => Vec::new(),
        };
        trees.extend(self.plan.remove_at_exit.iter().cloned());
        // What others may have goes with the last of them.
        let leases = &self.plan.volumes.leases;
        trees.retain(|tree| !leases.iter().any(|lease| lease.keeps(tree)));
        let last = leases.iter().filter(|lease| self.is_last(lease));
        trees.extend(last.flat_map(Lease::everything).cloned());
        trees
    }

    fn run_container(
        &self,
        entry: &Entry,
        record: &mut Record,
        caller: &mut Caller,
    ) -> Result<Ended, Error> {
        // Pid 1 is cloned into that of version 2, and with ids of its own opens nothing of version 1.
        let (early, late) = match self.plan.ids {
            None => (&[Version::Two][..], &[Version::One][..]),
            Some(_) => (&[Version::One, Version::Two][..], &[][..]),
        };
        group::create(&self.plan.cgroups, early, &mut record.made).map_err(Error::Cgroup)?;
        let (channel, init) = self.clone_init()?;
        let (guard, begun) = match self.guard(entry, &init) {
            Ok(guard) => (guard, Ok(())),
            Err(error) => (None, Err(error)),
        };
        let made = begun.and_then(|()| self.complete(entry, record, late, (&channel, &init)));
        let ended = made.and_then(|()| self.watch(entry, record, caller, (&channel, &init)));
        // On a failure of ours too: pid 1 sees the channel close, or is killed.
        drop(channel);
        if ended.is_err() {
            self.kill(&init)?;
        }
        let own_end = process::wait(init.pidfd.as_fd()).map_err(Error::System)?;
        guard.map_or(Ok(()), Guard::dismiss)?;
        // Now that nobody in it writes any more.
        caller.leave_terminal().map_err(Error::System)?;
        match ended? {
            Some(ended) => Ok(ended),
            // There was nobody who would have reported it.
            None if self.plan.pid_one == PidOne::Task => Ok(own_end),
            // Killed with the task's report unsent: by the kernel, for memory, say.
            None => match own_end {
                Ended::Signaled(signal) => Ok(Ended::Signaled(signal)),
                Ended::Exited(status) => Err(Error::Lost(format!("status {status}"))),
            },
        }
    }

    /// A guard, where pid 1 becomes a program that need not die with this process.
    fn guard(&self, entry: &Entry, init: &Child) -> Result<Option<Guard>, Error> {
        if self.plan.pid_one == PidOne::Ours {
            return Ok(None);
        }
        let mut held: Vec<_> = self.held.iter().map(AsFd::as_fd).collect();
        held.push(entry.lock());
        let guarded = Guarded {
            init,
            cgroups: self.cgroups(),
            held,
        };
        Guard::of_container(&self.proof, &guarded).map(Some)
    }

    /// Clones pid 1, into its version 2 cgroup where there is one.
    fn clone_init(&self) -> Result<(Channel, Child), Error> {
        let cgroup = group::open_v2(&self.plan.cgroups).map_err(Error::Cgroup)?;
        let (ours, theirs) = ucr_sys::message::pair().map_err(Error::System)?;
        let namespaces = Namespaces::from_bits(self.plan.namespaces).without(Namespaces::CGROUP);
        let cgroup = cgroup.as_ref().map(AsFd::as_fd);
        let side = match &self.plan.ids {
            None => match process::clone(&self.proof, namespaces, cgroup).map_err(Error::System)? {
                Cloned::Parent(child) => Side::Waiting(child),
                Cloned::Child => Side::First(None),
            },
            Some(ids) => match outside::clone_first(
                (&self.plan, ids),
                &self.connection,
                cgroup,
                &self.proof,
            )? {
                Side::Waiting(child) => Side::Waiting(child),
                Side::First(opened) => Side::First(Some(opened)),
            },
        };
        match side {
            Side::Waiting(child) => Ok((Channel(ours), child)),
            Side::First(opened) => {
                drop(ours);
                self.reporter.close();
                let status = init::run(
                    (&self.plan, &self.held, &self.connection),
                    &Channel(theirs),
                    opened,
                    &self.proof,
                );
                process::leave(status)
            }
        }
    }

    /// Makes what pid 1 needs besides, writes down that it is there, and lets it go on.
    fn complete(
        &self,
        entry: &Entry,
        record: &mut Record,
        late: &[Version],
        (channel, init): (&Channel, &Child),
    ) -> Result<(), Error> {
        // While pid 1 mounts the root.
        group::create(&self.plan.cgroups, late, &mut record.made).map_err(Error::Cgroup)?;
        let pid = init.pid.as_raw_nonzero().get();
        if let Some(ids) = &self.plan.ids {
            sources::write_ids(pid, ids).map_err(Error::Namespaces)?;
        }
        // Before the task runs: whom it tells so may want to run another like it.
        let process = &self.plan.process;
        entry.write_process(process).map_err(Error::State)?;
        if let Some(hooked) = &self.plan.hooks {
            let written = entry.write_config(&hooked.config.0);
            written.map_err(Error::State)?;
        }
        record.pid = Some(pid);
        record.status = Status::Running;
        entry.write(record).map_err(Error::State)?;
        // A pid 1 that failed already has said why; that is read later.
        drop(channel.send_go());
        Ok(())
    }

    /// From the go to the report of the task's end; none when pid 1 vanished.
    fn watch(
        &self,
        entry: &Entry,
        record: &mut Record,
        caller: &mut Caller,
        (channel, init): (&Channel, &Child),
    ) -> Result<Option<Ended>, Error> {
        let (mut end, mut is_ready) = (None, false);
        loop {
            let awaited = [channel.0.as_fd(), init.pidfd.as_fd()];
            let arrived = caller.wait_for(awaited, init, end);
            let arrived = arrived.map_err(Error::System)?;
            self.end_in_time(init, &mut end)?;
            // What this process left aside when it was `ucr`.
            process::reap_others(&self.left_to_others(init)).map_err(Error::System)?;
            let message = match arrived {
                [true, _] => channel.receive().map_err(Error::System)?,
                // Somebody else may have its end of the channel still, so that it does not close;
                // what it had to say has come before its own end.
                [_, true] if !channel.has_message().map_err(Error::System)? => None,
                _ => continue,
            };
            match message {
                // That it is there still, or of another kind of start.
                Some((Message::Mounted | Message::Running(_), _)) => {}
                Some((Message::Ready, _)) => is_ready = true,
                Some((Message::Rules, _)) => {
                    self.connection.wait_for_rules()?;
                    // A pid 1 that is gone is noticed next.
                    drop(channel.send_go());
                }
                Some((Message::Hooks, _)) => {
                    hooked::outside(&self.plan, init).map_err(Error::Hook)?;
                    // A pid 1 that is gone is noticed next.
                    drop(channel.send_go());
                }
                Some((Message::Terminal, master)) => {
                    caller.show_terminal(master).map_err(Error::System)?;
                }
                Some((Message::Started, _)) => {
                    self.started(entry, record, init)?;
                    end = self.end();
                }
                Some((Message::Exited(status), _)) => return Ok(Some(Ended::Exited(status))),
                Some((Message::Signaled(signal), _)) => return Ok(Some(Ended::Signaled(signal))),
                Some((Message::Failed(failure), _)) => return Err(Error::Start(failure)),
                // Closed by execve(2), or with what would have become the task.
                None if is_ready => {
                    self.started(entry, record, init)?;
                    let end = self.end();
                    return self.watch_task(caller, init, end).map(|()| None);
                }
                None => return Ok(None),
            }
        }
    }

    /// From the start of a task that is pid 1 itself to its end.
    fn watch_task(
        &self,
        caller: &mut Caller,
        init: &Child,
        mut end: Option<Instant>,
    ) -> Result<(), Error> {
        loop {
            let ended = caller.wait_for([init.pidfd.as_fd()], init, end);
            if ended.map_err(Error::System)? == [true] {
                return Ok(());
            }
            self.end_in_time(init, &mut end)?;
            process::reap_others(&self.left_to_others(init)).map_err(Error::System)?;
        }
    }

    /// Children that somebody waits for by name.
    fn left_to_others(&self, init: &Child) -> Vec<process::Pid> {
        [init.pid]
            .into_iter()
            .chain(self.connection.pid())
            .collect()
    }

    /// When a task that begins now is ended, if ever.
    fn end(&self) -> Option<Instant> {
        let seconds = Duration::from_secs(self.plan.timeout?);
        Instant::now().checked_add(seconds)
    }

    /// Ends the container if it is `end`.
    fn end_in_time(&self, init: &Child, end: &mut Option<Instant>) -> Result<(), Error> {
        if end.is_some_and(|end| Instant::now() >= end) {
            self.kill(init)?;
            self.is_over_time.set(true);
            *end = None;
        }
        Ok(())
    }

    /// Kills the container, also one that stands still: it would not die of it in version 1.
    fn kill(&self, init: &Child) -> Result<(), Error> {
        process::send_signal(init.pidfd.as_fd(), process::KILL).map_err(Error::System)?;
        freezer::thaw(&self.cgroups()).map_err(Error::Thaw)
    }

    fn cgroups(&self) -> Vec<PathBuf> {
        let groups = self.plan.cgroups.groups.iter();
        groups.map(|group| group.path.clone()).collect()
    }

    /// Tells everybody that the task runs.
    fn started(&self, entry: &Entry, record: &mut Record, init: &Child) -> Result<(), Error> {
        record.started = Some(state::now());
        // The task may be over already, and with it pid 1.
        record.task = match self.plan.pid_one {
            PidOne::Ours => process::first_child(init.pid).unwrap_or_default(),
            PidOne::Task => Some(init.pid.as_raw_nonzero().get()),
        };
        entry.write(record).map_err(Error::State)?;
        if let (Some(path), Some(task)) = (&self.plan.pid_file, record.task) {
            pid_file::write(path, task)?;
        }
        hooked::started(&self.plan, init).map_err(Error::Hook)?;
        let Record { task, network, .. } = &*record;
        self.reporter.started(&self.plan.id, *task, network);
        self.sweep_others();
        Ok(())
    }

    /// Clears up after supervisors that were killed, once nobody waits for us.
    ///
    /// What cannot be removed is theirs, not this container's: any other command
    /// that sweeps says so.
    fn sweep_others(&self) {
        drop(state::sweep(&self.plan.state_root));
    }

    fn notes(&self, ended: &Result<Ended, Error>) -> Vec<Note> {
        let count = group::oom_kills(&self.plan.cgroups).unwrap_or_default();
        let limit = self.plan.cgroups.memory_limit;
        match (ended, count) {
            (_, 0) if self.is_over_time.get() => {
                let seconds = self.plan.timeout.unwrap_or_default();
                vec![Note::TimeOver { seconds }]
            }
            (_, 0) => Vec::new(),
            (Ok(Ended::Signaled(process::KILL)), _) => vec![Note::TaskOutOfMemory { limit }],
            (_, count) => vec![Note::ProcessOutOfMemory { count, limit }],
        }
    }

    /// Removes cgroups, trees and state; every step runs.
    fn clear(&self, entry: Entry, made: &[Made], outcome: &mut Outcome) {
        let leftovers = &mut outcome.leftovers;
        leftovers.extend(made::remove(made).into_iter().map(Leftover::Cgroup));
        leftovers.extend(self.remove_trees());
        leftovers.extend(self.end_connection());
        let failed = hooked::stopped(&self.plan);
        let note = |error: hooks::Error| Note::Hook(error.to_string());
        outcome.notes.extend(failed.into_iter().map(note));
        // The record goes last, and stays when a sweep has something left to do.
        if leftovers.is_empty() {
            leftovers.extend(entry.delete().err().map(Leftover::Files));
        }
    }

    fn end_connection(&self) -> Option<Leftover> {
        self.connection.end(&self.plan, &self.held, &self.proof)
    }

    /// Whether nobody else has a lease; where that cannot be told, the next sweep finds out.
    fn is_last(&self, lease: &Lease) -> bool {
        let mut held = self.held.iter();
        let lock = held.find(|fd| fd.as_raw_fd() == lease.held);
        lock.is_some_and(|lock| Lease::is_last(lock).unwrap_or(false))
    }

    fn remove_trees(&self) -> Vec<Leftover> {
        let trees = self.trees();
        trees
            .iter()
            .filter_map(|tree| state::delete_tree(tree).err())
            .map(Leftover::Files)
            .collect()
    }
}

/// What is remembered of a container that is over.
fn remembrance(record: Record, outcome: &Outcome) -> state::Ended {
    state::Ended {
        record,
        finished: state::now(),
        exit_code: outcome.code,
        signal: outcome.ended.and_then(|ended| match ended {
            Ended::Signaled(signal) => Some(signal),
            Ended::Exited(_) => None,
        }),
        out_of_memory: outcome.notes.iter().any(Note::is_out_of_memory),
        error: match (&outcome.error, outcome.notes.first()) {
            (Some(error), _) => Some(error.to_string()),
            (None, Some(note @ Note::TimeOver { .. })) => Some(note.to_string()),
            (None, _) => None,
        },
    }
}
