//! What `ucr certs check` finds out about one registry, for people and for programs.

use std::sync::Arc;
use std::time::SystemTime;

use serde_json::{Value, json};
use ucr::command_error::{Advice, explained};
use ucr_certs::{Accepted, HostPort, HostTrust, SourceKind, Timestamp, TrustSource};
use ucr_images::Registries;
use ucr_puller::http::{self, Greeting, Peer};
use ucr_puller::registry;

use crate::commands::certs::{facts, list};
use crate::inspection::{Inspection, Seen};
use crate::trust::{self, Trust};

/// One registry, looked at from both sides.
pub(super) struct Report {
    host: HostPort,
    now: Timestamp,
    trust: Arc<HostTrust>,
    /// What libcurl made of it, which is what a pull would.
    greeting: Result<Greeting, http::Error>,
    /// What libcurl made of the server that it sends for a token to, if it does.
    token_server: Option<Result<Greeting, registry::Error>>,
    /// What rustls saw of it.
    inspection: Inspection,
    /// What else there is to know of a failure, and what would make a pull work.
    advice: Advice,
    /// The file that holds the anchor, if it was added, and where it came from.
    added: Option<String>,
}

impl Report {
    /// Connects to a registry, and to its token server.
    pub(super) fn of(host: &HostPort, trust: &Arc<Trust>, registries: &Registries) -> Self {
        let transport = trust.transport_without_store();
        let greeting = http::greet(&transport, host.host(), host.port());
        let token_server = greeting.as_ref().ok().and_then(|greeting| {
            let registry = format!("{}:{}", host.host(), host.port());
            let asked = |(host, port): (String, u16)| http::greet(&transport, &host, port);
            match registry::token_server(&registry, greeting, registries) {
                Ok(server) => server.map(|server| asked(server).map_err(registry::Error::Http)),
                Err(refused) => Some(Err(refused)),
            }
        });
        let mut report = Self {
            host: host.clone(),
            now: SystemTime::now().into(),
            trust: trust.of(host),
            greeting,
            token_server,
            inspection: trust.inspect(host),
            advice: Advice::default(),
            added: None,
        };
        report.advice = report.find_advice(trust);
        report.added = report.find_added(trust);
        report
    }

    /// A registry answers as one, and so does its token server in TLS.
    pub(super) fn is_ok(&self) -> bool {
        let tokens = self.token_server.as_ref();
        let registry = self.greeting.as_ref().is_ok_and(registry::is_registry);
        registry && tokens.is_none_or(Result::is_ok)
    }

    fn find_advice(&self, trust: &Trust) -> Advice {
        let token_server = self.token_server.as_ref();
        let refused = token_server.and_then(|greeting| greeting.as_ref().err());
        match (&self.greeting, refused) {
            (Err(error), _) if self.is_about_chain() => Advice {
                notes: self
                    .inspection
                    .caution()
                    .into_iter()
                    .chain(trust::proxy_note(error))
                    .collect(),
                hints: self.inspection.fixes(),
            },
            // Whoever else was refused, all about it is in the advice.
            (Err(error), _) | (Ok(_), Some(registry::Error::Http(error))) => trust.advice(error),
            (Ok(_), _) => Advice::default(),
        }
    }

    /// Whether it failed for the certificates that the report shows.
    fn is_about_chain(&self) -> bool {
        match &self.greeting {
            Err(http::Error::NothingTrusted { .. }) => true,
            Err(error) => error
                .untrusted()
                .is_some_and(|untrusted| untrusted.peer == Peer::Server),
            Ok(_) => false,
        }
    }

    fn find_added(&self, trust: &Trust) -> Option<String> {
        let anchor = self.accepted()?.anchor().fingerprint();
        let mut added = trust.policy().added();
        let entry = added.find(|entry| {
            entry.certificate.fingerprint() == anchor && entry.scope.covers(&self.host)
        })?;
        Some(list::origin(entry))
    }

    fn seen(&self) -> Option<&Seen> {
        self.inspection.seen().ok()
    }

    fn accepted(&self) -> Option<&Accepted> {
        self.seen()?.verdict.as_ref().ok()
    }

    /// The trusted certificate that the chain leads to, and where that is from.
    fn anchor(&self) -> Option<(&Accepted, &TrustSource)> {
        let accepted = self.accepted().filter(|_| self.greeting.is_ok())?;
        let (_, source) = self.trust.bundle.find(accepted.anchor().fingerprint())?;
        Some((accepted, source))
    }

    /// The report for people.
    pub(super) fn lines(&self) -> Vec<String> {
        let mut lines = vec![match (self.failure(), &self.greeting) {
            (None, _) => format!("{}: ok", self.host),
            (Some(failure), Ok(_)) if !self.is_token_refused() => {
                format!("{}: trusted, but {failure}", self.host)
            }
            (Some(failure), _) => format!("{}: FAILED: {failure}", self.host),
        }];
        for (name, value) in self.fields() {
            lines.push(format!("  {name:<10} {value}"));
        }
        lines
    }

