//! An explanation as people and programs read it.

use serde_json::{Value, json};
use ucr::shown::{self, size};
use ucr_puller::{Kept, ManifestKind, Survey};

use super::{Asked, Explanation, Place};

/// What becomes of a layer that is here, and not shown to be ours to have.
const PROVING: &str = "to fetch again, to show that it is ours to have";

/// A line: what it is about, and what there is to say.
fn line(about: &str, text: impl AsRef<str>) -> String {
    format!("  {about:<10} {}", text.as_ref())
}

impl Explanation {
    /// For people.
    pub(super) fn lines(&self) -> Vec<String> {
        let mut lines = vec![shown::text(&self.image.to_string())];
        match &self.asked {
            Some(asked) => lines.extend(asked.lines()),
            None => lines.push(line("asks", "nobody: it is on this machine")),
        }
        lines.push(line("platform", self.platform.to_string()));
        let passed_over = self.asked.iter().flat_map(|asked| &asked.passed_over);
        lines.extend(passed_over.map(|text| line("note", text)));
        match &self.survey {
            Ok(survey) => lines.extend(survey_lines(survey, self.wanting())),
            Err(error) => {
                lines.push(line("FAILED", error.message()));
                lines.extend(error.details().map(|(about, text)| line(about, text)));
            }
        }
        lines.extend(self.store_lines());
        lines
    }

    /// What is to be done with a layer that is not in the store.
    fn wanting(&self) -> &'static str {
        match self.asked {
            Some(_) => "to fetch",
            None => "to unpack",
        }
    }

    fn store_lines(&self) -> Vec<String> {
        let path = self.store.path.display();
        let there = match (&self.store.unreadable, &self.store.image) {
            (Some(why), _) => format!("cannot be read: {why}"),
            (None, Some(image)) => {
                let same = match &self.survey {
                    Ok(survey) if survey.manifest == image.manifest => match self.asked {
                        Some(_) => ", as the registry has it",
                        None => ", the same",
                    },
                    Ok(_) => match self.asked {
                        Some(_) => ", another one than the registry has now",
                        None => ", another one than is there now",
                    },
                    Err(_) => "",
                };
                format!("has {} by this name{same}", image.id)
            }
            (None, None) => "does not have this image whole".to_owned(),
        };
        let mut lines = vec![line("store", format!("{path} {there}"))];
        lines.extend(self.room().map(|room| line("room", room)));
        lines
    }

    fn room(&self) -> Option<String> {
        let free = self.store.free?;
        let refused = self.survey.as_ref().ok();
        if let Some(refused) = refused.and_then(|survey| survey.refused.as_ref()) {
            return Some(format!("NOT ENOUGH: {refused}"));
        }
        Some(match (self.missing(), self.needed()) {
            (_, Some(0)) => format!("{} free, none needed", size(free)),
            (Some(missing), Some(needed)) => {
                let verdict = match needed <= free {
                    true => "enough",
                    false => "NOT ENOUGH",
                };
                let (free, needed) = (size(free), size(needed));
                match self.asked {
                    Some(_) => format!(
                        "{verdict}: {free} free; {} to fetch, which take at least {needed} \
                         with what is unpacked",
                        size(missing)
                    ),
                    None => format!("{verdict}: {free} free; unpacked it takes at least {needed}"),
                }
            }
            _ if self.survey.is_ok() => format!(
                "{} free; how much is needed is not known before all layers are here",
                size(free)
            ),
            _ => format!("{} free", size(free)),
        })
    }

    /// For programs.
    pub(super) fn as_json(&self) -> Value {
        let asked = self.asked.as_ref();
        let endpoints = asked.map(|asked| asked.endpoints.as_ref());
        let places = endpoints.and_then(Result::ok).into_iter().flatten();
        let reference = asked.map(|asked| &asked.reference);
        json!({
            "reference": self.image.to_string(),
            "registry": reference.map(|reference| reference.registry()),
            "repository": reference.map(|reference| reference.repository()),
            "platform": self.platform.to_string(),
            "endpoints": places.map(place_json).collect::<Value>(),
            "endpoints_error": endpoints.and_then(Result::err),
            "credential_places": asked.map_or(&[][..], |asked| &asked.credential_places),
            "passed_over": asked.map_or(&[][..], |asked| &asked.passed_over),
            "image": self.survey.as_ref().ok().map(survey_json),
            "error": self.survey.as_ref().err().map(|error| json!({
                "code": error.failure().code,
                "phase": error.failure().phase,
                "retryable": error.failure().retryable,
                "status": error.failure().status,
                "message": error.message(),
            })),
            "store": {
                "path": self.store.path.display().to_string(),
                "error": self.store.unreadable,
                "image": self.store.image.as_ref().map(|image| json!({
                    "id": image.id.to_string(),
                    "manifest": image.manifest.to_string(),
                })),
                "free_bytes": self.store.free,
                "missing_bytes": self.missing(),
                "needed_bytes": self.needed(),
                "enough": self.is_enough(),
            },
        })
    }
}

