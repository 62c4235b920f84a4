//! Docker's JSON form of a system call filter, which podman reads too.
//!
//! It is `linux.seccomp` of the spec with conditions: groups of rules for some
//! capabilities, machines or kernels. Source: moby `profiles/seccomp`,
//! `seccomp.go` and `seccomp_linux.go`.

use oci_spec::OciSpecError;
use oci_spec::runtime::{
    Arch, Capabilities, Capability, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg,
    LinuxSeccompArgBuilder, LinuxSeccompFilterFlag, LinuxSeccompOperator, LinuxSyscall, Spec,
};
use serde::{Deserialize, Deserializer};

/// A profile that is none, or that asks for something unknown.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not of the form, or of a newer one.
    #[error("it is no seccomp profile in Docker's form")]
    Form(#[source] serde_json::Error),
    /// Both of two fields that exclude each other.
    #[error("it has both \"{0}\" and \"{1}\"")]
    Both(&'static str, &'static str),
    /// An error number by a name that is not known here.
    #[error("it has the error \"{0}\", which is none of {names}", names = ERRORS.map(|(name, _)| name).join(", "))]
    Errno(String),
}

/// A system call filter in Docker's form.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SeccompProfile {
    default_action: LinuxSeccompAction,
    default_errno_ret: Option<u32>,
    /// Podman's way of saying it.
    default_errno: Option<String>,
    #[serde(default)]
    architectures: Option<Vec<Arch>>,
    #[serde(default)]
    arch_map: Option<Vec<Machine>>,
    flags: Option<Vec<LinuxSeccompFilterFlag>>,
    listener_path: Option<String>,
    listener_metadata: Option<String>,
    #[serde(default)]
    syscalls: Option<Vec<Group>>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Machine {
    architecture: Arch,
    sub_architectures: Option<Vec<Arch>>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Group {
    #[serde(default)]
    names: Vec<String>,
    /// The old form, for one.
    name: Option<String>,
    action: LinuxSeccompAction,
    errno_ret: Option<u32>,
    /// Podman's way of saying it.
    errno: Option<String>,
    args: Option<Vec<Argument>>,
    #[serde(rename = "comment")]
    _comment: Option<String>,
    includes: Option<Conditions>,
    excludes: Option<Conditions>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "WrittenArgument")]
struct Argument(LinuxSeccompArg);

/// The spec's own type would take any other field, and drop it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WrittenArgument {
    index: usize,
    value: u64,
    #[serde(default)]
    value_two: u64,
    op: LinuxSeccompOperator,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Conditions {
    caps: Option<Vec<Capability>>,
    arches: Option<Vec<String>>,
    min_kernel: Option<Kernel>,
}

/// The first two numbers of a kernel's version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Kernel(u32, u32);

impl<'de> Deserialize<'de> for Kernel {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let numbers = text.split_once('.');
        let numbers = numbers.and_then(|(one, two)| Some((one.parse().ok()?, two.parse().ok()?)));
        let wrong = || serde::de::Error::custom(format!("{text:?} is no kernel version like 4.8"));
        numbers.map(|(one, two)| Self(one, two)).ok_or_else(wrong)
    }
}

/// The error numbers that profiles name.
const ERRORS: [(&str, u32); 6] = [
    ("EPERM", 1),
    ("ENOENT", 2),
    ("EACCES", 13),
    ("EINVAL", 22),
    ("ENOSYS", 38),
    ("ENOTSUP", 95),
];

/// What conditions are about.
struct Context<'a> {
    bounding: &'a Capabilities,
    /// The machine, as conditions and as architectures name it.
    machine: (&'static str, Arch),
    kernel: Kernel,
}

impl SeccompProfile {
    /// Reads a profile.
    ///
    /// # Errors
    ///
    /// Anything that is not known: it would not be honoured.
    pub fn parse(json: &[u8]) -> Result<Self, Error> {
        let profile: Self = serde_json::from_slice(json).map_err(Error::Form)?;
        let listed = |list: &Option<Vec<Arch>>| list.as_ref().is_some_and(|all| !all.is_empty());
        let machines = profile.arch_map.as_ref().is_some_and(|all| !all.is_empty());
        if machines && listed(&profile.architectures) {
            return Err(Error::Both("architectures", "archMap"));
        }
        let groups = profile.syscalls.as_deref().unwrap_or_default();
        if groups
            .iter()
            .any(|group| group.name.is_some() && !group.names.is_empty())
        {
            return Err(Error::Both("name", "names"));
        }
        let named = groups.iter().map(|group| &group.errno);
        for name in named.chain([&profile.default_errno]).flatten() {
            errno(name)?;
        }
        Ok(profile)
    }