    /// Why a pull would not work, if it would not.
    fn failure(&self) -> Option<String> {
        let greeting = match &self.greeting {
            Err(error) => return Some(explained(error)),
            Ok(greeting) => greeting,
        };
        match &self.token_server {
            Some(Err(refused)) => {
                let why = explained(refused);
                Some(format!("no token from its token server: {why}"))
            }
            _ if self.is_ok() => None,
            _ => Some(match greeting.status {
                status @ (429 | 500..) => {
                    format!("it answers {status} to /v2/: busy or out of order")
                }
                status => format!("it answers {status} to /v2/ and may be no registry"),
            }),
        }
    }

    fn is_token_refused(&self) -> bool {
        self.token_server.as_ref().is_some_and(Result::is_err)
    }

    fn fields(&self) -> Vec<(&'static str, String)> {
        let mut fields = Vec::new();
        if let Some(how) = self.how() {
            fields.push(("speaks", how));
        }
        fields.extend(
            self.inspection
                .chain()
                .into_iter()
                .map(|line| ("presents", line)),
        );
        if let Some((accepted, source)) = self.anchor() {
            let anchor = accepted.anchor();
            let subject = &anchor.facts().subject;
            let place = source.path.display();
            let added = self.added.as_ref().map(|origin| format!(" ({origin})"));
            fields.push((
                "trusted by",
                format!(
                    "{subject}, sha256:{}, from {place}{}",
                    anchor.fingerprint(),
                    added.unwrap_or_default()
                ),
            ));
        }
        if let Some(objection) = self.objection() {
            fields.push(("but", objection));
        }
        fields.extend(self.reason().map(|reason| ("reason", reason)));
        if self.greeting.is_ok() || self.is_about_chain() {
            let sources = self.inspection.sources().iter();
            fields.extend(sources.map(|source| ("looked in", source.to_string())));
        }
        let Advice { notes, hints } = &self.advice;
        fields.extend(notes.iter().map(|note| ("note", note.clone())));
        fields.extend(hints.iter().map(|hint| ("try", hint.clone())));
        fields
    }

    /// Protocol, client certificate and answer.
    fn how(&self) -> Option<String> {
        let presented = &self.seen()?.presented;
        let mut how = presented.protocol().unwrap_or("TLS").to_owned();
        if presented.asks_for_client_certificate() == Some(true) {
            how.push_str(", asks for a client certificate");
            how.push_str(match &self.trust.identity {
                Some(_) => " and gets one",
                None => ", of which there is none",
            });
        }
        if let Ok(greeting) = &self.greeting {
            how.push_str(&format!(", answers {} to /v2/", greeting.status));
        }
        Some(how)
    }

    /// What stricter clients hold against a server that a pull accepts.
    fn objection(&self) -> Option<String> {
        let objection = self.inspection.objection();
        let objection = objection.filter(|_| self.greeting.is_ok())?;
        Some(format!("stricter clients refuse it (rustls: {objection})"))
    }

    fn reason(&self) -> Option<String> {
        let seen = self.inspection.seen();
        match seen.map(|seen| &seen.verdict) {
            _ if !self.is_about_chain() => None,
            Ok(Err(diagnosis)) => Some(diagnosis.to_string()),
            Ok(Ok(_)) => None,
            Err(why) => Some(why.to_owned()),
        }
    }

    /// The proxy on the way, whatever came of it.
    fn via(&self) -> Option<String> {
        let via = match &self.greeting {
            Ok(greeting) => greeting.via.as_ref(),
            Err(error) => error.via(),
        };
        via.map(ToString::to_string)
    }

    /// The report for programs.
    pub(super) fn as_json(&self) -> Value {
        let seen = self.seen();
        let chain = seen.map(|seen| seen.presented.chain().iter());
        let chain = chain.into_iter().flatten();
        let diagnosis = seen.and_then(|seen| seen.verdict.as_ref().err());
        let anchor = self.anchor().map(|(accepted, source)| {
            let mut anchor = facts::certificate(accepted.anchor(), self.now);
            anchor["source"] = json!(source.path);
            anchor["origin"] = json!(self.added);
            anchor
        });
        let greeting = self.greeting.as_ref();
        json!({
            "host": self.host.to_string(),
            "ok": self.is_ok(),
            "status": greeting.ok().map(|greeting| greeting.status),
            "error": self.failure(),
            "protocol": seen.and_then(|seen| seen.presented.protocol()),
            "asksForClientCertificate":
                seen.and_then(|seen| seen.presented.asks_for_client_certificate()),
            "presented": chain.map(|one| facts::certificate(one, self.now)).collect::<Value>(),
            "anchor": anchor,
            "strictObjection": self.inspection.objection(),
            "diagnosis": diagnosis.map(|diagnosis| json!({
                "code": diagnosis.code(),
                "text": diagnosis.to_string(),
            })),
            "via": self.via(),
            "tokenServerRefused": self.is_token_refused(),
            "sources": self.inspection.sources().iter().map(source).collect::<Value>(),
            "notes": self.advice.notes,
            "fixes": self.advice.hints,
        })
    }
}

/// A place that certificates come from; without a number where there is no such place.
fn source(source: &TrustSource) -> Value {
    let (kind, origin) = match source.kind {
        SourceKind::Base(origin) => ("base", Some(origin.to_string())),
        SourceKind::Added => ("added", None),
        SourceKind::RegistryDir => ("registry-directory", None),
        _ => ("other", None),
    };
    json!({
        "path": source.path,
        "kind": kind,
        "namedBy": origin,
        "certificates": source.certificates,
    })
}
