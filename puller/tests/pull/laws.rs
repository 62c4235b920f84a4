//! What holds for every input, whoever made it.
//!
//! Checked of mutated seeds by `mutations`, and of what libFuzzer finds by the targets in
//! `fuzz/`, which include this file.

#[allow(unreachable_pub, reason = "it is the command line's")]
#[path = "../../../src/config_file/document.rs"]
mod document;

use std::net::IpAddr;
use std::path::Path;

use document::ConfigFile;
use serde_json::Value;
use ucr_credentials::{AuthConfig, Generation};
use ucr_credentials::{CredentialSource as _, CredentialSources};
use ucr_images::image::check_document;
use ucr_images::{AuthScope, ImageName, Login, Reference, Registries, RegistryHost, Secret};
use ucr_puller::http::Greeting;
use ucr_puller::registry::{is_registry, token_server};

/// Checks that any `WWW-Authenticate` leads to a public server over https, or nowhere.
pub fn challenge(field: &str) {
    let greeting = Greeting {
        status: 401,
        docker_api: false,
        json: false,
        challenges: field.split('\n').map(str::to_owned).collect(),
        via: None,
    };
    let asked = token_server("r.example", &greeting, &Registries::default());
    if let Ok(Some((host, port))) = &asked {
        assert!(is_registry(&greeting), "{field:?}");
        assert!(!host.is_empty() && *port != 0, "{field:?}");
        assert!(host != "localhost" && !is_inside(host), "{host:?}");
    }
    if let Err(refused) = asked {
        printable(&refused.to_string());
        printable(&refused.hint().unwrap_or_default());
    }
}

fn is_inside(host: &str) -> bool {
    match host.parse() {
        Ok(IpAddr::V4(v4)) => v4.is_loopback() || v4.is_private() || v4.is_link_local(),
        Ok(IpAddr::V6(_)) => false,
        Err(_name) => host == "[::1]",
    }
}

/// Checks that any auth file is refused in words without its content, or stays what it is.
pub fn auth_file(bytes: &[u8]) {
    for generation in [Generation::Config, Generation::Dockercfg] {
        let mut config = match AuthConfig::parse_as(bytes, generation) {
            Ok(config) => config,
            Err(why) => {
                printable(&why);
                continue;
            }
        };
        let written = config.to_json().unwrap();
        assert_eq!(
            AuthConfig::parse_as(&written, generation).as_ref(),
            Ok(&config)
        );
        let text = String::from_utf8_lossy(&written);
        if !text.contains("credHelpers") && !text.contains("credsStore") {
            all_are_found(&config);
        }
        let scope: AuthScope = "added.example:5000/team".parse().unwrap();
        let login = Login {
            principal: "alice".to_owned(),
            secret: Secret::new("wonderland"),
        };
        config.set(&scope, &login);
        assert!(config.scopes().contains(&scope));
        assert!(config.remove(&scope));
        assert!(!config.scopes().contains(&scope));
    }
}

/// What an entry is for is found there, unless it is an entry that nobody can use.
fn all_are_found(config: &AuthConfig) {
    let sources = CredentialSources::default().config("F", config.clone());
    for scope in config.scopes() {
        let repository = match scope.path() {
            "" => "any",
            path => path,
        };
        match sources.find(&scope.host, repository) {
            Ok(found) => {
                let found = found.expect("an entry that holds something is found");
                printable(&found.to_string());
            }
            Err(error) => printable(&error.to_string()),
        }
    }
}

/// Checks that any configuration is refused with a line of it, or says the same twice.
pub fn configuration(text: &str) {
    match ConfigFile::parse(text) {
        Ok(config) => {
            assert_eq!(ConfigFile::parse(text), Ok(config.clone()));
            let reference = "r.example/app".parse().unwrap();
            if let Ok(endpoints) = ucr_puller::registry::endpoints(&config.registries(), &reference)
            {
                assert_eq!(endpoints.last().unwrap().host().to_string(), "r.example");
            }
        }
        Err(wrong) => {
            assert!(!wrong.why.contains('\n'), "{wrong:?}");
            let lines = text.matches('\n').count() + 1;
            assert!(
                wrong.line.is_none_or(|line| (1..=lines).contains(&line)),
                "{wrong:?}"
            );
        }
    }
}

/// Checks that any name of an image is refused, or means the same when it is given as it is shown.
pub fn reference(text: &str) {
    match text.parse::<Reference>() {
        Ok(reference) => {
            let shown = reference.to_string();
            printable(&shown);
            assert_eq!(shown.parse().as_ref(), Ok(&reference));
            let host: RegistryHost = reference.registry().parse().unwrap();
            assert_eq!(host.is_docker_hub(), reference.registry() == "docker.io");
            let path = reference.repository().split('/');
            assert!(
                path.clone().all(|part| !part.is_empty() && part != ".."),
                "{shown}"
            );
            assert!(reference.tag().is_some() || reference.digest().is_some());
        }
        Err(refused) => printable(&refused.to_string()),
    }
    match text.parse::<ImageName>() {
        Ok(name) => {
            let name = name.in_directory(Path::new("/base"));
            let shown = name.to_string();
            printable(&shown);
            // A path that cannot be shown as it is, and one with a colon, mean others then.
            if !text.contains('\\') && !text.contains(char::is_control) {
                assert_eq!(shown.parse().as_ref(), Ok(&name));
            }
        }
        Err(refused) => printable(&refused.to_string()),
    }
}

/// Checks that any manifest is refused, or refers to what every parser of JSON finds in it.
pub fn manifest(bytes: &[u8]) {
    let named = match check_document(bytes, None) {
        Ok(named) => named,
        Err(refused) => return printable(&refused.to_string()),
    };
    // A number that nobody asks for may be larger than this parser counts.
    let Ok(value) = serde_json::from_slice::<Value>(bytes) else {
        return;
    };
    let list = |key: &str, digest: &str| -> Vec<String> {
        let entries = value[key].as_array().into_iter().flatten();
        let digests = entries.map(|entry| entry[digest].as_str().unwrap().to_owned());
        digests.collect()
    };
    let named: Vec<String> = named.iter().map(ToString::to_string).collect();
    if value.get("manifests").is_some() {
        assert_eq!(named, list("manifests", "digest"));
    } else if value.get("layers").is_some() {
        assert_eq!(named[0], value["config"]["digest"]);
        assert_eq!(named[1..], list("layers", "digest"));
    } else {
        // Empty layers are left out, and signatures may hide what was not signed.
        let listed = list("fsLayers", "blobSum");
        let signed = value.get("signatures").is_some();
        assert!(signed || named.iter().all(|digest| listed.contains(digest)));
    }
}

fn printable(text: &str) {
    assert!(!text.chars().any(char::is_control), "{text:?}");
}
