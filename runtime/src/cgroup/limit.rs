//! A limit that is one value for one file, in each version that has it.

use std::path::{Component, Path};

use super::limits::Error;
use super::{Group, IfMissing, Version, Write};

/// A limit that is one value for one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limit {
    /// The controller, by its name in version 1.
    pub(super) controller: String,
    /// What is written in version 1.
    pub(super) v1: Option<Write>,
    /// What is written in version 2.
    pub(super) v2: Option<Write>,
}

impl Limit {
    /// A limit of `controller`, with no file yet.
    pub fn new(controller: &str) -> Self {
        Self {
            controller: controller.into(),
            v1: None,
            v2: None,
        }
    }

    /// With a file of version 1.
    #[must_use]
    pub fn v1(mut self, file: &str, value: &str) -> Self {
        self.v1 = Some(write(&self.controller, file, value));
        self
    }

    /// With a file of version 2 and its controller there.
    #[must_use]
    pub fn v2(mut self, controller: &str, file: &str, value: &str) -> Self {
        self.v2 = Some(write(controller, file, value));
        self
    }

    /// With another file of version 2 where that is missing.
    #[must_use]
    pub fn or_v2(mut self, file: &str, value: &str) -> Self {
        if let Some(write) = &mut self.v2 {
            write.if_missing = IfMissing::Other {
                file: file.into(),
                value: value.into(),
            };
        }
        self
    }

    /// Left out where its file is missing, because another limit says the same less well.
    #[must_use]
    pub fn where_there(mut self) -> Self {
        for write in [&mut self.v1, &mut self.v2].into_iter().flatten() {
            write.if_missing = IfMissing::Skip;
        }
        self
    }

    /// The controller that version 2 needs for it, where version 1 has those of `in_v1`.
    pub(super) fn needed_of_v2(&self, in_v1: &[&str]) -> Option<&str> {
        let elsewhere = self.v1.is_some() && in_v1.contains(&self.controller.as_str());
        let write = self.v2.as_ref().filter(|_| !elsewhere)?;
        Some(&write.controller)
    }

    /// Adds this limit to the group that can apply it.
    pub(super) fn add_to(&self, groups: &mut [Group]) -> Result<(), Error> {
        for (version, write) in [(Version::One, &self.v1), (Version::Two, &self.v2)] {
            let Some(write) = write else {
                continue;
            };
            let plain = |part| matches!(part, Component::Normal(_));
            let mut parts = write.file.components();
            let is_name = parts.next().is_some_and(plain) && parts.next().is_none();
            if !is_name || write.controller == "cgroup" {
                return Err(Error::NoFile(shown(&write.file)));
            }
            let has = |group: &&mut Group| {
                group.version == version && group.controllers.contains(&write.controller)
            };
            if let Some(group) = groups.iter_mut().find(has) {
                group.writes.push(write.clone());
                return Ok(());
            }
        }
        let controller = self.controller.clone();
        Err(match (&self.v1, &self.v2) {
            (Some(write), None) => Error::VersionOneAlone {
                file: shown(&write.file),
                controller,
            },
            (first, other) => Error::NoController {
                what: first
                    .as_ref()
                    .or(other.as_ref())
                    .map_or(String::new(), |write| shown(&write.file)),
                controller,
            },
        })
    }
}

fn write(controller: &str, file: &str, value: &str) -> Write {
    Write {
        controller: controller.into(),
        file: file.into(),
        value: value.into(),
        if_missing: IfMissing::Fail,
    }
}

fn shown(file: &Path) -> String {
    file.display().to_string()
}
