//! A closer look at a server's certificates: what it presents, whether that is
//! trusted and by what, and what would mend it when it is not.
//!
//! `ucr certs check` prints it, and so does every command whose connection was
//! refused for a certificate.

use std::time::{Duration, SystemTime};

use ucr::command_error::{Advice, explained};
use ucr_certs::{
    Accepted, Certificate, Diagnosis, HostPort, HostTrust, Presented, ProbeError, Route, Timestamp,
    TrustSource, judge, probe, strict_objection,
};
use ucr_images::Secret;
use ucr_puller::http::Way;

/// Nobody needs more than this many notes about certificates, and few servers send five.
const MOST_NOTES: usize = 8;

/// How long the look may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// What was seen of a server.
#[derive(Debug)]
pub(crate) struct Inspection {
    host: HostPort,
    now: Timestamp,
    seen: Result<Seen, Unseen>,
    sources: Vec<TrustSource>,
}

/// The certificates of a server, and what is to be said of them.
#[derive(Debug)]
pub(crate) struct Seen {
    /// What it presented.
    pub(crate) presented: Presented,
    /// Whether it is trusted, as libcurl decides it.
    pub(crate) verdict: Result<Accepted, Diagnosis>,
    /// What rustls says against it.
    pub(crate) objection: Option<String>,
}

/// Why nothing could be seen of a server.
#[derive(Debug)]
enum Unseen {
    /// It does not speak with rustls.
    Handshake(String),
    /// Anything else.
    Otherwise(String),
}

impl Inspection {
    /// Looks at a server, with a handshake that ends before anything is sent.
    pub(crate) fn of(host: &HostPort, way: &Way, trust: &HostTrust) -> Self {
        let now = SystemTime::now().into();
        let bundle = &trust.bundle;
        let look = |presented: Presented| Seen {
            verdict: judge(&presented, bundle, host.host(), now),
            objection: strict_objection(&presented, bundle, host.host(), now),
            presented,
        };
        Self {
            host: host.clone(),
            now,
            seen: presented(host, way).map(look),
            sources: bundle.sources().to_vec(),
        }
    }

    /// What was seen, if the server presented certificates at all.
    pub(crate) fn seen(&self) -> Result<&Seen, &str> {
        self.seen.as_ref().map_err(Unseen::why)
    }

    /// What rustls has against the server, if only that the two cannot speak.
    pub(crate) fn objection(&self) -> Option<&str> {
        match &self.seen {
            Ok(seen) => seen.objection.as_deref(),
            Err(Unseen::Handshake(why)) => Some(why),
            Err(Unseen::Otherwise(_)) => None,
        }
    }

    /// Where trusted certificates were looked for, and how many there were.
    pub(crate) fn sources(&self) -> &[TrustSource] {
        &self.sources
    }

    /// The certificates that were presented, one line each, the server's own first.
    pub(crate) fn chain(&self) -> Vec<String> {
        let chain = self
            .seen
            .as_ref()
            .map_or(&[][..], |seen| seen.presented.chain());
        let lines = chain.iter().map(|certificate| line(certificate, self.now));
        (1..)
            .zip(lines)
            .map(|(number, line)| format!("{number}. {line}"))
            .collect()
    }

    /// What would make the connection work, or who could, best first.
    pub(crate) fn fixes(&self) -> Vec<String> {
        match &self.seen {
            Err(_unseen) => vec![
                "ucr certs add CA.crt, with the certificate of the CA that signed the server's"
                    .to_owned(),
            ],
            Ok(Seen { verdict: Ok(_), .. }) => Vec::new(),
            Ok(Seen {
                verdict: Err(diagnosis),
                ..
            }) => fixes(diagnosis, &self.host),
        }
    }

    /// What to do before a certificate is fetched from the server itself.
    pub(crate) fn caution(&self) -> Option<String> {
        let fetched = self.fixes().iter().any(|fix| fix.contains(" fetch "));
        fetched.then(|| {
            format!(
                "nobody but {} itself vouches for that certificate: compare its sha256 with what \
                 whoever runs it tells you",
                self.host
            )
        })
    }

