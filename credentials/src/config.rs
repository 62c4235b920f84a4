//! What an auth file says: which entry is for a repository, and what it holds.
//!
//! The document is kept as it came, so that what others wrote into it survives a change.

use std::io;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde_json::ser::PrettyFormatter;
use serde_json::{Map, Serializer, Value, json};
use ucr_images::{AuthScope, Credential, Login, RegistryHost, Secret};

use crate::file::Generation;

/// The user name that says that the password is an identity token (docker-credential-helpers).
pub(super) const TOKEN_USER: &str = "<token>";
const AUTHS: &str = "auths";
const HELPERS: &str = "credHelpers";
const STORE: &str = "credsStore";
/// Docker writes the padding, other tools forget it.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A parsed auth file: `auths`, `credHelpers` and `credsStore` of containers-auth.json(5).
#[derive(Clone, PartialEq)]
pub struct AuthConfig {
    document: Map<String, Value>,
    generation: Generation,
}

/// What a file has for a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kept {
    /// The credential itself, in the entry of this key.
    Here { key: String, credential: Credential },
    /// Another program has it, `docker-credential-` and this.
    ByHelper(String),
}

impl AuthConfig {
    /// Reads a file of the newer generation, `config.json` or `auth.json`.
    ///
    /// # Errors
    /// What is wrong with it, in words that hold nothing of its content.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        Self::parse_as(bytes, Generation::Config)
    }

    /// Reads a file of either generation; an older one may be written like a newer.
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub fn parse_as(bytes: &[u8], generation: Generation) -> Result<Self, String> {
        let document = match serde_json::from_slice(bytes) {
            Ok(Value::Object(document)) => document,
            Ok(_) => return Err("it is no JSON object".to_owned()),
            Err(_) if bytes.iter().all(u8::is_ascii_whitespace) => Map::new(),
            Err(error) => {
                return Err(format!(
                    "line {}, column {} is no JSON",
                    error.line(),
                    error.column()
                ));
            }
        };
        let generation = if document.contains_key(AUTHS) {
            Generation::Config
        } else {
            generation
        };
        let config = Self {
            document,
            generation,
        };
        for part in [AUTHS, HELPERS] {
            config.check_is_object(part)?;
        }
        Ok(config)
    }

    fn check_is_object(&self, part: &str) -> Result<(), String> {
        match self.document.get(part) {
            None | Some(Value::Null | Value::Object(_)) => Ok(()),
            Some(_) => Err(format!("its \"{part}\" is no JSON object")),
        }
    }

    /// What is kept for a repository: by the helper of its registry, in the entry with the
    /// longest path, or by the helper for all registries.
    ///
    /// An entry without content counts for nothing: docker leaves one where a helper has
    /// the credential.
    ///
    /// # Errors
    /// An entry, or the name of a helper, that nobody can use.
    pub(super) fn find(
        &self,
        host: &RegistryHost,
        repository: &str,
    ) -> Result<Option<Kept>, String> {
        if let Some(helper) = self.helper_of(host, repository)? {
            return Ok(Some(Kept::ByHelper(helper)));
        }
        for (key, entry) in matching(self.entries(), host, repository) {
            let credential = decode(entry).map_err(|why| format!("its entry {key:?} {why}"))?;
            if let Some(credential) = credential {
                let key = key.clone();
                return Ok(Some(Kept::Here { key, credential }));
            }
        }
        let store = self.document.get(STORE).unwrap_or(&Value::Null);
        Ok(helper_name(store)?.map(Kept::ByHelper))
    }

    /// The helper that `credHelpers` names for a repository's registry.
    pub(super) fn helper_of(
        &self,
        host: &RegistryHost,
        repository: &str,
    ) -> Result<Option<String>, String> {
        let helpers = self.document.get(HELPERS).and_then(Value::as_object);
        let found = matching(helpers, host, repository);
        found
            .first()
            .map_or(Ok(None), |(_, helper)| helper_name(helper))
    }

    fn entries(&self) -> Option<&Map<String, Value>> {
        match self.generation {
            Generation::Config => self.document.get(AUTHS)?.as_object(),
            Generation::Dockercfg => Some(&self.document),
        }
    }

    /// The names and whereabouts of all entries that hold something.
    pub fn scopes(&self) -> Vec<AuthScope> {
        let entries = self.entries().into_iter().flatten();
        let full = entries.filter(|(_, entry)| !matches!(decode(entry), Ok(None)));
        full.filter_map(|(key, _)| AuthScope::of_key(key)).collect()
    }

    /// Keeps a login for `scope`, in place of what was there; whether something was.
    pub fn set(&mut self, scope: &AuthScope, login: &Login) -> bool {
        let entry = json!({"auth": login.encoded().expose()});
        let auths = self.document.get(AUTHS).unwrap_or(&Value::Null);
        if self.generation == Generation::Config && auths.is_null() {
            self.document.insert(AUTHS.to_owned(), json!({}));
        }
        let entries = self.entries_mut();
        entries.is_some_and(|entries| entries.insert(scope.to_string(), entry).is_some())
    }

    /// Removes all entries for `scope`, however they are written; whether there were any.
    pub fn remove(&mut self, scope: &AuthScope) -> bool {
        let Some(entries) = self.entries_mut() else {
            return false;
        };
        let before = entries.len();
        entries.retain(|key, _| AuthScope::of_key(key).as_ref() != Some(scope));
        entries.len() < before
    }

    /// Removes all entries; how many there were.
    pub fn clear(&mut self) -> usize {
        self.entries_mut().map_or(0, |entries| {
            let count = entries.len();
            entries.clear();
            count
        })
    }

    fn entries_mut(&mut self) -> Option<&mut Map<String, Value>> {
        match self.generation {
            Generation::Config => self.document.get_mut(AUTHS)?.as_object_mut(),
            Generation::Dockercfg => Some(&mut self.document),
        }
    }

    /// The document as podman writes it, indented by tabs.
    ///
    /// # Errors
    /// None that a document in memory can have.
    pub fn to_json(&self) -> io::Result<Vec<u8>> {
        use serde::Serialize as _;
        let mut bytes = Vec::new();
        let formatter = PrettyFormatter::with_indent(b"\t");
        let mut serializer = Serializer::with_formatter(&mut bytes, formatter);
        self.document.serialize(&mut serializer)?;
        Ok(bytes)
    }
}

