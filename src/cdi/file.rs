//! One file that describes devices, as it is written.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};

use super::name;

/// The versions of the specification that are known, major and minor.
const VERSIONS: [(u64, u64); 8] = [
    (0, 3),
    (0, 4),
    (0, 5),
    (0, 6),
    (0, 7),
    (0, 8),
    (1, 0),
    (1, 1),
];

/// A file that is not by the specification.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// It cannot be read.
    #[error("{}", ucr_sys::reason(.0))]
    Read(std::io::Error),
    /// It is no file, or a very large one.
    #[error("it is no file of at most {LIMIT} bytes")]
    NoFile,
    /// It is not JSON of this form.
    #[error(transparent)]
    Json(serde_json::Error),
    /// It is not YAML of this form.
    #[error("{0}")]
    Yaml(String),
    /// It is of a version that is not known.
    #[error("the cdiVersion {0:?} is none of 0.3 to 0.8, 1.0 and 1.1")]
    Version(String),
    /// A kind or a name that is none.
    #[error("{0}")]
    Name(String),
    /// It describes nothing.
    #[error("it has no devices")]
    Empty,
    /// It describes one device more than once.
    #[error("it has the device {0:?} twice")]
    Twice(String),
}

/// The most that is read of one file, in bytes.
pub(super) const LIMIT: u64 = 16 << 20;

/// A file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct File {
    cdi_version: String,
    /// Vendor and class of its devices.
    pub(super) kind: String,
    /// For whoever reads the file; of no effect on a container.
    #[serde(default, rename = "annotations")]
    _annotations: BTreeMap<String, String>,
    /// The devices.
    pub(super) devices: Vec<Device>,
    /// What each of its devices changes.
    #[serde(default)]
    pub(super) container_edits: Changes,
}

/// A device.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Device {
    /// Its name among those of its kind.
    pub(super) name: String,
    #[serde(default, rename = "annotations")]
    _annotations: BTreeMap<String, String>,
    /// What it changes.
    #[serde(default)]
    pub(super) container_edits: Changes,
}

/// What a device changes, SPEC.md "OCI Edits".
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Changes {
    /// Variables, as `NAME=value`.
    #[serde(default)]
    pub(super) env: Vec<String>,
    /// Device files.
    #[serde(default)]
    pub(super) device_nodes: Vec<DeviceNode>,
    /// Mounts.
    #[serde(default)]
    pub(super) mounts: Vec<MountEntry>,
    /// Groups of the task; 0 stands for none.
    #[serde(default, alias = "additionalGIDs")]
    pub(super) additional_gids: Vec<u32>,
    /// Programs to run.
    #[serde(default)]
    pub(super) hooks: Vec<HookEntry>,
    /// Not honoured.
    pub(super) intel_rdt: Option<Present>,
    /// Not honoured.
    #[serde(default)]
    pub(super) net_devices: Vec<Present>,
}

/// A device file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct DeviceNode {
    /// Where the container sees it.
    pub(super) path: PathBuf,
    /// Where the host has it, if elsewhere.
    pub(super) host_path: Option<PathBuf>,
    /// `b`, `c`, `u` or `p`, mknod(1).
    #[serde(rename = "type")]
    pub(super) kind: Option<String>,
    /// Its number.
    pub(super) major: Option<i64>,
    /// Its number.
    pub(super) minor: Option<i64>,
    /// Permission bits.
    pub(super) file_mode: Option<u32>,
    /// What may be done with it, of `rwm`.
    pub(super) permissions: Option<String>,
    /// Its owner, as the container counts.
    pub(super) uid: Option<u32>,
    /// Its group, as the container counts.
    pub(super) gid: Option<u32>,
}

/// A mount.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct MountEntry {
    /// What the host has.
    pub(super) host_path: PathBuf,
    /// Where the container sees it.
    pub(super) container_path: PathBuf,
    /// Its file system, if it is one of its own.
    #[serde(rename = "type")]
    pub(super) kind: Option<String>,
    /// As of mount(8).
    #[serde(default)]
    pub(super) options: Vec<String>,
}

