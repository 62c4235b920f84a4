//! Joins the two halves of trust: the certificates that count, and the transport that obeys them.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use clap::Args;
use clap::builder::BoolishValueParser;
use ucr::command_error::{Advice, CommandError};
use ucr::env_vars;
use ucr::settings::{Settings, user_config, variable};
use ucr::source::CafileArgs;
use ucr::ui::Ui;
use ucr_certs::{
    CafileOrigin, Candidate, Error, HostPort, HostTrust, TrustPlaces, TrustPolicy, TrustStore,
    find_base, usual_cafiles,
};
use ucr_images::{ForeignLayers, Registries, RegistryHost, Secret};
use ucr_puller::http::{self, Identity, Peer, Proxies, ShownProxy, Untrusted, Verification, Way};

use crate::inspection::Inspection;
use crate::proxy;

/// How long a connection, TLS included, may take to come about.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// Where DC/OS keeps its CAfile.
const MESOSPHERE: &str = "/opt/mesosphere";
/// Nothing can be below what is no directory: no certificate is found by its hash.
const NO_DIRECTORY: &str = "/dev/null/no-directory";
/// Where podman and dockerd keep what belongs to one registry.
const REGISTRY_DIRS: [&str; 2] = ["/etc/containers/certs.d", "/etc/docker/certs.d"];

/// The trust stores that count, the machine's before the user's.
pub(crate) fn trust_stores(settings: &Settings) -> Vec<TrustStore> {
    settings.certs().iter().map(TrustStore::new).collect()
}

/// Which CAfile trust begins with.
#[derive(Debug, Args)]
pub(crate) struct TrustArgs {
    #[command(flatten)]
    base: CafileArgs,
}

impl TrustArgs {
    /// Reads the base CAfile and all that was added; what cannot be read of the latter is
    /// said and passed over.
    ///
    /// # Errors
    /// A CAfile that is missing or damaged: the message names the file and the place in it.
    /// And nothing to trust at all.
    pub(crate) fn load(&self, settings: &Settings, ui: &Ui) -> Result<Trust, CommandError> {
        let trust = self.load_if_any(settings, ui)?;
        if trust.policy.is_empty() {
            let tried = usual_cafiles(Path::new(MESOSPHERE)).into_iter();
            let tried = tried.map(|place| place.path).collect();
            return Err(CommandError::new(Error::NothingTrusted { tried })
                .hint("ucr certs add CA.crt, with the certificate of your registry's CA"));
        }
        Ok(trust)
    }

    /// The same where nothing has to be trusted yet.
    ///
    /// # Errors
    /// A CAfile that is missing or damaged.
    pub(crate) fn load_if_any(&self, settings: &Settings, ui: &Ui) -> Result<Trust, CommandError> {
        let usual = usual_cafiles(Path::new(MESOSPHERE));
        let own_dirs = user_config().map(|config| config.join("containers/certs.d"));
        let registry_dirs = own_dirs.into_iter().chain(REGISTRY_DIRS.map(PathBuf::from));
        let places = TrustPlaces {
            base: find_base(&self.named(settings), &usual).map_err(CommandError::new)?,
            stores: trust_stores(settings),
            registry_dirs: registry_dirs.collect(),
        };
        let policy = TrustPolicy::load(&places).map_err(|error| {
            CommandError::new(error).hint("mend that file, or name another with --cafile")
        })?;
        ui.say_passed_over(policy.problems());
        if policy.private_keys_in_base() > 0 {
            ui.say("ucr: WARNING: the CAfile holds a private key, which everybody can read there");
        }
        Ok(Trust {
            policy,
            insecure: Vec::new(),
            proxies: proxy::from_environment()?,
            hosts: Mutex::default(),
            ui: *ui,
        })
    }

    /// The CAfiles that somebody named, the one that counts first.
    fn named(&self, settings: &Settings) -> Vec<Candidate> {
        let from_variable = |name: &str, origin| {
            let path = PathBuf::from(variable(name)?);
            Some((path, CafileOrigin::Variable(origin)))
        };
        let flag = self.base.cafile.clone();
        let config = settings.cafile.clone();
        let named = [
            flag.map(|path| (path, CafileOrigin::Flag("--cafile"))),
            from_variable(env_vars::UCR_CAFILE, "$UCR_CAFILE"),
            config.map(|path| (path, CafileOrigin::Configuration)),
            from_variable(env_vars::SSL_CERT_FILE, "$SSL_CERT_FILE"),
            from_variable(env_vars::CURL_CA_BUNDLE, "$CURL_CA_BUNDLE"),
        ];
        let named = named.into_iter().flatten();
        named
            .map(|(path, origin)| Candidate { path, origin })
            .collect()
    }
}

/// The registries that are taken as they come.
#[derive(Debug, Args)]
pub(crate) struct InsecureArgs {
    /// Registry whose certificate is not verified; for nothing but a try, and for this one only
    #[arg(long, value_name = "HOST[:PORT]")]
    insecure_registry: Vec<HostPort>,
}

