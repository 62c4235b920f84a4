//! Finding devices in the directories of files that describe them.

use std::collections::BTreeSet;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use super::edits::Edits;
use super::file::{self, File, LIMIT, Language};
use super::name::DeviceName;
use crate::command_error::CommandError;
use crate::ui::Ui;

/// Where descriptions are unless it is said otherwise; what is in the second stands before the first.
pub(crate) const DIRECTORIES: [&str; 2] = ["/etc/cdi", "/var/run/cdi"];

/// A file that was read, and where it was.
struct Described {
    path: PathBuf,
    file: File,
}

/// What `wanted` devices change, by the descriptions in `directories`; a device of a later one
/// stands before that of an earlier one.
///
/// # Errors
/// A device that is not found, or described by two files of one directory; a file of its kind that
/// is not by the specification; what cannot be honoured.
pub(crate) fn find(
    wanted: &[DeviceName],
    directories: &[PathBuf],
    ui: &Ui,
) -> Result<Edits, CommandError> {
    let mut edits = Edits::default();
    if wanted.is_empty() {
        return Ok(edits);
    }
    let kinds: BTreeSet<&str> = wanted.iter().map(|name| name.kind.as_str()).collect();
    let read = |directory: &PathBuf| described(directory, &kinds, ui);
    let all: Vec<Vec<Described>> = directories.iter().map(read).collect::<Result<_, _>>()?;
    let mut applied: Vec<&Path> = Vec::new();
    let mut seen = BTreeSet::new();
    for name in wanted.iter().filter(|name| seen.insert(*name)) {
        let found = choose(name, &all)?;
        let found = found.ok_or_else(|| missing(name, &all, directories))?;
        let refused = |error| {
            let path = found.path.display();
            let text = format!("cannot give the container the device {name} of {path}: {error}");
            CommandError::sentence(text)
        };
        // What all devices of a file need is needed once.
        if !applied.contains(&found.path.as_path()) {
            applied.push(&found.path);
            edits.add(&found.file.container_edits).map_err(refused)?;
        }
        if let Some(device) = found.file.device(&name.name) {
            edits.add(&device.container_edits).map_err(refused)?;
        }
    }
    Ok(edits)
}

/// The file that describes `name`, of the last directory that has one.
fn choose<'a>(
    name: &DeviceName,
    all: &'a [Vec<Described>],
) -> Result<Option<&'a Described>, CommandError> {
    let describes =
        |one: &&Described| one.file.kind == name.kind && one.file.device(&name.name).is_some();
    for directory in all.iter().rev() {
        let found: Vec<&Described> = directory.iter().filter(describes).collect();
        match found[..] {
            [] => {}
            [one] => return Ok(Some(one)),
            _ => {
                let paths: Vec<_> = found
                    .iter()
                    .map(|one| one.path.display().to_string())
                    .collect();
                let text = format!("the device {name} is described by {}", paths.join(" and "));
                return Err(CommandError::sentence(text)
                    .hint("remove it from all but one of these files of one directory"));
            }
        }
    }
    Ok(None)
}

fn missing(name: &DeviceName, all: &[Vec<Described>], directories: &[PathBuf]) -> CommandError {
    let files = all
        .iter()
        .flatten()
        .filter(|one| one.file.kind == name.kind);
    let names: BTreeSet<&str> = files
        .flat_map(|one| &one.file.devices)
        .map(|device| device.name.as_str())
        .collect();
    let looked: Vec<_> = directories
        .iter()
        .map(|one| one.display().to_string())
        .collect();
    let there = if names.is_empty() {
        format!("there are no devices of the kind {}", name.kind)
    } else {
        let names: Vec<_> = names.into_iter().collect();
        format!("of the kind {} there are: {}", name.kind, names.join(", "))
    };
    CommandError::sentence(format!("there is no device {name}"))
        .note(there)
        .note(format!(
            "looked for *.json and *.yaml in {}",
            looked.join(" and ")
        ))
}

/// The files of `directory` that describe devices of `kinds`, in the order of their names.
fn described(
    directory: &Path,
    kinds: &BTreeSet<&str>,
    ui: &Ui,
) -> Result<Vec<Described>, CommandError> {
    let failed = |error: &std::io::Error| {
        let (path, error) = (directory.display(), ucr_sys::reason(error));
        CommandError::sentence(format!("cannot list the devices in {path}: {error}"))
    };
    let entries = match std::fs::read_dir(directory) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(|error| failed(&error))?,
    };
    let mut paths = Vec::new();
    for entry in entries {
        paths.push(entry.map_err(|error| failed(&error))?.path());
    }
    paths.sort();
    let mut found = Vec::new();
    for path in paths {
        let Some(language) = Language::of(&path) else {
            continue;
        };
        let unusable = |error: file::Error| {
            let text = format!(
                "cannot use the device description {}: {error}",
                path.display()
            );
            CommandError::sentence(text)
        };
        let head = read(&path).and_then(|bytes| Ok((file::kind_of(&bytes, language)?, bytes)));
        match head {
            // Whatever is wrong with it, it may be of any kind: that is no reason to do without all
            // others.
            Err(error) => ui.say_ignored(&unusable(error)),
            Ok((kind, _)) if !kinds.contains(kind.as_str()) => {}
            Ok((_, bytes)) => {
                let file = File::parse(&bytes, language).map_err(unusable)?;
                found.push(Described { path, file });
            }
        }
    }
    Ok(found)
}

