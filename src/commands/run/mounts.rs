//! What is mounted in a container besides the usual: `-v`, `--mount`, `--tmpfs` and image volumes.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use clap::Args;
use oci_spec::runtime::{Mount, Spec};
use ucr_images::ImageConfig;
use ucr_runtime::volumes::{Kind, Volume as Shareable};

use super::volume::{Volume, target_of};
use super::volumes_from::{Borrowed, VolumesFrom, targets};
use crate::command_error::CommandError;
use crate::quantity;
use crate::settings::Settings;

/// What is mounted in the container.
#[derive(Debug, Args)]
pub(crate) struct MountArgs {
    /// Mount a file or directory of the host; options are ro, rw, nosuid, noexec, and idmap with
    /// --userns
    #[arg(short, long = "volume", value_name = "SRC:DST[:OPTIONS]", value_parser = Volume::parse)]
    volumes: Vec<Volume>,
    /// The same in words, as type=bind,src=DIR,dst=DIR[,ro] or type=tmpfs,dst=DIR[,tmpfs-size=64m]
    #[arg(long = "mount", value_name = "KEY=VALUE,…", value_parser = Asked::parse)]
    mounts: Vec<Asked>,
    /// Mount a file system in memory, such as /run or /tmp:size=64m,exec
    #[arg(long, value_name = "DST[:OPTIONS]", value_parser = Tmpfs::parse)]
    tmpfs: Vec<Tmpfs>,
    /// Mount the volumes of a container that runs, those of its image among them
    #[arg(long, value_name = "CONTAINER[:ro|rw]", value_parser = VolumesFrom::parse)]
    volumes_from: Vec<VolumesFrom>,
    /// Size of /dev/shm, such as 64m
    #[arg(long, value_name = "SIZE", value_parser = quantity::bytes)]
    shm_size: Option<i64>,
}

/// One `--mount`.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Asked {
    Bind(Volume),
    Tmpfs(Tmpfs),
}

/// A file system in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Tmpfs {
    target: PathBuf,
    options: Vec<String>,
}

impl Tmpfs {
    /// Reads `DST[:OPTIONS]`; the options are Docker's where nobody says otherwise.
    fn parse(text: &str) -> Result<Self, String> {
        let (target, options) = text.split_once(':').unwrap_or((text, ""));
        let mut tmpfs = Self::new(target_of(target)?);
        tmpfs.options.extend(
            options
                .split(',')
                .filter(|option| !option.is_empty())
                .map(str::to_owned),
        );
        if tmpfs.options.iter().any(|option| option == "dev") {
            return Err("\"dev\": no device works in a file system of the container's".to_owned());
        }
        Ok(tmpfs)
    }

    fn new(target: PathBuf) -> Self {
        let options = ["nosuid", "nodev", "noexec", "mode=1777"].map(str::to_owned);
        Self {
            target,
            options: options.into(),
        }
    }

    fn mount(&self) -> Mount {
        let mut mount = Mount::default();
        mount
            .set_destination(self.target.clone())
            .set_typ(Some("tmpfs".to_owned()))
            .set_source(Some("tmpfs".into()))
            .set_options(Some(last_of_each(&self.options)));
        mount
    }
}

/// Of options with values the last of each name: a file system takes each once.
fn last_of_each(options: &[String]) -> Vec<String> {
    let name = |option: &String| option.split_once('=').map(|(name, _)| name.to_owned());
    let is_last = |(index, option): &(usize, &String)| {
        let wanted = name(option);
        wanted.is_none()
            || options[index + 1..]
                .iter()
                .all(|later| name(later) != wanted)
    };
    let kept = options.iter().enumerate().filter(is_last);
    kept.map(|(_, option)| option.clone()).collect()
}

impl Asked {
    /// Reads Docker's comma-separated `KEY=VALUE`.
    fn parse(text: &str) -> Result<Self, String> {
        let fields: Vec<(&str, Option<&str>)> = text
            .split(',')
            .map(|field| match field.split_once('=') {
                Some((key, value)) => (key, Some(value)),
                None => (field, None),
            })
            .collect();
        let value = |keys: &[&str]| {
            let found = fields.iter().rev().find(|(key, _)| keys.contains(key));
            found.and_then(|(_, value)| *value).unwrap_or_default()
        };
        let target = value(&["target", "destination", "dst"]);
        let rest = fields.iter().filter(|(key, _)| {
            !["type", "source", "src", "target", "destination", "dst"].contains(key)
        });
        // What is unknown first: it may be what is missing, misspelt.
        match value(&["type"]) {
            "bind" => {
                let options = rest.map(|(key, value)| bind_option(key, *value));
                let options: Vec<_> = options.collect::<Result<_, _>>()?;
                let mut volume = Volume::new(value(&["source", "src"]), needed(target)?)?;
                for option in options {
                    volume.add(option)?;
                }
                Ok(Self::Bind(volume))
            }
            "tmpfs" => {
                let options = rest.map(|(key, value)| tmpfs_option(key, *value));
                let options: Vec<_> = options.collect::<Result<_, _>>()?;
                let mut tmpfs = Tmpfs::new(target_of(needed(target)?)?);
                tmpfs.options.extend(options);
                Ok(Self::Tmpfs(tmpfs))
            }
            "" | "volume" => Err(
                "volumes have no names: it is type=bind with a path of the host, or type=tmpfs"
                    .to_owned(),
            ),
            other => Err(format!("the type \"{other}\" is neither bind nor tmpfs")),
        }
    }
}

