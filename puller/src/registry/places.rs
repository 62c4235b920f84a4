//! Where an image may be asked for, as registries are configured.

use ucr_images::registries::{Admission, Registries, Transport};
use ucr_images::{Reference, RegistryHost, RegistryHostError};
use url::Url;

use super::endpoint::{Endpoint, Role};
use super::error::Error;

/// Who is asked for an image, in this order: the mirrors of its registry, then itself.
///
/// # Errors
/// When one of them is blocked, or the reference's registry is no host.
pub fn endpoints(registries: &Registries, reference: &Reference) -> Result<Vec<Endpoint>, Error> {
    let places = registries.places(reference);
    let places = places.map_err(|source: RegistryHostError| Error::Host { source })?;
    let last = places.len() - 1;
    let endpoints = places.into_iter().enumerate().map(|(index, place)| {
        let role = match index == last {
            true => Role::Registry,
            false => Role::Mirror,
        };
        endpoint(registries, place.host, place.repository, role)
    });
    endpoints.collect()
}

/// The place of a repository at one host.
///
/// # Errors
/// When it is blocked, or its name cannot stand in a URL.
pub(super) fn endpoint(
    registries: &Registries,
    host: RegistryHost,
    repository: String,
    role: Role,
) -> Result<Endpoint, Error> {
    check_allowed(registries, &host)?;
    let transport = registries.transport(&host);
    Endpoint::new(host, transport, repository, role)
}

/// Refuses a place that nobody may be sent to: a blocked one, or one in clear that is not
/// named as such.
///
/// # Errors
/// When it is such a place.
pub(crate) fn check_target(registries: &Registries, target: &Url) -> Result<(), Error> {
    let host = RegistryHost::of(target);
    if let Some(host) = &host {
        check_allowed(registries, host)?;
    }
    let is_plain = host.is_some_and(|host| registries.transport(&host) == Transport::PlainHttp);
    if target.scheme() != "https" && !is_plain {
        let url = target.into();
        return Err(Error::NotPlain { url });
    }
    Ok(())
}

fn check_allowed(registries: &Registries, host: &RegistryHost) -> Result<(), Error> {
    match registries.admission(host) {
        Admission::Allowed => Ok(()),
        Admission::Blocked => Err(Error::Blocked {
            host: host.to_string(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use ucr_images::registries::RegistrySettings;

    use super::*;

    fn host(text: &str) -> RegistryHost {
        text.parse().unwrap()
    }

    fn blocked() -> RegistrySettings {
        RegistrySettings {
            admission: Admission::Blocked,
            ..RegistrySettings::default()
        }
    }

    fn mirrored(mirrors: &[&str]) -> RegistrySettings {
        RegistrySettings {
            mirrors: mirrors.iter().map(|text| text.parse().unwrap()).collect(),
            ..RegistrySettings::default()
        }
    }

    fn bases(registries: &Registries, image: &str) -> Result<Vec<String>, Error> {
        let endpoints = endpoints(registries, &image.parse().unwrap())?;
        let shown = endpoints.iter().map(|one| format!("{}", one.base()));
        Ok(shown.collect())
    }

    #[test]
    fn s75_a_host_of_no_spelling_of_ours_is_not_spoken_to_in_clear() {
        let registries = Registries::default();
        for (target, allowed) in [
            ("http://-x.example/", false),
            ("http://a..example/", false),
            ("http://r.example/", false),
            ("https://-x.example/", true),
        ] {
            let checked = check_target(&registries, &Url::parse(target).unwrap());
            assert_eq!(checked.is_ok(), allowed, "{target}");
        }
    }

    #[test]
    fn mirrors_come_first_with_their_prefix_and_in_their_order() {
        let mut registries = Registries::default();
        let mirrors = mirrored(&["m.example:5000/hub", "n.example"]);
        registries.insert(host("index.docker.io"), mirrors);
        registries.speak_plainly_to(&host("n.example"));
        let expected = [
            "https://m.example:5000/v2/hub/library/busybox/",
            "http://n.example/v2/library/busybox/",
            "https://registry-1.docker.io/v2/library/busybox/",
        ];
        assert_eq!(bases(&registries, "busybox").unwrap(), expected);
        let other = bases(&registries, "docker.io.evil.example/x").unwrap();
        assert_eq!(other, ["https://docker.io.evil.example/v2/x/"]);
    }

    #[test]
    fn who_is_blocked_is_no_endpoint_by_whatever_name() {
        let mut registries = Registries::default();
        registries.insert(host("docker.io"), blocked());
        registries.insert(host("127.0.0.1"), blocked());
        registries.insert(host("r.example"), mirrored(&["0x7f000001/x"]));
        for image in [
            "busybox",
            "index.docker.io/x",
            "r.example/x",
            "127.0.0.1:443/x",
        ] {
            let refused = bases(&registries, image);
            assert!(matches!(refused, Err(Error::Blocked { .. })), "{image}");
        }
        assert!(bases(&registries, "127.0.0.1:5000/x").is_ok());
    }

    #[test]
    fn a_place_in_clear_must_be_named() {
        let mut registries = Registries::default();
        registries.speak_plainly_to(&host("plain.example:5000"));
        registries.insert(host("blocked.example"), blocked());
        let check = |url: &str| check_target(&registries, &Url::parse(url).unwrap());
        assert!(check("https://any.example/x").is_ok());
        assert!(check("http://plain.example:5000/x").is_ok());
        for url in [
            "http://plain.example/x",
            "http://any.example:5000/x",
            "https://blocked.example/x",
        ] {
            assert!(check(url).is_err(), "{url}");
        }
    }
}
