//! A file or directory of the host, and where a container sees it: `-v` and `--mount type=bind`.

use std::path::{Path, PathBuf};

use oci_spec::runtime::Mount;

/// A file or directory of the host, and where the container sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Volume {
    pub(super) source: PathBuf,
    pub(super) target: PathBuf,
    /// Options of the mount, in the words of mount(8).
    pub(super) options: Vec<String>,
}

/// Docker's options that have a meaning where `ucr` runs, or where they have none, are harmless.
const OPTIONS: [&str; 13] = [
    "ro", "rw", "nosuid", "suid", "nodev", "noexec", "exec", "private", "rprivate", "rbind",
    "bind", "idmap", "noatime",
];
/// What they are for (SELinux labels, the Mac's file sharing) is nowhere that `ucr` is.
const WITHOUT_MEANING: [&str; 5] = ["z", "Z", "cached", "delegated", "consistent"];

impl Volume {
    /// Reads `SRC:DST[:OPTIONS]`.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let parts: Vec<&str> = text.split(':').collect();
        let (source, target, options) = match parts[..] {
            [source, target] => (source, target, Vec::new()),
            [source, target, options] => (source, target, options.split(',').collect()),
            _ => return Err("it is not of the form SRC:DST[:OPTIONS]".to_owned()),
        };
        let mut volume = Self::new(source, target)?;
        for option in options {
            volume.add(option)?;
        }
        Ok(volume)
    }

    /// Without options.
    pub(crate) fn new(source: &str, target: &str) -> Result<Self, String> {
        let is_relative = matches!(source.split('/').next(), Some("." | ".."));
        if !source.starts_with('/') && !is_relative {
            return Err(format!(
                "\"{source}\" is no path of the host: write /{source} or ./{source} (volumes have no names)"
            ));
        }
        let source = std::path::absolute(source).map_err(|error| error.to_string())?;
        Ok(Self {
            source,
            target: target_of(target)?,
            options: Vec::new(),
        })
    }

    /// Adds an option.
    pub(super) fn add(&mut self, option: &str) -> Result<(), String> {
        match option {
            "z" | "Z" if Path::new("/sys/fs/selinux/enforce").exists() => Err(format!(
                "\"{option}\" asks for SELinux labels, and ucr sets none"
            )),
            _ if WITHOUT_MEANING.contains(&option) => Ok(()),
            _ if OPTIONS.contains(&option) => {
                self.options.push(option.to_owned());
                Ok(())
            }
            "shared" | "rshared" | "slave" | "rslave" => Err(format!(
                "\"{option}\": mounts of a container stay inside, and the host's outside"
            )),
            _ => Err(format!("\"{option}\" is none of {}", OPTIONS.join(", "))),
        }
    }

    /// The mount that it is: with what is mounted below its source, unless `bind` says otherwise.
    pub(super) fn mount(&self) -> Mount {
        let all = if self.options.iter().any(|option| option == "bind") {
            None
        } else {
            Some("rbind".to_owned())
        };
        let options = all.into_iter().chain(self.options.iter().cloned());
        let mut mount = Mount::default();
        mount
            .set_destination(self.target.clone())
            .set_typ(Some("bind".to_owned()))
            .set_source(Some(self.source.clone()))
            .set_options(Some(options.collect()));
        mount
    }
}

/// A path of the container where something is mounted.
pub(super) fn target_of(text: &str) -> Result<PathBuf, String> {
    if !text.starts_with('/') || Path::new(text) == Path::new("/") {
        return Err(format!("\"{text}\" is not an absolute path below /"));
    }
    Ok(text.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s90_volumes_are_read_strictly() {
        let volume = |source: &str, target: &str, options: &[&str]| {
            Ok(Volume {
                source: source.into(),
                target: target.into(),
                options: options.iter().map(ToString::to_string).collect(),
            })
        };
        for (text, wanted) in [
            ("/a:/b", volume("/a", "/b", &[])),
            ("/a:/b:ro,idmap", volume("/a", "/b", &["ro", "idmap"])),
            ("/a,b=c:/b:rw", volume("/a,b=c", "/b", &["rw"])),
            ("/a:/b:z,cached,ro", volume("/a", "/b", &["ro"])),
        ] {
            assert_eq!(Volume::parse(text), wanted, "{text}");
        }
        for text in [
            "",
            "/a",
            "a:/b",
            "/a:b",
            "/a:/",
            "/a:/b:",
            "/a:/b:ro:x",
            ":/b",
            "/a:",
            "/a:/b:rslave",
            "/a:/b:dev",
        ] {
            assert!(Volume::parse(text).is_err(), "{text}");
        }
    }
}
