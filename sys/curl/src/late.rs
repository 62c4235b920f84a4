//! libcurl and OpenSSL, initialised when they are used and not before `main`.
//!
//! The crate `curl` initialises both in a constructor of every program that it is linked into, 0.7 ms
//! of each start, also of a program that then speaks to nobody. The linker turns its calls to the
//! functions here (`--wrap`, ld(1); the build script of `ucr` asks for it). Both libraries initialise
//! themselves when they are first used, one thread at a time (curl_global_init(3), since 7.84;
//! OPENSSL_init_ssl(3)), so that nothing is lost.

use std::ffi::{c_int, c_long};
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether `main` has begun.
static BEGUN: AtomicBool = AtomicBool::new(false);

/// Lets libcurl and OpenSSL be initialised from here on; to be called first in `main`.
pub fn begin() {
    BEGUN.store(true, Ordering::Relaxed);
}

unsafe extern "C" {
    fn __real_curl_global_init(flags: c_long) -> curl_sys::CURLcode;
    fn __real_OPENSSL_init_ssl(options: u64, settings: *const OpensslSettings) -> c_int;
}

/// `OPENSSL_INIT_SETTINGS`, of which nobody knows what is in it.
#[repr(C)]
struct OpensslSettings([u8; 0]);

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

/// What is called instead of `OPENSSL_init_ssl`.
#[unsafe(no_mangle)]
extern "C" fn __wrap_OPENSSL_init_ssl(options: u64, settings: *const OpensslSettings) -> c_int {
    if BEGUN.load(Ordering::Relaxed) {
        // SAFETY: the function that the caller meant, with what it gave.
        unsafe { __real_OPENSSL_init_ssl(options, settings) }
    } else {
        1
    }
}
