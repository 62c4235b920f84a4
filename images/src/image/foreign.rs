//! Foreign layers: whether they are fetched, and which of the places that a manifest names for them
//! may be asked.

use url::Url;

use super::error::Error;
use super::manifest::{Layer, Manifest, Origin};
use crate::names_inside;

/// What becomes of layers that are to be had from their publishers only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ForeignLayers {
    /// An image with one is refused.
    #[default]
    Refused,
    /// They are fetched from where the manifest says, as Docker does.
    Fetched,
}

impl Manifest {
    /// Decides where foreign layers are fetched from, or that the image is refused for them (P72).
    ///
    /// Always https, never with a credential (CVE-2020-15157), never an address inside this
    /// network (CVE-2026-33990), and only what `is_blocked` does not hold of. A redirect from
    /// there has to pass the same rules.
    ///
    /// # Errors
    /// The first foreign layer that is not to be fetched, or for which no place is left.
    pub fn admit_foreign(
        &mut self,
        foreign: ForeignLayers,
        is_blocked: &dyn Fn(&Url) -> bool,
    ) -> Result<(), Error> {
        for Layer { digest, origin, .. } in &mut self.layers {
            let Origin::Claimed(claimed) = origin else {
                continue;
            };
            if foreign == ForeignLayers::Refused {
                return Err(Error::ForeignLayer {
                    digest: digest.clone(),
                });
            }
            let mut first = None;
            let mut places = Vec::new();
            for text in claimed {
                match place(text, is_blocked) {
                    Ok(url) => places.push(url),
                    Err(why) => {
                        let shown = || text.chars().take(200).flat_map(char::escape_default);
                        first.get_or_insert_with(|| (shown().collect(), why));
                    }
                }
            }
            if places.is_empty() {
                let digest = digest.clone();
                return Err(Error::ForeignPlaces { digest, first });
            }
            *origin = Origin::Elsewhere(places);
        }
        Ok(())
    }
}

/// One place, if it may be asked.
fn place(text: &str, is_blocked: &dyn Fn(&Url) -> bool) -> Result<Url, &'static str> {
    let url = Url::parse(text).map_err(|_no_url| "is no URL")?;
    if url.scheme() != "https" {
        return Err("is not https");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("carries a user name of its own");
    }
    if names_inside(&url) {
        return Err("is an address inside this network");
    }
    if is_blocked(&url) {
        return Err("is blocked by the configuration");
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Digest;

    /// Where a layer with these places is fetched from.
    fn places(urls: &[&str], foreign: ForeignLayers) -> Result<Origin, Error> {
        let layer = Layer {
            digest: Digest::sha256(b"x"),
            size: 1,
            origin: Origin::Claimed(urls.iter().map(|&url| url.to_owned()).collect()),
        };
        let mut manifest = Manifest {
            config: Digest::sha256(b"config"),
            config_size: 1,
            layers: vec![layer],
        };
        let is_blocked = |url: &Url| url.host_str() == Some("blocked.example");
        manifest.admit_foreign(foreign, &is_blocked)?;
        Ok(manifest.layers.remove(0).origin)
    }

    #[test]
    fn s70_s86_only_public_places_over_https_may_be_asked() {
        let good = "https://layers.example/x?y=z";
        let refused = [
            "http://layers.example/x",
            "file:///etc/shadow",
            "https://u:p@layers.example/x",
            "https://169.254.169.254/latest",
            "https://127.0.0.1/x",
            "https://2130706433/x",
            "https://[fd00::1]/x",
            "https://[::ffff:192.168.0.1]/x",
            "https://10.0.0.1:8443/x",
            "https://localhost/x",
            "https://localhost./x",
            "https://blocked.example/x",
            "not a URL\n",
        ];
        for url in refused {
            let error = places(&[url], ForeignLayers::Fetched).unwrap_err();
            let error = error.to_string();
            assert!(error.contains("may be asked: \""), "{error}");
            assert!(!error.contains('\n'), "{error}");
            let good_alone = Origin::Elsewhere(vec![Url::parse(good).unwrap()]);
            let origin = places(&[url, good], ForeignLayers::Fetched).unwrap();
            assert_eq!(origin, good_alone);
        }
        let none = places(&[], ForeignLayers::Fetched).unwrap_err().to_string();
        assert!(none.ends_with("may be asked: it names none"), "{none}");
    }

    #[test]
    fn p72_unless_it_is_asked_for_none_is_fetched() {
        let refused = places(&["https://layers.example/x"], ForeignLayers::default());
        assert!(matches!(refused, Err(Error::ForeignLayer { .. })));
    }
}
