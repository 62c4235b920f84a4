//! Rules about devices, compiled into the program that the kernel asks in version 2 of cgroups.
//!
//! The kernel hands it a `struct bpf_cgroup_dev_ctx` (linux/bpf.h) and lets the access pass if the
//! answer is not 0 and no program of a cgroup above says otherwise. An access may be to read and
//! write at once, so each letter of it is decided for itself, by the last rule that matches the
//! device and has that letter. What no rule decides is left to the cgroups above, as in version 1.

use super::devices::{DeviceRule, Kind};

/// Holds the answer when the program ends.
const ANSWER: u8 = 0;
/// Points at the context when it begins.
const CONTEXT: u8 = 1;
/// Holds the kind of the device, as `BPF_DEVCG_DEV_*`.
const KIND: u8 = 2;
/// Holds the bits of the access that no rule has decided yet.
const ASKED: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;

/// `BPF_JMP32 | BPF_JNE | BPF_K`: a device number may have its highest bit set.
const JUMP_IF_NOT_EQUAL: u8 = 0x56;
/// `BPF_JMP32 | BPF_JSET | BPF_K`.
const JUMP_IF_ANY: u8 = 0x46;
/// `BPF_JMP | BPF_JA`.
const JUMP: u8 = 0x05;
/// `BPF_ALU | BPF_AND | BPF_K`.
const AND: u8 = 0x54;
/// `BPF_ALU | BPF_RSH | BPF_K`.
const SHIFT_RIGHT: u8 = 0x74;
/// `BPF_ALU64 | BPF_MOV | BPF_K`.
const SET: u8 = 0xb7;
/// `BPF_ALU64 | BPF_MOV | BPF_X`.
const COPY: u8 = 0xbf;
/// `BPF_LDX | BPF_MEM | BPF_W`.
const LOAD: u8 = 0x61;
/// `BPF_JMP | BPF_EXIT`.
const EXIT: u8 = 0x95;

/// One instruction, Documentation/bpf/standardization/instruction-set.rst.
#[derive(Clone, Copy, Debug)]
struct Instruction {
    code: u8,
    to: u8,
    from: u8,
    /// For a jump, how many instructions after the next one.
    offset: i16,
    value: u32,
}

impl Instruction {
    fn new(code: u8, to: u8, value: u32) -> Self {
        Self {
            code,
            to,
            from: 0,
            offset: 0,
            value,
        }
    }

    fn from(self, from: u8) -> Self {
        Self { from, ..self }
    }

    fn offset(self, offset: i16) -> Self {
        Self { offset, ..self }
    }

    /// As a `struct bpf_insn` in the byte order of this machine.
    fn encode(self) -> u64 {
        let registers = if cfg!(target_endian = "big") {
            self.to << 4 | self.from
        } else {
            self.from << 4 | self.to
        };
        let offset = self.offset.to_ne_bytes();
        let value = self.value.to_ne_bytes();
        u64::from_ne_bytes([
            self.code, registers, offset[0], offset[1], value[0], value[1], value[2], value[3],
        ])
    }
}

/// The program for `rules`, the last of which that matches decides.
pub(super) fn compile(rules: &[DeviceRule]) -> Vec<u64> {
    let mut program = beginning();
    let mut decided = false;
    for rule in rules.iter().rev() {
        if rule.is_about_all() {
            program.extend(answer(rule.allow));
            decided = true;
            break;
        }
        program.extend(one(rule));
    }
    if !decided {
        program.extend(answer(true));
    }
    program.into_iter().map(Instruction::encode).collect()
}

/// Takes the context apart, in which kind and access share a number.
fn beginning() -> Vec<Instruction> {
    let load = |to, at| Instruction::new(LOAD, to, 0).from(CONTEXT).offset(at);
    vec![
        load(KIND, 0),
        Instruction::new(COPY, ASKED, 0).from(KIND),
        Instruction::new(AND, KIND, 0xffff),
        Instruction::new(SHIFT_RIGHT, ASKED, 16),
        load(MAJOR, 4),
        load(MINOR, 8),
    ]
}