fn needed(target: &str) -> Result<&str, String> {
    match target {
        "" => Err("it says nowhere to mount it: target=DIR is missing".to_owned()),
        target => Ok(target),
    }
}

fn bind_option<'a>(key: &str, value: Option<&'a str>) -> Result<&'a str, String> {
    match (key, value) {
        ("readonly" | "ro", None | Some("true" | "1")) => Ok("ro"),
        ("readonly" | "ro", Some("false" | "0")) => Ok("rw"),
        ("idmap", None) => Ok("idmap"),
        ("bind-recursive", Some("enabled")) | ("bind-nonrecursive", Some("false")) => Ok("rbind"),
        ("bind-recursive", Some("disabled")) | ("bind-nonrecursive", None | Some("true")) => {
            Ok("bind")
        }
        ("bind-propagation", Some(kind)) => Ok(kind),
        _ => Err(unknown(key, value)),
    }
}

fn tmpfs_option(key: &str, value: Option<&str>) -> Result<String, String> {
    match (key, value) {
        ("tmpfs-size", Some(size)) => Ok(format!("size={}", quantity::bytes(size)?)),
        ("tmpfs-mode", Some(mode)) => Ok(format!("mode={mode}")),
        ("readonly" | "ro", None | Some("true" | "1")) => Ok("ro".to_owned()),
        ("readonly" | "ro", Some("false" | "0")) => Ok("rw".to_owned()),
        _ => Err(unknown(key, value)),
    }
}

fn unknown(key: &str, value: Option<&str>) -> String {
    match value {
        Some(value) => format!("\"{key}={value}\" is not known for this type"),
        None => format!("\"{key}\" is not known for this type"),
    }
}

impl MountArgs {
    /// Says which source is missing, and what is mounted over what, before anything is made.
    pub(crate) fn check(&self) -> Result<(), CommandError> {
        let mut places = HashSet::new();
        if let Some(twice) = self.places().find(|place| !places.insert(*place)) {
            let twice = twice.display();
            return Err(CommandError::sentence(format!(
                "{twice} is asked for twice: only one thing can be mounted there"
            )));
        }
        for volume in self.binds() {
            if let Err(error) = volume.source.metadata() {
                let (source, error) = (volume.source.display(), ucr_sys::reason(&error));
                return Err(CommandError::sentence(format!(
                    "cannot mount {source} of this host: {error}"
                )));
            }
        }
        Ok(())
    }

    fn binds(&self) -> impl Iterator<Item = &Volume> {
        let asked = self.mounts.iter().filter_map(|asked| match asked {
            Asked::Bind(volume) => Some(volume),
            Asked::Tmpfs(_) => None,
        });
        self.volumes.iter().chain(asked)
    }

    fn in_memory(&self) -> impl Iterator<Item = &Tmpfs> {
        let asked = self.mounts.iter().filter_map(|asked| match asked {
            Asked::Tmpfs(tmpfs) => Some(tmpfs),
            Asked::Bind(_) => None,
        });
        self.tmpfs.iter().chain(asked)
    }

    /// Puts them and `others` into a spec, behind its own: what is below another after that.
    pub(crate) fn apply(&self, spec: &mut Spec, others: impl IntoIterator<Item = Mount>) {
        let binds = self.binds().map(Volume::mount);
        let mut asked: Vec<Mount> = self.in_memory().map(Tmpfs::mount).chain(binds).collect();
        asked.extend(others);
        asked.sort_by_key(|mount| mount.destination().components().count());
        let mut mounts = spec.mounts().clone().unwrap_or_default();
        if let Some(size) = self.shm_size {
            set_shm_size(&mut mounts, size);
        }
        // One of ours that is asked for in another way is that way alone.
        let is_asked = |one: &Mount| {
            let same = |other: &Mount| other.destination() == one.destination();
            asked.iter().any(same)
        };
        mounts.retain(|mount| mount.destination() != Path::new("/dev/shm") || !is_asked(mount));
        mounts.extend(asked);
        spec.set_mounts(Some(mounts));
    }

