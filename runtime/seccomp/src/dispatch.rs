//! The first instructions of a filter: which table, whether there is such a call at all.
//!
//! libseccomp makes a program for one table of system calls each; made for all
//! of them at once it takes four times as long (measured: 2.5.4, Docker's
//! profile, three tables). The instructions here lead to the one of the call's
//! table.
//!
//! They also send back every number above the highest that the rules name, with
//! `ENOSYS`. A C library that gets `EPERM` from a call that it has just learnt
//! of takes it for an answer; with `ENOSYS` it does what it did before. A filter
//! cannot name the calls of kernels to come.

use std::ops::Range;

use libseccomp::ScmpArch;

use crate::compile::INSTRUCTION_SIZE;
use crate::filter::Filter;
use crate::newer;

/// The calls that the kernel announces to a filter with one token.
struct Token {
    /// `AUDIT_ARCH_*`, linux/audit.h.
    value: u32,
    /// Where its tables begin, from the last one to the first, which begins at 0.
    parts: &'static [Part],
}

/// A range of the numbers of a token.
struct Part {
    range: Range<u32>,
    table: ScmpArch,
    /// Whether new kernels have more calls in it.
    grows: bool,
}

/// Where x32 begins, `__X32_SYSCALL_BIT` of asm/unistd.h.
const X32: u32 = 0x4000_0000;

/// Where the calls that only arm has begin, `__ARM_NR_BASE` of asm/unistd.h.
const ARM_PRIVATE: u32 = 0x000f_0000;

/// Those of the machines that `ucr` runs on.
const TOKENS: [Token; 4] = [
    Token {
        value: 0xc000_003e,
        parts: &[
            Part::growing(ScmpArch::X32, X32..u32::MAX),
            Part::growing(ScmpArch::X8664, 0..X32),
        ],
    },
    Token {
        value: 0x4000_0003,
        parts: &[Part::growing(ScmpArch::X86, 0..u32::MAX)],
    },
    Token {
        value: 0xc000_00b7,
        parts: &[Part::growing(ScmpArch::Aarch64, 0..u32::MAX)],
    },
    Token {
        value: 0x4000_0028,
        parts: &[
            Part {
                range: ARM_PRIVATE..u32::MAX,
                table: ScmpArch::Arm,
                grows: false,
            },
            Part::growing(ScmpArch::Arm, 0..ARM_PRIVATE),
        ],
    },
];

/// The tables of `filter` that a process of these machines can use.
pub(crate) fn tables<'a>(filter: &'a Filter<'_>) -> impl Iterator<Item = ScmpArch> + use<'a> {
    let parts = TOKENS.iter().flat_map(|token| token.parts);
    let tables = parts.filter(|part| part.grows).map(|part| part.table);
    tables.filter(|table| filter.architectures.contains(table))
}

/// Joins the programs of the tables to one, which kills by the tables of no program.
pub(crate) fn join(filter: &Filter<'_>, programs: &[(ScmpArch, Vec<u8>)]) -> Vec<u8> {
    let mut steps = vec![Step::Load(offset::ARCHITECTURE)];
    for token in &TOKENS {
        steps.extend(token.steps(filter));
    }
    let mut joined = Vec::new();
    for (at, step) in steps.iter().enumerate() {
        let left = steps.len() - at - 1;
        joined.extend(step.instruction(left, programs));
    }
    for verdict in ENDS {
        joined.extend(instruction(op::RETURN, (0, 0), verdict));
    }
    for (_, program) in programs {
        joined.extend(program);
    }
    joined
}

impl Token {
    /// What is done for a call with this token; nothing where none of its tables may be used.
    fn steps(&self, filter: &Filter<'_>) -> Vec<Step> {
        let allowed = |part: &&Part| filter.architectures.contains(&part.table);
        let mut steps = vec![Step::Load(offset::NUMBER)];
        for part in self.parts.iter().filter(allowed) {
            let inside = part.steps(filter);
            if part.range.start > 0 {
                let other = To::Over(inside.len());
                let branch = (To::Over(0), other);
                steps.push(Step::Branch(op::GREATER_OR_EQUAL, part.range.start, branch));
            }
            steps.extend(inside);
        }
        if steps.len() == 1 {
            return Vec::new();
        }
        let branch = (To::Over(0), To::Over(steps.len()));
        steps.insert(0, Step::Branch(op::EQUAL, self.value, branch));
        steps
    }
}

