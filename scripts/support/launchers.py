"""Who runs a command in a container, each with the same limits where it can."""

import gzip
import json
import os
import subprocess
import tarfile

from measure import Failed, check

MEMORY, PIDS, PERIOD = 64 << 20, 100, 100_000
FLAGS = ["-m", "64m", "--cpus", "1", "--pids-limit", str(PIDS)]

# Prints the limits as the container itself sees them, on cgroup v1 and v2.
LOOK = """cd /sys/fs/cgroup 2>/dev/null || exit 0
echo $(cat memory/memory.limit_in_bytes memory.max 2>/dev/null) \
$(cat cpu/cpu.cfs_quota_us cpu/cpu.cfs_period_us cpu.max 2>/dev/null) \
$(cat pids/pids.max pids.max 2>/dev/null)"""
IN_FORCE = f"{MEMORY} {PERIOD} {PERIOD} {PIDS}"

RESOURCES = {
    "memory": {"limit": MEMORY},
    "cpu": {"quota": PERIOD, "period": PERIOD},
    "pids": {"limit": PIDS},
}


class Launcher:
    """One way to run a command in a container."""

    def __init__(self, argv, env=None, note=""):
        self._argv, self.env, self.note = argv, env, note

    def argv(self, *command):
        return self._argv(command)

    def limits(self):
        """The limits as the container sees them."""
        return check(self.argv("sh", "-c", LOOK), self.env).strip()


def launch_ucr(access, place, image):
    env = access.ucr(place)
    check(["ucr", "pull", "--quiet", image], env)
    return [Launcher(lambda command: ["ucr", "run", "--pull", "never", *FLAGS, image, *command], env)]


def launch_ucr_published(access, place, image):
    env = access.ucr(place)
    start = ["ucr", "run", "--pull", "never", "-p", "18080:80", *FLAGS, image]
    return [Launcher(lambda command: [*start, *command], env, note="bridge, one port")]


def launch_podman_published(access, place, image):
    check(access.podman_pull(place, image))
    start = ["run", "--rm", "-p", "18081:80", "--ulimit", "nofile=1024:1024",
             "--ulimit", "nproc=1024:1024", *FLAGS, image]
    return [
        Launcher(lambda command, more=more: [*access.podman(place), *more, *start, *command], note=note)
        for more, note in [([], "bridge, one port"), (["--runtime", "runc"], "bridge, one port, runc")]
    ]


def launch_podman(access, place, image):
    """Twice: with the runtime that podman would take, and with the other one."""
    check(access.podman_pull(place, image))
    # Its defaults are refused where the host allows fewer files and processes.
    start = ["run", "--rm", "--network", "host", "--ulimit", "nofile=1024:1024",
             "--ulimit", "nproc=1024:1024", *FLAGS, image]
    return [
        Launcher(lambda command, more=more: [*access.podman(place), *more, *start, *command], note=note)
        for more, note in [([], "--network host"), (["--runtime", "runc"], "--network host, runc")]
    ]


def launch_crun(_access, place, _image):
    """As it is, and where it refuses hybrid cgroups, as if there were only v1."""
    crun, bundle = ["crun", "--cgroup-manager=cgroupfs"], place / "bundle"
    yield Launcher(lambda command: bundle_argv(crun, bundle, command))
    holder = hide_unified()
    into = ["nsenter", f"--mount=/proc/{holder.pid}/ns/mnt"]
    yield Launcher(lambda command: [*into, *bundle_argv(crun, bundle, command)],
                   note="refuses hybrid cgroups: v2 hidden from it by nsenter, about 1 ms more")


def hide_unified():
    """Starts a process in a mount namespace without the v2 hierarchy; it ends with this one."""
    script = "umount /sys/fs/cgroup/unified && echo hidden && exec cat"
    holder = subprocess.Popen(["unshare", "--mount", "sh", "-c", script],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    if not holder.stdout.readline():
        raise Failed("cannot hide the v2 hierarchy")
    return holder


def launch_runc(_access, place, _image):
    return [Launcher(lambda command: bundle_argv(["runc"], place / "bundle", command))]


def bundle_argv(runtime, bundle, command):
    """Writes the command into a bundle's config, as callers of these runtimes do."""
    config = json.loads((bundle / "template.json").read_text())
    config["process"]["args"] = list(command)
    (bundle / "config.json").write_text(json.dumps(config))
    return [*runtime, "run", "--bundle", str(bundle), f"ucr-bench-{os.getpid()}"]


def launch_bwrap(_access, place, _image):
    start = ["bwrap", "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try",
             "--die-with-parent", "--bind", f"{place}/rootfs", "/", "--proc", "/proc",
             "--dev", "/dev"]
    return [Launcher(lambda command: [*start, *command], note="has no limits")]


LAUNCHERS = {
    "ucr run": ("ucr", launch_ucr),
    "crun run": ("crun", launch_crun),
    "runc run": ("runc", launch_runc),
    "podman run": ("podman", launch_podman),
    "ucr run -p": ("ucr", launch_ucr_published),
    "podman run -p": ("podman", launch_podman_published),
    "bwrap": ("bwrap", launch_bwrap),
}


def unpack_bundle(place, layer):
    """Unpacks a trusted layer and makes a bundle of it, with the limits."""
    with gzip.open(layer) as plain, tarfile.open(fileobj=plain) as tar:
        tar.extractall(place / "rootfs")
    bundle = place / "bundle"
    bundle.mkdir()
    check(["runc", "spec", "--bundle", bundle])
    config = json.loads((bundle / "config.json").read_text())
    config["root"]["path"] = str(place / "rootfs")
    config["process"]["terminal"] = False
    config["process"]["env"] = ["PATH=/bin"]
    config["process"].pop("rlimits", None)
    config["linux"]["resources"] = RESOURCES
    # As ucr runs it: the host's network, and a cgroup namespace.
    config["linux"]["namespaces"] = [
        {"type": kind} for kind in ("pid", "mount", "ipc", "uts", "cgroup")
    ]
    (bundle / "template.json").write_text(json.dumps(config))
