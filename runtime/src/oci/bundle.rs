//! A bundle: a directory with a configuration, and a root file system.

use std::path::{Path, PathBuf};

use oci_spec::runtime::Spec;
use serde_json::{Value, json};

/// Largest configuration that is read.
const CONFIG_MAX: u64 = 16 << 20;

/// A bundle that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The directory.
    #[error("cannot open the bundle {0}")]
    Directory(PathBuf, #[source] std::io::Error),
    /// Its configuration cannot be read.
    #[error("cannot read {0}")]
    Read(PathBuf, #[source] ucr_sys::Error),
    /// Its configuration is none.
    #[error("{0} is not a configuration of the OCI runtime specification")]
    Parse(PathBuf, #[source] serde_json::Error),
    /// A field that would be dropped.
    #[error("{file} has the field {field}, which is not known and so not honoured")]
    Unknown {
        /// The configuration.
        file: PathBuf,
        /// Its path in it.
        field: String,
    },
    /// It names no root file system.
    #[error("{0} has no root.path")]
    NoRoot(PathBuf),
}

/// A bundle whose configuration is understood whole.
#[derive(Clone, Debug)]
pub struct Bundle {
    /// Its directory, absolute.
    pub path: PathBuf,
    /// Its root file system, absolute.
    pub rootfs: PathBuf,
    /// Its configuration.
    pub spec: Spec,
}

impl Bundle {
    /// Reads `config.json` in the directory `path`.
    ///
    /// # Errors
    ///
    /// [`Error::Unknown`] for a field that our types do not keep, or what cannot be read.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let path = path
            .canonicalize()
            .map_err(|error| Error::Directory(path.into(), error))?;
        let file = path.join("config.json");
        let opened =
            ucr_sys::ready::open(&file).map_err(|error| Error::Read(file.clone(), error))?;
        let bytes = ucr_sys::inroot::read_within(&opened, &file, CONFIG_MAX)
            .map_err(|error| Error::Read(file.clone(), error))?;
        let spec = parse(&bytes).map_err(|error| error.of(&file))?;
        let root = spec.root().as_ref().map(|root| root.path().clone());
        let root = root.filter(|root| !root.as_os_str().is_empty());
        let rootfs = path.join(root.ok_or_else(|| Error::NoRoot(file.clone()))?);
        let rootfs = rootfs
            .canonicalize()
            .map_err(|error| Error::Directory(rootfs, error))?;
        Ok(Self { path, rootfs, spec })
    }
}

/// Reads a `process` of the specification from a file of its own, as part of a configuration.
///
/// # Errors
///
/// As [`Bundle::read`].
pub fn process(file: &Path) -> Result<Spec, Error> {
    let named = || file.to_owned();
    let opened = ucr_sys::ready::open(file).map_err(|error| Error::Read(named(), error))?;
    let bytes = ucr_sys::inroot::read_within(&opened, file, CONFIG_MAX)
        .map_err(|error| Error::Read(named(), error))?;
    let process: Value =
        serde_json::from_slice(&bytes).map_err(|error| Error::Parse(named(), error))?;
    let whole = json!({"ociVersion": "1.0.2", "process": process});
    of_value(whole).map_err(|error| error.of(file))
}

/// A spec that says `resources`, as somebody gave them by way of `file`, and nothing else.
///
/// # Errors
///
/// As [`Bundle::read`].
pub fn resources(file: &Path, resources: &Value) -> Result<Spec, Error> {
    let whole = json!({"ociVersion": "1.0.2", "linux": {"resources": resources}});
    of_value(whole).map_err(|error| error.of(file))
}

enum Unreadable {
    Json(serde_json::Error),
    Unknown(String),
}

impl Unreadable {
    fn of(self, file: &Path) -> Error {
        let file = file.to_owned();
        match self {
            Self::Json(error) => Error::Parse(file, error),
            Self::Unknown(field) => Error::Unknown { file, field },
        }
    }
}

fn parse(bytes: &[u8]) -> Result<Spec, Unreadable> {
    of_value(serde_json::from_slice(bytes).map_err(Unreadable::Json)?)
}

fn of_value(given: Value) -> Result<Spec, Unreadable> {
    let spec: Spec = serde_json::from_value(given.clone()).map_err(Unreadable::Json)?;
    let kept = serde_json::to_value(&spec).map_err(Unreadable::Json)?;
    match lost(&given, &kept) {
        Some(path) => Err(Unreadable::Unknown(path.join("."))),
        None => Ok(spec),
    }
}

/// The path of the first field of `given` that is not in `kept`, if it says anything.
fn lost(given: &Value, kept: &Value) -> Option<Vec<String>> {
    let below = |name: &str, mut path: Vec<String>| {
        path.insert(0, name.to_owned());
        path
    };
    match (given, kept) {
        (Value::Object(given), Value::Object(kept)) => {
            given.iter().find_map(|(name, value)| match kept.get(name) {
                Some(kept) => lost(value, kept).map(|path| below(name, path)),
                None if says_nothing(value) => None,
                None => Some(vec![name.clone()]),
            })
        }
        (Value::Array(given), Value::Array(kept)) => {
            let pairs = given.iter().zip(kept).enumerate();
            let mut lost = pairs.filter_map(|(index, (given, kept))| {
                lost(given, kept).map(|path| below(&index.to_string(), path))
            });
            lost.next()
        }
        _ => None,
    }
}

fn says_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(elements) => elements.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unknown(json: &str) -> Option<String> {
        match parse(json.as_bytes()) {
            Ok(_) => None,
            Err(Unreadable::Unknown(field)) => Some(field),
            Err(Unreadable::Json(error)) => panic!("{json}: {error}"),
        }
    }

    #[test]
    fn s32_a_field_that_would_be_dropped_is_named() {
        assert_eq!(
            unknown(r#"{"ociVersion": "1.0.0", "annotations": {"a.b": "c"}}"#),
            None
        );
        assert_eq!(unknown(r#"{"x": null, "y": []}"#), None);
        assert_eq!(
            unknown(r#"{"linux": {"newThing": 1}}"#).as_deref(),
            Some("linux.newThing")
        );
        let mount = r#"{"mounts": [{"destination": "/a"}, {"destination": "/b", "label": "x"}]}"#;
        assert_eq!(unknown(mount).as_deref(), Some("mounts.1.label"));
    }

    #[test]
    fn an_unknown_capability_is_no_configuration() {
        let json = r#"{"process": {"user": {"uid": 0, "gid": 0}, "cwd": "/",
            "capabilities": {"bounding": ["CAP_TEST"]}}}"#;
        assert!(matches!(parse(json.as_bytes()), Err(Unreadable::Json(_))));
    }

    #[test]
    fn a_bundle_is_known_by_its_absolute_paths() {
        let temp = tempfile::tempdir().expect("tempdir");
        std::fs::create_dir(temp.path().join("rootfs")).expect("mkdir");
        let config = temp.path().join("config.json");
        let write = |text: &str| {
            let mut file = std::fs::File::create(&config).expect("create");
            std::io::Write::write_all(&mut file, text.as_bytes()).expect("write");
        };
        write(r#"{"ociVersion": "1.0.0", "root": {"path": "rootfs"}}"#);
        let bundle = Bundle::read(temp.path()).expect("bundle");
        assert_eq!(bundle.rootfs, bundle.path.join("rootfs"));
        write(r#"{"ociVersion": "1.0.0"}"#);
        assert!(matches!(Bundle::read(temp.path()), Err(Error::NoRoot(_))));
    }
}
