//! Foreign layers: the places that they are to be had from, and which of those may be asked.

use url::Url;

use super::error::Error;
use super::manifest::{Layer, Origin};
use crate::registry::names_inside;

impl Layer {
    /// The places outside the registry that this layer may be fetched from, in the manifest's
    /// order; none for a layer of the registry's own.
    ///
    /// Always https, never with a credential (CVE-2020-15157), and never an address inside
    /// this network (CVE-2026-33990). A redirect from there has to pass the same rules.
    ///
    /// # Errors
    /// When it is foreign and no place is left.
    pub(crate) fn places(&self) -> Result<Vec<Url>, Error> {
        let Origin::Elsewhere(urls) = &self.origin else {
            return Ok(Vec::new());
        };
        let mut first = None;
        let mut places = Vec::new();
        for text in urls {
            match place(text) {
                Ok(url) => places.push(url),
                Err(why) => {
                    let shown = || text.chars().take(200).flat_map(char::escape_default);
                    first.get_or_insert_with(|| (shown().collect(), why));
                }
            }
        }
        if places.is_empty() {
            let digest = self.digest.clone();
            return Err(Error::ForeignPlaces { digest, first });
        }
        Ok(places)
    }
}

/// One place, if it may be asked.
fn place(text: &str) -> Result<Url, &'static str> {
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
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Digest;

    fn layer(urls: &[&str]) -> Layer {
        Layer {
            digest: Digest::sha256(b"x"),
            size: 1,
            origin: Origin::Elsewhere(urls.iter().map(|&url| url.to_owned()).collect()),
        }
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
            "https://[fd00::1]/x",
            "https://10.0.0.1:8443/x",
            "https://localhost/x",
            "not a URL\n",
        ];
        for url in refused {
            let error = layer(&[url]).places().unwrap_err().to_string();
            assert!(error.contains("may be asked: \""), "{error}");
            assert!(!error.contains('\n'), "{error}");
            let places = layer(&[url, good]).places().unwrap();
            assert_eq!(places, [Url::parse(good).unwrap()]);
        }
        let none = layer(&[]).places().unwrap_err().to_string();
        assert!(none.ends_with("may be asked: it names none"), "{none}");
    }
}
