//! Which token server may be asked, and with what (CVE-2026-48978, CVE-2026-33540).

use ucr_images::{RegistryHost, names_inside};
use url::Url;

use super::error::Error;

/// Whether a request for a token carries something that only friends may see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Carrying {
    /// Nothing.
    Nothing,
    /// The registry's credential.
    Credential,
}

/// The URL of the token server that `registry` names, if it may be asked: https and the same
/// host, or one that is built in or named in `friends`, or any public one without a credential.
pub(super) fn allowed(
    registry: &RegistryHost,
    realm: &str,
    friends: &[RegistryHost],
    carrying: Carrying,
) -> Result<Url, Error> {
    let refuse = |why, allow: Option<&RegistryHost>| Error::RealmRefused {
        host: registry.to_string(),
        realm: realm
            .chars()
            .take(200)
            .flat_map(char::escape_default)
            .collect(),
        why,
        server: allow.map(ToString::to_string),
    };
    let Ok(url) = Url::parse(realm) else {
        return Err(refuse("it is no URL", None));
    };
    if url.scheme() != "https" {
        return Err(refuse("it is not https", None));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(refuse("it carries a user name of its own", None));
    }
    // Nobody listens at port 0.
    let Some(server) = RegistryHost::of(&url).filter(|server| server.port() != Some(0)) else {
        return Err(refuse("it names no host", None));
    };
    if server.api_name() == registry.api_name() || friends.contains(&server) {
        return Ok(url);
    }
    if names_inside(&url) {
        let why = "it is an address inside this network";
        return Err(refuse(why, Some(&server)));
    }
    if carrying == Carrying::Credential && !is_built_in(registry, &url) {
        return Err(refuse("it is another host", Some(&server)));
    }
    Ok(url)
}

/// Token servers that are known to belong to a registry of another name.
fn is_built_in(registry: &RegistryHost, realm: &Url) -> bool {
    registry.is_docker_hub() && realm.host_str() == Some("auth.docker.io") && realm.port().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(registry: &str, realm: &str, carrying: Carrying) -> Result<Url, Error> {
        let friends = ["auth.example:8443", "10.0.0.9"].map(|one| one.parse().unwrap());
        allowed(&registry.parse().unwrap(), realm, &friends, carrying)
    }

    fn with_credential(registry: &str, realm: &str) -> Result<Url, Error> {
        ask(registry, realm, Carrying::Credential)
    }

    #[test]
    fn s72_a_credential_goes_only_to_the_registrys_own_host_and_its_friends() {
        assert!(with_credential("r.example:5000", "https://r.example:5001/token").is_ok());
        assert!(with_credential("docker.io", "https://auth.docker.io/token").is_ok());
        assert!(with_credential("registry-1.docker.io", "https://registry-1.docker.io/t").is_ok());
        assert!(with_credential("r.example", "https://auth.example:8443/token").is_ok());
        assert!(with_credential("r.example", "https://10.0.0.9/token").is_ok());
        for realm in [
            "https://evil.example/token",
            "https://auth.example/token",
            "https://r.example.evil.example/token",
            "https://sub.r.example/token",
            "https://auth.docker.io/token",
            "http://r.example/token",
            "http://auth.example:8443/token",
            "https://u:p@r.example/token",
            "token",
        ] {
            let result = with_credential("r.example", realm);
            assert!(matches!(result, Err(Error::RealmRefused { .. })), "{realm}");
        }
    }

    #[test]
    fn s72_nobody_is_sent_to_an_address_inside_the_network() {
        for realm in [
            "https://169.254.169.254/latest",
            "https://127.0.0.1/token",
            "https://10.1.2.3/token",
            "https://10.0.0.9:8443/token",
            "https://[::1]/token",
            "https://[::ffff:10.0.0.1]/token",
            "https://[::127.0.0.1]/token",
            "https://[64:ff9b::169.254.169.254]/token",
            "https://100.100.0.1/token",
            "https://localhost/token",
            "https://localhost./token",
            "https://0x7f000001/token",
        ] {
            let result = ask("r.example", realm, Carrying::Nothing);
            assert!(matches!(result, Err(Error::RealmRefused { .. })), "{realm}");
        }
        assert!(with_credential("127.0.0.1:5000", "https://127.0.0.1:5001/token").is_ok());
    }

    #[test]
    fn an_anonymous_token_may_come_from_elsewhere() {
        let realm = "https://gitlab.example/jwt/auth";
        assert!(ask("registry.gitlab.example", realm, Carrying::Nothing).is_ok());
    }

    #[test]
    fn s72_a_refusal_says_which_line_would_allow_it() {
        let refused = with_credential("R.example:443", "https://auth.example/token").unwrap_err();
        let line = "under [registry.\"r.example\"] in the configuration, if that server may see it: \
                    token-realms = [\"auth.example\"]";
        assert_eq!(refused.hint().as_deref(), Some(line));
        let insecure = with_credential("r.example", "http://auth.example/token").unwrap_err();
        assert_eq!(insecure.hint(), None);
    }

    #[test]
    fn s72_a_realm_at_port_0_is_nobody() {
        for carrying in [Carrying::Nothing, Carrying::Credential] {
            assert!(ask("r.example", "https://r.example:0/token", carrying).is_err());
        }
    }
}
