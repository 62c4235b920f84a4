//! What is wrong with the certificates that a server presented: plain facts,
//! from the certificates and what is trusted, as libcurl with OpenSSL judges.
//!
//! It only explains a refusal. Nothing is ever accepted because of what is
//! found here.

use std::collections::HashSet;
use std::fmt;

use x509_parser::certificate::X509Certificate;
use x509_parser::error::X509Error;
use x509_parser::prelude::FromDer;

use crate::bundle::TrustBundle;
use crate::crt::Certificate;
use crate::fingerprint::Fingerprint;
use crate::names;
use crate::probe::{Presented, bare_host};
use crate::x509::{Note, Timestamp};

/// The first reason why a server is refused, trust before dates before names.
///
/// Its text is one or two full sentences without advice.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Diagnosis {
    /// The server's certificate signed itself and is not trusted.
    SelfSigned {
        /// The server's certificate.
        certificate: Box<Certificate>,
    },
    /// The chain leads to an issuer that is not trusted.
    IssuerUnknown {
        /// The last certificate of the chain below it.
        subject: String,
        /// The missing issuer, by name.
        issuer: String,
        /// The issuer's certificate if the server sent it; nothing vouches for it.
        sent: Option<Box<Certificate>>,
    },
    /// The server sent other certificates, but not the one that continues the chain.
    IntermediateMissing {
        /// The last certificate of the chain.
        subject: String,
        /// The missing issuer, by name.
        issuer: String,
    },
    /// An issuer of that name is trusted or was sent, but its key did not make the signature.
    OtherKey {
        /// The certificate whose signature does not fit.
        subject: String,
        /// The name of both issuers.
        issuer: String,
        /// The certificate of that name that is at hand.
        known: Fingerprint,
    },
    /// A certificate of the chain was used as a CA and may not be.
    NotACa {
        /// That certificate.
        subject: String,
        /// What it lacks.
        note: Note,
    },
    /// A certificate of the chain is no longer valid.
    Expired {
        /// That certificate.
        subject: String,
        /// When its validity ended.
        since: Timestamp,
        /// The time that it was compared with.
        now: Timestamp,
    },
    /// A certificate of the chain is not valid yet.
    NotYetValid {
        /// That certificate.
        subject: String,
        /// When its validity begins.
        until: Timestamp,
        /// The time that it was compared with.
        now: Timestamp,
    },
    /// The server's certificate is for other hosts.
    WrongName {
        /// The host that was asked for.
        host: String,
        /// The names that it is for: `DNS:x`, `IP:1.2.3.4`, or `CN:x` where it has no other.
        names: Vec<String>,
    },
    /// Nothing is wrong with the chain: the refusal has another reason.
    Unremarkable {
        /// The trusted certificate that the chain leads to.
        anchor: String,
    },
}

/// Finds the first reason to refuse a server for `host` that presented these
/// certificates, when `bundle` is what is trusted and it is `now`.
pub fn diagnose(
    presented: &Presented,
    bundle: &TrustBundle,
    host: &str,
    now: Timestamp,
) -> Diagnosis {
    let path = match Path::build(presented.chain(), bundle) {
        Ok(path) => path,
        Err(diagnosis) => return *diagnosis,
    };
    path.not_a_ca()
        .or_else(|| path.out_of_time(now))
        .or_else(|| wrong_name(presented.leaf(), bare_host(host)))
        .unwrap_or_else(|| Diagnosis::Unremarkable {
            anchor: path.anchor().facts().subject.clone(),
        })
}

fn wrong_name(leaf: &Certificate, host: &str) -> Option<Diagnosis> {
    let names = names::names(leaf.facts());
    (!names::cover(&names, host)).then(|| Diagnosis::WrongName {
        host: host.to_owned(),
        names,
    })
}

/// A certificate, and what it says in a form that can be checked.
struct Link<'a> {
    certificate: &'a Certificate,
    x509: X509Certificate<'a>,
}

impl<'a> Link<'a> {
    /// `None` never happens: a [`Certificate`] has been parsed once.
    fn new(certificate: &'a Certificate) -> Option<Self> {
        let (_, x509) = X509Certificate::from_der(certificate.der()).ok()?;
        Some(Self { certificate, x509 })
    }

