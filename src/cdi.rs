//! Devices that a vendor describes: files of the Container Device Interface, and what they change.
//!
//! The files say what a device is made of: variables, device files, mounts, groups and hooks. They
//! are the administrator's and trusted like `ucr`'s own flags, but nothing that they say is passed
//! over: what is not known or not honoured is an error. By version 1.1 of the specification,
//! <https://github.com/cncf-tags/container-device-interface/blob/main/SPEC.md>.

mod edits;
mod file;
mod find;
mod name;
mod node;

pub(crate) use self::edits::Edits;
pub(crate) use self::find::{DIRECTORIES, find};
pub(crate) use self::name::DeviceName;
