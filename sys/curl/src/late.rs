//! libcurl, initialised when it is used and not before `main`.
//!
//! The crate `curl` initialises it in a constructor of every program that it is linked into, half a
//! millisecond of each start, also of one that then speaks to nobody. The linker turns the call to
//! the function here (`--wrap`, ld(1); the build script of `ucr` asks for it). libcurl initialises
//! itself when it is first used, one thread at a time (curl_global_init(3), since 7.84), so that
//! nothing is lost. OpenSSL is started before `main` all the same, and without a configuration
//! (`sys/openssl`).

use std::ffi::c_long;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether `main` has begun.
static BEGUN: AtomicBool = AtomicBool::new(false);

/// Lets libcurl be initialised from here on; to be called first in `main`.
pub fn begin() {
    BEGUN.store(true, Ordering::Relaxed);
}

unsafe extern "C" {
    fn __real_curl_global_init(flags: c_long) -> curl_sys::CURLcode;
}

/// What is called instead of `curl_global_init`.
#[unsafe(no_mangle)]
extern "C" fn __wrap_curl_global_init(flags: c_long) -> curl_sys::CURLcode {
    if BEGUN.load(Ordering::Relaxed) {
        // SAFETY: the function that the caller meant, with what it gave.
        unsafe { __real_curl_global_init(flags) }
    } else {
        curl_sys::CURLE_OK
    }
}