/// A program to run.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct HookEntry {
    /// When.
    pub(super) hook_name: String,
    /// Where it is, absolute.
    pub(super) path: PathBuf,
    /// Its arguments, its own name first.
    #[serde(default)]
    pub(super) args: Vec<String>,
    /// Its variables, as `NAME=value`.
    #[serde(default)]
    pub(super) env: Vec<String>,
    /// Seconds after which it is killed.
    pub(super) timeout: Option<i64>,
}

/// Something that is there, whatever it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(from = "IgnoredAny")]
pub(super) struct Present;

impl From<IgnoredAny> for Present {
    fn from(_: IgnoredAny) -> Self {
        Self
    }
}

/// In which of the two languages a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Language {
    Json,
    Yaml,
}

impl Language {
    /// By the end of the name; none for files that describe nothing.
    pub(super) fn of(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()? {
            "json" => Some(Self::Json),
            "yaml" | "yml" => Some(Self::Yaml),
            _ => None,
        }
    }

    fn read<T: DeserializeOwned>(self, bytes: &[u8]) -> Result<T, Error> {
        match self {
            Self::Json => serde_json::from_slice(bytes).map_err(Error::Json),
            Self::Yaml => {
                // As the YAML 1.1 of the reference: modes are written so.
                let options = serde_saphyr::options! { legacy_octal_numbers: true };
                serde_saphyr::from_slice_with_options(bytes, options)
                    .map_err(|error| Error::Yaml(error.without_snippet().to_string()))
            }
        }
    }
}

/// The kind of the devices in a file, whatever else is in it.
pub(super) fn kind_of(bytes: &[u8], language: Language) -> Result<String, Error> {
    #[derive(Deserialize)]
    struct Head {
        kind: String,
    }
    language.read(bytes).map(|head: Head| head.kind)
}

impl File {
    /// Reads a file strictly.
    ///
    /// # Errors
    /// What is not by a version of the specification that is known.
    pub(super) fn parse(bytes: &[u8], language: Language) -> Result<Self, Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Version {
            cdi_version: String,
        }
        // First: what a later version has is no mistake of the file's.
        let Version { cdi_version } = language.read(bytes)?;
        if !is_known(&cdi_version) {
            return Err(Error::Version(cdi_version));
        }
        let file: Self = language.read(bytes)?;
        name::check_kind(&file.kind).map_err(Error::Name)?;
        let mut names = BTreeSet::new();
        for device in &file.devices {
            name::check_name(&device.name).map_err(Error::Name)?;
            if !names.insert(&device.name) {
                return Err(Error::Twice(device.name.clone()));
            }
        }
        if names.is_empty() {
            return Err(Error::Empty);
        }
        Ok(file)
    }

    /// The device `name`.
    pub(super) fn device(&self, name: &str) -> Option<&Device> {
        self.devices.iter().find(|device| device.name == name)
    }
}

