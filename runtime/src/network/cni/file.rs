//! Configurations of networks: finding one by its name, and what it says.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::{Attachment, Error, Name, Places, VERSIONS};

/// Endings of files with configurations.
const ENDINGS: [&str; 3] = ["conflist", "conf", "json"];

/// A network as its file has it.
#[derive(Clone, Debug, PartialEq)]
pub(in super::super) struct List {
    name: Name,
    version: String,
    plugins: Vec<Value>,
}

/// Finds the network `name`.
///
/// # Errors
///
/// None of that name, or one that is not understood.
pub(in super::super) fn find(places: &Places, name: &Name) -> Result<List, Error> {
    let mut others = Vec::new();
    for path in files(places)? {
        match read(&path, name) {
            Ok(Named::This(list)) => return Ok(list),
            Ok(Named::Other(other)) => others.push(other),
            // It may be the one, or not: told where there is no other.
            Err(error) => others.push(format!("{} (not understood: {error})", path.display())),
        }
    }
    let dirs = places.configurations.iter();
    let dirs: Vec<_> = dirs.map(|dir| dir.display().to_string()).collect();
    Err(Error::Missing {
        places: dirs.join(", "),
        others: match others.is_empty() {
            true => String::new(),
            false => format!("; there are {}", others.join(", ")),
        },
    })
}

/// The files of all directories, each directory's by name.
fn files(places: &Places) -> Result<Vec<PathBuf>, Error> {
    let mut files = Vec::new();
    for directory in &places.configurations {
        let entries = match std::fs::read_dir(directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err(Error::Read(directory.clone(), error)),
        };
        let entries = entries.filter_map(Result::ok).map(|entry| entry.path());
        let is_one = |path: &PathBuf| {
            let ending = path.extension().and_then(|ending| ending.to_str());
            ending.is_some_and(|ending| ENDINGS.contains(&ending)) && path.is_file()
        };
        let mut of_directory: Vec<PathBuf> = entries.filter(is_one).collect();
        of_directory.sort_unstable();
        files.extend(of_directory);
    }
    Ok(files)
}

enum Named {
    This(List),
    Other(String),
}

fn read(path: &Path, wanted: &Name) -> Result<Named, Error> {
    let text = std::fs::read(path).map_err(|error| Error::Read(path.into(), error))?;
    let value: Value =
        serde_json::from_slice(&text).map_err(|error| Error::Json(path.into(), error))?;
    let name = value["name"].as_str().unwrap_or_default();
    if name != wanted.as_str() {
        return Ok(Named::Other(name.to_owned()));
    }
    List::of(&value, wanted)
        .map(Named::This)
        .map_err(|why| Error::Configuration(path.into(), why))
}

impl List {
    /// What a file says: a list of plugins, or one plugin alone.
    fn of(value: &Value, name: &Name) -> Result<Self, String> {
        let version = match &value["cniVersion"] {
            Value::Null => "0.2.0",
            Value::String(version) => version,
            other => return Err(format!("cniVersion: {other} is no text")),
        };
        if !VERSIONS.contains(&version) {
            let spoken = VERSIONS.join(", ");
            return Err(format!("cniVersion: {version} is none of {spoken}"));
        }
        let plugins = match &value["plugins"] {
            Value::Null => vec![value.clone()],
            Value::Array(plugins) if !plugins.is_empty() => plugins.clone(),
            _ => return Err("plugins: no list of plugins".to_owned()),
        };
        for (number, plugin) in plugins.iter().enumerate() {
            if !plugin["type"].is_string() {
                return Err(format!("plugins[{number}].type: missing"));
            }
        }
        Ok(Self {
            name: name.clone(),
            version: version.to_owned(),
            plugins,
        })
    }

    /// Whether a plugin of it leads ports of the host inside.
    pub(in super::super) fn maps_ports(&self) -> bool {
        let can = |plugin: &Value| plugin["capabilities"]["portMappings"] == json!(true);
        self.plugins.iter().any(can)
    }

