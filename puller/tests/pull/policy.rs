//! Trust that differs from host to host, as a test wants it.

use std::collections::HashMap;
use std::sync::Arc;

use ucr_puller::http::{HostTrust, TrustPolicy, Verification};

/// What each `HOST:PORT` is trusted by, and all others.
#[derive(Debug)]
pub(crate) struct Policy {
    others: Arc<HostTrust>,
    hosts: HashMap<String, Arc<HostTrust>>,
}

impl Policy {
    /// The same certificates for every host.
    pub(crate) fn of(pem: &str) -> Self {
        Self {
            others: Arc::new(trusting(pem)),
            hosts: HashMap::new(),
        }
    }

    /// Something else for one `HOST:PORT`.
    pub(crate) fn with(mut self, host: &str, trust: HostTrust) -> Self {
        self.hosts.insert(host.to_owned(), Arc::new(trust));
        self
    }
}

impl TrustPolicy for Policy {
    fn for_host(&self, host: &str, port: u16) -> Arc<HostTrust> {
        self.hosts
            .get(&format!("{host}:{port}"))
            .unwrap_or(&self.others)
            .clone()
    }
}

/// Trust in these certificates, without one of our own.
pub(crate) fn trusting(pem: &str) -> HostTrust {
    HostTrust {
        trusted_pem: pem.as_bytes().into(),
        identity: None,
        verification: Verification::Full,
    }
}
