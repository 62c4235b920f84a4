//! Every environment variable that `ucr` reads, in one place.

/// The store, instead of `/var/lib/ucr`.
pub(crate) const UCR_ROOT: &str = "UCR_ROOT";
/// The state of running containers, instead of `/run/ucr`.
pub(crate) const UCR_STATE: &str = "UCR_STATE";
/// The configuration, instead of `/etc/ucr/config.toml`.
pub(crate) const UCR_CONFIG: &str = "UCR_CONFIG";
/// The base CAfile, instead of the distribution's.
pub const UCR_CAFILE: &str = "UCR_CAFILE";
/// The base CAfile of everything that is built on OpenSSL.
pub const SSL_CERT_FILE: &str = "SSL_CERT_FILE";
/// The base CAfile of curl.
pub const CURL_CA_BUNDLE: &str = "CURL_CA_BUNDLE";
/// The directory of added certificates, instead of `/etc/ucr/certs`.
pub(crate) const UCR_CERTS_DIR: &str = "UCR_CERTS_DIR";
/// Whether foreign layers are fetched.
pub const UCR_ALLOW_FOREIGN_LAYERS: &str = "UCR_ALLOW_FOREIGN_LAYERS";
/// The principal to pull as.
pub const UCR_PRINCIPAL: &str = "UCR_PRINCIPAL";
/// The principal's secret.
pub const UCR_SECRET: &str = "UCR_SECRET";
/// A file with credentials, as podman reads it.
pub const REGISTRY_AUTH_FILE: &str = "REGISTRY_AUTH_FILE";
/// The directory of a user's session, in which podman keeps credentials.
pub const XDG_RUNTIME_DIR: &str = "XDG_RUNTIME_DIR";
/// The directory in which docker keeps credentials, instead of `~/.docker`.
pub const DOCKER_CONFIG: &str = "DOCKER_CONFIG";
/// Directories of plugins of the Container Network Interface, between colons.
pub(crate) const CNI_PATH: &str = "CNI_PATH";
/// The user's own directory.
pub const HOME: &str = "HOME";
/// The proxy for https; of several that are set the first counts, as with curl.
pub const PROXY: [&str; 4] = ["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"];
/// The hosts that are reached without the proxy.
pub const NO_PROXY: [&str; 2] = ["no_proxy", "NO_PROXY"];
/// Who called sudo(8).
pub const SUDO_USER: &str = "SUDO_USER";
