//! How much of the machine a container may use.

use std::path::{Path, PathBuf};

use clap::Args;
use oci_spec::runtime::{
    LinuxBlockIo, LinuxCpu, LinuxMemory, LinuxPids, LinuxResources, LinuxThrottleDevice,
    LinuxThrottleDeviceBuilder, PosixRlimit, PosixRlimitBuilder, PosixRlimitType, Process,
};
use ucr_runtime::plan::{HostConfig, PidOne};
use ucr_sys::FileType;

use crate::command_error::CommandError;
use crate::quantity;

/// How much of the machine the container may use.
#[derive(Debug, Args)]
pub(crate) struct LimitArgs {
    /// Memory limit, such as 64m or 1.5g
    #[arg(short, long, value_name = "SIZE", value_parser = memory)]
    memory: Option<i64>,
    /// Memory that is left to the container when it runs short
    #[arg(long, value_name = "SIZE", value_parser = quantity::bytes)]
    memory_reservation: Option<i64>,
    /// Limit of memory and swap together; -1 for no limit of swap, 0 for the usual
    #[arg(long, value_name = "SIZE", value_parser = memory_or_all, allow_negative_numbers = true)]
    memory_swap: Option<i64>,
    /// How eagerly the kernel swaps, 0 to 100
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(..=100))]
    memory_swappiness: Option<u64>,
    /// CPU limit, in CPUs, such as 0.5 or 2
    #[arg(long, value_name = "N", value_parser = quantity::cpu_quota, conflicts_with_all = ["cpu_quota", "cpu_period"])]
    cpus: Option<i64>,
    /// CPU weight against other containers, 1024 or 0 being the usual
    #[arg(long, value_name = "N", value_parser = cpu_shares)]
    cpu_shares: Option<u64>,
    /// CPU time in each period, in microseconds; 0 or -1 for no limit
    #[arg(long, value_name = "N", value_parser = cpu_quota, allow_negative_numbers = true)]
    cpu_quota: Option<i64>,
    /// Length of a period, in microseconds
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1000..=1_000_000))]
    cpu_period: Option<u64>,
    /// CPUs that it may run on, such as 0-2,5
    #[arg(long, value_name = "LIST", value_parser = list)]
    cpuset_cpus: Option<String>,
    /// Memory nodes that it may use, such as 0,1
    #[arg(long, value_name = "LIST", value_parser = list)]
    cpuset_mems: Option<String>,
    /// Limit of processes and threads, ucr's own first one among them; 0 or -1 for none
    #[arg(long, value_name = "N", value_parser = quantity::whole, allow_negative_numbers = true)]
    pids_limit: Option<i64>,
    /// Weight of reads and writes against other containers, 10 to 1000
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(10..=1000))]
    blkio_weight: Option<u16>,
    /// Bytes a second read from a device
    #[arg(long, value_name = "DEVICE:SIZE", value_parser = Rate::bytes)]
    device_read_bps: Vec<Rate>,
    /// Bytes a second written to a device
    #[arg(long, value_name = "DEVICE:SIZE", value_parser = Rate::bytes)]
    device_write_bps: Vec<Rate>,
    /// Reads a second from a device
    #[arg(long, value_name = "DEVICE:N", value_parser = Rate::count)]
    device_read_iops: Vec<Rate>,
    /// Writes a second to a device
    #[arg(long, value_name = "DEVICE:N", value_parser = Rate::count)]
    device_write_iops: Vec<Rate>,
    /// Limit of each process, such as nofile=1024:2048 or core=0; -1 for none
    #[arg(long = "ulimit", value_name = "NAME=SOFT[:HARD]", value_parser = ulimit)]
    ulimits: Vec<PosixRlimit>,
    /// How eagerly the kernel kills the task when memory runs out, -1000 to 1000
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(-1000..=1000), allow_negative_numbers = true)]
    oom_score_adj: Option<i32>,
}

impl LimitArgs {
    /// Says what limits there are.
    pub(super) fn tell(&self, config: &mut HostConfig) {
        let of_quota = |quota: i64| match (quota, self.cpu_period) {
            (quota, None) => quota * 10_000,
            (quota, Some(period)) => {
                let nano = i128::from(quota) * 1_000_000_000 / i128::from(period);
                i64::try_from(nano).unwrap_or(i64::MAX)
            }
        };
        config.memory = self.memory.unwrap_or(0);
        let quota = self.cpus.or(self.cpu_quota).filter(|quota| *quota > 0);
        config.nano_cpus = quota.map_or(0, of_quota);
        config.pids = self.pids_limit.unwrap_or(0);
    }

    /// Refuses a limit of processes that leaves none for the task.
    pub(super) fn check(&self, pid_one: PidOne) -> Result<(), CommandError> {
        match (self.pids_limit, pid_one) {
            (Some(1), PidOne::Ours) => Err(CommandError::sentence(
                "--pids-limit 1 leaves no process for the task: the first is ucr's own",
            )
            .hint("--pids-limit 2, or --no-init")),
            _ => Ok(()),
        }
    }
}

