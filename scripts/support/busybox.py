#!/usr/bin/env python3
"""A small image that really runs, made of this machine's busybox.

As a program, `busybox.py DIRECTORY HOST REPOSITORY TAG` pushes it to the
registry that `registry.py DIRECTORY` runs on HOST.
"""

import pathlib
import subprocess
import sys
import tempfile

import image
import registry

BUSYBOX = "/bin/busybox"
SETTINGS = {
    "Cmd": ["/bin/sh"],
    "Env": ["PATH=/bin", "GREETING=hello from the image"],
    "WorkingDir": "/",
}


def fill(tar):
    """Writes a root file system: busybox, a link for each applet, users and /tmp."""
    for name, mode in [("bin", 0o755), ("etc", 0o755), ("root", 0o700), ("tmp", 0o1777)]:
        image.add_directory(tar, name, mode)
    image.add_file(tar, "bin/busybox", pathlib.Path(BUSYBOX).read_bytes(), 0o755)
    applets = subprocess.run([BUSYBOX, "--list"], capture_output=True, text=True, check=True)
    for applet in applets.stdout.split():
        if applet != "busybox":
            image.add_link(tar, f"bin/{applet}", "busybox")
    users = b"root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000:user:/:/bin/sh\n"
    image.add_file(tar, "etc/passwd", users)
    image.add_file(tar, "etc/group", b"root:x:0:\nuser:x:1000:\n")


def push(client, repository, tag):
    """Makes the image and pushes it."""
    with tempfile.TemporaryDirectory() as directory:
        layer = image.Layer(f"{directory}/layer", fill)
        client.push_image(repository, tag, [layer], SETTINGS)


def main():
    directory, host, repository, tag = sys.argv[1:]
    ca = pathlib.Path(directory) / "ca.pem"
    push(image.Client(host, ca, registry.PRINCIPAL, registry.SECRET), repository, tag)


if __name__ == "__main__":
    main()
