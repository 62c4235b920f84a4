//! `linux.seccomp` of the spec, or Docker's default profile, as a program.
//!
//! config-linux.md, "Seccomp", says what the fields mean; where it leaves
//! something open it is done as runc does it.

use oci_spec::runtime::{
    LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompFilterFlag,
    LinuxSeccompOperator, LinuxSyscall,
};
use ucr_seccomp::{Condition, Filter, Rule, ScmpAction, ScmpArch, ScmpCompareOp};

use crate::plan::{self, Bytes};

/// Where a filter of system calls comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SeccompRequest {
    /// The spec's `linux.seccomp`; without it nothing is filtered.
    Spec,
    /// The spec's `linux.seccomp`; without it Docker's default profile, for the
    /// capabilities of the spec.
    SpecOrDefault,
}

/// A filter that cannot be honoured.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An action that is not supported.
    #[error("the action {action} of {field} is not supported")]
    Action {
        /// Its JSON path.
        field: String,
        /// The action.
        action: LinuxSeccompAction,
    },
    /// A number for an action that takes none, or one that is no error number.
    #[error("{field} is {value}, which its action cannot have")]
    Number {
        /// Its JSON path.
        field: String,
        /// The number.
        value: u32,
    },
    /// A rule for no call.
    #[error("{0} is empty")]
    NoNames(String),
    /// A seventh argument.
    #[error("{field} is {index}; the arguments are 0 to 5")]
    Argument {
        /// Its JSON path.
        field: String,
        /// The index.
        index: usize,
    },
    /// A flag that is of use only with an action that is not supported.
    #[error("the flag {0} of linux.seccomp.flags is not supported")]
    Flag(LinuxSeccompFilterFlag),
    /// An architecture that libseccomp does not know.
    #[error("the architecture {0} of linux.seccomp.architectures is not supported")]
    Architecture(String),
    /// No program can be made of it.
    #[error(transparent)]
    Compile(#[from] ucr_seccomp::Error),
}

/// Docker's default profile for Docker's capabilities, made when this was built.
const DEFAULT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/default.bpf"));

/// The largest error number, include/linux/err.h.
const ERRNO_MAX: u32 = 4095;

/// `SECCOMP_FILTER_FLAG_*`, linux/seccomp.h.
mod flag {
    pub(super) const TSYNC: u32 = 1;
    pub(super) const LOG: u32 = 2;
    pub(super) const SPEC_ALLOW: u32 = 4;
}

/// The filter of a task whose bounding set is `bounding`; none if nothing is to be filtered.
pub(super) fn filter(
    spec: Option<&LinuxSeccomp>,
    request: SeccompRequest,
    bounding: u64,
) -> Result<Option<plan::Filter>, Error> {
    let (program, flags) = match (spec, request) {
        (Some(spec), _) => (compile(spec)?, flags(spec)?),
        (None, SeccompRequest::SpecOrDefault) => (default_program(bounding)?, flag::SPEC_ALLOW),
        (None, SeccompRequest::Spec) => return Ok(None),
    };
    let program = Bytes(program);
    Ok(Some(plan::Filter { program, flags }))
}

fn default_program(bounding: u64) -> Result<Vec<u8>, Error> {
    if bounding & ucr_seccomp::RELEVANT == ucr_seccomp::GRANTED_BY_DEFAULT {
        return Ok(DEFAULT.to_vec());
    }
    let filter = ucr_seccomp::default_profile(ScmpArch::native(), bounding);
    Ok(filter.compile()?)
}

fn compile(spec: &LinuxSeccomp) -> Result<Vec<u8>, Error> {
    let default = (spec.default_action(), spec.default_errno_ret());
    let fields = [
        "linux.seccomp.defaultAction",
        "linux.seccomp.defaultErrnoRet",
    ];
    let default = action(default, fields.map(str::to_owned))?;
    let named = spec.architectures().iter().flatten();
    let mut architectures: Vec<ScmpArch> = named
        .map(|name| architecture(&name.to_string()))
        .collect::<Result<_, _>>()?;
    // As runc: a process may make the calls of the machine itself in any case.
    architectures.push(ScmpArch::native());
    let calls = spec.syscalls().as_deref().unwrap_or_default();
    let rules = calls.iter().enumerate();
    let rules = rules.map(|(at, call)| rule(call, &format!("linux.seccomp.syscalls[{at}]")));
    let filter = Filter {
        default,
        architectures,
        rules: rules.collect::<Result<_, _>>()?,
    };
    Ok(filter.compile()?)
}