impl Part {
    const fn growing(table: ScmpArch, range: Range<u32>) -> Self {
        Self {
            range,
            table,
            grows: true,
        }
    }

    fn steps(&self, filter: &Filter<'_>) -> Vec<Step> {
        let newest = match self.newest(filter) {
            Some(newest) if self.grows && !filter.allows_by_default() => newest,
            _ => return vec![Step::Enter(self.table)],
        };
        let branch = (To::NoSuchCall, To::Over(0));
        let newer = Step::Branch(op::GREATER, newest, branch);
        vec![newer, Step::Enter(self.table)]
    }

    /// The highest number that a name of the rules has here.
    fn newest(&self, filter: &Filter<'_>) -> Option<u32> {
        let numbers = filter.names();
        let numbers = numbers.filter_map(|name| newer::number(name, self.table));
        numbers.filter(|number| self.range.contains(number)).max()
    }
}

/// One instruction, with its jumps by meaning.
enum Step {
    /// Loads a word of `struct seccomp_data`.
    Load(u32),
    /// Compares it with a value: where to go if that holds, and if not.
    Branch(u16, u32, (To, To)),
    /// Goes to the program of a table.
    Enter(ScmpArch),
}

/// Where a branch leads.
#[derive(Clone, Copy)]
enum To {
    /// Over so many instructions.
    Over(usize),
    /// To the second of [`ENDS`].
    NoSuchCall,
}

/// The verdicts behind the steps, seccomp(2): `SECCOMP_RET_KILL_THREAD`, and `ENOSYS`.
const ENDS: [u32; 2] = [0, 0x0005_0000 | 38];

impl Step {
    /// As bytes, where `left` more steps follow, then the verdicts and the programs.
    fn instruction(&self, left: usize, programs: &[(ScmpArch, Vec<u8>)]) -> [u8; INSTRUCTION_SIZE] {
        match *self {
            Self::Load(offset) => instruction(op::LOAD, (0, 0), offset),
            Self::Branch(op, value, (yes, no)) => {
                instruction(op, (yes.distance(left), no.distance(left)), value)
            }
            Self::Enter(table) => {
                let before = programs.iter().take_while(|(of, _)| *of != table);
                let bytes: usize = before.map(|(_, program)| program.len()).sum();
                let distance = left + ENDS.len() + bytes / INSTRUCTION_SIZE;
                // What is too far for the kernel is refused as too long.
                let distance = u32::try_from(distance).unwrap_or(u32::MAX);
                instruction(op::JUMP, (0, 0), distance)
            }
        }
    }
}

impl To {
    fn distance(self, left: usize) -> u8 {
        let distance = match self {
            Self::Over(count) => count,
            Self::NoSuchCall => left + 1,
        };
        // Four tokens of at most seven steps.
        u8::try_from(distance).unwrap_or(u8::MAX)
    }
}

/// `struct sock_filter` in the order of bytes of x86-64 and arm64.
fn instruction(op: u16, (yes, no): (u8, u8), value: u32) -> [u8; INSTRUCTION_SIZE] {
    let [o0, o1] = op.to_le_bytes();
    let [v0, v1, v2, v3] = value.to_le_bytes();
    [o0, o1, yes, no, v0, v1, v2, v3]
}

/// `struct seccomp_data`, seccomp(2).
mod offset {
    pub(super) const NUMBER: u32 = 0;
    pub(super) const ARCHITECTURE: u32 = 4;
}

/// Operations, linux/bpf_common.h.
mod op {
    pub(super) const LOAD: u16 = 0x20;
    pub(super) const JUMP: u16 = 0x05;
    pub(super) const EQUAL: u16 = 0x15;
    pub(super) const GREATER: u16 = 0x25;
    pub(super) const GREATER_OR_EQUAL: u16 = 0x35;
    pub(super) const RETURN: u16 = 0x06;
}
