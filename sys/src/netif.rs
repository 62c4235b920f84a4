//! Network interfaces: for now the loopback of a fresh network namespace.

use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

use crate::error::{Context, Error, Result};

/// netdevice(7); libc's constant is wider than the field.
const IFF_UP: libc::c_short = 1;

/// Sets the interface `lo` of this network namespace up, netdevice(7).
///
/// # Errors
///
/// Any failure of `socket` or of the two ioctls.
pub fn loopback_up() -> Result<()> {
    use std::os::fd::AsRawFd;

    let socket = socket_with(
        AddressFamily::INET,
        SocketType::DGRAM,
        SocketFlags::CLOEXEC,
        None,
    )
    .context("socket", || "AF_INET, SOCK_DGRAM".into())?;
    // SAFETY: an all-zero ifreq is a valid value of this plain C struct.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = from.cast_signed();
    }
    request.ifr_ifru.ifru_flags = IFF_UP;
    // SAFETY: `request` is an initialised ifreq, which SIOCSIFFLAGS only reads.
    let result = unsafe {
        libc::ioctl(
            socket.as_raw_fd(),
            libc::SIOCSIFFLAGS as _,
            &raw const request,
        )
    };
    if result < 0 {
        let error = std::io::Error::last_os_error();
        return Err(Error::from_io(
            "ioctl",
            "SIOCSIFFLAGS, \"lo\", IFF_UP",
            &error,
        ));
    }
    Ok(())
}
