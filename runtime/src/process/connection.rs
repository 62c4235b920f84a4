//! The connection of a container, in its supervisor and in pid 1.

use std::cell::RefCell;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use ucr_sys::namespace;
use ucr_sys::process::{Namespaces, Pid, SingleThreaded};

use super::outcome::{Error, Leftover};
use crate::failure::{During, Failure, Step};
use crate::network::{Pending, end_of};
use crate::plan::{Network, Plan};

/// What the supervisor keeps of it; in pid 1, nothing for long.
#[derive(Debug)]
pub(super) struct Connection {
    network: Option<Network>,
    own: RefCell<Vec<OwnedFd>>,
}

impl Connection {
    /// Takes the descriptors that the plan names for it.
    pub(super) fn new(plan: &Plan, own: Vec<OwnedFd>) -> Self {
        Self {
            network: plan.network.clone(),
            own: RefCell::new(own),
        }
    }

    /// Moves this process into the network namespace, if there is one.
    pub(super) fn join(&self) -> Result<(), Failure> {
        let number = self.network.as_ref().and_then(|network| network.namespace);
        let own = self.own.borrow();
        match own.iter().find(|fd| Some(fd.as_raw_fd()) == number) {
            Some(fd) => {
                let joined = namespace::join(fd.as_fd(), Namespaces::NETWORK);
                joined.during(Step::Connection, "")
            }
            None => Ok(()),
        }
    }

    /// Lets go of everything, as what is kept from others is the supervisor's matter.
    pub(super) fn close(&self) {
        self.own.borrow_mut().clear();
    }

    /// Waits until ports of the host lead inside.
    pub(super) fn wait_for_rules(&self) -> Result<(), Error> {
        self.pending()
            .map_or(Ok(()), Pending::wait)
            .map_err(Error::Network)
    }

    /// The process that puts the rules in force, as long as nobody has waited for it.
    pub(super) fn pid(&self) -> Option<Pid> {
        let (pid, number) = self.network.as_ref()?.rules?;
        let own = self.own.borrow();
        let is_there = own.iter().any(|fd| fd.as_raw_fd() == number);
        is_there.then(|| Pid::from_raw(pid)).flatten()
    }

    /// The process that puts the rules in force, once.
    fn pending(&self) -> Option<Pending> {
        let (pid, number) = self.network.as_ref()?.rules?;
        let mut own = self.own.borrow_mut();
        let place = own.iter().position(|fd| fd.as_raw_fd() == number)?;
        let words = own.swap_remove(place);
        Some(Pending { pid, words })
    }

    /// Gives it back, if that is the supervisor's matter, beyond this process's end if need be.
    pub(super) fn end(
        &self,
        plan: &Plan,
        held: &[OwnedFd],
        proof: &SingleThreaded,
    ) -> Option<Leftover> {
        // Rules that were refused, or that nobody waited for: they come before they go.
        drop(self.wait_for_rules());
        let (id, number) = self.network.as_ref()?.given_back.as_ref()?;
        let lock = held.iter().find(|fd| fd.as_raw_fd() == *number)?;
        let lock = lock.try_clone().ok()?;
        let ended = end_of((&plan.state_root, id), lock, proof);
        ended.err().map(Leftover::Network)
    }
}
