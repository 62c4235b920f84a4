//! What is wrong with the certificates that a server presented: OpenSSL's reason,
//! put into plain facts from the certificates and what is trusted.
//!
//! It only explains a refusal. Nothing is ever accepted because of what is
//! found here.

use std::fmt;

use crate::bundle::TrustBundle;
use crate::crt::Certificate;
use crate::fingerprint::Fingerprint;
use crate::names;
use crate::probe::{Presented, bare_host};
use crate::verify::{self, Refusal, Verdict};
use crate::x509::{Facts, Note, Timestamp};

/// OpenSSL's reasons that are told in words of our own (`X509_V_ERR_…`, x509_vfy.h).
mod reason {
    pub(super) const NO_ISSUER: i32 = 2;
    pub(super) const SIGNATURE: i32 = 7;
    pub(super) const NOT_YET_VALID: i32 = 9;
    pub(super) const EXPIRED: i32 = 10;
    pub(super) const SELF_SIGNED_LEAF: i32 = 18;
    pub(super) const SELF_SIGNED_IN_CHAIN: i32 = 19;
    pub(super) const NO_LOCAL_ISSUER: i32 = 20;
    pub(super) const LEAF_SIGNATURE: i32 = 21;
    pub(super) const PURPOSE: i32 = 26;
    pub(super) const NO_CERT_SIGN: i32 = 32;
    pub(super) const LEAF_KEY_SMALL: i32 = 66;
    pub(super) const CA_KEY_SMALL: i32 = 67;
    pub(super) const WEAK_HASH: i32 = 68;
    pub(super) const NO_CA: i32 = 79;
}

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
    /// The server sent certificates above its own, but not the one that continues the chain.
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
        /// Why it would be refused under its own name as well, if it would be.
        besides: Option<Box<Self>>,
    },
    /// A certificate of the chain is for something else than serving TLS.
    WrongPurpose {
        /// That certificate.
        subject: String,
        /// The extension that excludes it, and what that lacks.
        lack: &'static str,
    },
    /// A key is too short, or a signature made with a broken hash.
    Weak {
        /// The certificate with it.
        subject: String,
        /// Which of the two it is.
        flaw: &'static str,
    },
    /// Anything else that OpenSSL objects to.
    Other {
        /// The certificate that it objects to.
        subject: String,
        /// OpenSSL's words.
        reason: &'static str,
    },
}

/// A server that is trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// From the server's own certificate to the trusted one, both included; one
    /// alone when the server's own is trusted.
    pub path: Vec<Certificate>,
}

impl Accepted {
    /// The trusted certificate that the chain leads to.
    pub fn anchor(&self) -> &Certificate {
        &self.path[self.path.len() - 1]
    }
}

/// Judges a server for `host` that presented these certificates, as libcurl with
/// OpenSSL does, when `bundle` is what is trusted and it is `now`.
///
/// # Errors
///
/// The first reason to refuse it.
pub fn judge(
    presented: &Presented,
    bundle: &TrustBundle,
    host: &str,
    now: Timestamp,
) -> Result<Accepted, Diagnosis> {
    let case = Case {
        sent: presented.chain(),
        bundle,
        now,
    };
    let verdict = case.verdict();
    let host = bare_host(host);
    let names = names::names(presented.leaf().facts());
    if names::cover(&names, host) {
        return verdict;
    }
    // The name comes first: libcurl says so, and no trust would mend it.
    Err(Diagnosis::WrongName {
        host: host.to_owned(),
        names,
        besides: verdict.err().map(Box::new),
    })
}

/// What a refusal is explained from.
struct Case<'a> {
    sent: &'a [Certificate],
    bundle: &'a TrustBundle,
    now: Timestamp,
}

