"""A file system in a file, whose power can be cut, and another boot of the machine after it."""

import contextlib
import fcntl
import os
import pathlib
import struct
import time

import measure

# FS_IOC_SHUTDOWN of ext4 and xfs, without writing the log out: what was not synced is lost.
SHUTDOWN, NO_LOG_FLUSH = 0x8004587D, struct.pack("I", 2)
# mkfs.xfs refuses less than 300 MB. The files are sparse.
SIZE = 512 << 20
MAKE = {
    "ext4": ["mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0"],
    "xfs": ["mkfs.xfs", "-q", "-f"],
}
# The journal is not written out by the clock, so what is lost is what nobody synced.
OPTIONS = {"ext4": "loop,commit=1000", "xfs": "loop"}
# Whoever had the disk when its power was cut has ended by then.
LONGEST_SECONDS, LOOK_SECONDS = 30, 0.01
NEXT_BOOT = "11111111-2222-3333-4444-555555555555"


class Disk:
    """A file system of a kind, mounted at `mount_point`."""

    def __init__(self, kind, place):
        self.kind, self.place = kind, place
        self.file, self.mount_point = place / kind, place / "mnt"

    def make(self):
        """Makes it empty, and mounts it."""
        self.mount_point.mkdir(exist_ok=True)
        self.file.unlink(missing_ok=True)
        with open(self.file, "wb") as sparse:
            sparse.truncate(SIZE)
        measure.check([*MAKE[self.kind], self.file])
        self.mount()

    def mount(self):
        measure.check(["mount", "-o", OPTIONS[self.kind], self.file, self.mount_point])

    def unmount(self):
        """Unmounts it and waits until nobody has it, in whatever mount namespace."""
        self._wait(lambda: is_done(["umount", self.mount_point]))
        self._wait(lambda: not measure.check(["losetup", "--associated", self.file]))

    def _wait(self, is_so):
        """Waits for whoever still writes: `ucr run` ends before the disk has everything."""
        give_up = time.monotonic() + LONGEST_SECONDS
        while not is_so():
            if time.monotonic() > give_up:
                raise measure.Failed(f"somebody still has {self.mount_point}")
            time.sleep(LOOK_SECONDS)

    def cut(self):
        """Cuts the power: from now on nothing is written, and every call fails."""
        fd = os.open(self.mount_point, os.O_RDONLY)
        try:
            fcntl.ioctl(fd, SHUTDOWN, NO_LOG_FLUSH)
        finally:
            os.close(fd)

    def restart(self):
        """Mounts what has reached the disk."""
        self.unmount()
        self.mount()


@contextlib.contextmanager
def disk(kind, parent):
    """A disk below `parent`, for as long as the block runs."""
    with measure.scratch(parent, f"{kind}-") as place:
        made = Disk(kind, pathlib.Path(place))
        made.make()
        try:
            yield made
        finally:
            made.unmount()


def is_done(argv):
    """Whether a command succeeds."""
    try:
        measure.check(argv)
        return True
    except measure.Failed:
        return False


def of_next_boot(argv, place):
    """A command, for which the machine has been started again."""
    file = place / "boot_id"
    file.write_text(f"{NEXT_BOOT}\n")
    script = 'mount --bind "$0" /proc/sys/kernel/random/boot_id && exec "$@"'
    return ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, str(file), *argv]
