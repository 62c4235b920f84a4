//! A certificate as the subcommands show it: in JSON the same everywhere.

use serde_json::{Value, json};
use ucr_certs::{Certificate, Entry, Timestamp};

/// What a certificate says of itself.
pub(super) fn certificate(certificate: &Certificate, now: Timestamp) -> Value {
    let facts = certificate.facts();
    let notes = facts.notes(now);
    json!({
        "fingerprint": format!("sha256:{}", certificate.fingerprint()),
        "subject": facts.subject,
        "issuer": facts.issuer,
        "serial": facts.serial,
        "notBefore": facts.not_before.to_string(),
        "notAfter": facts.not_after.to_string(),
        "daysLeft": facts.not_after.days_after(now),
        "names": facts.alternative_names,
        "ca": facts.ca,
        "selfIssued": facts.is_self_issued,
        "notes": notes.iter().map(ToString::to_string).collect::<Vec<_>>(),
    })
}

/// An added certificate, with who added it, when, from where and for whom.
pub(super) fn entry(entry: &Entry, now: Timestamp) -> Value {
    let mut value = certificate(&entry.certificate, now);
    let provenance = &entry.provenance;
    value["registry"] = json!(entry.scope.registry().map(ToString::to_string));
    value["name"] = json!(provenance.name.as_ref().map(ToString::to_string));
    value["added"] = json!(provenance.added);
    value["by"] = json!(provenance.by);
    value["from"] = json!(provenance.from);
    value["file"] = json!(entry.path);
    value
}