impl Default for AuthConfig {
    /// A file with nothing in it.
    fn default() -> Self {
        Self {
            document: Map::new(),
            generation: Generation::Config,
        }
    }
}

impl std::fmt::Debug for AuthConfig {
    /// Only what it is for: the document holds secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.scopes()).finish()
    }
}

/// The values whose keys are for a repository, the longest path first, and of several
/// spellings of one the plain one first.
fn matching<'a>(
    values: Option<&'a Map<String, Value>>,
    host: &RegistryHost,
    repository: &str,
) -> Vec<(&'a String, &'a Value)> {
    let mut found: Vec<_> = values
        .into_iter()
        .flatten()
        .filter_map(|(key, value)| Some((AuthScope::of_key(key)?, key, value)))
        .filter(|(scope, ..)| scope.covers(host, repository))
        .collect();
    found.sort_by_key(|(scope, key, _)| {
        let is_plain = scope.to_string() == **key;
        std::cmp::Reverse((scope.path().len(), is_plain))
    });
    let plain = found.into_iter().map(|(_, key, value)| (key, value));
    plain.collect()
}

/// The end of a program's name; nothing that leads to another directory.
fn helper_name(value: &Value) -> Result<Option<String>, String> {
    let is_of_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    match value {
        Value::Null => Ok(None),
        Value::String(name) if name.is_empty() => Ok(None),
        Value::String(name) if name.chars().all(is_of_name) => Ok(Some(name.clone())),
        _ => Err("the name of a credential helper in it is none".to_owned()),
    }
}

/// What an entry holds, `None` when that is nothing.
fn decode(entry: &Value) -> Result<Option<Credential>, &'static str> {
    let Some(entry) = entry.as_object() else {
        return Err("is no JSON object");
    };
    let field = |name: &str| match entry.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.as_str()).filter(|text| !text.is_empty())),
        Some(_) => Err("has a field that is no text"),
    };
    if let Some(token) = field("identitytoken")? {
        return Ok(Some(Credential::IdentityToken(Secret::new(token))));
    }
    if let Some(token) = field("registrytoken")? {
        if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("has a token that cannot be sent");
        }
        return Ok(Some(Credential::RegistryToken(Secret::new(token))));
    }
    let (principal, secret) = match (field("auth")?, field("username")?) {
        (Some(auth), _) => {
            decode_pair(auth).ok_or("has an \"auth\" that is no user and password")?
        }
        (None, Some(user)) => (user.to_owned(), field("password")?.unwrap_or("").to_owned()),
        (None, None) => return Ok(None),
    };
    Ok(match (principal.as_str(), secret.as_str()) {
        ("", "") => None,
        (TOKEN_USER, _) => Some(Credential::IdentityToken(Secret::new(secret))),
        _ => Some(Credential::login(principal, secret)),
    })
}

