//! The resource limits of a task.

use rustix::process::{Resource, Rlimit, getrlimit};

/// The limits by their numbers, with their names in getrlimit(2).
const BY_NUMBER: [(Resource, &str); 16] = [
    (Resource::Cpu, "RLIMIT_CPU"),
    (Resource::Fsize, "RLIMIT_FSIZE"),
    (Resource::Data, "RLIMIT_DATA"),
    (Resource::Stack, "RLIMIT_STACK"),
    (Resource::Core, "RLIMIT_CORE"),
    (Resource::Rss, "RLIMIT_RSS"),
    (Resource::Nproc, "RLIMIT_NPROC"),
    (Resource::Nofile, "RLIMIT_NOFILE"),
    (Resource::Memlock, "RLIMIT_MEMLOCK"),
    (Resource::As, "RLIMIT_AS"),
    (Resource::Locks, "RLIMIT_LOCKS"),
    (Resource::Sigpending, "RLIMIT_SIGPENDING"),
    (Resource::Msgqueue, "RLIMIT_MSGQUEUE"),
    (Resource::Nice, "RLIMIT_NICE"),
    (Resource::Rtprio, "RLIMIT_RTPRIO"),
    (Resource::Rttime, "RLIMIT_RTTIME"),
];

/// One resource limit, setrlimit(2).
#[derive(Clone, Copy, Debug)]
pub struct Limit {
    /// Its number, `RLIMIT_*`.
    pub resource: u32,
    /// The limit in force; `u64::MAX` is none.
    pub soft: u64,
    /// How far the task may raise it; `u64::MAX` is no limit.
    pub hard: u64,
}

impl Limit {
    /// Its name in getrlimit(2).
    pub fn name(&self) -> &'static str {
        self.entry().map_or("?", |(_, name)| name)
    }

    /// How far this process may raise the same limit of its own; `u64::MAX` is no limit.
    pub fn own_hard(&self) -> u64 {
        let own = self.entry().map(|(resource, _)| getrlimit(resource));
        own.and_then(|own| own.maximum).unwrap_or(u64::MAX)
    }

    /// In the form of the system call; none for a number that is no limit's.
    pub(super) fn prepared(&self) -> Option<(Resource, Rlimit)> {
        let (resource, _) = self.entry()?;
        let bound = |value: u64| (value != u64::MAX).then_some(value);
        let limit = Rlimit {
            current: bound(self.soft),
            maximum: bound(self.hard),
        };
        Some((resource, limit))
    }

    fn entry(&self) -> Option<(Resource, &'static str)> {
        BY_NUMBER.get(usize::try_from(self.resource).ok()?).copied()
    }
}
