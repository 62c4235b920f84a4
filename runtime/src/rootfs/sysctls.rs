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
    let proc = Tree::new("proc", "proc", &[], Attributes::empty()).during(Step::Sysctls, "")?;
    for (path, value) in settings {
        let write = || -> ucr_sys::Result<()> {
            let file = format!("sys/{path}");
            let flags = OFlags::WRONLY | OFlags::NOFOLLOW;
            let opened = ucr_sys::at::open_in_root(proc.as_fd(), file.as_bytes(), flags);
            let opened = opened.map_err(|errno| ucr_sys::Error::new("openat2", &file, errno))?;
            File::from(opened)
                .write_all(value.as_bytes())
                .map_err(|error| ucr_sys::Error::from_io("write", format!("{value:?}"), &error))
        };
        write().during(Step::Sysctls, path)?;
    }
    Ok(())
}
