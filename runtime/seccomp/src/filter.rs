//! What a filter is to do, before it is a program.

use libseccomp::{ScmpAction, ScmpArch, ScmpCompareOp};

/// Rules for system calls, and what happens to a call that none is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter<'a> {
    /// What happens to a call that no rule is for.
    pub default: ScmpAction,
    /// The tables of system calls that a process may use; a call by another one kills it.
    pub architectures: Vec<ScmpArch>,
    /// The rules, in any order.
    pub rules: Vec<Rule<'a>>,
}

/// What happens to some calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule<'a> {
    /// The names of the calls.
    pub names: Vec<&'a str>,
    /// What happens to them.
    pub action: ScmpAction,
    /// What holds for their arguments: all of these; of several for one argument, any.
    ///
    /// That is how runc reads a spec: libseccomp takes one for each argument.
    pub conditions: Vec<Condition>,
}

/// What holds for an argument, all of its 64 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Condition {
    /// Which, from 0.
    pub argument: u32,
    /// How it is compared.
    pub operator: ScmpCompareOp,
    /// With what.
    pub value: u64,
}

impl<'a> Filter<'a> {
    /// Whether a call that did not exist when the rules were written would have no consequence.
    pub(crate) fn allows_by_default(&self) -> bool {
        use ScmpAction as A;

        matches!(self.default, A::Allow | A::Log | A::Trace(_) | A::Notify)
    }

    /// The names of all rules.
    pub(crate) fn names(&self) -> impl Iterator<Item = &'a str> {
        self.rules
            .iter()
            .flat_map(|rule| rule.names.iter().copied())
    }
}
