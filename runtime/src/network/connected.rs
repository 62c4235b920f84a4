//! A connection that is made, and how containers get it.

use std::os::fd::{AsRawFd as _, OwnedFd};

use ucr_sys::process::SingleThreaded;

use super::record::{Held, Record};
use super::{About, Dns, Error, Pending, Published, give_back};
use crate::id::ContainerId;
use crate::plan;

/// A connection of this process's.
///
/// When it is dropped all is given back: what it was for did not come about. A program that takes
/// this one's place (execve(2)) drops nothing.
#[derive(Debug)]
pub struct Connected {
    pub(super) about: About,
    pub(super) namespace: Option<OwnedFd>,
    /// What keeps its ports from others.
    pub(super) sockets: Vec<OwnedFd>,
    /// The rules that are not in force yet.
    pub(super) pending: Option<Pending>,
    pub(super) record: Record,
    held: Option<Held>,
    dns: Dns,
}

/// Who gives a connection back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The supervisor of the container, at its end.
    WithContainer,
    /// Whoever made it.
    ByCaller,
}

/// A connection as a container gets it.
#[derive(Debug)]
pub struct Joining {
    /// What is told of it.
    pub about: About,
    /// The network namespace; none is the host's.
    pub(crate) namespace: Option<OwnedFd>,
    /// What keeps the connection, for supervisor and pid 1.
    pub(crate) lock: Option<OwnedFd>,
    /// What keeps its ports from others.
    pub(crate) sockets: Vec<OwnedFd>,
    /// Rules that have to be in force before the task runs.
    pub(crate) pending: Option<Pending>,
    /// Whose the connection is to be given back by the supervisor.
    pub(crate) gives_back: Option<ContainerId>,
}

impl Joining {
    /// The descriptors that are the supervisor's alone.
    pub(crate) fn descriptors(&self) -> impl Iterator<Item = &OwnedFd> {
        let words = self.pending.iter().map(|pending| &pending.words);
        self.sockets.iter().chain(&self.namespace).chain(words)
    }

    /// What `ucr-init` is told, by numbers of descriptors.
    pub(crate) fn plan(&self) -> plan::Network {
        let number = |fd: &OwnedFd| fd.as_raw_fd();
        let lock = self.lock.as_ref().map(number);
        plan::Network {
            namespace: self.namespace.as_ref().map(number),
            sockets: self.sockets.iter().map(number).collect(),
            rules: self
                .pending
                .as_ref()
                .map(|one| (one.pid, number(&one.words))),
            given_back: self.gives_back.clone().zip(lock),
            about: self.about.clone(),
        }
    }
}

impl Connected {
    /// A namespace by itself.
    pub(super) fn alone(namespace: OwnedFd) -> Self {
        Self {
            about: About::default(),
            namespace: Some(namespace),
            sockets: Vec::new(),
            pending: None,
            record: Record::default(),
            held: None,
            dns: Dns::default(),
        }
    }

    pub(super) fn new(about: About, (held, record): (Held, Record)) -> Self {
        Self {
            about,
            namespace: None,
            sockets: Vec::new(),
            pending: None,
            record,
            held: Some(held),
            dns: Dns::default(),
        }
    }

    /// Writes down what there is now.
    pub(super) fn write(&self) -> Result<(), Error> {
        self.held
            .as_ref()
            .map_or(Ok(()), |held| held.write(&self.record))
    }

    /// What several networks say of names, one after the other.
    pub(super) fn add_dns(&mut self, dns: Dns) {
        let own = &mut self.dns;
        own.nameservers.extend(dns.nameservers);
        own.search.extend(dns.search);
        own.options.extend(dns.options);
        own.domain = own.domain.take().or(dns.domain);
    }

    /// What is told of it.
    pub fn about(&self) -> &About {
        &self.about
    }

    /// Its ports, in the order in which they were asked for, one for each protocol.
    pub fn ports(&self) -> &[Published] {
        &self.about.ports
    }

    /// What its networks say of names.
    pub fn dns(&self) -> &Dns {
        &self.dns
    }

    /// Waits until its ports lead inside.
    ///
    /// # Errors
    ///
    /// The rules were refused.
    pub fn wait(&mut self) -> Result<(), Error> {
        self.pending.take().map_or(Ok(()), Pending::wait)
    }

    /// The connection for one container. The first that gets it waits, before its task runs, for
    /// what this process has not waited for.
    ///
    /// # Errors
    ///
    /// There are no descriptors left.
    pub fn join(&mut self, end: End) -> Result<Joining, Error> {
        let copy = |fd: &OwnedFd| {
            let copy = fd.try_clone();
            copy.map_err(|error| Error::Records(ucr_sys::Error::from_io("dup", "", &error)))
        };
        let held = self.held.as_ref();
        let lock = held
            .map(|held| held.lock().try_clone_to_owned())
            .transpose();
        let lock =
            lock.map_err(|error| Error::Records(ucr_sys::Error::from_io("dup", "", &error)))?;
        Ok(Joining {
            about: self.about.clone(),
            namespace: self.namespace.as_ref().map(copy).transpose()?,
            lock,
            sockets: self.sockets.iter().map(copy).collect::<Result<_, _>>()?,
            pending: self.pending.take(),
            gives_back: match end {
                End::WithContainer => held.and_then(Held::id),
                End::ByCaller => None,
            },
        })
    }

    /// Gives all back, in a process of its own where that takes time; that one begins when this one
    /// ends.
    ///
    /// # Errors
    ///
    /// What stays is written down, and given back by whoever comes next.
    pub fn end(mut self, proof: &SingleThreaded) -> Result<(), Error> {
        let waited = self.wait();
        let ended = self
            .held
            .take()
            .map_or(Ok(()), |held| give_back::end(held, proof));
        // Refused rules are not there to be taken away; who started with them was told.
        drop(waited);
        ended
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        drop(self.wait());
        if let Some(held) = self.held.take() {
            // What stays is written down, and nobody holds it: the next one gives it back.
            drop(give_back::now(&held, &self.record));
        }
    }
}
