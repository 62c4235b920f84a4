//! What `ucr` tells `ucr-init`, as bytes.

use serde::{Deserialize, Serialize};

use super::Plan;
use crate::process::Joining;

const MAGIC: &[u8; 8] = b"UCRPLAN\n";

/// The identity of the code on both sides of a plan.
pub const BUILD_ID: &str = env!("UCR_BUILD_ID");

/// A plan that cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The bytes are no plan.
    #[error("this is no launch plan: ucr-init is started by ucr, not by hand")]
    NotAPlan,
    /// `ucr` and `ucr-init` were not built together.
    #[error(
        "ucr (build {theirs}) and ucr-init (build {ours}) are not of the same build: install both together"
    )]
    OtherBuild {
        /// The build that reads.
        ours: String,
        /// The build that wrote.
        theirs: String,
    },
    /// The bytes after the head are damaged, or the plan cannot be written.
    #[error("the launch plan is damaged")]
    Codec(#[source] postcard::Error),
}

/// What `ucr-init` is to do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Order {
    /// Make a container.
    Container(Box<Plan>),
    /// Run another task in one.
    Join(Box<Joining>),
}

impl Order {
    /// The order as bytes.
    ///
    /// # Errors
    ///
    /// [`Error::Codec`], which would be a fault of this program.
    pub fn encode(&self) -> Result<Vec<u8>, Error> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(BUILD_ID.as_bytes());
        postcard::to_extend(self, bytes).map_err(Error::Codec)
    }

    /// Reads an order back.
    ///
    /// # Errors
    ///
    /// [`Error::NotAPlan`], [`Error::OtherBuild`] or [`Error::Codec`].
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let rest = bytes
            .strip_prefix(MAGIC.as_slice())
            .ok_or(Error::NotAPlan)?;
        let (theirs, body) = rest
            .split_at_checked(BUILD_ID.len())
            .ok_or(Error::NotAPlan)?;
        if theirs != BUILD_ID.as_bytes() {
            let theirs = String::from_utf8_lossy(theirs).into_owned();
            return Err(Error::OtherBuild {
                ours: BUILD_ID.into(),
                theirs,
            });
        }
        postcard::from_bytes(body).map_err(Error::Codec)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{About, Bytes, Capabilities, Overlay, PidOne, Process, Rootfs, User};
    use super::*;
    use crate::cgroup::CgroupPlan;

    fn plan() -> Box<Plan> {
        Box::new(Plan {
            id: "a".parse().expect("id"),
            name: Some("name".into()),
            about: About::default(),
            timeout: None,
            pid_file: None,
            state_root: "/run/ucr".into(),
            held: vec![7],
            remove_at_exit: vec![],
            report: None,
            cgroups: CgroupPlan::default(),
            namespaces: 0x2000_0000,
            ids: None,
            rootfs: Rootfs::Overlay(Overlay {
                lower: vec!["/l".into()],
                work_dir: "/w".into(),
            }),
            additions: None,
            mounts: vec![],
            devices: true,
            masked: vec![],
            readonly: vec![],
            readonly_root: false,
            sysctls: vec![],
            hostname: None,
            domainname: None,
            pid_one: PidOne::Ours,
            given: vec!["/sandbox".into()],
            process: Process {
                arguments: vec![Bytes(vec![0xff, b'a'])],
                environment: vec![],
                directory: "/".into(),
                user: User::Ids {
                    uid: 1,
                    gid: 2,
                    groups: vec![3],
                },
                umask: 0o22,
                capabilities: Capabilities::default(),
                limits: vec![(7, 1, 2)],
                no_new_privileges: true,
                filter: None,
                apparmor: None,
                oom_score_adj: None,
                scheduler: None,
                io_priority: None,
                terminal: None,
                groups: vec![],
            },
            volumes: crate::volumes::Volumes::default(),
            hooks: None,
            network: None,
            handed_over: None,
        })
    }

    #[test]
    fn s11_more_than_a_mebibyte_arrives_intact() {
        let mut plan = plan();
        plan.process.environment = (0..70_000)
            .map(|number| Bytes(format!("NAME{number}={}", "x".repeat(30)).into()))
            .collect();
        let order = Order::Container(plan);
        let bytes = order.encode().expect("encode");
        assert!(bytes.len() > 2 << 20);
        assert_eq!(Order::decode(&bytes).expect("decode"), order);
    }

    #[test]
    fn another_build_is_refused_by_name() {
        let mut bytes = Order::Container(plan()).encode().expect("encode");
        bytes[MAGIC.len()] ^= 1;
        assert!(matches!(
            Order::decode(&bytes),
            Err(Error::OtherBuild { .. })
        ));
    }

    #[test]
    fn anything_else_is_refused() {
        assert!(matches!(Order::decode(b""), Err(Error::NotAPlan)));
        assert!(matches!(
            Order::decode(b"UCRPLAN\nshort"),
            Err(Error::NotAPlan)
        ));
        let bytes = Order::Container(plan()).encode().expect("encode");
        assert!(matches!(
            Order::decode(&bytes[..bytes.len() - 9]),
            Err(Error::Codec(_))
        ));
    }
}
