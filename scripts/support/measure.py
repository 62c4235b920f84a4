"""Measuring one command: seconds, and the memory of it and all that it started."""

import contextlib
import dataclasses
import os
import pathlib
import subprocess
import tempfile
import threading
import time

SAMPLE_SECONDS = 0.02


class Failed(Exception):
    """A command that was to be measured did not succeed."""


@dataclasses.dataclass
class Measured:
    """What one run took."""

    seconds: float
    peak_bytes: int


def check(argv, env=None):
    """Runs a command that must succeed and returns its standard output."""
    done = subprocess.run(
        argv, env=with_environment(env), stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    if done.returncode != 0:
        lines = (done.stderr.strip() or done.stdout.strip() or "no output").splitlines()
        raise Failed(f"{argv[0]} ended with {done.returncode}: {lines[-1]}")
    return done.stdout


def started(argv, env=None):
    """Starts a command that is told nothing and whose standard output is read."""
    return subprocess.Popen(
        argv, env=with_environment(env), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
    )


def seconds(argv, env=None):
    """Runs a command that must succeed, without looking at it, and returns its seconds."""
    environment = with_environment(env)
    null = subprocess.DEVNULL
    began = time.perf_counter()
    process = subprocess.Popen(argv, env=environment, stdin=null, stdout=null, stderr=null)
    status = process.wait()
    took = time.perf_counter() - began
    if status != 0:
        raise Failed(f"{argv[0]} ended with {status}")
    return took


def first_byte(argv, env=None):
    """Runs a command that must succeed, and returns the seconds until it wrote something."""
    environment, null = with_environment(env), subprocess.DEVNULL
    began = time.perf_counter()
    process = subprocess.Popen(argv, env=environment, stdin=null, stdout=subprocess.PIPE, stderr=null)
    process.stdout.read(1)
    took = time.perf_counter() - began
    if process.wait() != 0:
        raise Failed(f"{argv[0]} ended with {process.returncode}")
    return took


def all_at_once(commands, env=None):
    """Starts commands that must all succeed, and returns the seconds until the last has ended."""
    environment, null = with_environment(env), subprocess.DEVNULL
    began = time.perf_counter()
    processes = [
        subprocess.Popen(argv, env=environment, stdin=null, stdout=null, stderr=null)
        for argv in commands
    ]
    failed = sum(process.wait() != 0 for process in processes)
    took = time.perf_counter() - began
    if failed:
        raise Failed(f"{failed} of {len(commands)} commands failed")
    return took


def measure(argv, env=None):
    """Runs a command that must succeed and returns what it took.

    The peak is the larger of two numbers: the largest resident set of any one
    process, which GNU time knows exactly, and the proportional set sizes of all
    processes together, sampled.
    """
    with tempfile.NamedTemporaryFile("r") as largest, tempfile.TemporaryFile("w+") as said:
        timed = ["/usr/bin/time", "--quiet", "--format", "%M", "--output", largest.name, *argv]
        began = time.perf_counter()
        process = subprocess.Popen(
            timed, env=with_environment(env), stdin=subprocess.DEVNULL, stdout=said, stderr=said
        )
        with sampled_memory(process.pid) as samples:
            status = process.wait()
            took = time.perf_counter() - began
        if status != 0:
            said.seek(0)
            lines = said.read().strip().splitlines() or ["no output"]
            raise Failed(f"{argv[0]} ended with {status}: {lines[-1]}")
        return Measured(took, max(int(largest.read()) * 1024, *samples))


def with_environment(more):
    """This process' environment, and more."""
    return {**os.environ, **(more or {})}


@contextlib.contextmanager
def sampled_memory(pid):
    """Samples the memory of a tree of processes in the background, in bytes."""
    samples, ended = [0], threading.Event()

    def sample():
        while not ended.wait(SAMPLE_SECONDS):
            samples.append(sum(proportional_bytes(member) for member in tree(pid)))

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield samples
    finally:
        ended.set()
        thread.join()


def tree(pid):
    """The process and all that it started and that still belongs to it."""
    members = [pid]
    for member in members:
        with contextlib.suppress(OSError):
            for task in os.listdir(f"/proc/{member}/task"):
                children = pathlib.Path(f"/proc/{member}/task/{task}/children").read_text()
                members.extend(int(child) for child in children.split())
    return members


def proportional_bytes(pid):
    """The memory of one process, with shared pages counted in parts (proc(5), Pss)."""
    with contextlib.suppress(OSError):
        return rolled_up(pid, "Pss:")
    return 0


def private_bytes(pid):
    """The memory that one process shares with no other (proc(5))."""
    return rolled_up(pid, "Private_Clean:", "Private_Dirty:")


def rolled_up(pid, *fields):
    """The sum of fields of smaps_rollup, in bytes."""
    lines = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith(fields))


@contextlib.contextmanager
def scratch(parent, prefix):
    """A directory that is removed at the end, with whatever was mounted below it."""
    path = pathlib.Path(tempfile.mkdtemp(dir=parent, prefix=prefix))
    try:
        yield path
    finally:
        mounted = [line.split()[4] for line in open("/proc/self/mountinfo")]
        for mount_point in reversed(mounted):
            if mount_point.startswith(f"{path}/"):
                check(["umount", mount_point])
        check(["rm", "--recursive", "--force", "--one-file-system", path])


def sync(mount_point):
    """Writes a file system out, and returns how many seconds that took."""
    began = time.perf_counter()
    check(["sync", "--file-system", mount_point])
    return time.perf_counter() - began


def warm_only(directory, digests):
    """Empties the page cache, then reads these blobs of a registry's storage into it."""
    check(["sync"])
    pathlib.Path("/proc/sys/vm/drop_caches").write_text("3")
    names = {digest.rpartition(":")[2] for digest in digests}
    for path in pathlib.Path(directory).rglob("data"):
        if path.parent.name in names:
            with open(path, "rb") as file:
                while file.read(1 << 20):
                    pass
