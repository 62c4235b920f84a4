//! The creator: makes a container that is handed over, and ends.
//!
//! The first process of the container is its child and, when the creator has ended, that of whoever
//! adopts it: conmon and containerd-shim do.

use std::fs::OpenOptions;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::SystemTime;

use ucr_sys::process::{self, Child, Cloned, Namespaces, SingleThreaded};
use ucr_sys::{descriptors, message, namespace};

use super::between::{self, Opened, Side};
use super::outcome::{Error, Leftover, Outcome};
use super::protocol::{Channel, Message};
use super::{first, pid_file, schedule};
use crate::cgroup::group::{self, Entrances};
use crate::cgroup::{Place, Version, made, processes};
use crate::failure::{During, Failure, Step};
use crate::oci::container::{State, Status};
use crate::oci::hooks::{self, Moment};
use crate::oci::log;
use crate::oci::plan::HandedOver;
use crate::oci::record::{
    self, Announced, Cgroup, Directory, Init, OUTCOME, Origin, Record, START,
};
use crate::plan::{Bytes, Plan};
use crate::rootfs::sources;
use crate::state;

/// Exit code of a `create` that failed.
const FAILED: u8 = 1;

/// Makes the container of `plan`; its first process waits when this returns.
///
/// Returns twice over: in that process it does not return at all.
pub(super) fn create(plan: Plan, proof: SingleThreaded) -> Outcome {
    let Some(handed_over) = &plan.handed_over else {
        return Outcome::default();
    };
    let creator = Creator {
        plan: &plan,
        handed_over,
        proof: &proof,
    };
    let mut leftovers = Vec::new();
    let error = creator.run(&mut leftovers).err();
    if let (Some(error), Some(log)) = (&error, &handed_over.log) {
        // It is said on standard error too.
        drop(log.error(error));
    }
    Outcome {
        code: if error.is_some() { FAILED } else { 0 },
        error,
        leftovers,
        ..Outcome::default()
    }
}

struct Creator<'a> {
    plan: &'a Plan,
    handed_over: &'a HandedOver,
    proof: &'a SingleThreaded,
}