fn read(path: &Path) -> Result<Vec<u8>, file::Error> {
    // Links are followed: the directory is the administrator's.
    let metadata = path.metadata().map_err(file::Error::Read)?;
    if !metadata.is_file() || metadata.len() > LIMIT {
        return Err(file::Error::NoFile);
    }
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(file::Error::Read)?;
    file.take(LIMIT)
        .read_to_end(&mut bytes)
        .map_err(file::Error::Read)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    struct Directories {
        temp: tempfile::TempDir,
        paths: Vec<PathBuf>,
    }

    impl Directories {
        /// `first` and `second`, of which the second is the later one.
        fn new() -> Self {
            let temp = tempfile::tempdir().unwrap();
            let paths = ["first", "second"].map(|name| temp.path().join(name));
            for path in &paths {
                std::fs::create_dir(path).unwrap();
            }
            let paths = paths.into();
            Self { temp, paths }
        }

        /// A file of one device `name` that sets `A` to `value`.
        fn describe(&self, path: &str, name: &str, value: &str) {
            let text = format!(
                r#"{{"cdiVersion": "0.5.0", "kind": "vendor.com/class",
                "devices": [{{"name": "{name}", "containerEdits": {{"env": ["A={value}"]}}}}],
                "containerEdits": {{"env": ["ALL={value}"]}}}}"#
            );
            self.write(path, &text);
        }

        fn write(&self, path: &str, text: &str) {
            let path = self.temp.path().join(path);
            let mut file = std::fs::File::create(path).unwrap();
            file.write_all(text.as_bytes()).unwrap();
        }

        fn env(&self, names: &[&str]) -> Result<Vec<String>, String> {
            let names: Vec<_> = names
                .iter()
                .map(|name| DeviceName::parse(&format!("vendor.com/class={name}")).unwrap())
                .collect();
            let found = find(&names, &self.paths, &Ui::new());
            let details = |error: &CommandError| {
                let details = error.details().map(|(_, text)| text);
                details.collect::<Vec<_>>().join("; ")
            };
            found
                .map(|edits| edits.env().to_vec())
                .map_err(|error| format!("{}; {}", error.message(), details(&error)))
        }
    }

    #[test]
    fn a_later_directory_stands_before_an_earlier_one() {
        let directories = Directories::new();
        directories.describe("first/a.json", "x", "1");
        directories.describe("second/b.yaml", "x", "2");
        directories.describe("first/c.json", "y", "3");
        assert_eq!(directories.env(&["x"]).unwrap(), ["ALL=2", "A=2"]);
        let both = directories.env(&["x", "y", "x"]).unwrap();
        assert_eq!(both, ["ALL=2", "A=2", "ALL=3", "A=3"]);
    }

    #[test]
    fn two_files_of_one_directory_are_a_conflict_for_the_device_that_both_have() {
        let directories = Directories::new();
        directories.describe("first/a.json", "x", "1");
        directories.describe("first/b.yml", "x", "2");
        directories.describe("first/c.json", "y", "3");
        let error = directories.env(&["x"]).unwrap_err();
        assert!(
            error.contains("first/a.json and ") && error.contains("first/b.yml"),
            "{error}"
        );
        assert_eq!(directories.env(&["y"]).unwrap(), ["ALL=3", "A=3"]);
        // What stands before both settles it.
        directories.describe("second/a.json", "x", "4");
        assert_eq!(directories.env(&["x"]).unwrap(), ["ALL=4", "A=4"]);
    }

    #[test]
    fn one_that_is_missing_is_told_with_those_that_are_there() {
        let directories = Directories::new();
        let error = directories.env(&["z"]).unwrap_err();
        assert!(error.contains("no device vendor.com/class=z"), "{error}");
        assert!(
            error.contains("no devices of the kind vendor.com/class"),
            "{error}"
        );
        for path in &directories.paths {
            assert!(error.contains(path.to_str().unwrap()), "{error}");
        }
        directories.describe("second/a.json", "y", "1");
        directories.describe("first/a.json", "x", "1");
        let error = directories.env(&["z"]).unwrap_err();
        assert!(error.contains("there are: x, y"), "{error}");
    }

    #[test]
    fn a_file_of_another_kind_is_nobodys_trouble_and_one_of_this_kind_is() {
        let directories = Directories::new();
        directories.describe("first/a.json", "x", "1");
        directories.write("first/b.json", "no JSON");
        directories.write(
            "first/c.json",
            r#"{"kind": "other.com/class", "cdiVersion": "9"}"#,
        );
        directories.write("first/d.txt", "no description");
        std::fs::create_dir(directories.temp.path().join("first/e.json")).unwrap();
        assert_eq!(directories.env(&["x"]).unwrap(), ["ALL=1", "A=1"]);
        directories.write(
            "first/f.json",
            r#"{"kind": "vendor.com/class", "cdiVersion": "9"}"#,
        );
        let error = directories.env(&["x"]).unwrap_err();
        assert!(
            error.contains("first/f.json: the cdiVersion \"9\""),
            "{error}"
        );
    }
}