    /// Where something is mounted that is asked for here.
    fn places(&self) -> impl Iterator<Item = &Path> {
        let binds = self.binds().map(|volume| volume.target.as_path());
        binds.chain(self.in_memory().map(|tmpfs| tmpfs.target.as_path()))
    }

    /// The volumes of other containers.
    ///
    /// # Errors
    /// A container that does not run, or whose volumes cannot be shared.
    pub(super) fn borrow(&self, settings: &Settings) -> Result<Borrowed, CommandError> {
        let is_covered = |path: &Path| self.places().any(|place| place == path);
        Borrowed::take(&self.volumes_from, settings, is_covered)
    }

    /// All volumes of the container, as others are told of them.
    pub(super) fn volumes(&self, image: &ImageConfig, borrowed: &Borrowed) -> Vec<Shareable> {
        let own = self.binds().map(|volume| Shareable {
            target: volume.target.clone(),
            kind: Kind::Bind {
                source: volume.source.clone(),
                options: volume.options.clone(),
            },
        });
        let mut all: Vec<Shareable> = borrowed.volumes().cloned().chain(own).collect();
        all.extend(self.of_image(image, borrowed).into_iter().map(|target| {
            let kind = Kind::Image { read_only: false };
            Shareable { target, kind }
        }));
        all.sort_by_key(|volume| volume.target.components().count());
        all
    }

    /// The volumes of the image where nothing else is mounted, in the order of their depth.
    fn of_image(&self, image: &ImageConfig, borrowed: &Borrowed) -> Vec<PathBuf> {
        let others = targets(borrowed.volumes());
        let is_covered = |volume: &Path| {
            self.places().any(|place| place == volume) || others.iter().any(|it| it == volume)
        };
        let mut volumes: Vec<PathBuf> = image.volumes().iter().map(PathBuf::from).collect();
        volumes.retain(|volume| !is_covered(volume));
        volumes.sort_by_key(|volume| volume.components().count());
        volumes
    }

    /// The volumes of the image that are mounts of their own: with a root that is read-only they
    /// are not, as with Docker. Without that nothing is different between the two.
    pub(super) fn own(
        &self,
        image: &ImageConfig,
        borrowed: &Borrowed,
        read_only: bool,
    ) -> Vec<PathBuf> {
        if read_only {
            self.of_image(image, borrowed)
        } else {
            Vec::new()
        }
    }
}

fn set_shm_size(mounts: &mut [Mount], size: i64) {
    let shm = mounts
        .iter_mut()
        .find(|mount| mount.destination() == Path::new("/dev/shm"));
    if let Some(mount) = shm {
        let mut options = mount.options().clone().unwrap_or_default();
        options.push(format!("size={size}"));
        mount.set_options(Some(last_of_each(&options)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(text: &str) -> Vec<String> {
        let mount = Tmpfs::parse(text).unwrap().mount();
        mount.options().clone().unwrap()
    }

    #[test]
    fn memory_is_dockers_unless_it_is_said_otherwise() {
        assert_eq!(options("/t"), ["nosuid", "nodev", "noexec", "mode=1777"]);
        let said = options("/t:size=1m,mode=700,size=2m,exec");
        let wanted = ["nosuid", "nodev", "noexec", "mode=700", "size=2m", "exec"];
        assert_eq!(said, wanted);
        for wrong in ["", "t", "/", "/t:dev"] {
            assert!(Tmpfs::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn mounts_in_words_are_those_in_letters() {
        let bind = Asked::parse("type=bind,source=/a,target=/b,readonly").unwrap();
        assert_eq!(bind, Asked::Bind(Volume::parse("/a:/b:ro").unwrap()));
        let plain = Asked::parse("dst=/b,src=/a,type=bind,bind-nonrecursive").unwrap();
        assert_eq!(plain, Asked::Bind(Volume::parse("/a:/b:bind").unwrap()));
        let tmpfs = Asked::parse("type=tmpfs,dst=/t,tmpfs-size=1m,tmpfs-mode=700").unwrap();
        let same = Tmpfs::parse("/t:size=1048576,mode=700").unwrap();
        assert_eq!(tmpfs, Asked::Tmpfs(same));
        for wrong in [
            "",
            "type=bind,src=/a",
            "type=bind,dst=/b",
            "type=volume,src=name,dst=/b",
            "src=name,dst=/b",
            "type=npipe,src=/a,dst=/b",
            "type=bind,src=/a,dst=/b,tmpfs-size=1m",
            "type=bind,src=/a,dst=/b,bind-propagation=rshared",
            "type=tmpfs,dst=/t,ro=maybe",
        ] {
            assert!(Asked::parse(wrong).is_err(), "{wrong}");
        }
    }
}
