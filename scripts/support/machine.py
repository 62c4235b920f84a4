"""The facts of this machine and of the programs on it that figures depend on."""

import os
import pathlib
import shutil

from measure import check


def version(program):
    """The first line that a program says of its version, or `None` when it is missing."""
    if not shutil.which(program):
        return None
    return check([program, "--version"]).splitlines()[0].strip()


def machine():
    """The facts of this machine that the figures depend on."""
    cpu = next(
        (line.split(":", 1)[1].strip() for line in pathlib.Path("/proc/cpuinfo").read_text()
         .splitlines() if line.startswith("model name")), os.uname().machine)
    return {
        "cpu": cpu,
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1),
        "kernel": os.uname().release,
        "cgroups": cgroup_mode(),
    }


def cgroup_mode():
    """Which of cgroups(7)' versions this machine mounts."""
    root = pathlib.Path("/sys/fs/cgroup")
    if (root / "cgroup.controllers").exists():
        return "v2"
    hybrid = (root / "unified/cgroup.controllers").exists()
    return "hybrid (v1, with an empty v2)" if hybrid else "v1"
