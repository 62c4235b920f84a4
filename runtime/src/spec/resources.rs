//! Limits of a spec beyond those of every container, as files of either version of cgroups.

use oci_spec::runtime::{
    LinuxBlockIo, LinuxCpu, LinuxMemory, LinuxNetwork, LinuxResources, LinuxThrottleDevice,
};

use super::convert::set;
use crate::cgroup::devices::{Access, DeviceRule, Kind};
use crate::cgroup::limit::Limit;

/// Every limit of `resources` that is one value for one file.
pub(super) fn limits(resources: &LinuxResources) -> Vec<Limit> {
    let mut limits = Vec::new();
    resources
        .memory()
        .iter()
        .for_each(|memory| of_memory(&mut limits, memory));
    resources
        .cpu()
        .iter()
        .for_each(|cpu| of_cpu(&mut limits, cpu));
    resources
        .block_io()
        .iter()
        .for_each(|block| of_block_io(&mut limits, block));
    resources
        .network()
        .iter()
        .for_each(|network| of_network(&mut limits, network));
    for limit in resources.hugepage_limits().iter().flatten() {
        let size = limit.page_size();
        let value = limit.limit().to_string();
        let of = |kind: &str| {
            let v1 = format!("hugetlb.{size}{kind}.limit_in_bytes");
            let v2 = format!("hugetlb.{size}{kind}.max");
            Limit::new("hugetlb")
                .v1(&v1, &value)
                .v2("hugetlb", &v2, &value)
        };
        // With the second a mapping is refused, instead of the program killed that touches it.
        limits.extend([of(""), of(".rsvd").where_there()]);
    }
    let mut devices: Vec<_> = resources.rdma().iter().flatten().collect();
    devices.sort_by_key(|(name, _)| *name);
    for (name, limit) in devices {
        let part = |key: &str, value: Option<u32>| {
            value.map_or(String::new(), |value| format!(" {key}={value}"))
        };
        let handles = part("hca_handle", limit.hca_handles());
        let value = format!("{name}{handles}{}", part("hca_object", limit.hca_objects()));
        limits.push(
            Limit::new("rdma")
                .v1("rdma.max", &value)
                .v2("rdma", "rdma.max", &value),
        );
    }
    let mut unified: Vec<_> = resources.unified().iter().flatten().collect();
    unified.sort();
    for (file, value) in unified {
        let controller = file.split('.').next().unwrap_or_default();
        limits.push(Limit::new("unified").v2(controller, file, value));
    }
    limits
}

fn of_memory(limits: &mut Vec<Limit>, memory: &LinuxMemory) {
    if let Some(swappiness) = memory.swappiness() {
        limits.push(Limit::new("memory").v1("memory.swappiness", &swappiness.to_string()));
    }
    if memory.disable_oom_killer() == Some(true) {
        limits.push(Limit::new("memory").v1("memory.oom_control", "1"));
    }
    if let Some(limit) = set(memory.kernel_tcp()) {
        let limit = limit.to_string();
        limits.push(Limit::new("memory").v1("memory.kmem.tcp.limit_in_bytes", &limit));
    }
    if memory.use_hierarchy() == Some(true) {
        limits.push(Limit::new("memory").v1("memory.use_hierarchy", "1"));
    }
}

fn of_cpu(limits: &mut Vec<Limit>, cpu: &LinuxCpu) {
    if let Some(period) = set(cpu.realtime_period()) {
        limits.push(Limit::new("cpu").v1("cpu.rt_period_us", &period.to_string()));
    }
    if let Some(runtime) = set(cpu.realtime_runtime()) {
        limits.push(Limit::new("cpu").v1("cpu.rt_runtime_us", &runtime.to_string()));
    }
    if let Some(burst) = set(cpu.burst()) {
        let burst = burst.to_string();
        limits.push(Limit::new("cpu").v1("cpu.cfs_burst_us", &burst).v2(
            "cpu",
            "cpu.max.burst",
            &burst,
        ));
    }
    if let Some(idle) = cpu.idle() {
        let idle = idle.to_string();
        limits.push(
            Limit::new("cpu")
                .v1("cpu.idle", &idle)
                .v2("cpu", "cpu.idle", &idle),
        );
    }
    for (file, value) in [("cpuset.cpus", cpu.cpus()), ("cpuset.mems", cpu.mems())] {
        if let Some(value) = value.as_deref().filter(|value| !value.is_empty()) {
            limits.push(
                Limit::new("cpuset")
                    .v1(file, value)
                    .v2("cpuset", file, value),
            );
        }
    }
}