    /// What it says for a container of `spec`, on this machine and kernel.
    pub fn resolve(&self, spec: &Spec) -> LinuxSeccomp {
        let process = spec.process().as_ref();
        let sets = process.and_then(|process| process.capabilities().as_ref());
        let bounding = sets.and_then(|sets| sets.bounding().clone());
        let (version, revision) = ucr_sys::kernel_version();
        let context = Context {
            bounding: &bounding.unwrap_or_default(),
            machine: MACHINE,
            kernel: Kernel(version, revision),
        };
        self.within(&context)
    }

    fn within(&self, context: &Context<'_>) -> LinuxSeccomp {
        let machines = self.arch_map.iter().flatten();
        let machine = machines
            .filter(|one| one.architecture == context.machine.1)
            .flat_map(|one| {
                let more = one.sub_architectures.iter().flatten();
                std::iter::once(&one.architecture).chain(more).copied()
            });
        let listed = self.architectures.iter().flatten().copied();
        let groups = self.syscalls.iter().flatten();
        let groups = groups.filter(|group| group.applies(context));
        let mut seccomp = LinuxSeccomp::default();
        seccomp
            .set_default_action(self.default_action)
            .set_default_errno_ret(number(
                self.default_errno.as_deref(),
                self.default_errno_ret,
            ))
            .set_architectures(Some(listed.chain(machine).collect()))
            .set_flags(self.flags.clone())
            .set_listener_path(self.listener_path.as_ref().map(Into::into))
            .set_listener_metadata(self.listener_metadata.clone())
            .set_syscalls(Some(groups.map(Group::rule).collect()));
        seccomp
    }
}

/// This machine.
const MACHINE: (&str, Arch) = if cfg!(target_arch = "aarch64") {
    ("arm64", Arch::ScmpArchAarch64)
} else {
    ("amd64", Arch::ScmpArchX86_64)
};

impl Group {
    fn applies(&self, context: &Context<'_>) -> bool {
        let excluded = self.excludes.as_ref().is_some_and(|excludes| {
            let caps = excludes.caps.iter().flatten();
            let mut held = caps.filter(|cap| context.bounding.contains(cap));
            held.next().is_some()
                || excludes.names_machine(context)
                || excludes
                    .min_kernel
                    .is_some_and(|least| context.kernel >= least)
        });
        let included = self.includes.as_ref().is_none_or(|includes| {
            let mut caps = includes.caps.iter().flatten();
            let any_machine = includes.arches.as_ref().is_none_or(Vec::is_empty);
            caps.all(|cap| context.bounding.contains(cap))
                && (any_machine || includes.names_machine(context))
                && includes
                    .min_kernel
                    .is_none_or(|least| context.kernel >= least)
        });
        included && !excluded
    }

    fn rule(&self) -> LinuxSyscall {
        let names = self.names.iter().chain(&self.name).cloned();
        let arguments = self.args.as_ref();
        let mut rule = LinuxSyscall::default();
        rule.set_names(names.collect())
            .set_action(self.action)
            .set_errno_ret(number(self.errno.as_deref(), self.errno_ret))
            .set_args(arguments.map(|all| all.iter().map(|one| one.0).collect()));
        rule
    }
}

impl Conditions {
    fn names_machine(&self, context: &Context<'_>) -> bool {
        let mut arches = self.arches.iter().flatten();
        arches.any(|arch| arch == context.machine.0)
    }
}

impl TryFrom<WrittenArgument> for Argument {
    type Error = OciSpecError;

    fn try_from(written: WrittenArgument) -> Result<Self, OciSpecError> {
        let argument = LinuxSeccompArgBuilder::default()
            .index(written.index)
            .value(written.value)
            .value_two(written.value_two)
            .op(written.op);
        argument.build().map(Self)
    }
}

/// The number of a named error, which is stronger than one that is said as number.
fn number(name: Option<&str>, number: Option<u32>) -> Option<u32> {
    let named = name.filter(|name| !name.is_empty());
    named.and_then(|name| errno(name).ok()).or(number)
}