impl Creator<'_> {
    fn run(&self, leftovers: &mut Vec<Leftover>) -> Result<(), Error> {
        let numbers: Vec<i32> = (0..self.handed_over.preserved)
            .filter_map(|number| i32::try_from(number).ok())
            .map(|number| number + 3)
            .chain(self.handed_over.console)
            .collect();
        // Open to the end: the first process has copies of its own.
        let kept = descriptors::adopt_only(self.proof, &numbers).map_err(Error::System)?;
        let is_console = |fd: &&OwnedFd| Some(fd.as_raw_fd()) == self.handed_over.console;
        let console = kept.iter().find(is_console).map(AsFd::as_fd);
        let root = &self.plan.state_root;
        let directory = Directory::create(root, &self.plan.id).map_err(Error::Record)?;
        let cgroups = self.cgroups();
        let made = self
            .check_owners(&cgroups)
            .and_then(|()| self.make(&directory, &cgroups, console));
        match made {
            Ok(()) => directory.release().map_err(Error::Record),
            Err(error) => {
                leftovers.extend(self.undo(directory, &cgroups));
                Err(error)
            }
        }
    }

    /// The cgroups, and whose each of them is; to be asked before they are made.
    fn cgroups(&self) -> Vec<Cgroup> {
        let origin = |place, path: &Path| match place {
            // Of others, whatever becomes of the attempt to make it.
            _ if path.exists() => Origin::Found,
            Place::Own => Origin::Own,
            Place::Asked => Origin::Made,
        };
        let groups = self.plan.cgroups.groups.iter();
        groups
            .map(|group| Cgroup {
                path: group.path.clone(),
                origin: origin(group.place, &group.path),
                controllers: group.controllers.clone(),
            })
            .collect()
    }

    /// Refuses what another container has made, and will remove with all that is in it.
    fn check_owners(&self, cgroups: &[Cgroup]) -> Result<(), Error> {
        let (root, id) = (&self.plan.state_root, &self.plan.id);
        for Cgroup { path, .. } in cgroups.iter().filter(|one| one.origin == Origin::Found) {
            if let Some(owner) = record::owner_of(root, path, id).map_err(Error::Record)? {
                return Err(Error::Owned(path.clone(), owner));
            }
        }
        Ok(())
    }

    fn make(
        &self,
        directory: &Directory,
        cgroups: &[Cgroup],
        console: Option<BorrowedFd<'_>>,
    ) -> Result<(), Error> {
        let mut announced = Announced {
            cgroups: cgroups.to_vec(),
            made: Vec::new(),
        };
        directory.announce(&announced).map_err(Error::Record)?;
        let versions = [Version::One, Version::Two];
        group::create(&self.plan.cgroups, &versions, &mut announced.made).map_err(Error::Cgroup)?;
        directory.announce(&announced).map_err(Error::Record)?;
        let (ours, theirs) = message::pair().map_err(Error::System)?;
        let links = first::Links {
            channel: Channel(theirs),
            console,
            start: open_both_ways(&directory.file(START))?,
            outcome: open_both_ways(&directory.file(OUTCOME))?,
        };
        let sources = sources::prepare(self.plan, self.proof);
        let opened = Opened {
            sources: sources.map_err(Error::Start)?,
            entrances: Entrances::open(&self.plan.cgroups).map_err(Error::Start)?,
        };
        let (channel, init) = self.clone_first(Channel(ours), links, opened)?;
        let ready = self.accompany(&channel, &init, cgroups, directory);
        if ready.is_err() {
            process::send_signal(init.pidfd.as_fd(), process::KILL).map_err(Error::System)?;
            process::wait(init.pidfd.as_fd()).map_err(Error::System)?;
        }
        ready
    }

    /// Clones the first process: directly, or through one that joins what exists already.
    fn clone_first(
        &self,
        ours: Channel,
        links: first::Links<'_>,
        opened: Opened,
    ) -> Result<(Channel, Child), Error> {
        let new = Namespaces::from_bits(self.plan.namespaces);
        let direct = self.handed_over.joined.is_empty() && !new.contains(Namespaces::TIME);
        if !direct {
            return self.clone_through_another(ours, links, opened);
        }
        let cgroup = group::open_v2(&self.plan.cgroups).map_err(Error::Cgroup)?;
        let cgroup = cgroup.as_ref().map(AsFd::as_fd);
        let new = new.without(Namespaces::CGROUP);
        match process::clone(self.proof, new, cgroup).map_err(Error::System)? {
            Cloned::Parent(child) => Ok((ours, child)),
            Cloned::Child => {
                drop(ours);
                self.become_first(links, opened)
            }
        }
    }

    /// Clones a process that joins the namespaces that are there, and from it the first process,
    /// which is the creator's child all the same.
    fn clone_through_another(
        &self,
        ours: Channel,
        links: first::Links<'_>,
        opened: Opened,
    ) -> Result<(Channel, Child), Error> {
        let cgroup = group::open_v2(&self.plan.cgroups).map_err(Error::Cgroup)?;
        let joined = self.open_joined().map_err(Error::Start)?;
        let new = between::New {
            between: Namespaces::default(),
            first: Namespaces::from_bits(self.plan.namespaces)
                .without(Namespaces::CGROUP.with(Namespaces::TIME)),
        };
        let cgroup = cgroup.as_ref().map(AsFd::as_fd);
        let enter = || self.enter(&joined);
        match between::clone_first(self.proof, new, cgroup, enter)? {
            Side::Waiting(child) => Ok((ours, child)),
            Side::First(()) => {
                drop(ours);
                self.become_first(links, opened)
            }
        }
    }

    /// Opens the namespaces that are to be joined, with the mounts of now; that of the user last.
    ///
    /// With root's privileges of the machine any of them can be joined; with those of a user
    /// namespace only its own.
    fn open_joined(&self) -> Result<Vec<Joined<'_>>, Failure> {
        let open = |(kind, path): &'_ (u64, Bytes)| {
            let fd = namespace::open(path.as_path()).during(Step::Namespaces, path)?;
            Ok((Namespaces::from_bits(*kind), fd))
        };
        let joined = self.handed_over.joined.iter();
        let opened = joined
            .clone()
            .map(open)
            .collect::<Result<Vec<_>, Failure>>()?;
        let mut all: Vec<Joined<'_>> = opened
            .into_iter()
            .zip(joined)
            .map(|((kind, fd), (_, path))| Joined { kind, fd, path })
            .collect();
        all.sort_by_key(|one| one.kind == Namespaces::USER);
        Ok(all)
    }

    fn enter(&self, joined: &[Joined<'_>]) -> Result<(), Failure> {
        if Namespaces::from_bits(self.plan.namespaces).contains(Namespaces::TIME) {
            namespace::leave(Namespaces::TIME).during(Step::Namespaces, "time")?;
            if let Some(offsets) = &self.handed_over.clock_offsets {
                group::write_file(Path::new("/proc/self/timens_offsets"), offsets.as_bytes())
                    .during(Step::Namespaces, "time")?;
            }
        }
        for one in joined {
            namespace::join(one.fd.as_fd(), one.kind).during(Step::Namespaces, one.path)?;
        }
        Ok(())
    }

    fn become_first(&self, links: first::Links<'_>, opened: Opened) -> ! {
        let status = first::run((self.plan, self.handed_over), links, opened, self.proof);
        process::leave(status)
    }

    /// From the clone to the first process that waits for its start.
    fn accompany(
        &self,
        channel: &Channel,
        init: &Child,
        cgroups: &[Cgroup],
        directory: &Directory,
    ) -> Result<(), Error> {
        let pid = init.pid.as_raw_nonzero().get();
        self.set_oom_score(pid)?;
        schedule::set(&self.plan.process, pid).map_err(Error::Start)?;
        if let Some(ids) = &self.plan.ids {
            sources::write_ids(pid, ids).map_err(Error::Namespaces)?;
        }
        // One that failed already has said why; that is read below.
        drop(channel.send_go());
        expect(channel, &Message::Mounted)?;
        self.run_hooks(pid)?;
        drop(channel.send_go());
        expect(channel, &Message::Ready)?;
        let record = self.record(pid, cgroups)?;
        let process = &self.plan.process;
        directory.write_process(process).map_err(Error::Record)?;
        directory.write(&record).map_err(Error::Record)?;
        match &self.plan.pid_file {
            Some(file) => pid_file::write(file, pid),
            None => Ok(()),
        }
    }

    /// Here, where the privilege is, and while `/proc` is the host's.
    fn set_oom_score(&self, pid: i32) -> Result<(), Error> {
        let Some(value) = self.plan.process.oom_score_adj else {
            return Ok(());
        };
        let file = format!("/proc/{pid}/oom_score_adj");
        group::write_file(Path::new(&file), value.to_string().as_bytes())
            .during(Step::OomScore, value.to_string())
            .map_err(Error::Start)
    }

    fn run_hooks(&self, pid: i32) -> Result<(), Error> {
        let HandedOver { about, hooks, .. } = self.handed_over;
        let state = State::new(&self.plan.id, about, Status::Created, pid).json();
        for (moment, list) in [
            (Moment::Prestart, &hooks.prestart),
            (Moment::CreateRuntime, &hooks.create_runtime),
        ] {
            hooks::run(moment, list, &state).map_err(Error::Hook)?;
        }
        Ok(())
    }

    fn record(&self, pid: i32, cgroups: &[Cgroup]) -> Result<Record, Error> {
        let HandedOver {
            about, hooks, task, ..
        } = self.handed_over;
        let init = Init::of(pid).ok_or_else(|| Error::Lost("it is gone".into()))?;
        let own_mounts = Namespaces::from_bits(self.plan.namespaces).contains(Namespaces::MOUNT)
            || self.joins(Namespaces::MOUNT);
        Ok(Record {
            id: self.plan.id.clone(),
            about: about.clone(),
            init,
            created: log::rfc3339(SystemTime::now()),
            owner: ucr_sys::user_id(),
            cgroups: cgroups.to_vec(),
            task: *task,
            mounted_at: (!own_mounts).then(|| about.rootfs.clone()),
            poststart: hooks.poststart.clone(),
            poststop: hooks.poststop.clone(),
        })
    }

    fn joins(&self, kind: Namespaces) -> bool {
        let joined = &self.handed_over.joined;
        joined.iter().any(|(bits, _)| *bits == kind.bits())
    }

    /// Removes what was made before the failure; each step runs.
    fn undo(&self, directory: Directory, cgroups: &[Cgroup]) -> Vec<Leftover> {
        let mut leftovers = Vec::new();
        for Cgroup { path, origin, .. } in cgroups {
            if *origin == Origin::Found {
                continue;
            }
            let removed = processes::kill_all([path.as_path()])
                .and_then(|()| made::remove_with_children(path));
            leftovers.extend(removed.err().map(Leftover::Cgroup));
            if *origin == Origin::Own {
                made::remove_empty_parent(path);
            }
        }
        let path = directory.file("");
        drop(directory);
        leftovers.extend(state::delete_tree(&path).err().map(Leftover::Files));
        leftovers
    }
}

/// A namespace that is to be joined.
struct Joined<'a> {
    kind: Namespaces,
    fd: OwnedFd,
    path: &'a Bytes,
}

/// Waits for one message, and takes any other for the failure that it tells of.
fn expect(channel: &Channel, wanted: &Message) -> Result<(), Error> {
    match channel.receive().map_err(Error::System)? {
        Some((message, _)) if message == *wanted => Ok(()),
        Some((Message::Failed(failure), _)) => Err(Error::Start(failure)),
        _ => Err(Error::Lost("it said nothing".into())),
    }
}

/// Opens a FIFO so that neither end of it waits for the other, fifo(7).
fn open_both_ways(path: &Path) -> Result<OwnedFd, Error> {
    let opened = OpenOptions::new().read(true).write(true).open(path);
    opened.map(OwnedFd::from).map_err(|error| {
        Error::System(ucr_sys::Error::from_io("open", format!("{path:?}"), &error))
    })
}
