//! `ucr certs check`: real handshakes with registries, as a pull makes them, and why they fail.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::SystemTime;

use clap::Args;
use serde_json::{Value, json};
use ucr_certs::{Accepted, HostPort, HostTrust, Timestamp, TrustSource};
use ucr_puller::http::{self, Greeting};

use super::facts;
use crate::command_error::{CommandError, explained};
use crate::inspection::{Inspection, Seen};
use crate::output_format::FormatArgs;
use crate::settings::Settings;
use crate::trust::{Trust, TrustArgs};
use crate::ui::Ui;

/// Nothing can be below what is no directory: no certificate is found by its hash.
const NO_DIRECTORY: &str = "/dev/null/no-directory";

/// Whom to check.
#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// Registries to connect to
    #[arg(value_name = "HOST[:PORT]", required = true)]
    hosts: Vec<HostPort>,
    #[command(flatten)]
    trust: TrustArgs,
    #[command(flatten)]
    format: FormatArgs,
}

/// One registry, looked at from both sides.
struct Report {
    host: HostPort,
    now: Timestamp,
    trust: Arc<HostTrust>,
    /// What libcurl made of it, which is what a pull would.
    greeting: Result<Greeting, http::Error>,
    /// What rustls saw of it.
    inspection: Inspection,
    /// What would make a pull work.
    fixes: Vec<String>,
}

/// Runs `ucr certs check`; exit code 0 only when a pull from each of them would work.
pub(super) fn check(
    args: &CheckArgs,
    settings: &Settings,
    ui: &Ui,
) -> Result<ExitCode, CommandError> {
    let trust = Arc::new(args.trust.load_if_any(settings, ui)?);
    let reports: Vec<Report> = args
        .hosts
        .iter()
        .map(|host| Report::of(host, &trust))
        .collect();
    args.format.write(
        ui,
        || reports.iter().flat_map(Report::lines).collect(),
        || reports.iter().map(Report::as_json).collect(),
    )?;
    Ok(if reports.iter().all(Report::is_ok) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

impl Report {
    fn of(host: &HostPort, trust: &Arc<Trust>) -> Self {
        let transport = trust.transport(PathBuf::from(NO_DIRECTORY));
        let greeting = http::greet(&transport, host.host(), host.port());
        let fixes = greeting.as_ref().err().map(|error| fixes(error, trust));
        Self {
            host: host.clone(),
            now: SystemTime::now().into(),
            trust: trust.of(host),
            inspection: trust.inspect(host),
            greeting,
            fixes: fixes.unwrap_or_default(),
        }
    }

    /// A registry answers 200, or 401 to whoever has not said who they are.
    fn is_ok(&self) -> bool {
        let greeting = self.greeting.as_ref();
        greeting.is_ok_and(|greeting| matches!(greeting.status, 200 | 401))
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

    fn lines(&self) -> Vec<String> {
        let mut lines = vec![match (&self.greeting, self.is_ok()) {
            (Ok(_), true) => format!("{}: ok", self.host),
            (Ok(greeting), false) => format!(
                "{}: trusted, but it answers {} to /v2/ and may be no registry",
                self.host, greeting.status
            ),
            (Err(error), _) => format!("{}: FAILED: {}", self.host, explained(error)),
        }];
        for (name, value) in self.fields() {
            lines.push(format!("  {name:<10} {value}"));
        }
        lines
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
            fields.push((
                "trusted by",
                format!(
                    "{subject}, sha256:{}, from {}",
                    anchor.fingerprint(),
                    source.path.display()
                ),
            ));
        }
        if let Some(objection) = self.objection() {
            fields.push(("but", objection));
        }
        if self.greeting.is_err() {
            fields.push(("reason", self.reason()));
        }
        let sources = self.inspection.sources().iter().cloned();
        fields.extend(sources.map(|source| ("looked in", source)));
        fields.extend(self.fixes.iter().map(|fix| ("try", fix.clone())));
        fields
    }

    /// Protocol, client certificate and answer.
    fn how(&self) -> Option<String> {
        let presented = &self.seen()?.presented;
        let mut how = presented.protocol().unwrap_or("TLS").to_owned();
        if presented.asks_for_client_certificate() {
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

    fn reason(&self) -> String {
        match self.inspection.seen() {
            Ok(Seen {
                verdict: Err(diagnosis),
                ..
            }) => diagnosis.to_string(),
            Ok(Seen { verdict: Ok(_), .. }) => {
                "its certificates are in order: what failed is told above".to_owned()
            }
            Err(why) => why.to_owned(),
        }
    }

    fn as_json(&self) -> Value {
        let seen = self.seen();
        let chain = seen.map(|seen| seen.presented.chain().iter());
        let chain = chain.into_iter().flatten();
        let diagnosis = seen.and_then(|seen| seen.verdict.as_ref().err());
        let anchor = self.anchor().map(|(accepted, source)| {
            let mut anchor = facts::certificate(accepted.anchor(), self.now);
            anchor["source"] = json!(source.path);
            anchor
        });
        let greeting = self.greeting.as_ref();
        json!({
            "host": self.host.to_string(),
            "ok": self.is_ok(),
            "status": greeting.ok().map(|greeting| greeting.status),
            "error": greeting.err().map(|error| explained(error)),
            "protocol": seen.and_then(|seen| seen.presented.protocol()),
            "asksForClientCertificate":
                seen.map(|seen| seen.presented.asks_for_client_certificate()),
            "presented": chain.map(|one| facts::certificate(one, self.now)).collect::<Value>(),
            "anchor": anchor,
            "strictObjection": self.inspection.objection(),
            "diagnosis": diagnosis.map(|diagnosis| json!({
                "code": diagnosis.code(),
                "text": diagnosis.to_string(),
            })),
            "sources": self.inspection.sources(),
            "fixes": self.fixes,
        })
    }
}

/// What would make a refused or missing connection work, best first.
fn fixes(error: &http::Error, trust: &Trust) -> Vec<String> {
    use http::Error::{Connect, Resolve, TimedOut};
    match error {
        Resolve { .. } | Connect { .. } | TimedOut { .. } => {
            vec!["is the host right, and can this machine reach it?".to_owned()]
        }
        error => trust.advice(error).hints,
    }
}