fn errno(name: &str) -> Result<u32, Error> {
    let known = ERRORS
        .iter()
        .find(|(known, _)| *known == name || name.is_empty());
    let number = known.map(|(_, number)| *number);
    number.ok_or_else(|| Error::Errno(name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROFILE: &str = r#"{
        "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38, "defaultErrno": "EPERM",
        "archMap": [
            {"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]},
            {"architecture": "SCMP_ARCH_AARCH64", "subArchitectures": ["SCMP_ARCH_ARM"]}],
        "syscalls": [
            {"names": ["always"], "action": "SCMP_ACT_ALLOW", "args": null, "includes": {}},
            {"name": "old", "action": "SCMP_ACT_ALLOW", "comment": "", "excludes": {}},
            {"names": ["admin"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_SYS_ADMIN"]}},
            {"names": ["user"], "action": "SCMP_ACT_ALLOW", "excludes": {"caps": ["CAP_SYS_ADMIN"]}},
            {"names": ["arm"], "action": "SCMP_ACT_ALLOW", "includes": {"arches": ["arm64", "arm"]}},
            {"names": ["intel"], "action": "SCMP_ACT_ALLOW", "excludes": {"arches": ["arm64"]}},
            {"names": ["new"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "5.10"}},
            {"names": ["late"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "6.2"}},
            {"names": ["early"], "action": "SCMP_ACT_ERRNO", "errnoRet": 22, "errno": "EINVAL",
                "excludes": {"minKernel": "4.20"}, "args": [
                {"index": 1, "value": 6, "valueTwo": 0, "op": "SCMP_CMP_EQ"}]}]}"#;

    fn names(profile: &SeccompProfile, machine: (&'static str, Arch), kernel: Kernel) -> String {
        let admin: Capabilities = [Capability::SysAdmin].into();
        let bounding = &if kernel.0 == 6 { admin } else { [].into() };
        let context = Context {
            bounding,
            machine,
            kernel,
        };
        let seccomp = profile.within(&context);
        let rules = seccomp.syscalls().iter().flatten();
        let names: Vec<_> = rules.map(|rule| rule.names().join(" ")).collect();
        names.join(" ")
    }

    #[test]
    fn conditions_hold_as_dockers_do() {
        let profile = SeccompProfile::parse(PROFILE.as_bytes()).unwrap();
        let amd64 = ("amd64", Arch::ScmpArchX86_64);
        let arm64 = ("arm64", Arch::ScmpArchAarch64);
        assert_eq!(
            names(&profile, amd64, Kernel(5, 12)),
            "always old user intel new"
        );
        assert_eq!(
            names(&profile, amd64, Kernel(6, 2)),
            "always old admin intel new late"
        );
        assert_eq!(
            names(&profile, arm64, Kernel(4, 8)),
            "always old user arm early"
        );
    }

    #[test]
    fn numbers_and_architectures_are_carried_over() {
        let profile = SeccompProfile::parse(PROFILE.as_bytes()).unwrap();
        let context = Context {
            bounding: &[].into(),
            machine: ("arm64", Arch::ScmpArchAarch64),
            kernel: Kernel(4, 8),
        };
        let seccomp = profile.within(&context);
        assert_eq!(seccomp.default_errno_ret(), Some(1));
        let architectures = [Arch::ScmpArchAarch64, Arch::ScmpArchArm];
        assert_eq!(seccomp.architectures().as_deref(), Some(&architectures[..]));
        let last = seccomp.syscalls().as_ref().unwrap().last().unwrap();
        assert_eq!(
            (last.errno_ret(), last.args().as_ref().unwrap().len()),
            (Some(22), 1)
        );
    }

    #[test]
    fn s32_what_is_not_known_is_refused() {
        let rule = |rest: &str| {
            format!(
                r#"{{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
                    {{"action": "SCMP_ACT_ERRNO", {rest}}}]}}"#
            )
        };
        for json in [
            "{}".to_owned(),
            r#"{"defaultAction": "SCMP_ACT_NONE"}"#.to_owned(),
            r#"{"defaultAction": "SCMP_ACT_ALLOW", "defaultErno": 1}"#.to_owned(),
            r#"{"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86"],
                "archMap": [{"architecture": "SCMP_ARCH_X86"}]}"#
                .to_owned(),
            rule(r#""names": ["a"], "name": "b""#),
            rule(r#""names": ["a"], "errno": "EODD""#),
            rule(r#""names": ["a"], "includes": {"caps": ["CAP_ODD"]}"#),
            rule(r#""names": ["a"], "includes": {"minKernel": "new"}"#),
            rule(r#""names": ["a"], "args": [{"index": 0, "value": 1, "op": "SCMP_CMP_ODD"}]"#),
        ] {
            assert!(SeccompProfile::parse(json.as_bytes()).is_err(), "{json}");
        }
    }
}