fn of_block_io(limits: &mut Vec<Limit>, block: &LinuxBlockIo) {
    let mut add = |v1: &str, value: &str| limits.push(Limit::new("blkio").v1(v1, value));
    if let Some(weight) = set(block.leaf_weight()) {
        add("blkio.leaf_weight", &weight.to_string());
    }
    for device in block.weight_device().iter().flatten() {
        let number = format!("{}:{}", device.major(), device.minor());
        if let Some(weight) = set(device.leaf_weight()) {
            add("blkio.leaf_weight_device", &format!("{number} {weight}"));
        }
    }
    limits.extend(set(block.weight()).map(|weight| io_weight("", "", weight)));
    for device in block.weight_device().iter().flatten() {
        let number = format!("{}:{} ", device.major(), device.minor());
        let weight = set(device.weight());
        limits.extend(weight.map(|weight| io_weight("_device", &number, weight)));
    }
    for (list, file, key) in [
        (block.throttle_read_bps_device(), "read_bps", "rbps"),
        (block.throttle_write_bps_device(), "write_bps", "wbps"),
        (block.throttle_read_iops_device(), "read_iops", "riops"),
        (block.throttle_write_iops_device(), "write_iops", "wiops"),
    ] {
        limits.extend(
            list.iter()
                .flatten()
                .map(|device| throttle(device, file, key)),
        );
    }
}

/// The weight (10 to 1000) of the scheduler BFQ, the only one of version 1 with any since Linux 5.0;
/// in version 2 else that of the cost model, from 1 to 10000, on a straight line as with runc and
/// crun.
fn io_weight(kind: &str, device: &str, weight: u16) -> Limit {
    let value = format!("{device}{weight}");
    let scaled = 1 + (u32::from(weight).max(10) - 10) * 9999 / 990;
    Limit::new("blkio")
        .v1(&format!("blkio.bfq.weight{kind}"), &value)
        .v2("io", "io.bfq.weight", &value)
        .or_v2("io.weight", &format!("{device}{scaled}"))
}

fn throttle(device: &LinuxThrottleDevice, file: &str, key: &str) -> Limit {
    let number = format!("{}:{}", device.major(), device.minor());
    let rate = device.rate();
    Limit::new("blkio")
        .v1(
            &format!("blkio.throttle.{file}_device"),
            &format!("{number} {rate}"),
        )
        .v2("io", "io.max", &format!("{number} {key}={rate}"))
}

fn of_network(limits: &mut Vec<Limit>, network: &LinuxNetwork) {
    if let Some(class) = set(network.class_id()) {
        limits.push(Limit::new("net_cls").v1("net_cls.classid", &class.to_string()));
    }
    for one in network.priorities().iter().flatten() {
        let value = format!("{} {}", one.name(), one.priority());
        limits.push(Limit::new("net_prio").v1("net_prio.ifpriomap", &value));
    }
}

/// What a container that is handed over may always do with devices: make any, and use those that
/// each has, runtime-spec config-linux.md "Default Devices".
pub(super) fn default_devices() -> Vec<DeviceRule> {
    const DEVICES: [(u32, Option<u32>); 8] = [
        (1, Some(3)),
        (1, Some(5)),
        (1, Some(7)),
        (1, Some(8)),
        (1, Some(9)),
        (5, Some(0)),
        (5, Some(2)),
        (136, None),
    ];
    let make = |kind| DeviceRule {
        allow: true,
        kind: Some(kind),
        major: None,
        minor: None,
        access: Access::MAKE,
    };
    let used = DEVICES.map(|(major, minor)| DeviceRule {
        major: Some(major),
        minor,
        access: Access::ALL,
        ..make(Kind::Character)
    });
    [Kind::Character, Kind::Block]
        .map(make)
        .into_iter()
        .chain(used)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_weight_has_the_scale_of_its_file() {
        for (weight, scaled) in [(10, "1"), (500, "4950"), (1000, "10000")] {
            let own = weight.to_string();
            let wanted = Limit::new("blkio")
                .v1("blkio.bfq.weight", &own)
                .v2("io", "io.bfq.weight", &own)
                .or_v2("io.weight", scaled);
            assert_eq!(io_weight("", "", weight), wanted);
        }
        let wanted = Limit::new("blkio")
            .v1("blkio.bfq.weight_device", "8:0 10")
            .v2("io", "io.bfq.weight", "8:0 10")
            .or_v2("io.weight", "8:0 1");
        assert_eq!(io_weight("_device", "8:0 ", 10), wanted);
    }
}
