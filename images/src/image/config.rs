//! The configuration of an image: what to run, and the diff IDs of its layers.

use oci_spec::image::ImageConfiguration;

use super::error::Error;
use super::healthcheck::Healthcheck;
use crate::{Digest, Platform};

/// A parsed image configuration, of Docker's or OCI's kind (they are the same but for names).
#[derive(Debug, Clone)]
pub struct ImageConfig {
    spec: ImageConfiguration,
    diff_ids: Vec<Digest>,
    healthcheck: Option<Healthcheck>,
}

impl Default for ImageConfig {
    /// Of no image: it says nothing.
    fn default() -> Self {
        Self {
            spec: ImageConfiguration::default(),
            diff_ids: Vec::new(),
            healthcheck: None,
        }
    }
}

impl ImageConfig {
    /// Reads a configuration.
    ///
    /// Fields that ask for more than to be run (`HostConfig`, `SecurityOpt`,
    /// labels) are not read at all (CVE-2014-6408, CVE-2026-53488).
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let document = "configuration";
        let spec: ImageConfiguration =
            serde_json::from_slice(bytes).map_err(|source| Error::Json {
                document,
                content_type: None,
                source,
            })?;
        let diff_ids = spec
            .rootfs()
            .diff_ids()
            .iter()
            .map(|text| {
                text.parse()
                    .map_err(|source| Error::Digest { document, source })
            })
            .collect::<Result<_, _>>()?;
        let healthcheck = serde_json::from_slice(bytes).ok();
        let healthcheck = healthcheck.and_then(|document| Healthcheck::of(&document));
        Ok(Self {
            spec,
            diff_ids,
            healthcheck,
        })
    }

    /// The diff IDs of the layers, bottom first.
    pub fn diff_ids(&self) -> &[Digest] {
        &self.diff_ids
    }

    /// The platform that the image was built for, if it says so.
    pub fn platform(&self) -> Option<Platform> {
        let (os, architecture) = (
            self.spec.os().to_string(),
            self.spec.architecture().to_string(),
        );
        let says = !os.is_empty() && !architecture.is_empty();
        says.then(|| Platform::of_image(&os, &architecture, self.spec.variant().as_deref()))
    }

    /// Refuses an image that was built for another platform than `wanted`.
    pub fn check_platform(&self, wanted: &Platform) -> Result<(), Error> {
        match self.platform() {
            Some(platform) if !wanted.accepts(&platform) => Err(Error::NoSuchPlatform {
                wanted: wanted.to_string(),
                available: vec![platform.to_string()],
            }),
            _ => Ok(()),
        }
    }

    /// When the image says that it was made, in its own words.
    pub fn created(&self) -> Option<&str> {
        self.spec.created().as_deref()
    }

    /// What is started before the arguments, if the image says so.
    pub fn entrypoint(&self) -> &[String] {
        self.run()
            .and_then(|run| run.entrypoint().as_deref())
            .unwrap_or_default()
    }

    /// The arguments when nobody gives others.
    pub fn cmd(&self) -> &[String] {
        self.run()
            .and_then(|run| run.cmd().as_deref())
            .unwrap_or_default()
    }

    /// Environment variables, each as `NAME=value`.
    pub fn env(&self) -> &[String] {
        self.run()
            .and_then(|run| run.env().as_deref())
            .unwrap_or_default()
    }

    /// Docker's `USER`: a name or ID, with or without a group; empty means root.
    pub fn user(&self) -> &str {
        self.run()
            .and_then(|run| run.user().as_deref())
            .unwrap_or_default()
    }

    /// The directory to start in; empty means `/`.
    pub fn working_dir(&self) -> &str {
        self.run()
            .and_then(|run| run.working_dir().as_deref())
            .unwrap_or_default()
    }

    /// Directories that are to be mounts of their own, Docker's `VOLUME`.
    pub fn volumes(&self) -> &[String] {
        self.run()
            .and_then(|run| run.volumes().as_deref())
            .unwrap_or_default()
    }

    /// Ports that its program listens on, Docker's `EXPOSE`: each as `80`, `80/udp` or `80-90/tcp`.
    pub fn exposed_ports(&self) -> &[String] {
        self.run()
            .and_then(|run| run.exposed_ports().as_deref())
            .unwrap_or_default()
    }

    /// The signal that asks the program to end, by name or number; empty where the image says
    /// none.
    pub fn stop_signal(&self) -> &str {
        self.run()
            .and_then(|run| run.stop_signal().as_deref())
            .unwrap_or_default()
    }

    /// How the image says that the health of its containers is told, Docker's `HEALTHCHECK`.
    pub fn healthcheck(&self) -> Option<&Healthcheck> {
        self.healthcheck.as_ref()
    }

    fn run(&self) -> Option<&oci_spec::image::Config> {
        self.spec.config().as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_docker_writes_is_read_and_the_rest_ignored() {
        let text = format!(
            r#"{{"architecture":"amd64","os":"linux","config":{{"Env":["A=b"],"Entrypoint":null,
            "Cmd":["sh"],"Healthcheck":{{"Test":["NONE"]}},"User":"app","WorkingDir":"/srv","Labels":null,
            "Privileged":true,"SecurityOpt":["seccomp=unconfined"]}},
            "rootfs":{{"type":"layers","diff_ids":["sha256:{}"]}},"HostConfig":{{"Privileged":true}}}}"#,
            "a".repeat(64)
        );
        let config = ImageConfig::parse(text.as_bytes()).unwrap();
        assert_eq!(config.cmd(), ["sh"]);
        assert!(config.entrypoint().is_empty());
        assert_eq!((config.user(), config.working_dir()), ("app", "/srv"));
        assert_eq!(config.diff_ids().len(), 1);
    }

    #[test]
    fn w23_what_to_run_may_be_null_or_missing() {
        for config in [r#""config":null,"#, r#""config":{},"#, ""] {
            let text = format!(
                r#"{{"architecture":"amd64","os":"linux",{config}
                "rootfs":{{"type":"layers","diff_ids":[]}}}}"#
            );
            let config = ImageConfig::parse(text.as_bytes()).unwrap();
            assert!(config.entrypoint().is_empty() && config.cmd().is_empty());
            assert!(config.env().is_empty());
            assert_eq!((config.user(), config.working_dir()), ("", ""));
        }
    }

    #[test]
    fn an_image_for_another_platform_is_refused_unless_it_says_none() {
        let config = |os: &str, architecture: &str| {
            let text = format!(
                r#"{{"architecture":"{architecture}","os":"{os}","rootfs":{{"type":"layers","diff_ids":[]}}}}"#
            );
            ImageConfig::parse(text.as_bytes()).unwrap()
        };
        let wanted = "linux/arm64".parse().unwrap();
        assert!(config("linux", "arm64").check_platform(&wanted).is_ok());
        assert!(config("", "").check_platform(&wanted).is_ok());
        assert!(config("linux", "amd64").check_platform(&wanted).is_err());
        assert!(config("windows", "arm64").check_platform(&wanted).is_err());
    }

    #[test]
    fn s43_a_diff_id_that_is_a_path_is_refused() {
        let text = r#"{"architecture":"amd64","os":"linux",
            "rootfs":{"type":"layers","diff_ids":["sha256:../../../etc"]}}"#;
        assert!(matches!(
            ImageConfig::parse(text.as_bytes()),
            Err(Error::Digest { .. })
        ));
    }
}