    fn is_named_as_issuer_of(&self, other: &Self) -> bool {
        self.x509.subject().as_raw() == other.x509.issuer().as_raw()
    }

    /// Whether its key made the signature of `other`. An algorithm that cannot
    /// be checked here counts as made: the names agree, and nothing is accepted.
    fn signed(&self, other: &Self) -> bool {
        match other.x509.verify_signature(Some(self.x509.public_key())) {
            Ok(()) | Err(X509Error::SignatureUnsupportedAlgorithm) => true,
            Err(_) => false,
        }
    }
}

/// From the server's certificate to a trusted one, both included.
struct Path<'a>(Vec<&'a Certificate>);

impl<'a> Path<'a> {
    fn build(chain: &'a [Certificate], bundle: &'a TrustBundle) -> Result<Self, Box<Diagnosis>> {
        let sent: Vec<Link<'a>> = chain.iter().filter_map(Link::new).collect();
        let anchors: Vec<Link<'a>> = bundle
            .anchors()
            .iter()
            .filter_map(|anchor| Link::new(&anchor.certificate))
            .collect();
        let trusted: HashSet<Fingerprint> = anchors
            .iter()
            .map(|anchor| anchor.certificate.fingerprint())
            .collect();

        let mut path: Vec<&Link<'_>> = vec![&sent[0]];
        // Each round takes another one of those sent, so it ends.
        loop {
            let last = path[path.len() - 1];
            if trusted.contains(&last.certificate.fingerprint()) {
                break;
            }
            let vouches = |link: &&Link<'_>| link.is_named_as_issuer_of(last) && link.signed(last);
            if let Some(anchor) = anchors.iter().find(vouches) {
                path.push(anchor);
                break;
            }
            let unused = |link: &&Link<'_>| {
                let fingerprint = link.certificate.fingerprint();
                path.iter()
                    .all(|used| used.certificate.fingerprint() != fingerprint)
            };
            match sent.iter().filter(unused).find(vouches) {
                Some(next) => path.push(next),
                None => return Err(Box::new(dead_end(&path, &sent, &anchors))),
            }
        }
        Ok(Self(path.iter().map(|link| link.certificate).collect()))
    }

    fn anchor(&self) -> &Certificate {
        self.0[self.0.len() - 1]
    }

    fn not_a_ca(&self) -> Option<Diagnosis> {
        self.0.iter().skip(1).find_map(|issuer| {
            let facts = issuer.facts();
            // Only its validity depends on the time, and that is judged elsewhere.
            let notes = facts.notes(facts.not_before);
            let note = notes.into_iter().find(|note| {
                matches!(
                    note,
                    Note::NotACa | Note::NoBasicConstraints | Note::MayNotSign
                )
            })?;
            Some(Diagnosis::NotACa {
                subject: facts.subject.clone(),
                note,
            })
        })
    }

    fn out_of_time(&self, now: Timestamp) -> Option<Diagnosis> {
        self.0.iter().find_map(|certificate| {
            let facts = certificate.facts();
            let subject = facts.subject.clone();
            if now > facts.not_after {
                let since = facts.not_after;
                Some(Diagnosis::Expired {
                    subject,
                    since,
                    now,
                })
            } else if now < facts.not_before {
                let until = facts.not_before;
                Some(Diagnosis::NotYetValid {
                    subject,
                    until,
                    now,
                })
            } else {
                None
            }
        })
    }
}

