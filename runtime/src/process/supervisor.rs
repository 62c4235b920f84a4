//! The supervisor: one small process for as long as a container lives.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use ucr_sys::process::{self, Child, Cloned, Ended, Namespaces, SingleThreaded};
use ucr_sys::signal::{self, Number, SignalFd};
use ucr_sys::{descriptors, ready};

use super::between::Side;
use super::protocol::{Channel, Message};
use super::report::Reporter;
use super::{create, init, outside, pid_file};
use crate::cgroup::made::{self, Made};
use crate::cgroup::{Version, group};
use crate::code::Code;
use crate::failure::Failure;
use crate::oci;
use crate::plan::{self, Plan, Rootfs};
use crate::rootfs::sources;
use crate::state::{self, Entry, Record, Status};

/// A container that did not start, or was lost from sight.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The plan cannot be read.
    #[error("cannot read the launch plan")]
    Read(#[source] std::io::Error),
    /// The plan is none, or of another build.
    #[error("cannot use the launch plan")]
    Plan(#[source] plan::Error),
    /// A system call of the supervisor's own.
    #[error("cannot supervise the container")]
    System(#[source] ucr_sys::Error),
    /// The state directory.
    #[error("cannot record the container")]
    State(#[source] state::Error),
    /// The cgroups.
    #[error("cannot limit the container")]
    Cgroup(#[source] group::Error),
    /// The state of a container that is handed over.
    #[error("cannot record the container")]
    Record(#[source] oci::record::Error),
    /// The ids of its user namespace.
    #[error("cannot set up the namespaces of the container")]
    Namespaces(#[source] ucr_sys::Error),
    /// A hook.
    #[error(transparent)]
    Hook(oci::hooks::Error),
    /// The file for the number of the task, or of the first process.
    #[error("cannot write the pid file {0}")]
    PidFile(PathBuf, #[source] std::io::Error),
    /// A step inside the container.
    #[error(transparent)]
    Start(Failure),
    /// pid 1 ended without saying why.
    #[error("the container's first process ended during the start: {0}")]
    Lost(String),
}

impl Error {
    /// Docker's exit code for it.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Start(failure) => failure.exit_code(),
            _ => 125,
        }
    }

    /// What kind of trouble it is, for programs.
    pub fn code(&self) -> Code {
        match self {
            Self::Start(failure) => Code::of_failure(failure),
            _ => Code::Failed,
        }
    }
}

/// How a container came out.
#[derive(Debug, Default)]
pub struct Outcome {
    /// The exit code to end with.
    pub code: u8,
    /// How the task ended, if it ran.
    pub ended: Option<Ended>,
    /// Why it did not run, if so.
    pub error: Option<Error>,
    /// What a person should know besides.
    pub notes: Vec<Note>,
    /// What could not be removed.
    pub leftovers: Vec<Leftover>,
}

/// Something worth a line to a person.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Note {
    /// The kernel ended the task.
    #[error("the task was killed by the kernel: out of memory{}", limit_text(*limit))]
    TaskOutOfMemory {
        /// The limit in bytes.
        limit: Option<u64>,
    },
    /// The kernel ended another process of the container.
    #[error("{count} of the task's processes killed by the kernel: out of memory{}", limit_text(*limit))]
    ProcessOutOfMemory {
        /// How many.
        count: u64,
        /// The limit in bytes.
        limit: Option<u64>,
    },
}

impl Note {
    /// Whether it tells of memory that ran out.
    pub(super) fn is_out_of_memory(&self) -> bool {
        matches!(
            self,
            Self::TaskOutOfMemory { .. } | Self::ProcessOutOfMemory { .. }
        )
    }
}

fn limit_text(limit: Option<u64>) -> String {
    const UNITS: [(u64, &str); 3] = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    let Some(limit) = limit else {
        return String::new();
    };
    let unit = UNITS
        .iter()
        .find(|(size, _)| limit >= *size && limit.is_multiple_of(*size));
    match unit {
        Some((size, name)) => format!(", limit {} {name}", limit / size),
        None => format!(", limit {limit} bytes"),
    }
}

/// Something that stays behind; the next sweep tries again.
#[derive(Debug, thiserror::Error)]
pub enum Leftover {
    /// A cgroup.
    #[error("cannot remove a cgroup")]
    Cgroup(#[source] group::Error),
    /// A tree or the state directory.
    #[error("cannot remove the container's files")]
    Files(#[source] state::Error),
}

/// Does what the plan in descriptor `plan` says: runs a container to its end, or makes one that is
/// handed over.
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
        Ok(begun) => begun,
        Err(error) => return failed(error),
    };
    if plan.handed_over.is_some() {
        return create::create(plan, proof);
    }
    match prepare(plan, proof) {
        Ok((supervisor, signals)) => {
            let outcome = supervisor.run(&signals);
            supervisor.reporter.ended(&supervisor.plan.id, &outcome);
            outcome
        }
        Err(error) => failed(error),
    }
}

fn begin(number: i32) -> Result<(Plan, SingleThreaded), Error> {
    // First: an end that is not announced would be waited for in vain.
    signal::notice_children().map_err(Error::System)?;
    let proof = SingleThreaded::check().map_err(Error::System)?;
    process::set_name(c"ucr-init").map_err(Error::System)?;
    process::forbid_tracing().map_err(Error::System)?;
    Ok((read_plan(number)?, proof))
}

fn prepare(plan: Plan, proof: SingleThreaded) -> Result<(Supervisor, SignalFd), Error> {
    let told = plan.report.as_ref().map_or(&[][..], |report| &report.sinks);
    let kept = [&plan.held[..], told].concat();
    let kept = descriptors::adopt_only(&proof, &kept).map_err(Error::System)?;
    let (sinks, held) = kept
        .into_iter()
        .partition(|fd| told.contains(&fd.as_raw_fd()));
    let reporter = Reporter::new(plan.report.as_ref(), sinks);
    let signals = SignalFd::for_all().map_err(Error::System)?;
    Ok((
        Supervisor {
            plan,
            proof,
            ignored: signal::Set::ignored(),
            reporter,
            _held: held,
        },
        signals,
    ))
}

fn read_plan(number: i32) -> Result<Plan, Error> {
    let mut bytes = Vec::new();
    // A second way to the same file: its own descriptor is closed with the others.
    File::open(format!("/proc/self/fd/{number}"))
        .and_then(|mut file| file.read_to_end(&mut bytes))
        .map_err(Error::Read)?;
    Plan::decode(&bytes).map_err(Error::Plan)
}

/// Whether a signal is passed on to the task.
///
/// Not those about the supervisor's own children, pipes and terminal, and not
/// those that the kernel raises for a fault of the process itself.
pub(super) fn is_forwarded(number: Number) -> bool {
    const OWN: [Number; 12] = {
        // SIGCHLD SIGPIPE SIGTSTP SIGTTIN SIGTTOU SIGURG, then SIGILL SIGTRAP
        // SIGBUS SIGFPE SIGSEGV SIGSYS, signal(7).
        [17, 13, 20, 21, 22, 23, 4, 5, 7, 8, 11, 31]
    };
    !OWN.contains(&number)
}

struct Supervisor {
    plan: Plan,
    proof: SingleThreaded,
    /// Signals that the caller wants ignored: not for the task either.
    ignored: signal::Set,
    /// Who is told how it goes.
    reporter: Reporter,
    /// The caller's locks, for as long as this process lives.
    _held: Vec<OwnedFd>,
}

impl Supervisor {
    /// Starts, watches and clears away, whatever happens in between.
    fn run(&self, signals: &SignalFd) -> Outcome {
        let mut record = self.record();
        let entry = match Entry::create(&self.plan.state_root, &record) {
            Ok(entry) => entry,
            Err(error) => {
                // The work directory is ours alone: no other container can have it.
                let leftovers = self.remove_trees();
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
        let ended = self.run_container(&entry, &mut record, signals);
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
        outcome.leftovers = self.clear(entry, &made);
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
        let groups = self.plan.cgroups.groups.iter();
        record.cgroups = groups.map(|group| group.path.clone()).collect();
        record
    }

    fn trees(&self) -> Vec<PathBuf> {
        let mut trees = match &self.plan.rootfs {
            Rootfs::Overlay(overlay) => vec![overlay.work_dir.as_path().to_path_buf()],
            Rootfs::Directory(_) => Vec::new(),
        };
        trees.extend(self.plan.remove_at_exit.iter().cloned());
        trees
    }

    fn run_container(
        &self,
        entry: &Entry,
        record: &mut Record,
        signals: &SignalFd,
    ) -> Result<Ended, Error> {
        // Pid 1 is cloned into that of version 2, and with ids of its own opens nothing of version 1.
        let (early, late) = match self.plan.ids {
            None => (&[Version::Two][..], &[Version::One][..]),
            Some(_) => (&[Version::One, Version::Two][..], &[][..]),
        };
        group::create(&self.plan.cgroups, early, &mut record.made).map_err(Error::Cgroup)?;
        let (channel, init) = self.clone_init()?;
        let made = self.complete(entry, record, late, (&channel, &init));
        let ended = made.and_then(|()| self.watch(entry, record, signals, (&channel, &init)));
        // On a failure of ours too: pid 1 sees the channel close, or is killed.
        drop(channel);
        if ended.is_err() {
            process::send_signal(init.pidfd.as_fd(), process::KILL).map_err(Error::System)?;
        }
        let own_end = process::wait(init.pidfd.as_fd()).map_err(Error::System)?;
        match ended? {
            Some(ended) => Ok(ended),
            // Killed with the task's report unsent: by the kernel, for memory, say.
            None => match own_end {
                Ended::Signaled(signal) => Ok(Ended::Signaled(signal)),
                Ended::Exited(status) => Err(Error::Lost(format!("status {status}"))),
            },
        }
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
            Some(ids) => match outside::clone_first(&self.plan, ids, cgroup, &self.proof)? {
                Side::Waiting(child) => Side::Waiting(child),
                Side::First(opened) => Side::First(Some(opened)),
            },
        };
        match side {
            Side::Waiting(child) => Ok((Channel(ours), child)),
            Side::First(opened) => {
                drop(ours);
                self.reporter.close();
                let status = init::run(&self.plan, &Channel(theirs), opened, &self.proof);
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
        signals: &SignalFd,
        (channel, init): (&Channel, &Child),
    ) -> Result<Option<Ended>, Error> {
        let mut end = None;
        loop {
            let ready = ready::wait_readable_until([channel.0.as_fd(), signals.as_fd()], end);
            let [message, _signal] = ready.map_err(Error::System)?;
            if end.is_some_and(|end| Instant::now() >= end) {
                process::send_signal(init.pidfd.as_fd(), process::KILL).map_err(Error::System)?;
                end = None;
            }
            // What this process left aside when it was `ucr`.
            process::reap_others(init.pid).map_err(Error::System)?;
            while let Some(number) = signals.next().map_err(Error::System)? {
                if is_forwarded(number) && !self.ignored.contains(number) {
                    process::send_signal(init.pidfd.as_fd(), number).map_err(Error::System)?;
                }
            }
            if !message {
                continue;
            }
            match channel.receive().map_err(Error::System)? {
                // That it is there still, or of a container that is handed over.
                Some(Message::Mounted | Message::Ready) => {}
                Some(Message::Started) => {
                    self.started(entry, record, init)?;
                    end = self.plan.timeout.and_then(|seconds| {
                        Instant::now().checked_add(Duration::from_secs(seconds))
                    });
                }
                Some(Message::Exited(status)) => return Ok(Some(Ended::Exited(status))),
                Some(Message::Signaled(signal)) => return Ok(Some(Ended::Signaled(signal))),
                Some(Message::Failed(failure)) => return Err(Error::Start(failure)),
                None => return Ok(None),
            }
        }
    }

    /// Tells everybody that the task runs.
    fn started(&self, entry: &Entry, record: &mut Record, init: &Child) -> Result<(), Error> {
        record.started = Some(state::now());
        // The task may be over already, and with it pid 1.
        record.task = process::first_child(init.pid).unwrap_or_default();
        entry.write(record).map_err(Error::State)?;
        if let (Some(path), Some(task)) = (&self.plan.pid_file, record.task) {
            pid_file::write(path, task)?;
        }
        self.reporter.started(&self.plan.id);
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
            (_, 0) => Vec::new(),
            (Ok(Ended::Signaled(process::KILL)), _) => vec![Note::TaskOutOfMemory { limit }],
            (_, count) => vec![Note::ProcessOutOfMemory { count, limit }],
        }
    }

    /// Removes cgroups, trees and state; every step runs.
    fn clear(&self, entry: Entry, made: &[Made]) -> Vec<Leftover> {
        let mut leftovers: Vec<Leftover> = made::remove(made)
            .into_iter()
            .map(Leftover::Cgroup)
            .collect();
        leftovers.extend(self.remove_trees());
        // The record goes last, and stays when a sweep has something left to do.
        if leftovers.is_empty() {
            leftovers.extend(entry.delete().err().map(Leftover::Files));
        }
        leftovers
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
        error: outcome.error.as_ref().map(ToString::to_string),
    }
}

fn exit_code(ended: Ended) -> u8 {
    match ended {
        // The kernel keeps the low 8 bits, exit(3).
        Ended::Exited(status) => u8::try_from(status & 0xff).unwrap_or(u8::MAX),
        Ended::Signaled(signal) => u8::try_from(128 + signal).unwrap_or(u8::MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_follow_the_shell() {
        assert_eq!(exit_code(Ended::Exited(3)), 3);
        assert_eq!(exit_code(Ended::Signaled(15)), 143);
    }

    #[test]
    fn the_limit_is_named_in_the_largest_whole_unit() {
        let text = |limit| Note::TaskOutOfMemory { limit }.to_string();
        assert_eq!(
            text(Some(64 << 20)),
            "the task was killed by the kernel: out of memory, limit 64 MiB"
        );
        assert_eq!(
            text(Some(1000)),
            "the task was killed by the kernel: out of memory, limit 1000 bytes"
        );
        assert_eq!(
            text(None),
            "the task was killed by the kernel: out of memory"
        );
    }

    #[test]
    fn job_control_and_faults_are_the_supervisors_own() {
        assert!(
            [1, 2, 3, 10, 12, 14, 15, 18, 28, 34]
                .into_iter()
                .all(is_forwarded)
        );
        assert!(![17, 13, 20, 11].into_iter().any(is_forwarded));
    }
}
