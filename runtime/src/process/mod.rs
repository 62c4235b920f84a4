//! The three processes of a container, and how they talk.
//!
//! The *supervisor* is the process that `ucr` became: it makes cgroups and
//! state, clones pid 1, forwards signals, waits and cleans up. *pid 1* sets the
//! namespaces up, forks the task, forwards signals to it and reaps. The *task*
//! is the image's program. Messages between the first two are in `protocol`.
//!
//! A container that is handed over has another two: the *creator* takes the place of the supervisor
//! and ends when the *first* process is ready, which becomes the task itself.
//!
//! Beside a task that no pid 1 of ours keeps there is a *guard*, which ends it when who waits for it
//! is killed.
//!
//! Another task of a container has its own waiting process, and one that *joins* the container,
//! starts it, and ends.

mod between;
mod caller;
mod connection;
mod console;
mod create;
mod diagnosis;
mod first;
mod guard;
mod hooked;
mod init;
mod join;
mod outcome;
mod outside;
mod pid_file;
mod protocol;
mod report;
mod schedule;
mod supervisor;
mod task;

pub use caller::{Caller, is_forwarded};
pub use join::{Joining, Keeper, Output};
pub use outcome::{Error, Leftover, Note, Outcome};
pub use supervisor::supervise;