fn answer(allow: bool) -> [Instruction; 2] {
    [
        Instruction::new(SET, ANSWER, u32::from(allow)),
        Instruction::new(EXIT, 0, 0),
    ]
}

/// What a rule decides; the instructions end where the next begins.
fn one(rule: &DeviceRule) -> Vec<Instruction> {
    let kind = rule.kind.map(|kind| match kind {
        Kind::Block => 1,
        Kind::Character => 2,
    });
    let tests = [(KIND, kind), (MAJOR, rule.major), (MINOR, rule.minor)];
    let tests = tests
        .into_iter()
        .filter_map(|(register, wanted)| Some((register, wanted?)));
    let access = u32::from(rule.access.bits());
    let mut body = if rule.allow {
        // All that was asked for is allowed when nothing of it is left.
        vec![
            Instruction::new(AND, ASKED, !access),
            Instruction::new(JUMP_IF_NOT_EQUAL, ASKED, 0).offset(2),
        ]
    } else {
        vec![
            Instruction::new(JUMP_IF_ANY, ASKED, access).offset(1),
            Instruction::new(JUMP, 0, 0).offset(2),
        ]
    };
    body.extend(answer(rule.allow));
    let tests: Vec<(u8, u32)> = tests.collect();
    let mut instructions = Vec::with_capacity(tests.len() + body.len());
    for (done, (register, wanted)) in tests.iter().enumerate() {
        // Past the other tests and the body: seven instructions at most.
        let left = i16::try_from(tests.len() - done - 1 + body.len()).unwrap_or(i16::MAX);
        instructions.push(Instruction::new(JUMP_IF_NOT_EQUAL, *register, *wanted).offset(left));
    }
    instructions.extend(body);
    instructions
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgroup::devices::Access;

    /// A device and what is done with it.
    #[derive(Clone, Copy, Debug)]
    struct Question {
        kind: u32,
        access: u32,
        major: u32,
        minor: u32,
    }

    /// What the kernel's interpreter would answer, for the instructions that we use.
    fn run(program: &[u64], question: Question) -> u64 {
        let context = [
            question.access << 16 | question.kind,
            question.major,
            question.minor,
        ];
        let mut registers = [0_u64; 11];
        let mut at = 0_usize;
        loop {
            let bytes = program[at].to_le_bytes();
            let (to, from) = (usize::from(bytes[1] & 15), usize::from(bytes[1] >> 4));
            let offset = usize::try_from(i16::from_le_bytes([bytes[2], bytes[3]])).unwrap();
            let value = u32::from_le_bytes(bytes[4..].try_into().unwrap());
            let low = u32::try_from(registers[to] & 0xffff_ffff).unwrap();
            at += 1;
            match bytes[0] {
                LOAD => registers[to] = context[offset / 4].into(),
                SET => registers[to] = value.into(),
                COPY => registers[to] = registers[from],
                AND => registers[to] = u64::from(low & value),
                SHIFT_RIGHT => registers[to] = u64::from(low >> value),
                JUMP => at += offset,
                JUMP_IF_NOT_EQUAL if low != value => at += offset,
                JUMP_IF_ANY if low & value != 0 => at += offset,
                JUMP_IF_NOT_EQUAL | JUMP_IF_ANY => {}
                EXIT => return registers[0],
                other => panic!("the instruction {other:#x} is none of ours"),
            }
        }
    }

    /// What the rules say, letter by letter.
    fn decide(rules: &[DeviceRule], question: Question) -> bool {
        let matches = |rule: &&DeviceRule| {
            let kind = rule.kind.map(|kind| match kind {
                Kind::Block => 1,
                Kind::Character => 2,
            });
            kind.is_none_or(|kind| kind == question.kind)
                && rule.major.is_none_or(|major| major == question.major)
                && rule.minor.is_none_or(|minor| minor == question.minor)
        };
        [1, 2, 4]
            .into_iter()
            .filter(|bit| question.access & bit != 0)
            .all(|bit| {
                let has = |rule: &&DeviceRule| u32::from(rule.access.bits()) & bit != 0;
                let last = rules.iter().filter(matches).rfind(has);
                last.is_none_or(|rule| rule.allow)
            })
    }

    fn rule(allow: bool, text: &str) -> DeviceRule {
        let words: Vec<&str> = text.split([' ', ':']).collect();
        let number = |word: &str| word.parse().ok();
        DeviceRule {
            allow,
            kind: match words[0] {
                "a" => None,
                "b" => Some(Kind::Block),
                _ => Some(Kind::Character),
            },
            major: number(words[1]),
            minor: number(words[2]),
            access: Access::parse(words[3]).unwrap(),
        }
    }

    /// Asks every program about every device and access that could make a difference to it.
    #[track_caller]
    fn agree(rules: &[DeviceRule]) {
        let program = compile(rules);
        for kind in [1, 2] {
            for access in 1..8 {
                for major in [0, 1, 5, 136, u32::MAX] {
                    for minor in [0, 1, 3, 11, u32::MAX] {
                        let question = Question {
                            kind,
                            access,
                            major,
                            minor,
                        };
                        let answer = run(&program, question);
                        let wanted = decide(rules, question);
                        assert_eq!(answer, u64::from(wanted), "{question:?} {rules:?}");
                    }
                }
            }
        }
    }

    fn ask(rules: &[DeviceRule], kind: u32, access: &str, (major, minor): (u32, u32)) -> bool {
        let question = Question {
            kind,
            access: Access::parse(access).unwrap().bits().into(),
            major,
            minor,
        };
        run(&compile(rules), question) == 1
    }

    #[test]
    fn the_last_rule_that_matches_decides() {
        let rules = [
            rule(false, "a *:* rwm"),
            rule(true, "c 1:3 rwm"),
            rule(false, "c 1:3 w"),
        ];
        assert!(ask(&rules, 2, "r", (1, 3)) && ask(&rules, 2, "rm", (1, 3)));
        assert!(!ask(&rules, 2, "w", (1, 3)) && !ask(&rules, 2, "rw", (1, 3)));
        assert!(!ask(&rules, 1, "r", (1, 3)) && !ask(&rules, 2, "r", (1, 5)));
    }

    #[test]
    fn reading_and_writing_at_once_may_be_allowed_by_two_rules() {
        let rules = [
            rule(false, "a *:* rwm"),
            rule(true, "c 1:* r"),
            rule(true, "c *:3 w"),
        ];
        assert!(ask(&rules, 2, "rw", (1, 3)));
        assert!(!ask(&rules, 2, "rw", (1, 5)) && !ask(&rules, 2, "rw", (5, 3)));
    }

    #[test]
    fn what_no_rule_decides_is_left_to_the_cgroups_above() {
        let rules = [rule(false, "b *:* rwm")];
        assert!(ask(&rules, 2, "rwm", (1, 3)));
        assert!(!ask(&rules, 1, "r", (1, 3)));
    }

    #[test]
    fn rules_before_one_about_everything_are_not_in_the_program() {
        let everything = rule(false, "a *:* rwm");
        let long: Vec<DeviceRule> = [vec![rule(true, "c 1:3 r"); 100], vec![everything]].concat();
        assert_eq!(compile(&long), compile(&[everything]));
    }

    #[test]
    fn a_number_with_its_highest_bit_set_is_matched() {
        let rules = [rule(false, "a *:* rwm"), rule(true, "c 4294967295:* r")];
        assert!(ask(&rules, 2, "r", (u32::MAX, 0)));
        agree(&rules);
    }

    #[test]
    fn every_list_of_three_rules_says_what_its_program_does() {
        let mut some = Vec::new();
        for allow in [false, true] {
            for text in [
                "a *:* rwm",
                "a *:* r",
                "b *:* rwm",
                "c *:* m",
                "c 1:3 rw",
                "a 1:* w",
                "c *:11 wm",
                "b 5:0 rwm",
            ] {
                some.push(rule(allow, text));
            }
        }
        agree(&[]);
        for first in &some {
            agree(&[*first]);
            for second in &some {
                for third in &some {
                    agree(&[*first, *second, *third]);
                }
            }
        }
    }
}
