//! OpenSSL without a configuration: `OPENSSL_CONF`, and the `openssl.cnf` of a
//! distribution, can weaken what is accepted and load modules into the process.
//!
//! OpenSSL reads its configuration when it is first used (OPENSSL_init_ssl(3)),
//! unless somebody said before that it must not. The crate `curl` uses it before
//! `main`, from `.init_array`; so what is here runs earlier still. It is a crate
//! of its own because `ucr-init`, which has no OpenSSL, uses `ucr-sys` too.

#![expect(unsafe_code, reason = "OpenSSL is started through its C interface")]

use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};

use openssl_sys::{OPENSSL_INIT_NO_ATEXIT, OPENSSL_init_ssl};

/// `OPENSSL_INIT_NO_LOAD_CONFIG` of openssl/crypto.h, which the bindings leave out.
const OPENSSL_INIT_NO_LOAD_CONFIG: u64 = 0x80;

static STARTED: AtomicBool = AtomicBool::new(false);

/// Runs before everything that names no priority, as the linker sorts it (ld(1),
/// `SORT_BY_INIT_PRIORITY`).
#[used]
// SAFETY: the section holds pointers to functions that the dynamic linker calls
// without arguments that matter, and this is one that needs nothing to be set up.
#[unsafe(link_section = ".init_array.00099")]
static BEFORE_OTHERS: extern "C" fn() = start;

extern "C" fn start() {
    let options = OPENSSL_INIT_NO_LOAD_CONFIG | OPENSSL_INIT_NO_ATEXIT;
    // SAFETY: may be called at any time by any thread; no settings are given.
    let done = unsafe { OPENSSL_init_ssl(options, ptr::null()) };
    STARTED.store(done == 1, Ordering::Relaxed);
}

/// Whether OpenSSL was started without a configuration.
///
/// Whoever uses OpenSSL calls this, which also has this crate linked in.
pub fn is_unconfigured() -> bool {
    STARTED.load(Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn openssl_was_started_before_main() {
        assert!(is_unconfigured());
    }
}
