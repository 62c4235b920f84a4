//! The certificates to trust, where libcurl parses them once for all connections.
//!
//! It shares what it has read from a file, never what it was given in memory;
//! for a distribution's 140 authorities that is over a megabyte and some
//! milliseconds for each connection. So they are put into files of their own,
//! which are in memory, sealed, and gone with the client.

use std::cell::RefCell;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;

use ucr_sys::memfd;

/// Files of authorities, one for each set that a host trusts.
#[derive(Debug, Default)]
pub(super) struct Authorities(RefCell<Vec<(Arc<[u8]>, OwnedFd)>>);

impl Authorities {
    /// A path that has `pem` for as long as this lives; `None` where the system has none to give.
    pub(super) fn path_of(&self, pem: &Arc<[u8]>) -> Option<PathBuf> {
        let mut files = self.0.borrow_mut();
        let known = files.iter().position(|(known, _)| known == pem);
        let at = match known {
            Some(at) => at,
            None => {
                files.push((Arc::clone(pem), memfd::sealed("authorities", pem).ok()?));
                files.len() - 1
            }
        };
        let path = PathBuf::from(format!("/proc/self/fd/{}", files[at].1.as_raw_fd()));
        path.exists().then_some(path)
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::io::Write;

    use super::*;

    #[test]
    fn what_is_trusted_by_several_hosts_is_one_file() {
        let authorities = Authorities::default();
        let path = authorities.path_of(&Arc::from(*b"one")).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"one");
        assert_eq!(authorities.path_of(&Arc::from(*b"one")).unwrap(), path);
        let other = authorities.path_of(&Arc::from(*b"two")).unwrap();
        assert_eq!(fs::read(other).unwrap(), b"two");
    }

    #[test]
    fn nobody_can_add_to_what_is_trusted() {
        let authorities = Authorities::default();
        let path = authorities.path_of(&Arc::from(*b"pem")).unwrap();
        let mut file = File::options().write(true).open(path).unwrap();
        assert!(file.write(b"more").is_err());
    }
}
