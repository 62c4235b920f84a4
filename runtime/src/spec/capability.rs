//! Capabilities by their kernel numbers, linux/capability.h.

use oci_spec::runtime::{Capability, LinuxCapabilities};

use crate::plan::Capabilities;

/// All five sets as bit masks; an absent one is empty.
pub(super) fn masks(sets: Option<&LinuxCapabilities>) -> Capabilities {
    let mask = |set: &Option<oci_spec::runtime::Capabilities>| mask(set.iter().flatten());
    sets.map_or(Capabilities::default(), |sets| Capabilities {
        bounding: mask(sets.bounding()),
        permitted: mask(sets.permitted()),
        effective: mask(sets.effective()),
        inheritable: mask(sets.inheritable()),
        ambient: mask(sets.ambient()),
    })
}

/// The bit mask of some.
pub(crate) fn mask<'a>(capabilities: impl IntoIterator<Item = &'a Capability>) -> u64 {
    let capabilities = capabilities.into_iter();
    capabilities.fold(0, |mask, capability| mask | 1 << number(*capability))
}

/// All capabilities; the place of each is its number.
pub const CAPABILITIES: [Capability; 41] = [
    Capability::Chown,
    Capability::DacOverride,
    Capability::DacReadSearch,
    Capability::Fowner,
    Capability::Fsetid,
    Capability::Kill,
    Capability::Setgid,
    Capability::Setuid,
    Capability::Setpcap,
    Capability::LinuxImmutable,
    Capability::NetBindService,
    Capability::NetBroadcast,
    Capability::NetAdmin,
    Capability::NetRaw,
    Capability::IpcLock,
    Capability::IpcOwner,
    Capability::SysModule,
    Capability::SysRawio,
    Capability::SysChroot,
    Capability::SysPtrace,
    Capability::SysPacct,
    Capability::SysAdmin,
    Capability::SysBoot,
    Capability::SysNice,
    Capability::SysResource,
    Capability::SysTime,
    Capability::SysTtyConfig,
    Capability::Mknod,
    Capability::Lease,
    Capability::AuditWrite,
    Capability::AuditControl,
    Capability::Setfcap,
    Capability::MacOverride,
    Capability::MacAdmin,
    Capability::Syslog,
    Capability::WakeAlarm,
    Capability::BlockSuspend,
    Capability::AuditRead,
    Capability::Perfmon,
    Capability::Bpf,
    Capability::CheckpointRestore,
];

fn number(capability: Capability) -> u32 {
    (0..)
        .zip(CAPABILITIES)
        .find(|(_, known)| *known == capability)
        .map_or(u32::MAX, |(number, _)| number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_the_kernels() {
        assert_eq!(number(Capability::Chown), 0);
        assert_eq!(number(Capability::Setpcap), 8);
        assert_eq!(number(Capability::SysAdmin), 21);
        assert_eq!(number(Capability::AuditRead), 37);
        assert_eq!(number(Capability::CheckpointRestore), 40);
    }
}