fn architecture(name: &str) -> Result<ScmpArch, Error> {
    match name.parse() {
        Ok(ScmpArch::Native) => Ok(ScmpArch::native()),
        Ok(architecture) => Ok(architecture),
        Err(_unknown) => Err(Error::Architecture(name.to_owned())),
    }
}

fn rule<'a>(call: &'a LinuxSyscall, path: &str) -> Result<Rule<'a>, Error> {
    if call.names().is_empty() {
        return Err(Error::NoNames(format!("{path}.names")));
    }
    let fields = ["action", "errnoRet"].map(|field| format!("{path}.{field}"));
    let arguments = call.args().iter().flatten().enumerate();
    let conditions = arguments.map(|(at, one)| condition(one, &format!("{path}.args[{at}]")));
    Ok(Rule {
        names: call.names().iter().map(String::as_str).collect(),
        action: action((call.action(), call.errno_ret()), fields)?,
        conditions: conditions.collect::<Result<_, _>>()?,
    })
}

/// The action, with the number that comes with it: `EPERM` where none is said.
fn action(
    (action, number): (LinuxSeccompAction, Option<u32>),
    [field, number_field]: [String; 2],
) -> Result<ScmpAction, Error> {
    use LinuxSeccompAction as A;

    let refused = |value| Error::Number {
        field: number_field,
        value,
    };
    let without = match action {
        A::ScmpActErrno => {
            let value = number.unwrap_or(1);
            let errno = i32::try_from(value).ok();
            return errno
                .filter(|_| value <= ERRNO_MAX)
                .map_or(Err(refused(value)), |errno| Ok(ScmpAction::Errno(errno)));
        }
        A::ScmpActTrace => {
            let value = number.unwrap_or(1);
            let data = u16::try_from(value);
            return data.map_or(Err(refused(value)), |data| Ok(ScmpAction::Trace(data)));
        }
        A::ScmpActNotify => return Err(Error::Action { field, action }),
        A::ScmpActKill | A::ScmpActKillThread => ScmpAction::KillThread,
        A::ScmpActKillProcess => ScmpAction::KillProcess,
        A::ScmpActTrap => ScmpAction::Trap,
        A::ScmpActLog => ScmpAction::Log,
        A::ScmpActAllow => ScmpAction::Allow,
    };
    number.map_or(Ok(without), |value| Err(refused(value)))
}

/// A masked comparison has the mask first, as libseccomp does.
fn condition(argument: &LinuxSeccompArg, path: &str) -> Result<Condition, Error> {
    use LinuxSeccompOperator as O;

    let index = argument.index();
    let value = argument.value();
    let (operator, value) = match argument.op() {
        O::ScmpCmpNe => (ScmpCompareOp::NotEqual, value),
        O::ScmpCmpLt => (ScmpCompareOp::Less, value),
        O::ScmpCmpLe => (ScmpCompareOp::LessOrEqual, value),
        O::ScmpCmpEq => (ScmpCompareOp::Equal, value),
        O::ScmpCmpGe => (ScmpCompareOp::GreaterEqual, value),
        O::ScmpCmpGt => (ScmpCompareOp::Greater, value),
        O::ScmpCmpMaskedEq => {
            let wanted = argument.value_two().unwrap_or_default();
            (ScmpCompareOp::MaskedEqual(value), wanted)
        }
    };
    match u32::try_from(index) {
        Ok(argument @ 0..=5) => Ok(Condition {
            argument,
            operator,
            value,
        }),
        _ => Err(Error::Argument {
            field: format!("{path}.index"),
            index,
        }),
    }
}