/// Why a path that leads to nothing trusted cannot go on.
fn dead_end(path: &[&Link<'_>], sent: &[Link<'_>], anchors: &[Link<'_>]) -> Diagnosis {
    let last = path[path.len() - 1];
    let facts = last.certificate.facts();
    if last.is_named_as_issuer_of(last) && last.signed(last) {
        return match path.len().checked_sub(2).map(|below| path[below]) {
            None => Diagnosis::SelfSigned {
                certificate: Box::new(last.certificate.clone()),
            },
            Some(below) => namesake(below, anchors).unwrap_or_else(|| Diagnosis::IssuerUnknown {
                subject: below.certificate.facts().subject.clone(),
                issuer: facts.subject.clone(),
                sent: Some(Box::new(last.certificate.clone())),
            }),
        };
    }
    let subject = facts.subject.clone();
    let issuer = facts.issuer.clone();
    namesake(last, anchors)
        .or_else(|| namesake(last, sent))
        .unwrap_or(if path.len() < sent.len() {
            Diagnosis::IntermediateMissing { subject, issuer }
        } else {
            Diagnosis::IssuerUnknown {
                subject,
                issuer,
                sent: None,
            }
        })
}

/// Finds a certificate with the issuer's name whose key did not sign.
fn namesake(signed: &Link<'_>, among: &[Link<'_>]) -> Option<Diagnosis> {
    let known = among
        .iter()
        .find(|link| link.is_named_as_issuer_of(signed) && !link.signed(signed))?;
    let facts = signed.certificate.facts();
    Some(Diagnosis::OtherKey {
        subject: facts.subject.clone(),
        issuer: facts.issuer.clone(),
        known: known.certificate.fingerprint(),
    })
}

impl fmt::Display for Diagnosis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SelfSigned { certificate } => write_self_signed(f, certificate),
            Self::IssuerUnknown {
                subject,
                issuer,
                sent,
            } => {
                write!(f, "{subject} is signed by {issuer}, which is not trusted. ")?;
                write_sent(f, issuer, sent.as_deref())
            }
            Self::IntermediateMissing { subject, issuer } => {
                write!(
                    f,
                    "{subject} is signed by {issuer}, which is neither trusted "
                )?;
                f.write_str("nor sent by the server: its chain is incomplete or mixed up.")
            }
            Self::OtherKey {
                subject,
                issuer,
                known,
            } => {
                write!(f, "{subject} is signed by {issuer}, but not with the key ")?;
                write!(f, "of the known certificate of that name (sha256 {known}).")
            }
            Self::NotACa { subject, note } => {
                let lack = lack(*note);
                write!(
                    f,
                    "{subject} signed a certificate of the chain, but {lack}."
                )
            }
            Self::Expired {
                subject,
                since,
                now,
            } => write_time(f, format_args!("{subject} expired on {since}"), *now),
            Self::NotYetValid {
                subject,
                until,
                now,
            } => write_time(
                f,
                format_args!("{subject} is not valid before {until}"),
                *now,
            ),
            Self::WrongName { host, names } => write_names(f, host, names),
            Self::Unremarkable { anchor } => {
                write!(
                    f,
                    "The server's certificates are in order and lead to {anchor}, "
                )?;
                f.write_str("which is trusted.")
            }
        }
    }
}

fn write_self_signed(f: &mut fmt::Formatter<'_>, certificate: &Certificate) -> fmt::Result {
    let subject = &certificate.facts().subject;
    let fingerprint = certificate.fingerprint();
    write!(
        f,
        "The server's certificate ({subject}, sha256 {fingerprint}) "
    )?;
    f.write_str("signed itself and is not trusted.")
}

fn write_sent(f: &mut fmt::Formatter<'_>, issuer: &str, sent: Option<&Certificate>) -> fmt::Result {
    match sent.map(Certificate::fingerprint) {
        None => write!(f, "The server did not send the certificate of {issuer}."),
        Some(fingerprint) => {
            write!(
                f,
                "The server sent the certificate of {issuer} (sha256 {fingerprint}), "
            )?;
            f.write_str("but nothing vouches for that one.")
        }
    }
}

fn write_time(f: &mut fmt::Formatter<'_>, fact: fmt::Arguments<'_>, now: Timestamp) -> fmt::Result {
    write!(f, "The certificate of {fact}; it is {now} here.")
}

fn write_names(f: &mut fmt::Formatter<'_>, host: &str, names: &[String]) -> fmt::Result {
    if names.is_empty() {
        write!(
            f,
            "The server's certificate names no host, so not {host} either."
        )
    } else {
        let names = names.join(", ");
        write!(
            f,
            "The server's certificate is not for {host}, only for {names}."
        )
    }
}

/// What a certificate that signed another one lacks, to go on after "but".
fn lack(note: Note) -> &'static str {
    match note {
        Note::NoBasicConstraints => "does not say that it is a CA (it has no basicConstraints)",
        Note::MayNotSign => "its keyUsage does not allow that (it lacks keyCertSign)",
        _ => "is not a CA",
    }
}

#[cfg(test)]
mod tests;