impl Asked {
    fn lines(&self) -> Vec<String> {
        let mut lines = match &self.endpoints {
            Ok(places) => places.iter().flat_map(place_lines).collect(),
            Err(why) => vec![line("asked", format!("nobody: {why}"))],
        };
        let looked = self.credential_places.iter();
        lines.extend(looked.map(|place| line("looked in", format!("{place}, for a credential"))));
        lines
    }
}

fn place_lines(place: &Place) -> Vec<String> {
    let endpoint = &place.endpoint;
    let mut lines = vec![line(
        "asks",
        format!(
            "{} {} for {}",
            place.role(),
            place.address,
            endpoint.repository()
        ),
    )];
    let proxy = place.proxy.as_deref().unwrap_or("no proxy");
    lines.push(line("  through", proxy));
    lines.extend(place.trust.iter().map(|source| line("  trusting", source)));
    lines.push(line(
        "  as",
        match &place.credential {
            Ok(Some(found)) => found.clone(),
            Ok(None) => "nobody in particular: no credential is for it".to_owned(),
            Err(why) => format!("FAILED: {why}"),
        },
    ));
    lines
}

fn place_json(place: &Place) -> Value {
    json!({
        "role": place.role(),
        "address": place.address,
        "host": place.endpoint.host().to_string(),
        "repository": place.endpoint.repository(),
        "proxy": place.proxy,
        "trust": place.trust,
        "credential": place.credential.as_ref().ok().cloned().flatten(),
        "credential_error": place.credential.as_ref().err(),
    })
}

fn survey_lines(survey: &Survey, wanting: &str) -> Vec<String> {
    let mut lines = Vec::new();
    if survey.named != survey.manifest {
        lines.push(line("index", survey.named.to_string()));
    }
    let (kind, id) = match survey.kind {
        ManifestKind::Whole => ("", None),
        ManifestKind::Schema1 => (
            ", of Docker's schema 1",
            Some("not known before all layers are here: the manifest does not say what they hold"),
        ),
    };
    lines.push(line("manifest", format!("{}{kind}", survey.manifest)));
    let known = survey.id.as_ref().map(ToString::to_string);
    lines.extend(known.as_deref().or(id).map(|id| line("image ID", id)));
    lines.extend(survey.layers.iter().map(|layer| {
        let kept = match layer.kept {
            Kept::Whole(unpacked) => format!("already here, {} unpacked", size(unpacked)),
            Kept::Unproved(unpacked) => {
                format!("already here, {} unpacked, but {PROVING}", size(unpacked))
            }
            Kept::Part(bytes) if bytes == 0 || layer.size == Some(bytes) => wanting.to_owned(),
            Kept::Part(bytes) => format!("{wanting}, but for {} that are here", size(bytes)),
        };
        let places: Vec<_> = layer.places.iter().map(ToString::to_string).collect();
        let foreign = match places.is_empty() {
            true => String::new(),
            false => format!(", foreign: from {}", places.join(" or ")),
        };
        let bytes = layer
            .size
            .map_or_else(|| "of unknown size".to_owned(), size);
        line(
            "layer",
            format!("{} {bytes}, {kept}{foreign}", layer.digest),
        )
    }));
    lines
}

fn survey_json(survey: &Survey) -> Value {
    let layers = survey.layers.iter().map(|layer| {
        let (whole, part) = match layer.kept {
            Kept::Whole(unpacked) => (Some(unpacked), None),
            // It is fetched from its first byte.
            Kept::Unproved(_) => (None, Some(0)),
            Kept::Part(bytes) => (None, Some(bytes)),
        };
        json!({
            "digest": layer.digest.to_string(),
            "diff_id": layer.diff_id.as_ref().map(ToString::to_string),
            "bytes": layer.size,
            "cached": whole.is_some(),
            "unpacked_bytes": whole,
            "partial_bytes": part,
            "foreign": layer.places.iter().map(ToString::to_string).collect::<Value>(),
        })
    });
    json!({
        "index": (survey.named != survey.manifest).then(|| survey.named.to_string()),
        "manifest": survey.manifest.to_string(),
        "schema": match survey.kind {
            ManifestKind::Whole => 2,
            ManifestKind::Schema1 => 1,
        },
        "id": survey.id.as_ref().map(ToString::to_string),
        "platform": survey.platform.as_ref().map(ToString::to_string),
        "layers": layers.collect::<Value>(),
    })
}