/// Without a list speculation is not limited, as with runc: since Linux 5.16 the
/// kernel does not either.
fn flags(spec: &LinuxSeccomp) -> Result<u32, Error> {
    use LinuxSeccompFilterFlag as F;

    let Some(flags) = spec.flags() else {
        return Ok(flag::SPEC_ALLOW);
    };
    flags.iter().try_fold(0, |flags, one| match one {
        F::SeccompFilterFlagTsync => Ok(flags | flag::TSYNC),
        F::SeccompFilterFlagLog => Ok(flags | flag::LOG),
        F::SeccompFilterFlagSpecAllow => Ok(flags | flag::SPEC_ALLOW),
        F::SeccompFilterFlagWaitKillableRecv => Err(Error::Flag(*one)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{capability, defaults};

    fn of(json: &str) -> Result<Option<plan::Filter>, Error> {
        let spec: LinuxSeccomp = serde_json::from_str(json).expect("seccomp");
        filter(Some(&spec), SeccompRequest::Spec, 0)
    }

    /// The bounding set of the default spec.
    fn bounding() -> u64 {
        let process = defaults().process().clone().expect("process");
        capability::masks(process.capabilities().as_ref()).bounding
    }

    #[test]
    fn an_ordinary_start_compiles_nothing() {
        let relevant = bounding() & ucr_seccomp::RELEVANT;
        assert_eq!(relevant, ucr_seccomp::GRANTED_BY_DEFAULT);
        let machine = ScmpArch::native();
        let fresh = ucr_seccomp::default_profile(machine, bounding()).compile();
        assert_eq!(DEFAULT, fresh.expect("compile"));
    }

    #[test]
    fn without_a_request_nothing_is_filtered() {
        let none = filter(None, SeccompRequest::Spec, bounding());
        assert_eq!(none.expect("none"), None);
        let default = filter(None, SeccompRequest::SpecOrDefault, bounding());
        let default = default.expect("default").expect("some");
        assert_eq!((default.program.0.as_slice(), default.flags), (DEFAULT, 4));
        let more = filter(None, SeccompRequest::SpecOrDefault, u64::MAX);
        assert_ne!(more.expect("more").expect("some").program.0, DEFAULT);
    }

    #[test]
    fn s32_what_of_a_filter_cannot_be_honoured_is_named() {
        let cases = [
            (
                r#"{"defaultAction": "SCMP_ACT_NOTIFY"}"#,
                "the action SCMP_ACT_NOTIFY of linux.seccomp.defaultAction",
            ),
            (
                r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
                    {"names": ["read"], "action": "SCMP_ACT_LOG"},
                    {"names": ["getcwd"], "action": "SCMP_ACT_NOTIFY"}]}"#,
                "linux.seccomp.syscalls[1].action",
            ),
            (
                r#"{"defaultAction": "SCMP_ACT_KILL", "defaultErrnoRet": 1}"#,
                "linux.seccomp.defaultErrnoRet is 1",
            ),
            (
                r#"{"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 70000}"#,
                "linux.seccomp.defaultErrnoRet is 70000",
            ),
            (
                r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
                    {"names": [], "action": "SCMP_ACT_ERRNO"}]}"#,
                "linux.seccomp.syscalls[0].names is empty",
            ),
            (
                r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["read"],
                    "action": "SCMP_ACT_ERRNO", "args": [
                    {"index": 6, "value": 1, "op": "SCMP_CMP_EQ"}]}]}"#,
                "linux.seccomp.syscalls[0].args[0].index is 6",
            ),
            (
                r#"{"defaultAction": "SCMP_ACT_ALLOW",
                    "flags": ["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]}"#,
                "the flag SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV",
            ),
            (
                r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
                    {"names": ["getcwdd"], "action": "SCMP_ACT_ERRNO"}]}"#,
                "cannot forbid the system call \"getcwdd\"",
            ),
        ];
        for (json, message) in cases {
            let error = of(json).expect_err(json).to_string();
            assert!(error.contains(message), "{error}");
        }
    }

    #[test]
    fn flags_are_the_kernels() {
        let flags = |flags: &str| {
            let json = format!(r#"{{"defaultAction": "SCMP_ACT_ALLOW" {flags}}}"#);
            of(&json).expect("filter").expect("some").flags
        };
        assert_eq!(flags(""), 4);
        assert_eq!(flags(r#", "flags": []"#), 0);
        let both = r#", "flags": ["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_TSYNC"]"#;
        assert_eq!(flags(both), 3);
    }

    #[test]
    fn every_architecture_of_the_specification_is_known() {
        let names = [
            "X86",
            "X86_64",
            "X32",
            "ARM",
            "AARCH64",
            "MIPS",
            "MIPS64",
            "MIPS64N32",
            "MIPSEL",
            "MIPSEL64",
            "MIPSEL64N32",
            "PPC",
            "PPC64",
            "PPC64LE",
            "S390",
            "S390X",
            "PARISC",
            "PARISC64",
            "RISCV64",
            "LOONGARCH64",
            "M68K",
            "SH",
            "SHEB",
            "NATIVE",
        ];
        for name in names {
            let json = format!(
                r#"{{"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_{name}"]}}"#
            );
            of(&json).expect(name);
        }
    }
}
