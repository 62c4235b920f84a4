//! What a server's first answer says of it: whether it is a registry, and whom to ask for a token.

use url::Url;

use super::challenge::{self, Challenge};
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

/// Host and port of the server that hands out the tokens for a registry, where it wants one.
pub fn token_server(greeting: &Greeting) -> Option<(String, u16)> {
    let Challenge::Bearer { realm, .. } = challenge(greeting)? else {
        return None;
    };
    let realm = Url::parse(&realm).ok()?;
    Some((realm.host_str()?.to_owned(), realm.port_or_known_default()?))
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
        let server = |realm: &str| token_server(&bearer(realm));
        let expected = Some(("auth.example".to_owned(), 443));
        assert_eq!(server("https://auth.example/token"), expected);
        assert_eq!(
            server("https://[::1]:5001/"),
            Some(("[::1]".to_owned(), 5001))
        );
        assert_eq!(server("nonsense"), None);
        assert_eq!(
            token_server(&answered(401, "Basic realm=\"https://a/\"")),
            None
        );
    }
}