    /// What there is to say about a refused connection: what was presented, why that is
    /// refused, what is trusted, and how to mend it.
    pub(crate) fn advice(&self) -> Advice {
        let chain = self.chain();
        let told = chain.iter().take(MOST_NOTES);
        let mut notes: Vec<String> = told
            .map(|line| format!("{} presented {line}", self.host))
            .collect();
        if let Some(untold @ 1..) = chain.len().checked_sub(MOST_NOTES) {
            notes.push(format!("and {untold} more"));
        }
        notes.push(match &self.seen {
            Ok(Seen {
                verdict: Err(diagnosis),
                ..
            }) => diagnosis.to_string(),
            Ok(Seen {
                verdict: Ok(accepted),
                ..
            }) => format!(
                "looked at once more, the certificates are in order and lead to {}, which is \
                 trusted: the server may have several, or a proxy answered in its place",
                accepted.anchor().facts().subject
            ),
            Err(unseen) => {
                let why = unseen.why();
                format!("a closer look at its certificates failed: {why}")
            }
        });
        notes.extend(self.caution());
        let sources: Vec<String> = self.sources.iter().map(ToString::to_string).collect();
        notes.push(format!("trusted: {}", sources.join("; ")));
        Advice {
            notes,
            hints: self.fixes(),
        }
    }
}

impl Unseen {
    fn why(&self) -> &str {
        match self {
            Self::Handshake(why) | Self::Otherwise(why) => why,
        }
    }
}

/// What a server presents to whoever comes to it this way.
fn presented(host: &HostPort, way: &Way) -> Result<Presented, Unseen> {
    let route = match way {
        Way::Direct => Route::Direct,
        Way::Tunnel {
            host,
            port,
            authorization,
        } => Route::Proxy {
            host,
            port: *port,
            authorization: authorization.as_ref().map(Secret::expose),
        },
        Way::Other(proxy) => {
            let why = format!("it is not seen through the proxy {proxy}");
            return Err(Unseen::Otherwise(why));
        }
    };
    probe(host.host(), host.port(), route, TIMEOUT).map_err(|error| match error {
        ProbeError::Handshake { .. } => Unseen::Handshake(explained(&error)),
        _ => Unseen::Otherwise(explained(&error)),
    })
}

/// One certificate in one line.
fn line(certificate: &Certificate, now: Timestamp) -> String {
    let facts = certificate.facts();
    format!(
        "{}, issued by {}, {}, sha256:{}",
        facts.subject,
        facts.issuer_or_itself(),
        validity(facts.not_after, now),
        certificate.fingerprint()
    )
}

/// Until when something is valid, and how long that is.
pub(crate) fn validity(not_after: Timestamp, now: Timestamp) -> String {
    let day = not_after.day();
    match not_after.days_after(now) {
        1 => format!("valid until {day} (1 day)"),
        days @ 0.. => format!("valid until {day} ({days} days)"),
        _ => format!("expired {day}"),
    }
}

fn fixes(diagnosis: &Diagnosis, host: &HostPort) -> Vec<String> {
    let fetch = |certificate: &Certificate| {
        format!(
            "ucr certs fetch {host} --fingerprint sha256:{}",
            certificate.fingerprint()
        )
    };
    let add =
        |issuer: &str| format!("ucr certs add CA.crt, where CA.crt is the certificate of {issuer}");
    let chain = |issuer: &str| {
        format!("have {host} send the certificate of {issuer} with its own, unless that is a root")
    };
    let renew = || "have a new certificate made for the server".to_owned();
    match diagnosis {
        Diagnosis::SelfSigned { certificate } => vec![
            "ucr certs add SERVER.crt, with that certificate from whoever runs the server"
                .to_owned(),
            fetch(certificate),
        ],
        Diagnosis::IssuerUnknown {
            issuer,
            sent: Some(sent),
            ..
        } => vec![add(issuer), fetch(sent)],
        Diagnosis::IssuerUnknown {
            issuer, sent: None, ..
        } => vec![add(issuer), chain(issuer)],
        Diagnosis::IntermediateMissing { issuer, .. } => vec![chain(issuer), add(issuer)],
        Diagnosis::OtherKey { issuer, .. } => vec![format!(
            "ucr certs add CA.crt, with the present certificate of {issuer}: it was made anew"
        )],
        Diagnosis::Expired { .. } => vec![
            "have the certificate renewed; if it has been, the clock of this machine is wrong"
                .to_owned(),
        ],
        Diagnosis::NotYetValid { .. } => vec![
            "set the clock of this machine right; if it is, wait, or have the certificate made anew"
                .to_owned(),
        ],
        Diagnosis::WrongName { names, besides, .. } => {
            // A certificate that has to be made anew need not be trusted first.
            let rest = besides.as_deref().filter(|it| it.code() != "self-signed");
            let rest = rest.map(|besides| fixes(besides, host)).unwrap_or_default();
            let name = if names.is_empty() {
                renew()
            } else {
                let asked = host.host();
                format!(
                    "use a name that the certificate is for, or have a certificate made for {asked}"
                )
            };
            [vec![name], rest].concat()
        }
        Diagnosis::NotACa { .. } => {
            vec![
                "have a CA certificate made that may sign others (CA:TRUE, keyCertSign)".to_owned(),
            ]
        }
        _ => vec![renew()],
    }
}
