//! The honest registry: what is there, and how it is asked for.

use std::collections::HashMap;

use serde_json::json;

use super::message::{Request, Response};
use crate::image::{Image, ImageIndex, Stored};

#[derive(Debug, Default)]
pub(super) struct Content {
    repositories: HashMap<String, Repository>,
}

#[derive(Debug, Default)]
struct Repository {
    manifests: HashMap<String, Stored>,
    blobs: HashMap<String, Vec<u8>>,
}

impl Content {
    pub(super) fn put_image(&mut self, repository: &str, tag: &str, image: &Image) {
        for (digest, bytes) in image.blobs() {
            self.put_blob(repository, &digest, bytes);
        }
        self.put_manifest(repository, tag, &image.manifest);
    }

    pub(super) fn put_index(&mut self, repository: &str, tag: &str, index: &ImageIndex) {
        for image in &index.images {
            self.put_image(repository, &image.manifest.digest, image);
        }
        self.put_manifest(repository, tag, &index.document);
    }

    pub(super) fn put_manifest(&mut self, repository: &str, tag: &str, manifest: &Stored) {
        let manifests = &mut self.repository(repository).manifests;
        manifests.insert(tag.to_owned(), manifest.clone());
        manifests.insert(manifest.digest.clone(), manifest.clone());
    }

    pub(super) fn put_blob(&mut self, repository: &str, digest: &str, bytes: Vec<u8>) {
        self.repository(repository)
            .blobs
            .insert(digest.to_owned(), bytes);
    }

    fn repository(&mut self, name: &str) -> &mut Repository {
        self.repositories.entry(name.to_owned()).or_default()
    }

    pub(super) fn answer(&self, request: &Request) -> Response {
        if !matches!(request.method.as_str(), "GET" | "HEAD") {
            return Response::error(405, "UNSUPPORTED", "this registry is read-only");
        }
        let Some(path) = request.path().strip_prefix("/v2/") else {
            return Response::error(404, "UNSUPPORTED", "not the registry API");
        };
        if path.is_empty() {
            return Response::new(200, "application/json", "{}");
        }
        for (part, answer) in PARTS {
            if let Some((name, rest)) = path.rsplit_once(part) {
                return match self.repositories.get(name) {
                    Some(repository) => answer(repository, name, (rest, request)),
                    None => Response::error(404, "NAME_UNKNOWN", "repository name not known"),
                };
            }
        }
        Response::error(404, "UNSUPPORTED", "no such endpoint")
    }
}

type Part = fn(&Repository, &str, (&str, &Request)) -> Response;

const PARTS: [(&str, Part); 3] = [
    ("/manifests/", |repository, _, (reference, _)| {
        repository.manifest(reference)
    }),
    ("/blobs/", |repository, _, (digest, request)| {
        repository.blob(digest, request)
    }),
    ("/tags/", |repository, name, _| repository.tags(name)),
];

impl Repository {
    fn manifest(&self, reference: &str) -> Response {
        match self.manifests.get(reference) {
            Some(manifest) => Response::new(200, &manifest.media_type, manifest.bytes.clone())
                .header("Docker-Content-Digest", &manifest.digest),
            None => Response::error(404, "MANIFEST_UNKNOWN", "manifest unknown"),
        }
    }

    fn blob(&self, digest: &str, request: &Request) -> Response {
        let Some(bytes) = self.blobs.get(digest) else {
            return Response::error(404, "BLOB_UNKNOWN", "blob unknown to registry");
        };
        let kind = "application/octet-stream";
        let size = bytes.len();
        let response = match request.header("range").and_then(range) {
            None => Response::new(200, kind, bytes.clone()),
            Some((first, _)) if first >= size => Response::new(416, kind, Vec::new())
                .header("Content-Range", &format!("bytes */{size}")),
            Some((first, last)) => {
                let last = last.unwrap_or(size - 1).min(size - 1);
                Response::new(206, kind, &bytes[first..=last])
                    .header("Content-Range", &format!("bytes {first}-{last}/{size}"))
            }
        };
        response
            .header("Docker-Content-Digest", digest)
            .header("Accept-Ranges", "bytes")
    }

    fn tags(&self, name: &str) -> Response {
        let mut tags: Vec<_> = self
            .manifests
            .keys()
            .filter(|tag| !tag.contains(':'))
            .collect();
        tags.sort();
        Response::new(
            200,
            "application/json",
            json!({"name": name, "tags": tags}).to_string(),
        )
    }
}

/// First and last byte of a `Range` field with one range.
fn range(field: &str) -> Option<(usize, Option<usize>)> {
    let (first, last) = field.strip_prefix("bytes=")?.split_once('-')?;
    let first = first.parse().ok()?;
    match last {
        "" => Some((first, None)),
        last => Some((
            first,
            Some(last.parse().ok().filter(|last| *last >= first)?),
        )),
    }
}
