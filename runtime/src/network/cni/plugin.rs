//! Running one plugin.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::Stdio;

use serde_json::Value;

use super::{Attachment, Error, is_word};

/// Where the programs are that plugins run (`iptables`, `nft`).
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// The most of a plugin's words that are passed on.
const WORDS: usize = 2000;

/// What a plugin is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Command {
    /// Add the container to the network.
    #[cfg_attr(not(feature = "launch"), expect(dead_code, reason = "ucr alone adds"))]
    Add,
    /// Take it away.
    Del,
}

impl Command {
    fn name(self) -> &'static str {
        match self {
            Self::Add => "ADD",
            Self::Del => "DEL",
        }
    }
}

/// Runs the plugin of `configuration` for `attachment`, and returns what it answers.
pub(super) fn run(
    attachment: &Attachment,
    command: Command,
    configuration: &Value,
) -> Result<Value, Error> {
    let kind = kind(configuration);
    let plugin = find(attachment, kind)?;
    let failed = |error| Error::Run(plugin.clone(), error);
    let places = attachment
        .places
        .iter()
        .map(|place| place.to_string_lossy());
    let places: Vec<_> = places.collect();
    let mut child = std::process::Command::new(&plugin)
        .env_clear()
        .env("PATH", PATH)
        .env("CNI_COMMAND", command.name())
        .env("CNI_CONTAINERID", &attachment.container)
        .env("CNI_NETNS", &attachment.namespace)
        .env("CNI_IFNAME", &attachment.interface)
        .env("CNI_PATH", places.join(":"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    // A plugin reads all of it before it answers anything.
    let input = serde_json::to_vec(configuration).unwrap_or_default();
    if let Some(mut stdin) = child.stdin.take() {
        // One that does not read it says why when it ends.
        drop(stdin.write_all(&input));
    }
    let output = child.wait_with_output().map_err(failed)?;
    if !output.status.success() {
        let words = words(&output.stdout, &output.stderr);
        let words = words.unwrap_or_else(|| output.status.to_string());
        return Err(Error::Refused {
            plugin: kind.to_owned(),
            command: command.name(),
            words,
        });
    }
    match command {
        Command::Del => Ok(Value::Null),
        Command::Add => serde_json::from_slice(&output.stdout).map_err(|error| {
            let said = String::from_utf8_lossy(&output.stdout);
            Error::Answer(kind.to_owned(), format!("{error}: {}", cut(&said)))
        }),
    }
}

/// The name of a plugin.
pub(super) fn kind(configuration: &Value) -> &str {
    configuration["type"].as_str().unwrap_or_default()
}

/// The program of a plugin. Its name is no path, or a configuration could have any program run.
pub(super) fn find(attachment: &Attachment, kind: &str) -> Result<PathBuf, Error> {
    let found = attachment.places.iter().map(|place| place.join(kind));
    let mut found = found.filter(|path| is_word(kind) && path.is_file());
    found.next().ok_or_else(|| {
        let places = attachment
            .places
            .iter()
            .map(|place| place.display().to_string());
        let places: Vec<_> = places.collect();
        Error::NoPlugin(format!("{kind:?}"), places.join(", "))
    })
}

/// What a plugin says of its failure: the specification's object, or anything.
fn words(stdout: &[u8], stderr: &[u8]) -> Option<String> {
    let object: Option<Value> = serde_json::from_slice(stdout).ok();
    let said = |key: &str| {
        let text = object.as_ref()?[key].as_str()?.trim().to_owned();
        (!text.is_empty()).then_some(text)
    };
    let own = match (said("msg"), said("details")) {
        (Some(message), Some(details)) => Some(format!("{message}: {details}")),
        (message, details) => message.or(details),
    };
    let raw = |bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes).trim().to_owned();
        (!text.is_empty()).then_some(text)
    };
    let own = own.or_else(|| raw(stderr)).or_else(|| raw(stdout));
    own.map(|text| cut(&text))
}

fn cut(text: &str) -> String {
    text.trim().chars().take(WORDS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plugin_is_heard_in_its_own_words() {
        let object = br#"{"code": 7, "msg": "no", "details": "because"}"#;
        assert_eq!(words(object, b"noise").as_deref(), Some("no: because"));
        assert_eq!(words(b"", b"panic: x\n").as_deref(), Some("panic: x"));
        assert_eq!(words(b"text", b"").as_deref(), Some("text"));
        assert_eq!(words(b"", b""), None);
    }

    #[test]
    fn i48_the_name_of_a_plugin_is_no_path() {
        let attachment = Attachment {
            network: "n".parse().unwrap(),
            version: "1.0.0".to_owned(),
            plugins: vec![],
            places: vec!["/usr/bin".into()],
            container: "c".to_owned(),
            namespace: "/x".into(),
            interface: "eth0".to_owned(),
            result: None,
        };
        for kind in ["../bin/true", "/bin/true", "", ".", "..", "true/"] {
            let found = find(&attachment, kind);
            assert!(matches!(found, Err(Error::NoPlugin(..))), "{kind}");
        }
        assert!(find(&attachment, "true").is_ok());
    }
}
