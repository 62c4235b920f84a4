//! From rules to BPF, by libseccomp.

use std::io::{self, Read, Seek};

use libseccomp::error::SeccompError;
use libseccomp::{ScmpAction, ScmpArch, ScmpArgCompare, ScmpFilterContext};
use ucr_sys::memfd;

use crate::filter::{Condition, Filter, Rule};
use crate::{dispatch, newer};

/// The bytes of one instruction, `struct sock_filter`.
pub const INSTRUCTION_SIZE: usize = 8;

/// How many instructions the kernel takes, `BPF_MAXINSNS` of linux/bpf_common.h.
const INSTRUCTIONS_MAX: usize = 4096;

/// A binary tree over the numbers of the calls: `SCMP_FLTATR_CTL_OPTIMIZE`, seccomp_attr_set(3).
const BINARY_TREE: u32 = 2;

/// A filter that cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No memory, or a default action that the library does not know.
    #[error("cannot begin a system call filter")]
    Begin(#[source] SeccompError),
    /// A table that the library does not know.
    #[error("cannot filter the system calls of the architecture {0:?}")]
    Architecture(ScmpArch, #[source] SeccompError),
    /// A call that is to be denied, and is not known.
    #[error(
        "cannot forbid the system call {0:?}: libseccomp knows no call of that name on this machine"
    )]
    Unknown(String),
    /// A rule that contradicts another one, or that the library cannot express.
    #[error("cannot filter the system call {0:?}")]
    Rule(String, #[source] SeccompError),
    /// More than the kernel takes.
    #[error("the filter has {0} instructions; the kernel takes {INSTRUCTIONS_MAX}")]
    TooLong(usize),
    /// The program cannot be made of the rules.
    #[error("cannot make the program of a system call filter")]
    Export(#[source] SeccompError),
    /// No place for the library to write to.
    #[error("cannot make room for the program of a system call filter")]
    Scratch(#[source] ucr_sys::Error),
    /// The program cannot be had from the library.
    #[error("cannot read the program of a system call filter")]
    Read(#[source] io::Error),
}

impl Filter<'_> {
    /// Makes the program: an array of `struct sock_filter`, for seccomp(2).
    ///
    /// A call that is newer than all that the rules name does not exist for the
    /// process (`ENOSYS`), unless the default lets it through: as with runc, so
    /// that a C library tries what it did before there was such a call.
    ///
    /// # Errors
    ///
    /// Rules that contradict each other or are too many, and a name that is not
    /// known in a rule that does more than allow: the call would not be denied.
    pub fn compile(&self) -> Result<Vec<u8>, Error> {
        let tables = dispatch::tables(self);
        let programs = tables.map(|table| Ok((table, self.program(table)?)));
        let programs: Vec<_> = programs.collect::<Result<_, Error>>()?;
        let program = dispatch::join(self, &programs);
        match program.len() / INSTRUCTION_SIZE {
            length if length > INSTRUCTIONS_MAX => Err(Error::TooLong(length)),
            _ => Ok(program),
        }
    }

    /// The library's program for one table.
    fn program(&self, table: ScmpArch) -> Result<Vec<u8>, Error> {
        let mut context = ScmpFilterContext::new(self.default).map_err(Error::Begin)?;
        let error = |error| Error::Architecture(table, error);
        context.add_arch(table).map_err(error)?;
        // The library begins with the machine that it runs on.
        let native = ScmpArch::native();
        if table != native {
            context.remove_arch(native).map_err(error)?;
        }
        context
            .set_ctl_optimize(BINARY_TREE)
            .map_err(Error::Begin)?;
        for rule in &self.rules {
            self.add(rule, table, &mut context)?;
        }
        export(&context)
    }

    fn add(
        &self,
        rule: &Rule<'_>,
        table: ScmpArch,
        context: &mut ScmpFilterContext,
    ) -> Result<(), Error> {
        // The library takes no rule that changes nothing.
        if rule.action == self.default {
            return Ok(());
        }
        for name in &rule.names {
            let Some(call) = newer::call(name, table) else {
                if rule.action == ScmpAction::Allow {
                    continue;
                }
                return Err(Error::Unknown((*name).to_owned()));
            };
            for conditions in alternatives(&rule.conditions) {
                context
                    .add_rule_conditional(rule.action, call, &conditions)
                    .map_err(|error| Error::Rule((*name).to_owned(), error))?;
            }
        }
        Ok(())
    }
}

/// The sets of conditions any of which is enough.
fn alternatives(conditions: &[Condition]) -> Vec<Vec<ScmpArgCompare>> {
    let twice = |one: &Condition| {
        let same = conditions
            .iter()
            .filter(|other| other.argument == one.argument);
        same.count() > 1
    };
    let all: Vec<_> = conditions.iter().map(Condition::comparison).collect();
    if conditions.iter().any(twice) {
        all.into_iter().map(|one| vec![one]).collect()
    } else {
        vec![all]
    }
}

impl Condition {
    fn comparison(&self) -> ScmpArgCompare {
        ScmpArgCompare::new(self.argument, self.operator, self.value)
    }
}

/// The library's own program, which it writes to descriptors only.
fn export(context: &ScmpFilterContext) -> Result<Vec<u8>, Error> {
    let mut file = memfd::scratch("ucr-seccomp").map_err(Error::Scratch)?;
    context.export_bpf(&file).map_err(Error::Export)?;
    file.rewind().map_err(Error::Read)?;
    let mut program = Vec::new();
    file.read_to_end(&mut program).map_err(Error::Read)?;
    Ok(program)
}
