//! Settings of the kernel's for the namespaces of a container.

use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd;

use ucr_sys::OFlags;
use ucr_sys::mount::{Attributes, Tree};

use crate::failure::{During, Failure, Step};

/// Writes `settings`: paths below `/proc/sys`, and values.
///
/// Through a procfs of its own that is attached nowhere: what an image or a mount puts over
/// `/proc/sys` is not met (CVE-2025-52881).
///
/// # Errors
///
/// A [`Failure`] of [`Step::Sysctls`] that names the setting.
pub fn set(settings: &[(String, String)]) -> Result<(), Failure> {
    if settings.is_empty() {
        return Ok(());
    }
    let proc = procfs()?;
    for (path, value) in settings {
        write(&proc, path, value).during(Step::Sysctls, path)?;
    }
    Ok(())
}

/// Writes `settings`, and before them what Docker has in a network namespace of a container's own:
/// no port is for root alone, and everybody may ping. Where a kernel has none of it, it is as it is.
///
/// # Errors
///
/// As [`set`].
pub fn set_with_usual(settings: &[(String, String)], has_ids: bool) -> Result<(), Failure> {
    const USUAL: [(&str, &str); 2] = [
        ("net/ipv4/ip_unprivileged_port_start", "0"),
        // Groups that a user namespace does not have would be refused.
        ("net/ipv4/ping_group_range", "0 2147483647"),
    ];
    let usual = if has_ids { &USUAL[..1] } else { &USUAL };
    let proc = procfs()?;
    for (path, value) in usual {
        match write(&proc, path, value) {
            Err(error) if error.is_not_found() => {}
            other => other.during(Step::Sysctls, *path)?,
        }
    }
    for (path, value) in settings {
        write(&proc, path, value).during(Step::Sysctls, path)?;
    }
    Ok(())
}

fn procfs() -> Result<Tree, Failure> {
    Tree::new("proc", "proc", &[], Attributes::empty()).during(Step::Sysctls, "")
}

fn write(proc: &Tree, path: &str, value: &str) -> ucr_sys::Result<()> {
    let file = format!("sys/{path}");
    let flags = OFlags::WRONLY | OFlags::NOFOLLOW;
    let opened = ucr_sys::at::open_in_root(proc.as_fd(), file.as_bytes(), flags);
    let opened = opened.map_err(|errno| ucr_sys::Error::new("openat2", &file, errno))?;
    File::from(opened)
        .write_all(value.as_bytes())
        .map_err(|error| ucr_sys::Error::from_io("write", format!("{value:?}"), &error))
}