/// Whether a version is one that is known; what is changed in the third place is no change of it.
fn is_known(version: &str) -> bool {
    let numbers: Vec<Option<u64>> = version
        .split('.')
        .map(|part| part.parse().ok().filter(|_| !part.starts_with('+')))
        .collect();
    match numbers[..] {
        [Some(major), Some(minor), Some(_)] => VERSIONS.contains(&(major, minor)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = r#"{"cdiVersion": "0.7.0", "kind": "vendor.com/class",
        "annotations": {"a": "b"},
        "devices": [{"name": "one", "annotations": {"c": "d"}, "containerEdits": {
            "env": ["A=b"],
            "deviceNodes": [{"path": "/dev/x", "hostPath": "/dev/y", "type": "c", "major": 1,
                "minor": 3, "fileMode": 438, "permissions": "rw", "uid": 1, "gid": 2}],
            "mounts": [{"hostPath": "/a", "containerPath": "/b", "options": ["ro", "bind"]}],
            "additionalGids": [0, 7],
            "hooks": [{"hookName": "createContainer", "path": "/bin/true", "args": ["true"],
                "env": ["C=d"], "timeout": 5}]}}],
        "containerEdits": {"intelRdt": {"closID": "x"}, "netDevices": [{"name": "eth0"}]}}"#;

    const YAML: &str = "cdiVersion: 0.7.0
kind: vendor.com/class
annotations: {a: b}
containerEdits:
  intelRdt: {closID: x}
  netDevices: [{name: eth0}]
devices:
- name: one
  annotations: {c: d}
  containerEdits:
    env: [A=b]
    deviceNodes:
    - path: /dev/x
      hostPath: /dev/y
      type: c
      major: 1
      minor: 3
      fileMode: 0666
      permissions: rw
      uid: 1
      gid: 2
    mounts:
    - hostPath: /a
      containerPath: /b
      options: [ro, bind]
    additionalGids: [0, 7]
    hooks:
    - hookName: createContainer
      path: /bin/true
      args: [\"true\"]
      env: [C=d]
      timeout: 5
";

    fn json(text: &str) -> Result<File, Error> {
        File::parse(text.as_bytes(), Language::Json)
    }

    #[test]
    fn a_file_says_the_same_in_both_languages() {
        let file = json(WHOLE).unwrap();
        let node = &file.device("one").unwrap().container_edits.device_nodes[0];
        assert_eq!((node.major, node.file_mode), (Some(1), Some(0o666)));
        assert!(file.container_edits.intel_rdt.is_some());
        assert_eq!(file, File::parse(YAML.as_bytes(), Language::Yaml).unwrap());
        assert_eq!(
            kind_of(YAML.as_bytes(), Language::Yaml).unwrap(),
            "vendor.com/class"
        );
    }

    #[test]
    fn versions_that_are_not_known_are_refused() {
        let of = |version: &str| json(&WHOLE.replace("0.7.0", version));
        for known in ["0.3.0", "0.8.0", "1.0.0", "1.1.0", "1.1.7"] {
            of(known).unwrap();
        }
        for other in [
            "0.2.0", "0.9.0", "1.2.0", "2.0.0", "1", "1.0", "", "v1.0.0", "1.0.0-rc", "+1.0.0",
        ] {
            assert!(matches!(of(other), Err(Error::Version(_))), "{other}");
        }
        // What such a one has besides is not what is wrong with it.
        let later = WHOLE
            .replace("0.7.0", "1.2.0")
            .replace("\"env\"", "\"later\"");
        assert!(matches!(json(&later), Err(Error::Version(_))));
    }

    #[test]
    fn what_is_not_in_the_specification_is_an_error() {
        for (from, to) in [
            ("\"env\"", "\"evn\""),
            ("\"kind\"", "\"sort\""),
            ("\"annotations\": {\"c\"", "\"notes\": {\"c\""),
            ("\"permissions\"", "\"permission\""),
            ("\"hookName\"", "\"name\""),
            ("\"containerPath\"", "\"containerpath\""),
            ("\"vendor.com/class\"", "\"class\""),
            ("\"one\"", "\"-one\""),
            ("438", "\"0666\""),
        ] {
            assert!(WHOLE.contains(from), "{from}");
            assert!(json(&WHOLE.replace(from, to)).is_err(), "{to}");
            let yaml = File::parse(WHOLE.replace(from, to).as_bytes(), Language::Yaml);
            assert!(yaml.is_err() || to == "\"0666\"", "{to}");
        }
        let none = r#"{"cdiVersion": "0.7.0", "kind": "a.b/c", "devices": []}"#;
        assert!(matches!(json(none), Err(Error::Empty)));
        let twice = none.replace("[]", r#"[{"name": "x"}, {"name": "x"}]"#);
        assert!(matches!(json(&twice), Err(Error::Twice(_))));
        let key = YAML.replace("kind: vendor.com/class", "kind: a.b/c\nkind: a.b/c");
        assert!(File::parse(key.as_bytes(), Language::Yaml).is_err());
    }
}
