//! What a process is besides its program: execution domain, and whose children it adopts.

use std::io;

use rustix::process::Pid;

use crate::error::{Context, Error, Result};

/// Sets the execution domain that `execve` hands on, personality(2).
///
/// # Errors
///
/// Any failure of `personality`.
pub fn set_personality(persona: u64) -> Result<()> {
    let refused = || {
        let error = io::Error::last_os_error();
        Error::from_io("personality", format!("{persona:#x}"), &error)
    };
    let persona = libc::c_ulong::from(persona);
    // SAFETY: personality takes no memory.
    if unsafe { libc::personality(persona) } < 0 {
        return Err(refused());
    }
    Ok(())
}

/// Makes this process the parent of its descendants whose own parents end, prctl(2).
///
/// # Errors
///
/// Any failure of `prctl`.
pub fn adopt_orphans() -> Result<()> {
    let own = Pid::from_raw(1);
    rustix::process::set_child_subreaper(own).context("prctl", || "PR_SET_CHILD_SUBREAPER".into())
}