impl InsecureArgs {
    /// Reads whom to trust, and says each time which registries are taken as they come.
    ///
    /// # Errors
    /// As [`TrustArgs::load`]; without any certificate only where every host is verified.
    pub(crate) fn load(
        &self,
        args: &TrustArgs,
        settings: &Settings,
        ui: &Ui,
    ) -> Result<Trust, CommandError> {
        if self.insecure_registry.is_empty() {
            return args.load(settings, ui);
        }
        self.load_if_any(args, settings, ui)
    }

    /// The same where nothing has to be trusted yet.
    ///
    /// # Errors
    /// As [`TrustArgs::load_if_any`].
    pub(crate) fn load_if_any(
        &self,
        args: &TrustArgs,
        settings: &Settings,
        ui: &Ui,
    ) -> Result<Trust, CommandError> {
        for host in &self.insecure_registry {
            ui.say(&format!(
                "ucr: WARNING: the certificate of {host} is not verified (--insecure-registry): \
                 whoever answers there may be somebody else, and is sent the credential"
            ));
        }
        Ok(Trust {
            insecure: self.insecure_registry.clone(),
            ..args.load_if_any(settings, ui)?
        })
    }
}

/// How registries are spoken to.
#[derive(Debug, Args)]
pub(crate) struct RegistryArgs {
    /// Registry that is spoken to in clear, without TLS and never with a credential; for this
    /// one only
    #[arg(long, value_name = "HOST[:PORT]")]
    plain_http: Vec<RegistryHost>,
    /// Fetch foreign layers from where the manifest says, over https and never with a credential
    #[arg(
        long,
        value_name = "BOOL",
        env = env_vars::UCR_ALLOW_FOREIGN_LAYERS,
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        value_parser = BoolishValueParser::new()
    )]
    allow_foreign_layers: Option<bool>,
}

impl RegistryArgs {
    /// What the configuration says of registries, and these flags.
    pub(crate) fn registries(&self, settings: &Settings, ui: &Ui) -> Registries {
        let mut registries = settings.registries.clone();
        for host in &self.plain_http {
            ui.say(&format!(
                "ucr: WARNING: {host} is spoken to in clear (--plain-http): whoever is on the way \
                 can read and change what comes from it"
            ));
            registries.speak_plainly_to(host);
        }
        registries
    }

    /// What to try when an image was refused for a foreign layer.
    pub(crate) fn foreign_advice(error: &ucr_puller::Error) -> Option<&'static str> {
        error.is_of_foreign_layer().then_some(
            "--allow-foreign-layers, to fetch it from where the manifest says, if you trust that \
             (allow-foreign-layers = true in [pull] of the configuration)",
        )
    }

    /// Whether foreign layers are fetched: these flags say it, else the configuration.
    pub(crate) fn foreign(&self, settings: &Settings) -> ForeignLayers {
        let allowed = self.allow_foreign_layers;
        match allowed.or(settings.pull.allow_foreign_layers) {
            Some(true) => ForeignLayers::Fetched,
            Some(false) | None => ForeignLayers::Refused,
        }
    }
}

/// Whom to trust, decided host by host and remembered for the rest of the command.
#[derive(Debug)]
pub(crate) struct Trust {
    policy: TrustPolicy,
    insecure: Vec<HostPort>,
    proxies: Proxies,
    hosts: Mutex<HashMap<HostPort, Known>>,
    ui: Ui,
}

/// What was decided for one host, for people and for the transport.
#[derive(Debug, Clone)]
struct Known {
    trust: Arc<HostTrust>,
    transport: Arc<http::HostTrust>,
}

impl Trust {
    /// Everything that counts, whatever the host.
    pub(crate) fn policy(&self) -> &TrustPolicy {
        &self.policy
    }

    /// What counts for a host; what cannot be read of it is said once and passed over.
    pub(crate) fn of(&self, host: &HostPort) -> Arc<HostTrust> {
        self.known(host).trust
    }

    /// How connections are made where there is no store, and so no empty directory of ours.
    pub(crate) fn transport_without_store(self: &Arc<Self>) -> http::Settings {
        self.transport(PathBuf::from(NO_DIRECTORY))
    }

    /// How every connection of this process is made; `empty_ca_path` is an empty directory.
    pub(crate) fn transport(self: &Arc<Self>, empty_ca_path: PathBuf) -> http::Settings {
        http::Settings {
            trust: self.clone(),
            empty_ca_path,
            proxies: self.proxies.clone(),
            connect_timeout: CONNECT_TIMEOUT,
            patience: ucr_puller::http::Patience::default(),
            ranges: ucr_puller::http::Ranges::default(),
            user_agent: concat!("ucr/", env!("CARGO_PKG_VERSION")).to_owned(),
        }
    }

    /// The proxy on the way to a host, if there is one.
    pub(crate) fn proxy_to(&self, host: &HostPort) -> Option<String> {
        match self.proxies.way_to(host.host(), host.port()) {
            Way::Direct => None,
            Way::Tunnel { host, port, .. } => Some(format!("http://{host}:{port}")),
            Way::Other(proxy) => Some(proxy.to_string()),
        }
    }

