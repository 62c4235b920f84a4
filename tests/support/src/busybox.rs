//! A root file system that a container can really run.

use std::process::Command;

use crate::layer::{Entry, Layer, LayerBuilder};

const BUSYBOX: &str = "/bin/busybox";

/// Makes a layer of this machine's busybox (Debian: `busybox-static`) with a
/// link for each applet, users and groups, and a `/tmp` of mode 1777.
///
/// # Panics
///
/// When `/bin/busybox` is missing or needs shared libraries.
pub fn busybox_layer() -> Layer {
    let program = std::fs::read(BUSYBOX).expect("busybox-static is installed");
    assert!(
        !is_dynamic(&program),
        "{BUSYBOX} needs shared libraries: install busybox-static"
    );
    let output = Command::new(BUSYBOX).arg("--list").output().unwrap();
    let applets = String::from_utf8(output.stdout).unwrap();

    let mut layer = LayerBuilder::new()
        .dir("bin/", 0o755)
        .entry(Entry::file("bin/busybox", program).mode(0o755))
        .dir("etc/", 0o755)
        .file(
            "etc/passwd",
            "root:x:0:0:root:/root:/bin/sh\n\
             daemon:x:1:1:daemon:/usr/sbin:/bin/false\n\
             user:x:1000:1000:user:/home/user:/bin/sh\n\
             nobody:x:65534:65534:nobody:/nonexistent:/bin/false\n",
        )
        .file(
            "etc/group",
            "root:x:0:\ndaemon:x:1:\nusers:x:100:user\nuser:x:1000:\nnogroup:x:65534:\n",
        )
        .dir("root/", 0o700)
        .dir("home/", 0o755)
        .entry(Entry::dir("home/user/").owner(1000, 1000))
        .dir("tmp/", 0o1777)
        .dir("var/", 0o755);
    for applet in applets.lines().filter(|&applet| applet != "busybox") {
        layer = layer.symlink(&format!("bin/{applet}"), BUSYBOX);
    }
    layer.build()
}

/// An ELF program that needs the dynamic loader holds the loader's path.
fn is_dynamic(program: &[u8]) -> bool {
    const LOADERS: [&[u8]; 2] = [b"\0/lib64/ld-linux", b"\0/lib/ld-linux"];
    let head = &program[..program.len().min(4096)];
    LOADERS
        .iter()
        .any(|loader| head.windows(loader.len()).any(|window| window == *loader))
}

#[cfg(test)]
mod tests {
    #[test]
    fn has_a_shell() {
        crate::need_command!("busybox");
        let layer = super::busybox_layer();
        let has = |name: &[u8]| layer.bytes.chunks(512).any(|block| block.starts_with(name));
        assert!(has(b"bin/busybox\0") && has(b"bin/sh\0") && has(b"tmp/\0"));
    }
}
