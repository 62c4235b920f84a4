//! `ucr launch`: tasks of executors, from their definition to their end.

mod ending;
mod examples;
mod explained;
mod logs;
mod pods;
mod ports;
mod statuses;
mod support;
mod users;