impl Case<'_> {
    /// Whether the chain is trusted, whatever the name.
    fn verdict(&self) -> Result<Accepted, Diagnosis> {
        match verify::verify(self.sent, self.bundle, self.now) {
            Ok(Verdict::Accepted(path)) => Ok(Accepted {
                path: self.certificates(&path),
            }),
            Ok(Verdict::Refused(refusal)) => Err(self.explain(&refusal)),
            Err(_openssl) => Err(Diagnosis::Other {
                subject: self.sent[0].facts().subject.clone(),
                reason: "OpenSSL cannot read the certificates",
            }),
        }
    }

    fn certificate(&self, fingerprint: Fingerprint) -> &Certificate {
        let mut sent = self.sent.iter();
        let sent = sent.find(|certificate| certificate.fingerprint() == fingerprint);
        let trusted = || self.bundle.find(fingerprint).map(|(trusted, _)| trusted);
        // OpenSSL knows no others.
        sent.or_else(trusted).unwrap_or(&self.sent[0])
    }

    fn certificates(&self, path: &[Fingerprint]) -> Vec<Certificate> {
        let path = path
            .iter()
            .map(|&fingerprint| self.certificate(fingerprint));
        path.cloned().collect()
    }

    fn explain(&self, refusal: &Refusal) -> Diagnosis {
        let at = self.certificate(refusal.at);
        let facts = at.facts();
        let subject = facts.subject.clone();
        match refusal.code {
            reason::SELF_SIGNED_LEAF => self.namesake(at).unwrap_or(Diagnosis::SelfSigned {
                certificate: Box::new(at.clone()),
            }),
            reason::SELF_SIGNED_IN_CHAIN => self.unknown_root(at, refusal),
            reason::NO_ISSUER
            | reason::NO_LOCAL_ISSUER
            | reason::LEAF_SIGNATURE
            | reason::SIGNATURE => self.no_issuer(at, refusal),
            reason::NO_CA | reason::NO_CERT_SIGN => Diagnosis::NotACa {
                subject,
                note: shortcoming(facts),
            },
            reason::EXPIRED => Diagnosis::Expired {
                subject,
                since: facts.not_after,
                now: self.now,
            },
            reason::NOT_YET_VALID => Diagnosis::NotYetValid {
                subject,
                until: facts.not_before,
                now: self.now,
            },
            reason::PURPOSE => Diagnosis::WrongPurpose {
                subject,
                lack: if facts.may_serve_tls {
                    "keyUsage lacks digitalSignature"
                } else {
                    "extendedKeyUsage lacks serverAuth"
                },
            },
            reason::LEAF_KEY_SMALL | reason::CA_KEY_SMALL => Diagnosis::Weak {
                subject,
                flaw: "its key is too short, weaker than RSA of 2048 bits",
            },
            reason::WEAK_HASH => Diagnosis::Weak {
                subject,
                flaw: "it is signed over a broken hash, such as SHA-1",
            },
            _ => Diagnosis::Other {
                subject,
                reason: refusal.reason,
            },
        }
    }

    /// The server sent a root that nobody trusts.
    fn unknown_root(&self, root: &Certificate, refusal: &Refusal) -> Diagnosis {
        let below = refusal.path.iter().rev().nth(1);
        let below = below.map_or(&self.sent[0], |&below| self.certificate(below));
        self.namesake(below)
            .unwrap_or_else(|| Diagnosis::IssuerUnknown {
                subject: below.facts().subject.clone(),
                issuer: root.facts().subject.clone(),
                sent: Some(Box::new(root.clone())),
            })
    }

    /// The path ends at a certificate whose issuer is nowhere, or is another one of that name.
    fn no_issuer(&self, last: &Certificate, refusal: &Refusal) -> Diagnosis {
        if let Some(namesake) = self.namesake(last) {
            return namesake;
        }
        let facts = last.facts();
        let (subject, issuer) = (facts.subject.clone(), facts.issuer.clone());
        let used = |one: &&Certificate| refusal.path.contains(&one.fingerprint());
        if !self.sent.iter().all(|one| used(&one)) {
            return Diagnosis::IntermediateMissing { subject, issuer };
        }
        // A root that is not known, or an intermediate that is not sent: who can tell?
        Diagnosis::IssuerUnknown {
            subject,
            issuer,
            sent: None,
        }
    }

    /// Finds a certificate with the issuer's name whose key did not sign.
    fn namesake(&self, signed: &Certificate) -> Option<Diagnosis> {
        let trusted = self
            .bundle
            .anchors()
            .iter()
            .map(|anchor| &anchor.certificate);
        let mut candidates = trusted.chain(self.sent);
        let known = candidates.find(|candidate| {
            candidate.facts().raw_subject == signed.facts().raw_issuer
                && !verify::signed_by(signed, candidate)
        })?;
        Some(Diagnosis::OtherKey {
            subject: signed.facts().subject.clone(),
            issuer: signed.facts().issuer.clone(),
            known: known.fingerprint(),
        })
    }
}

