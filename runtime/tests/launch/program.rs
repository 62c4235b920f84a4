//! Programs of one system call, made byte by byte: nothing else of them can fail.

use std::path::Path;

/// How a program enters the kernel.
#[derive(Clone, Copy)]
pub(crate) enum Gate {
    /// `syscall`: the calls of x86-64, and of x32.
    Syscall,
    /// `int 0x80`: the calls of i386.
    Int80,
}

/// The bit that makes a number one of x32, asm/unistd.h.
pub(crate) const X32: u32 = 0x4000_0000;

/// Writes an executable that makes one call and exits with its error number, 0 if it succeeded.
pub(crate) fn write(path: &Path, gate: Gate, number: u32, arguments: &[u64]) {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;

    std::fs::create_dir_all(path.parent().expect("parent")).expect("mkdir");
    let mut options = std::fs::OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(0o755)
        .open(path)
        .expect("create");
    let elf = elf(&code(gate, number, arguments));
    file.write_all(&elf).expect("write");
}

/// Instructions of x86-64.
fn code(gate: Gate, number: u32, arguments: &[u64]) -> Vec<u8> {
    // mov of 64 bits into rdi, rsi, rdx, r10, r8, r9; of i386 ebx, ecx, edx.
    let (moves, enter): (&[[u8; 2]], [u8; 2]) = match gate {
        Gate::Syscall => (
            &[
                [0x48, 0xbf],
                [0x48, 0xbe],
                [0x48, 0xba],
                [0x49, 0xba],
                [0x49, 0xb8],
                [0x49, 0xb9],
            ],
            [0x0f, 0x05],
        ),
        Gate::Int80 => (&[[0x48, 0xbb], [0x48, 0xb9], [0x48, 0xba]], [0xcd, 0x80]),
    };
    let mut code = Vec::new();
    for (register, argument) in moves.iter().zip(arguments) {
        code.extend(register);
        code.extend(argument.to_le_bytes());
    }
    code.push(0xb8); // mov eax, number
    code.extend(number.to_le_bytes());
    code.extend(enter);
    code.extend([0x31, 0xff]); // xor edi, edi
    code.extend([0x85, 0xc0, 0x79, 0x04]); // test eax, eax; jns over the next two
    code.extend([0x89, 0xc7, 0xf7, 0xdf]); // mov edi, eax; neg edi
    code.extend([0xb8, 60, 0, 0, 0, 0x0f, 0x05]); // exit(edi)
    code
}

/// An executable of one segment, elf(5).
fn elf(code: &[u8]) -> Vec<u8> {
    const BASE: u64 = 0x40_0000;
    const HEADERS: u64 = 64 + 56;
    let size = HEADERS + code.len() as u64;
    let mut elf = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    let half = |value: u16| value.to_le_bytes();
    elf.extend([half(2), half(62)].concat()); // ET_EXEC, EM_X86_64
    elf.extend(1_u32.to_le_bytes());
    for value in [BASE + HEADERS, 64, 0] {
        elf.extend(value.to_le_bytes()); // entry, program headers, no sections
    }
    elf.extend(0_u32.to_le_bytes());
    elf.extend([64, 56, 1, 0, 0, 0].map(half).concat());
    elf.extend([1_u32, 5].map(u32::to_le_bytes).concat()); // PT_LOAD, read and execute
    for value in [0, BASE, BASE, size, size, 0x1000] {
        elf.extend(value.to_le_bytes());
    }
    elf.extend(code);
    elf
}
