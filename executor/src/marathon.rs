//! Marathon's formats: apps, of now and of version 1.3, and pods.
//!
//! The rules are those of Marathon 1.11 (its RAML types, and `api/v2/validation`), with what it
//! refuses because Mesos could not do it allowed where it is done here.

pub(crate) mod app;
mod checks;
mod container;
mod fetch;
mod image;
mod linux;
mod networks;
pub(crate) mod pod;
mod pod_container;
mod ports;
mod resources;
#[cfg(test)]
mod tests;
mod values;
mod volumes;

// What Mesos' own format has in common with Marathon's.
pub(crate) use app::GRACE;
pub(crate) use checks::http_path;
pub(crate) use container::parameter;
pub(crate) use fetch::uri;
pub(crate) use image::login;
pub(crate) use linux::{has_no_parent, profile, shm_size};
pub(crate) use ports::{checked as checked_ports, protocols, tcp};
pub(crate) use resources::{CPUS, MEBIBYTES, at_least, no_gpus};
pub(crate) use volumes::{are_apart, host, is_read_only};