/// A device, and how much a second.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Rate {
    device: PathBuf,
    rate: u64,
}

impl Rate {
    fn bytes(text: &str) -> Result<Self, String> {
        Self::parse(text, quantity::bytes)
    }

    fn count(text: &str) -> Result<Self, String> {
        let count = |text: &str| {
            text.parse()
                .map_err(|_no_number| format!("\"{text}\" is no number"))
        };
        Self::parse(text, count)
    }

    fn parse(text: &str, amount: impl Fn(&str) -> Result<i64, String>) -> Result<Self, String> {
        let (device, rate) = text
            .rsplit_once(':')
            .filter(|(device, _)| device.starts_with('/'))
            .ok_or("it is not the absolute path of a device, a colon and how much")?;
        let rate = u64::try_from(amount(rate)?).ok().filter(|rate| *rate > 0);
        Ok(Self {
            device: device.into(),
            rate: rate.ok_or("it is not more than 0")?,
        })
    }

    /// In the words of a spec.
    fn throttle(&self) -> Result<LinuxThrottleDevice, CommandError> {
        let (major, minor) = block_device(&self.device)?;
        let built = LinuxThrottleDeviceBuilder::default()
            .major(major)
            .minor(minor)
            .rate(self.rate)
            .build();
        built.map_err(CommandError::new)
    }
}

/// The number of a block device of this machine.
fn block_device(path: &Path) -> Result<(i64, i64), CommandError> {
    let refused = |why: &str| {
        let path = path.display();
        CommandError::sentence(format!("cannot limit the use of {path}: {why}"))
    };
    let place = ucr_sys::inroot::host_place(path);
    let place = place.map_err(|error| refused(&error.to_string()))?;
    let stat = ucr_sys::at::stat_fd(std::os::fd::AsFd::as_fd(&place));
    let stat = stat.map_err(|error| refused(&error.to_string()))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::BlockDevice {
        return Err(refused("it is no block device"));
    }
    let (major, minor) = ucr_sys::at::device_parts(stat.st_rdev);
    Ok((major.into(), minor.into()))
}

fn memory(text: &str) -> Result<i64, String> {
    let bytes = quantity::bytes(text)?;
    // Docker's least: below it nothing can start.
    if bytes < 6 << 20 {
        return Err("the least is 6m".to_owned());
    }
    Ok(bytes)
}

fn memory_or_all(text: &str) -> Result<i64, String> {
    match text {
        "-1" => Ok(-1),
        "0" => Ok(0),
        _ => memory(text),
    }
}

fn cpu_shares(text: &str) -> Result<u64, String> {
    match text.parse() {
        Ok(shares @ (0 | 2..=262_144)) => Ok(shares),
        _ => Err("it is neither 0 nor a number from 2 to 262144".to_owned()),
    }
}

fn cpu_quota(text: &str) -> Result<i64, String> {
    match text.parse() {
        Ok(quota @ (-1 | 0 | 1000..)) => Ok(quota),
        _ => Err("it is neither -1, 0 nor a number from 1000".to_owned()),
    }
}

/// Numbers and ranges of them, cpuset(7) "List format".
fn list(text: &str) -> Result<String, String> {
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|it| it.is_ascii_digit());
    let is_range = |part: &str| match part.split_once('-') {
        Some((first, last)) => is_number(first) && is_number(last),
        None => is_number(part),
    };
    if text.split(',').all(is_range) {
        Ok(text.to_owned())
    } else {
        Err("it is no list like 0-2,5".to_owned())
    }
}

/// Reads `NAME=SOFT[:HARD]`; -1 is no limit.
fn ulimit(text: &str) -> Result<PosixRlimit, String> {
    let (name, values) = text
        .split_once('=')
        .ok_or("it is not of the form NAME=SOFT[:HARD]")?;
    let upper = format!("RLIMIT_{}", name.to_ascii_uppercase());
    let kind: PosixRlimitType = serde_json::from_value(upper.into())
        .map_err(|_unknown| format!("there is no limit \"{name}\""))?;
    let value = |text: &str| match text {
        "-1" | "unlimited" => Ok(u64::MAX),
        _ => text
            .parse()
            .map_err(|_no_number| format!("\"{text}\" is neither a number nor -1")),
    };
    let (soft, hard) = match values.split_once(':') {
        Some((soft, hard)) => (value(soft)?, value(hard)?),
        None => (value(values)?, value(values)?),
    };
    if soft > hard {
        return Err("the soft limit is above the hard one".to_owned());
    }
    let limit = PosixRlimitBuilder::default()
        .typ(kind)
        .soft(soft)
        .hard(hard);
    limit.build().map_err(|error| error.to_string())
}

