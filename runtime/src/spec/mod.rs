//! The OCI runtime spec: defaults to start from, and its way into a plan.
//!
//! runtime-spec config.md and config-linux.md say what each field means. A field
//! that this crate does not honour is refused by its JSON path; none is dropped.

mod capability;
mod convert;
mod defaults;
mod handed_over;
mod mounts;
mod resources;
mod schedule;
mod seccomp;
mod seccomp_profile;
mod supported;
mod sysctl;

pub use capability::CAPABILITIES;
pub(crate) use capability::mask as capability_mask;
pub use convert::{Error, limits};
pub(crate) use convert::{convert, convert_process, limits_alone};
pub use defaults::defaults;
pub(crate) use handed_over::{Extras, convert_handed_over};
pub use mounts::OPTIONS as MOUNT_OPTIONS;
pub use seccomp::SeccompRequest;
pub use seccomp_profile::{Error as SeccompProfileError, SeccompProfile};

use std::path::{Path, PathBuf};

/// Who looks after a container, and so how much of a spec is honoured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner<'a> {
    /// A supervisor.
    Supervisor,
    /// Nobody of ours: it is handed over. The directory is that of its configuration.
    Nobody(&'a Path),
}

impl Owner<'_> {
    /// A path of the host's: absolute, or relative to the configuration where there is one.
    fn resolve(self, path: &Path) -> Option<PathBuf> {
        match self {
            Self::Nobody(bundle) => Some(bundle.join(path)),
            Self::Supervisor => path.is_absolute().then(|| path.to_owned()),
        }
    }
}