/// `user:password` in base64; docker once padded it with NUL.
fn decode_pair(auth: &str) -> Option<(String, String)> {
    let text = String::from_utf8(BASE64.decode(auth).ok()?).ok()?;
    let (user, password) = text.split_once(':')?;
    let password = password.trim_end_matches('\0');
    Some((user.to_owned(), password.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// "user:" and the name of the file that it is of.
    fn auth(user: &str) -> String {
        BASE64.encode(format!("{user}:pw"))
    }

    fn config(document: &Value) -> AuthConfig {
        AuthConfig::parse(document.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn numbers_of_others_are_the_same_when_they_are_written_again() {
        let text = br#"{"pluginOf":{"some":266666666633333333333.81870611}}"#;
        let config = AuthConfig::parse(text).unwrap();
        let written = config.to_json().unwrap();
        assert_eq!(AuthConfig::parse(&written), Ok(config));
    }

    fn found(config: &AuthConfig, place: &str) -> Option<Kept> {
        let (host, repository) = place.split_once('/').unwrap();
        config.find(&host.parse().unwrap(), repository).unwrap()
    }

    fn user(config: &AuthConfig, place: &str) -> Option<String> {
        match found(config, place)? {
            Kept::Here {
                credential: Credential::Login(login),
                ..
            } => Some(login.principal),
            other => Some(format!("{other:?}")),
        }
    }

    #[test]
    fn the_longest_path_counts() {
        let config = config(&json!({"auths": {
            "r.example": {"auth": auth("host")},
            "r.example/team": {"auth": auth("team")},
            "r.example/team/app": {"auth": auth("app")},
            "r.example:5000": {"auth": auth("port")},
        }}));
        for (place, expected) in [
            ("r.example/team/app", Some("app")),
            ("r.example/team/app/x", Some("app")),
            ("r.example:443/team/b", Some("team")),
            ("R.EXAMPLE/teams", Some("host")),
            ("r.example:5000/team", Some("port")),
            ("other.example/team", None),
            ("r.example.evil.example/team", None),
        ] {
            assert_eq!(user(&config, place).as_deref(), expected, "{place}");
        }
    }

    #[test]
    fn w3_docker_hub_is_found_by_each_of_its_names_and_no_other() {
        for key in [
            "https://index.docker.io/v1/",
            "docker.io",
            "index.docker.io",
            "registry-1.docker.io",
        ] {
            let config = config(&json!({"auths": {key: {"auth": auth("hub")}}}));
            assert_eq!(user(&config, "docker.io/library/x").as_deref(), Some("hub"));
            assert_eq!(user(&config, "docker.io.evil.example/x"), None);
        }
        let both = config(&json!({"auths": {
            "https://index.docker.io/v1/": {"auth": auth("old")},
            "docker.io": {"auth": auth("plain")},
        }}));
        assert_eq!(user(&both, "docker.io/library/x").as_deref(), Some("plain"));
    }

    #[test]
    fn entries_of_every_kind() {
        let one = |entry: Value| {
            let config = config(&json!({"auths": {"r.example": entry}}));
            match found(&config, "r.example/x")? {
                Kept::Here { credential, .. } => Some(credential),
                Kept::ByHelper(name) => panic!("{name}"),
            }
        };
        let login = Some(Credential::login("alice", "a:b"));
        assert_eq!(one(json!({"auth": BASE64.encode("alice:a:b")})), login);
        assert_eq!(one(json!({"auth": BASE64.encode("alice:a:b\0\0")})), login);
        let unpadded = BASE64.encode("alice:a:b").replace('=', "");
        assert_eq!(one(json!({"auth": unpadded})), login);
        assert_eq!(one(json!({"username": "alice", "password": "a:b"})), login);
        let identity = Some(Credential::IdentityToken(Secret::new("t")));
        assert_eq!(
            one(json!({"auth": auth("x"), "identitytoken": "t"})),
            identity
        );
        assert_eq!(one(json!({"auth": BASE64.encode("<token>:t")})), identity);
        let registry = Some(Credential::RegistryToken(Secret::new("t")));
        assert_eq!(one(json!({"registrytoken": "t"})), registry);
        for nothing in [
            json!({}),
            json!({"auth": ""}),
            json!({"auth": "Og=="}),
            json!({"email": "x"}),
        ] {
            assert_eq!(one(nothing), None);
        }
    }

    #[test]
    fn helpers_come_before_entries_and_the_store_after_them() {
        let config = config(&json!({
            "auths": {"a.example": {"auth": auth("a")}, "c.example": {}, "h.example": {"auth": auth("h")}},
            "credHelpers": {"https://h.example": "ecr-login", "index.docker.io": "hub", "n.example": ""},
            "credsStore": "secretservice",
        }));
        let helper = |name: &str| Some(Kept::ByHelper(name.to_owned()));
        assert_eq!(found(&config, "h.example/x"), helper("ecr-login"));
        assert_eq!(found(&config, "docker.io/library/x"), helper("hub"));
        assert_eq!(user(&config, "a.example/x").as_deref(), Some("a"));
        for place in ["c.example/x", "n.example/x", "unknown.example/x"] {
            assert_eq!(found(&config, place), helper("secretservice"), "{place}");
        }
    }

    #[test]
    fn both_generations_of_the_older_file() {
        let flat = json!({"https://r.example/v1/": {"auth": auth("flat"), "email": "x"}});
        let newer = json!({"auths": {"r.example": {"auth": auth("newer")}}});
        for (document, expected) in [(&flat, "flat"), (&newer, "newer")] {
            let bytes = document.to_string();
            let config = AuthConfig::parse_as(bytes.as_bytes(), Generation::Dockercfg).unwrap();
            assert_eq!(user(&config, "r.example/x").as_deref(), Some(expected));
        }
        // The newer file is not read like the older.
        assert_eq!(found(&config(&flat), "r.example/x"), None);
    }

    #[test]
    fn what_is_wrong_is_said_without_the_content() {
        for bytes in [
            "[]",
            "{",
            "\"hunter2\"",
            "{\"auths\": \"hunter2\"}",
            "{\"credHelpers\": 1}",
        ] {
            let why = AuthConfig::parse(bytes.as_bytes()).unwrap_err();
            assert!(!why.contains("hunter2"), "{why}");
        }
        for entry in [
            json!("hunter2"),
            json!({"auth": "hunter2"}),
            json!({"auth": 1}),
            json!({"registrytoken": "a\nb"}),
        ] {
            let config = config(&json!({"auths": {"r.example": entry}}));
            let why = config.find(&"r.example".parse().unwrap(), "x").unwrap_err();
            assert!(
                why.contains("\"r.example\"") && !why.contains("hunter2"),
                "{why}"
            );
            // Somebody else's entry is nobody's trouble.
            assert_eq!(found(&config, "other.example/x"), None);
        }
        let hostile = config(&json!({"credsStore": "../../tmp/x"}));
        assert!(hostile.find(&"r.example".parse().unwrap(), "x").is_err());
        for empty in ["", " \n", "{}", "{\"auths\": null}"] {
            AuthConfig::parse(empty.as_bytes()).unwrap();
        }
    }

    #[test]
    fn a_change_keeps_what_others_wrote() {
        let mut config = config(&json!({
            "auths": {"https://index.docker.io/v1/": {"auth": auth("old")}, "r.example": {"auth": auth("r")}},
            "psFormat": "table", "HttpHeaders": {"X": "y"},
        }));
        let hub: AuthScope = "docker.io".parse().unwrap();
        let login = Login {
            principal: "new".to_owned(),
            secret: Secret::new("pw"),
        };
        config.set(&hub, &login);
        assert_eq!(user(&config, "docker.io/library/x").as_deref(), Some("new"));
        let written = AuthConfig::parse(&config.to_json().unwrap()).unwrap();
        assert_eq!(written, config);
        assert!(config.remove(&hub));
        assert!(!config.remove(&hub));
        assert_eq!(found(&config, "docker.io/library/x"), None);
        assert_eq!(user(&config, "r.example/x").as_deref(), Some("r"));
        let text = String::from_utf8(config.to_json().unwrap()).unwrap();
        assert!(
            text.contains("\n\t\"HttpHeaders\"") && text.contains("psFormat"),
            "{text}"
        );
        assert!(!format!("{config:?}").contains(&auth("r")));
    }
}