    /// What is to be added: `container` by its `interface`, with `capabilities` for those plugins
    /// that say that they have use for them.
    pub(in super::super) fn attachment(
        self,
        places: &Places,
        (container, namespace, interface): (&str, &Path, String),
        capabilities: &[(&str, Value)],
    ) -> Attachment {
        let mut plugins = self.plugins;
        for plugin in &mut plugins {
            let wanted = plugin["capabilities"].clone();
            let Value::Object(keys) = plugin else {
                continue;
            };
            // "capabilities" is for who runs the plugin, and the plugin does not get it.
            keys.remove("capabilities");
            let given = capabilities.iter();
            let given = given.filter(|(name, _)| wanted[*name] == json!(true));
            let given: serde_json::Map<String, Value> = given
                .map(|(name, value)| ((*name).to_owned(), value.clone()))
                .collect();
            if !given.is_empty() {
                keys.insert("runtimeConfig".to_owned(), Value::Object(given));
            }
        }
        Attachment {
            network: self.name,
            version: self.version,
            plugins,
            places: places.plugins.clone(),
            container: container.to_owned(),
            namespace: namespace.to_path_buf(),
            interface,
            result: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn places(files: &[(&str, &str)]) -> (tempfile::TempDir, Places) {
        let temp = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let mut file = std::fs::File::create(temp.path().join(name)).unwrap();
            file.write_all(text.as_bytes()).unwrap();
        }
        let places = Places {
            configurations: vec![temp.path().to_owned(), "/no/such".into()],
            plugins: vec![],
        };
        (temp, places)
    }

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    #[test]
    fn the_first_file_by_name_that_has_the_network_counts() {
        let (_temp, places) = places(&[
            (
                "20-b.conflist",
                r#"{"cniVersion": "1.0.0", "name": "net", "plugins": [{"type": "second"}]}"#,
            ),
            (
                "10-a.conf",
                r#"{"cniVersion": "0.3.1", "name": "net", "type": "first"}"#,
            ),
            ("30-c.conflist", "{"),
            (
                "40-d.txt",
                r#"{"cniVersion": "0.3.1", "name": "text", "type": "x"}"#,
            ),
        ]);
        let list = find(&places, &name("net")).unwrap();
        assert_eq!((list.version.as_str(), list.plugins.len()), ("0.3.1", 1));
        assert_eq!(list.plugins[0]["type"], "first");
        let missing = find(&places, &name("text")).unwrap_err().to_string();
        assert!(
            missing.contains("net, net") && missing.contains("30-c.conflist (not understood"),
            "{missing}"
        );
    }

    #[test]
    fn what_breaks_the_specification_is_refused_by_its_path() {
        for (text, said) in [
            (r#"{"name": "n", "type": "x"}"#, "cniVersion: 0.2.0"),
            (
                r#"{"name": "n", "cniVersion": "9.0.0", "type": "x"}"#,
                "9.0.0",
            ),
            (r#"{"name": "n", "cniVersion": "1.0.0"}"#, "plugins[0].type"),
            (
                r#"{"name": "n", "cniVersion": "1.0.0", "plugins": []}"#,
                "plugins: ",
            ),
            (
                r#"{"name": "n", "cniVersion": 1, "type": "x"}"#,
                "cniVersion: 1",
            ),
        ] {
            let (_temp, places) = places(&[("a.conf", text)]);
            let error = find(&places, &name("n")).unwrap_err().to_string();
            assert!(error.contains(said), "{text}: {error}");
        }
    }

    #[test]
    fn capabilities_go_to_the_plugins_that_have_use_for_them() {
        let text = r#"{"name": "n", "cniVersion": "1.0.0", "plugins": [{"type": "a"},
            {"type": "b", "capabilities": {"portMappings": true, "mac": true}}]}"#;
        let (_temp, places) = places(&[("a.conflist", text)]);
        let list = find(&places, &name("n")).unwrap();
        assert!(list.maps_ports());
        let ports = json!([{"hostPort": 1}]);
        let made = list.attachment(
            &places,
            ("c", Path::new("/x"), "eth0".to_owned()),
            &[("portMappings", ports.clone())],
        );
        assert_eq!(made.plugins[0], json!({"type": "a"}));
        let second = json!({"type": "b", "runtimeConfig": {"portMappings": ports}});
        assert_eq!(made.plugins[1], second);
    }
}
