//! What pid 1 tells the supervisor, one message each; the supervisor says one byte: go.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use ucr_sys::process::Ended;
use ucr_sys::{message, ready};

use crate::failure::Failure;

/// A message of pid 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Message {
    /// The container did not start.
    Failed(Failure),
    /// The root is complete and not entered yet: it waits for another go.
    Mounted,
    /// The root is complete and not entered yet: it waits for the hooks outside, and another go.
    Hooks,
    /// It waits for the rules of its network, and another go.
    Rules,
    /// Everything that can fail is done: it waits for its start, or begins it.
    Ready,
    /// The terminal of the task is made; a descriptor comes along.
    Terminal,
    /// The task's program runs.
    Started,
    /// The program of another task runs, with this number.
    Running(i32),
    /// The task exited with this status.
    Exited(i32),
    /// The task was ended by this signal.
    Signaled(i32),
}

impl From<Ended> for Message {
    fn from(ended: Ended) -> Self {
        match ended {
            Ended::Exited(status) => Self::Exited(status),
            Ended::Signaled(signal) => Self::Signaled(signal),
        }
    }
}

/// One end of the conversation.
#[derive(Debug)]
pub(super) struct Channel(pub(super) OwnedFd);

impl Channel {
    /// Sends a message.
    pub(super) fn send(&self, message: &Message) -> ucr_sys::Result<()> {
        let bytes = postcard::to_allocvec(message).unwrap_or_default();
        message::send(self.0.as_fd(), &bytes)
    }

    /// Sends the side of the container's terminal that is the supervisor's.
    pub(super) fn send_terminal(&self, master: BorrowedFd<'_>) -> ucr_sys::Result<()> {
        let bytes = postcard::to_allocvec(&Message::Terminal).unwrap_or_default();
        message::send_with(self.0.as_fd(), &bytes, master)
    }

    /// Receives a message, and a descriptor with [`Message::Terminal`]; none when pid 1 is gone or
    /// talks nonsense.
    pub(super) fn receive(&self) -> ucr_sys::Result<Option<(Message, Option<OwnedFd>)>> {
        let received = message::receive(self.0.as_fd())?;
        Ok(received.and_then(|(bytes, fd)| Some((postcard::from_bytes(&bytes).ok()?, fd))))
    }

    /// Whether a message is there, or the other end closed.
    pub(super) fn has_message(&self) -> ucr_sys::Result<bool> {
        ready::is_readable_within(self.0.as_fd(), Some(Duration::ZERO))
    }

    /// Lets pid 1 go on: its cgroups are made, and it is written down.
    pub(super) fn send_go(&self) -> ucr_sys::Result<()> {
        message::send(self.0.as_fd(), b"g")
    }

    /// Waits for the go; false when the supervisor ended.
    pub(super) fn wait_for_go(&self) -> ucr_sys::Result<bool> {
        Ok(message::receive(self.0.as_fd())?.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::{Cause, Step};

    #[test]
    fn messages_cross_whole() {
        let (one, other) = message::pair().expect("pair");
        let (one, other) = (Channel(one), Channel(other));
        let failure = Failure::new(Step::Execute, vec![b'x'; 500_000], Cause::NotInPath);
        for message in [
            Message::Started,
            Message::Exited(3),
            Message::Failed(failure),
        ] {
            one.send(&message).expect("send");
            let (received, fd) = other.receive().expect("receive").expect("message");
            assert!(received == message && fd.is_none());
        }
        drop(one);
        assert!(other.receive().expect("receive").is_none());
        assert!(!other.wait_for_go().expect("go"));
    }
}
