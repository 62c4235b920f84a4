//! A network namespace, made and set up by this process, which comes back from it.

use std::os::fd::OwnedFd;
use std::path::Path;

use ucr_sys::process::Namespaces;
use ucr_sys::{namespace, netif};

use super::Error;
use super::netlink::Route;

/// A namespace with a loopback that is up, and what is asked about its interfaces.
pub(super) struct Inside {
    pub(super) namespace: OwnedFd,
    pub(super) route: Route,
}

/// Makes a namespace. This thread is in it meanwhile, and no other.
///
/// # Errors
///
/// Any failure to make it; when this thread cannot come back it must do nothing but end.
pub(super) fn make() -> Result<Inside, Error> {
    let path = Path::new("/proc/thread-self/ns/net");
    let own = namespace::open(path).map_err(Error::Namespace)?;
    namespace::leave(Namespaces::NETWORK).map_err(Error::Namespace)?;
    let made = namespace::open(path)
        .map_err(Error::Namespace)
        .and_then(set_up);
    let back = namespace::join(std::os::fd::AsFd::as_fd(&own), Namespaces::NETWORK);
    back.map_err(Error::Namespace).and(made)
}

fn set_up(namespace: OwnedFd) -> Result<Inside, Error> {
    netif::loopback_up().map_err(Error::Namespace)?;
    // Nobody inside can take a port away from anybody outside (docker has the same).
    set("net/ipv4/ip_unprivileged_port_start", "0")?;
    // Whoever is on the same bridge is no router (CVE-2020-13401).
    if has_version_6() {
        set("net/ipv6/conf/all/accept_ra", "0")?;
        set("net/ipv6/conf/default/accept_ra", "0")?;
    }
    let route = Route::open()?;
    Ok(Inside { namespace, route })
}

/// Whether the kernel has version 6 of IP at all.
pub(super) fn has_version_6() -> bool {
    Path::new("/proc/sys/net/ipv6").is_dir()
}

/// Writes a setting of the kernel's for the namespace that this thread is in.
pub(super) fn set(name: &str, value: &'static str) -> Result<(), Error> {
    let path = Path::new("/proc/sys").join(name);
    let failed = |error| Error::Sysctl(path.clone(), value, error);
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .open(&path)
        .map_err(failed)?;
    std::io::Write::write_all(&mut file, value.as_bytes()).map_err(failed)
}

/// Sets it where it is something else.
pub(super) fn ensure(name: &str, value: &'static str) -> Result<(), Error> {
    let now = std::fs::read_to_string(Path::new("/proc/sys").join(name));
    match now {
        Ok(now) if now.trim() == value => Ok(()),
        _ => set(name, value),
    }
}
