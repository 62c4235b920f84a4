//! What a server's first answer says of it: whether it is a registry, and whom to ask for a token.

use ucr_images::{Registries, RegistryHost, RegistryHostError};

use super::challenge::{self, Bearer, Challenge};
use super::error::Error;
use super::realm::{self, Carrying};
use crate::http::Greeting;

/// Whether whoever answered `/v2/` so is a registry (distribution specification, "Determining
/// support"): it lets one in, or says how to prove who one is.
pub fn is_registry(greeting: &Greeting) -> bool {
    match greeting.status {
        200 => greeting.docker_api || greeting.json,
        401 => greeting.docker_api || challenge(greeting).is_some(),
        _ => false,
    }
}

/// Host and port of the server that hands out the tokens for `registry` (`HOST:PORT`), where it
/// wants one.
///
/// # Errors
/// A realm that a pull would not ask, with or without a credential.
pub fn token_server(
    registry: &str,
    greeting: &Greeting,
    registries: &Registries,
) -> Result<Option<(String, u16)>, Error> {
    let Some(Challenge::Bearer(Bearer { realm, .. })) = challenge(greeting) else {
        return Ok(None);
    };
    let registry: RegistryHost = registry
        .parse()
        .map_err(|source: RegistryHostError| Error::Host { source })?;
    let friends = registries.token_realms(&registry);
    let realm = realm::allowed(&registry, &realm, friends, Carrying::Nothing)?;
    let server = (|| Some((realm.host_str()?.to_owned(), realm.port_or_known_default()?)))();
    Ok(server)
}

fn challenge(greeting: &Greeting) -> Option<Challenge> {
    challenge::choose(greeting.challenges.iter().map(String::as_str))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(status: u16, challenge: &str) -> Greeting {
        Greeting {
            status,
            docker_api: false,
            json: false,
            challenges: vec![challenge.to_owned()],
            via: None,
        }
    }

    #[test]
    fn a_registry_is_known_by_its_first_answer() {
        assert!(is_registry(&answered(401, "Basic realm=\"x\"")));
        assert!(!is_registry(&answered(401, "Digest realm=\"x\"")));
        assert!(!is_registry(&answered(404, "Basic realm=\"x\"")));
        assert!(!is_registry(&answered(200, "")), "any web server says that");
        let json = Greeting {
            json: true,
            ..answered(200, "")
        };
        assert!(is_registry(&json));
    }

    #[test]
    fn the_token_server_is_the_realm_s() {
        let bearer =
            |realm: &str| answered(401, &format!("Bearer realm=\"{realm}\",service=\"x\""));
        let nothing = Registries::default();
        let asked = |greeting: &Greeting| token_server("r.example:443", greeting, &nothing);
        let server = |realm: &str| asked(&bearer(realm)).unwrap();
        let expected = Some(("auth.example".to_owned(), 443));
        assert_eq!(server("https://auth.example/token"), expected);
        let basic = answered(401, "Basic realm=\"https://a/\"");
        assert_eq!(asked(&basic).unwrap(), None);
        for realm in [
            "nonsense",
            "http://auth.example/",
            "https://127.0.0.1:5001/",
        ] {
            let refused = asked(&bearer(realm));
            assert!(
                matches!(refused, Err(Error::RealmRefused { .. })),
                "{realm}"
            );
        }
    }
}
