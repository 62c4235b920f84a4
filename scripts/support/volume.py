"""A new ext4 for each run, on a device that costs what a disk costs."""

import contextlib

import measure

MAKE = ["mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0,nodiscard"]
MIB = 1 << 20


@contextlib.contextmanager
def volume(parent, size):
    """A loop device over a file below `parent`, to be given to `fresh`.

    The file is written once, and the device passes the page cache by. Otherwise each block would
    be copied and cached twice, and room for it found twice, here and in the file system below:
    two processors are busy with that for a second or two, as with no disk.
    """
    # Short names: podman refuses paths of its own longer than 50 characters.
    with measure.scratch(parent, "fs-") as work:
        file = work / "ext4"
        with open(file, "wb", buffering=0) as whole:
            for _ in range(size // MIB):
                whole.write(bytes(MIB))
        direct = ["losetup", "--find", "--show", "--direct-io=on", "--sector-size=4096", file]
        device = measure.check(direct).strip()
        try:
            mount_point = work / "mnt"
            mount_point.mkdir()
            yield device, mount_point
        finally:
            measure.check(["losetup", "--detach", device])


@contextlib.contextmanager
def fresh(volume):
    """Mounts a new ext4 on a volume, and unmounts it again.

    A new one for each run, because ext4 makes files up to seven times slower for minutes after a
    mass delete. Nothing is left to be initialised lazily.
    """
    device, mount_point = volume
    measure.check([*MAKE, device])
    measure.check(["mount", device, mount_point])
    try:
        yield mount_point
    finally:
        unmount(mount_point)


def unmount(mount_point):
    """Unmounts a directory, with whatever was mounted below it."""
    mounted = [line.split()[4] for line in open("/proc/self/mountinfo")]
    for each in reversed(mounted):
        if f"{each}/".startswith(f"{mount_point}/"):
            measure.check(["umount", each])
