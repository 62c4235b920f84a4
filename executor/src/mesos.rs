//! Mesos' own format: `TaskInfo` of version 1, as JSON.
//!
//! The fields are those of `include/mesos/v1/mesos.proto`; protobuf's JSON writes their names with
//! underscores or without, and large numbers as texts.

mod checks;
mod command;
mod container;
mod image;
mod linux;
mod networks;
mod resources;
mod secret;
pub(crate) mod task_info;
#[cfg(test)]
pub(crate) mod tests;
mod values;
mod volumes;

pub(crate) use resources::offered_ports;