impl LimitArgs {
    /// Puts what holds for each process into a spec's.
    pub(crate) fn apply(&self, process: &mut Process) {
        // Of one name the last, as elsewhere.
        let mut limits: Vec<PosixRlimit> = Vec::new();
        for limit in &self.ulimits {
            limits.retain(|one| one.typ() != limit.typ());
            limits.push(*limit);
        }
        process
            .set_rlimits(Some(limits).filter(|limits| !limits.is_empty()))
            .set_oom_score_adj(self.oom_score_adj);
    }

    /// Puts what holds for all processes together into a spec's.
    ///
    /// # Errors
    /// A device that is none, or limits that contradict each other.
    pub(crate) fn limit(&self, resources: &mut LinuxResources) -> Result<(), CommandError> {
        if let Some(memory) = self.memory_limits()? {
            resources.set_memory(Some(memory));
        }
        if let Some(cpu) = self.cpu_limits() {
            resources.set_cpu(Some(cpu));
        }
        // Docker takes 0 and -1 for "no limit".
        if let Some(pids) = self.pids_limit.filter(|pids| *pids > 0) {
            let mut limit = LinuxPids::default();
            limit.set_limit(pids);
            resources.set_pids(Some(limit));
        }
        if let Some(block) = self.block_limits()? {
            resources.set_block_io(Some(block));
        }
        Ok(())
    }

    fn memory_limits(&self) -> Result<Option<LinuxMemory>, CommandError> {
        let Self {
            memory,
            memory_reservation: reservation,
            memory_swap: swap,
            memory_swappiness: swappiness,
            ..
        } = *self;
        let swap = swap.filter(|swap| *swap != 0);
        let above = |what: &str| {
            let text = format!("{what} above that of memory makes no sense");
            Err(CommandError::sentence(text))
        };
        match (memory, swap, reservation) {
            (None, Some(0..), _) => {
                let text = "--memory-swap is a limit of memory and swap together";
                return Err(CommandError::sentence(text).hint("--memory, too"));
            }
            (Some(memory), Some(swap @ 0..), _) if swap < memory => {
                let text = "--memory-swap is less than --memory, which it includes";
                return Err(CommandError::sentence(text));
            }
            (Some(memory), _, Some(reservation)) if reservation > memory => {
                return above("a reservation");
            }
            (None, None, None) if swappiness.is_none() => return Ok(None),
            _ => {}
        }
        let mut limit = LinuxMemory::default();
        limit
            .set_limit(memory)
            .set_reservation(reservation)
            .set_swap(swap)
            .set_swappiness(swappiness);
        Ok(Some(limit))
    }

    fn cpu_limits(&self) -> Option<LinuxCpu> {
        let quota = self.cpus.or(self.cpu_quota);
        let period = self.cpus.map(|_| 100_000).or(self.cpu_period);
        let mut limit = LinuxCpu::default();
        limit
            .set_shares(self.cpu_shares)
            .set_quota(quota)
            .set_period(period)
            .set_cpus(self.cpuset_cpus.clone())
            .set_mems(self.cpuset_mems.clone());
        (limit != LinuxCpu::default()).then_some(limit)
    }

    fn block_limits(&self) -> Result<Option<LinuxBlockIo>, CommandError> {
        let throttles = |rates: &[Rate]| {
            let all: Vec<_> = rates.iter().map(Rate::throttle).collect::<Result<_, _>>()?;
            Ok::<_, CommandError>(Some(all).filter(|all| !all.is_empty()))
        };
        let mut limit = LinuxBlockIo::default();
        limit
            .set_weight(self.blkio_weight)
            .set_throttle_read_bps_device(throttles(&self.device_read_bps)?)
            .set_throttle_write_bps_device(throttles(&self.device_write_bps)?)
            .set_throttle_read_iops_device(throttles(&self.device_read_iops)?)
            .set_throttle_write_iops_device(throttles(&self.device_write_iops)?);
        Ok((limit != LinuxBlockIo::default()).then_some(limit))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_of_processes_are_read_strictly() {
        let limit = ulimit("nofile=10:20").unwrap();
        assert_eq!(
            (limit.typ(), limit.soft(), limit.hard()),
            (PosixRlimitType::RlimitNofile, 10, 20)
        );
        assert_eq!(ulimit("core=-1").unwrap().hard(), u64::MAX);
        for wrong in [
            "",
            "nofile",
            "nofile=",
            "nofile=2:1",
            "files=1",
            "nofile=-2",
            "nofile=x",
        ] {
            assert!(ulimit(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn lists_and_rates_are_read_strictly() {
        assert!(list("0").is_ok() && list("0-2,5").is_ok());
        for wrong in ["", "a", "0,", "0-", "-1", "0 1", "0\n"] {
            assert!(list(wrong).is_err(), "{wrong:?}");
        }
        assert_eq!(Rate::bytes("/dev/sda:1m").unwrap().rate, 1 << 20);
        for wrong in ["", "/dev/sda", "sda:1m", "/dev/sda:0", "/dev/sda:x"] {
            assert!(Rate::bytes(wrong).is_err(), "{wrong}");
        }
    }
}
