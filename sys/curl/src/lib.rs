//! What libcurl can do and the crate `curl` has no call for.

#![expect(unsafe_code, reason = "libcurl is called through its C interface")]

mod late;

use std::ffi::c_char;
use std::ptr;

use curl::easy::Easy2;

pub use late::begin;

/// Leaves a handle without a directory of certificates (CURLOPT_CAPATH(3)).
///
/// The crate `curl` gives one to each handle, from `SSL_CERT_DIR` or the distribution, and can
/// only put another in its place. A handle with one parses its authorities for each connection;
/// one without shares them among all (CURLOPT_CA_CACHE_TIMEOUT(3)).
///
/// # Errors
/// When libcurl does not know the option.
pub fn forget_ca_path<H>(easy: &mut Easy2<H>) -> Result<(), curl::Error> {
    // SAFETY: the handle is alive, and null is what takes the option back.
    let code = unsafe {
        curl_sys::curl_easy_setopt(easy.raw(), curl_sys::CURLOPT_CAPATH, ptr::null::<c_char>())
    };
    match code {
        curl_sys::CURLE_OK => Ok(()),
        code => Err(curl::Error::new(code)),
    }
}