/// What a certificate that may not sign others lacks for it.
fn shortcoming(facts: &Facts) -> Note {
    // Only its validity depends on the time, and that is judged elsewhere.
    let notes = facts.notes(facts.not_before);
    let lacks = |note: &Note| {
        matches!(
            note,
            Note::NotACa
                | Note::NoBasicConstraints
                | Note::KeyUsageAlone
                | Note::MayNotSign
                | Note::Version1
        )
    };
    notes.into_iter().find(lacks).unwrap_or(Note::NotACa)
}

impl Diagnosis {
    /// A word for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::SelfSigned { .. } => "self-signed",
            Self::IssuerUnknown { .. } => "unknown-issuer",
            Self::IntermediateMissing { .. } => "intermediate-missing",
            Self::OtherKey { .. } => "other-key",
            Self::NotACa { .. } => "not-a-ca",
            Self::Expired { .. } => "expired",
            Self::NotYetValid { .. } => "not-yet-valid",
            Self::WrongName { .. } => "wrong-name",
            Self::WrongPurpose { .. } => "wrong-purpose",
            Self::Weak { .. } => "weak",
            Self::Other { .. } => "other",
        }
    }
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
            Self::IntermediateMissing { subject, issuer } => write!(
                f,
                "{subject} is signed by {issuer}, which is neither trusted nor sent by the \
                 server: its chain is incomplete or mixed up."
            ),
            Self::OtherKey {
                subject,
                issuer,
                known,
            } => write!(
                f,
                "{subject} is signed by {issuer}, but not with the key of the known certificate \
                 of that name (sha256 {known})."
            ),
            Self::NotACa { subject, note } => write!(
                f,
                "{subject} signed a certificate of the chain, but {}.",
                lack(*note)
            ),
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
            Self::WrongName {
                host,
                names,
                besides,
            } => write_names(f, (host, names), besides.as_deref()),
            Self::WrongPurpose { subject, lack } => write!(
                f,
                "The certificate of {subject} is not for TLS servers (its {lack})."
            ),
            Self::Weak { subject, flaw } => write!(
                f,
                "The certificate of {subject} is too weak to be believed: {flaw}."
            ),
            Self::Other { subject, reason } => {
                write!(f, "The certificate of {subject} is refused: {reason}.")
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
        None => write!(
            f,
            "The server did not send the certificate of {issuer}, which it should unless that is \
             a root."
        ),
        Some(fingerprint) => write!(
            f,
            "The server sent it (sha256 {fingerprint}), but nothing vouches for that one."
        ),
    }
}

fn write_time(f: &mut fmt::Formatter<'_>, fact: fmt::Arguments<'_>, now: Timestamp) -> fmt::Result {
    write!(f, "The certificate of {fact}; it is {now} here.")
}

fn write_names(
    f: &mut fmt::Formatter<'_>,
    (host, names): (&str, &[String]),
    besides: Option<&Diagnosis>,
) -> fmt::Result {
    write!(f, "The server's certificate ")?;
    match names {
        [] => write!(f, "names no host, so not {host} either.")?,
        names => write!(f, "is not for {host}, only for {}.", names.join(", "))?,
    }
    match besides {
        Some(besides) => write!(f, " Besides: {besides}"),
        None => Ok(()),
    }
}

/// What a certificate that signed another one lacks, to go on after "but".
fn lack(note: Note) -> &'static str {
    match note {
        Note::NoBasicConstraints | Note::KeyUsageAlone => {
            "does not say that it is a CA (it has no basicConstraints)"
        }
        Note::Version1 => "cannot say that it is a CA (it is of X.509 v1)",
        Note::MayNotSign => "its keyUsage does not allow that (it lacks keyCertSign)",
        _ => "is not a CA",
    }
}

#[cfg(test)]
mod tests;
