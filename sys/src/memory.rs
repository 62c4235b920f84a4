//! How the C library keeps memory that was freed.

/// Blocks of at least so many bytes are the kernel's again as soon as they are freed.
#[cfg(target_env = "gnu")]
const LARGE: libc::c_int = 128 * 1024;

/// Has large blocks given back to the kernel when they are freed.
///
/// glibc begins so, but keeps blocks of a size that it has once seen freed (mallopt(3),
/// `M_MMAP_THRESHOLD`): buffers of many threads, one after the other, then stay with the process
/// as if all were still in use.
pub fn give_back_large_blocks() {
    #[cfg(target_env = "gnu")]
    // SAFETY: may be called at any time; it takes two numbers.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE);
    }
}
