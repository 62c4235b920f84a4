//! Joins the two halves of trust: the certificates that count, and the transport that obeys them.

use std::path::{Path, PathBuf};

use clap::Args;
use ucr_certs::{
    BaseCafile, CafileOrigin, Candidate, TrustBundle, TrustStore, WELL_KNOWN_CAFILES, find_base,
};
use ucr_puller::{Store, http};

use crate::command_error::CommandError;
use crate::env_vars;
use crate::settings::variable;

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

/// How every connection of this process is made.
pub(crate) fn transport(bundle: &TrustBundle, store: &Store) -> http::Settings {
    http::Settings {
        trusted_pem: bundle.to_pem(),
        empty_ca_path: store.empty_dir(),
        user_agent: concat!("ucr/", env!("CARGO_PKG_VERSION")).to_owned(),
    }
}

/// Adds to a refused connection what was trusted, and how to trust more.
pub(crate) fn explain(failed: CommandError, host: &str, trusted: &TrustBundle) -> CommandError {
    let sources: Vec<String> = trusted.sources().iter().map(ToString::to_string).collect();
    failed
        .hint(format!(
            "ucr certs add CA.crt, with the certificate of the CA that signed {host}'s"
        ))
        .hint(format!(
            "compare what is trusted now: {}",
            sources.join(", ")
        ))
}
