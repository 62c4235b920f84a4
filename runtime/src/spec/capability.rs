//! Capabilities by their kernel numbers, linux/capability.h.

use oci_spec::runtime::{Capability, LinuxCapabilities};

use crate::plan::Capabilities;

/// All five sets as bit masks; an absent one is empty.
pub(super) fn masks(sets: Option<&LinuxCapabilities>) -> Capabilities {
    let mask = |set: &Option<oci_spec::runtime::Capabilities>| {
        set.iter()
            .flatten()
            .fold(0, |mask, capability| mask | 1 << number(*capability))
    };
    sets.map_or(Capabilities::default(), |sets| Capabilities {
        bounding: mask(sets.bounding()),
        permitted: mask(sets.permitted()),
        effective: mask(sets.effective()),
        inheritable: mask(sets.inheritable()),
        ambient: mask(sets.ambient()),
    })
}

fn number(capability: Capability) -> u32 {
    use Capability as C;

    /// In the order of the kernel's numbers.
    const ORDER: [Capability; 41] = [
        C::Chown,
        C::DacOverride,
        C::DacReadSearch,
        C::Fowner,
        C::Fsetid,
        C::Kill,
        C::Setgid,
        C::Setuid,
        C::Setpcap,
        C::LinuxImmutable,
        C::NetBindService,
        C::NetBroadcast,
        C::NetAdmin,
        C::NetRaw,
        C::IpcLock,
        C::IpcOwner,
        C::SysModule,
        C::SysRawio,
        C::SysChroot,
        C::SysPtrace,
        C::SysPacct,
        C::SysAdmin,
        C::SysBoot,
        C::SysNice,
        C::SysResource,
        C::SysTime,
        C::SysTtyConfig,
        C::Mknod,
        C::Lease,
        C::AuditWrite,
        C::AuditControl,
        C::Setfcap,
        C::MacOverride,
        C::MacAdmin,
        C::Syslog,
        C::WakeAlarm,
        C::BlockSuspend,
        C::AuditRead,
        C::Perfmon,
        C::Bpf,
        C::CheckpointRestore,
    ];
    (0..)
        .zip(ORDER)
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