    /// Looks at what a server presents on the way that a pull takes to it.
    pub(crate) fn inspect(&self, host: &HostPort) -> Inspection {
        let way = self.proxies.way_to(host.host(), host.port());
        Inspection::of(host, &way, &self.of(host))
    }

    /// What there is to say about a connection that did not come about.
    pub(crate) fn advice(&self, error: &http::Error) -> Advice {
        use http::Error::{
            Broken, ClientCertificateWanted, Connect, NothingTrusted, Proxy, Resolve, TimedOut,
            Tls, Untrusted,
        };
        let hint = |text: String| Advice {
            hints: vec![text],
            notes: Vec::new(),
        };
        match error {
            Untrusted { untrusted, .. } => self.about_untrusted(untrusted),
            NothingTrusted { host } => self.about(host, |host| self.inspect(host).advice()),
            ClientCertificateWanted { host, .. } => {
                self.about(host, |host| self.about_client(host))
            }
            Tls { host, detail } => hint(about_no_session(host, detail)),
            Proxy { .. } => {
                hint("is $https_proxy right? $no_proxy lists the hosts that need none".to_owned())
            }
            Broken { .. } | Connect { .. } | Resolve { .. } | TimedOut { .. } => {
                hint("is the host right, and can this machine reach it?".to_owned())
            }
            _ => Advice::default(),
        }
    }

    /// Nothing is said about what is no host.
    fn about(&self, host: &str, say: impl Fn(&HostPort) -> Advice) -> Advice {
        host.parse()
            .map_or_else(|_| Advice::default(), |host| say(&host))
    }

    fn about_untrusted(&self, refused: &Untrusted) -> Advice {
        let Ok(host) = HostPort::new(&refused.host, refused.port) else {
            return Advice::default();
        };
        let mut advice = match refused.peer {
            Peer::Server => self.inspect(&host).advice(),
            // The proxy's own certificate: there is nothing in between.
            Peer::Proxy => Inspection::of(&host, &Way::Direct, &self.of(&host)).advice(),
        };
        advice.notes.extend(refused.via.as_ref().map(came_through));
        advice
    }

    fn about_client(&self, host: &HostPort) -> Advice {
        let shown = match &self.of(host).identity {
            Some(identity) => format!("it was shown {}", identity.path.display()),
            None => "it was shown none".to_owned(),
        };
        let place = REGISTRY_DIRS[1];
        Advice {
            notes: vec![shown],
            hints: vec![format!(
                "put the certificate for it and its key into {place}/{host}/ as client.cert and \
                 client.key"
            )],
        }
    }

    fn known(&self, host: &HostPort) -> Known {
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = hosts.get(host) {
            return known.clone();
        }
        let trust = self.policy.for_host(host);
        self.ui.say_passed_over(&trust.problems);
        let verification = if self.insecure.contains(host) {
            Verification::Off
        } else {
            Verification::Full
        };
        let transport = http::HostTrust {
            trusted_pem: trust.bundle.to_pem().into(),
            identity: trust.identity.as_ref().map(|identity| Identity {
                chain_pem: String::from_utf8_lossy(&identity.chain_pem()).into_owned(),
                key_pem: Secret::new(String::from_utf8_lossy(identity.key_pem())),
            }),
            verification,
        };
        let known = Known {
            trust: Arc::new(trust),
            transport: Arc::new(transport),
        };
        hosts.insert(host.clone(), known.clone());
        known
    }
}

/// That a proxy lies between, where a certificate was refused behind one.
pub(crate) fn proxy_note(error: &http::Error) -> Option<String> {
    error.untrusted()?.via.as_ref().map(came_through)
}

fn came_through(proxy: &ShownProxy) -> String {
    format!(
        "all this came through the proxy {proxy}: if it looks into TLS, the CA to add is the \
         proxy's"
    )
}

/// What to try where there is no TLS session, by OpenSSL's words for it.
fn about_no_session(host: &str, detail: &str) -> String {
    if detail.contains("wrong version number") {
        return format!(
            "is that the right port? what answers at {host} does not speak TLS; only with \
             --plain-http {host} is it spoken to in clear"
        );
    }
    if detail.contains("protocol version") || detail.contains("unsupported protocol") {
        return format!("have TLS 1.2 or 1.3 switched on at {host}: nothing older is spoken");
    }
    format!(
        "is that the right host and port? openssl s_client -connect {host} shows what answers there"
    )
}

impl http::TrustPolicy for Trust {
    fn for_host(&self, host: &str, port: u16) -> Arc<http::HostTrust> {
        match HostPort::new(host, port) {
            Ok(host) => self.known(&host).transport,
            // No certificate is for what is no host.
            Err(_no_host) => Arc::new(http::HostTrust {
                trusted_pem: Arc::from([]),
                identity: None,
                verification: Verification::Full,
            }),
        }
    }
}
