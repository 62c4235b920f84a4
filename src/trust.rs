//! Joins the two halves of trust: the certificates that count, and the transport that obeys them.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use clap::Args;
use ucr_certs::{
    BaseCafile, CafileOrigin, Candidate, Diagnosis, TrustBundle, TrustStore, WELL_KNOWN_CAFILES,
    find_base,
};
use ucr_puller::Store;
use ucr_puller::http::{self, HostTrust, TrustPolicy, Verification};

use crate::command_error::CommandError;
use crate::env_vars;
use crate::proxy;
use crate::settings::variable;

/// How long a connection, TLS included, may take to come about.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// How long the second look at a refused server may take.
const PROBE_TIMEOUT: Duration = Duration::from_secs(10);

/// Which CAfile trust begins with.
#[derive(Debug, Args)]
pub(crate) struct TrustArgs {
    /// CAfile to trust instead of the distribution's; certificates added with `ucr certs add`
    /// are trusted as well [env: UCR_CAFILE=]
    #[arg(long, value_name = "FILE")]
    cafile: Option<PathBuf>,
}

impl TrustArgs {
    /// Reads all certificates that count for a connection.
    ///
    /// # Errors
    /// A CAfile that is missing or damaged: the message names the file and the place in it.
    pub(crate) fn load(&self, certs_dir: &Path) -> Result<TrustBundle, CommandError> {
        let base = self.base()?;
        let store = TrustStore::new(certs_dir);
        TrustBundle::load(base.as_ref(), &store, &WELL_KNOWN_CAFILES).map_err(|error| {
            CommandError::new(error)
                .hint("ucr certs add CA.crt, with the certificate of your registry's CA")
        })
    }

    fn base(&self) -> Result<Option<BaseCafile>, CommandError> {
        let flag = self
            .cafile
            .clone()
            .map(|path| (path, CafileOrigin::Flag("--cafile")));
        let variable = variable(env_vars::UCR_CAFILE)
            .map(|path| (PathBuf::from(path), CafileOrigin::Variable("$UCR_CAFILE")));
        let named = [flag, variable].into_iter().flatten();
        let named: Vec<Candidate> = named
            .map(|(path, origin)| Candidate { path, origin })
            .collect();
        find_base(&named, &WELL_KNOWN_CAFILES).map_err(CommandError::new)
    }
}

/// The same certificates for every host.
#[derive(Debug)]
struct OneBundle(Arc<HostTrust>);

impl TrustPolicy for OneBundle {
    fn for_host(&self, _host: &str, _port: u16) -> Arc<HostTrust> {
        self.0.clone()
    }
}

/// How every connection of this process is made.
///
/// # Errors
/// A variable that names no proxy.
pub(crate) fn transport(
    bundle: &TrustBundle,
    store: &Store,
) -> Result<http::Settings, CommandError> {
    Ok(http::Settings {
        trust: Arc::new(OneBundle(Arc::new(HostTrust {
            trusted_pem: bundle.to_pem().into(),
            identity: None,
            verification: Verification::Full,
        }))),
        empty_ca_path: store.empty_dir(),
        proxies: proxy::from_environment()?,
        connect_timeout: CONNECT_TIMEOUT,
        user_agent: concat!("ucr/", env!("CARGO_PKG_VERSION")).to_owned(),
    })
}

/// Adds to a refused connection why it was refused, what was trusted, and how to mend it.
///
/// libcurl's reason names no certificate: the server is looked at once more,
/// with a handshake that ends before anything is sent.
pub(crate) fn explain(failed: CommandError, host: &str, trusted: &TrustBundle) -> CommandError {
    let sources: Vec<String> = trusted.sources().iter().map(ToString::to_string).collect();
    let failed = failed.note(format!("trusted are only {}", sources.join(" and ")));
    let (name, port) = host.rsplit_once(':').unwrap_or((host, "443"));
    let port = port.parse().unwrap_or(443);
    match ucr_certs::probe(name, port, PROBE_TIMEOUT) {
        Ok(presented) => {
            let now = SystemTime::now().into();
            let diagnosis = ucr_certs::diagnose(&presented, trusted, name, now);
            failed.note(diagnosis.to_string()).hint(remedy(&diagnosis))
        }
        Err(error) => failed
            .note(format!("a second look at its certificate failed: {error}"))
            .hint("ucr certs add CA.crt, with the certificate of the CA that signed the server's"),
    }
}

/// What would make the connection work, or who could.
fn remedy(diagnosis: &Diagnosis) -> String {
    match diagnosis {
        Diagnosis::SelfSigned { .. } => {
            "ucr certs add SERVER.crt, once you know that fingerprint to be the server's".to_owned()
        }
        Diagnosis::IssuerUnknown { issuer, .. } | Diagnosis::IntermediateMissing { issuer, .. } => {
            format!("ucr certs add CA.crt, where CA.crt is the certificate of {issuer}")
        }
        Diagnosis::OtherKey { issuer, .. } => {
            format!(
                "ucr certs add CA.crt, with the present certificate of {issuer}: it was replaced"
            )
        }
        Diagnosis::Expired { .. } | Diagnosis::NotYetValid { .. } => {
            "have the certificate renewed, or set this machine's clock right".to_owned()
        }
        Diagnosis::WrongName { .. } => {
            "a name that the certificate is for, or have one made for this name".to_owned()
        }
        Diagnosis::NotACa { .. } => "have a CA certificate made that may sign".to_owned(),
        _ => "ucr -v, to see the whole exchange".to_owned(),
    }
}
