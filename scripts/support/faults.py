"""System calls of a command, counted, and one of them made to kill it or to fail."""

import collections
import dataclasses
import re
import subprocess
import tempfile

from measure import with_environment

# A run that takes longer hangs.
LONGEST_SECONDS = 60
LINE = re.compile(r"^(\d+) +(\w+)\(")


@dataclasses.dataclass(frozen=True)
class Point:
    """The number-th call of a kind, counted in each thread apart, as strace does it."""

    call: str
    number: int
    # The error's name; killed when there is none.
    error: str = ""

    def __str__(self):
        return f"{self.call} {self.number} {self.error or 'killed'}"

    def injection(self):
        what = f"error={self.error}" if self.error else "signal=KILL"
        return f"inject={self.call}:{what}:when={self.number}"


@dataclasses.dataclass
class Ended:
    """How a command ended."""

    code: int
    said: str
    hit: bool


def count(argv, calls, env=None):
    """How often each call is made by that thread which makes most of them."""
    with tempfile.NamedTemporaryFile("r") as log:
        traced = ["strace", "-f", "-qq", "-o", log.name, "-e", f"trace={listed(calls)}", *argv]
        subprocess.run(traced, env=with_environment(env), stdin=subprocess.DEVNULL,
                       capture_output=True, check=True, timeout=LONGEST_SECONDS)
        made = collections.Counter(found.groups() for found in map(LINE.match, log) if found)
    most = collections.Counter()
    for (_, call), number in made.items():
        most[call] = max(most[call], number)
    return most


def run(argv, point, env=None):
    """Runs a command with a fault at one point."""
    with tempfile.NamedTemporaryFile("r", errors="replace") as log:
        traced = ["strace", "-f", "-qq", "-o", log.name, "-e", f"trace={listed([point.call])}",
                  "-e", point.injection(), *argv]
        done = subprocess.run(traced, env=with_environment(env), stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, errors="replace",
                              timeout=LONGEST_SECONDS)
        written = log.read()
    hit = "(INJECTED)" in written or "killed by SIGKILL" in written
    return Ended(done.returncode, done.stderr, hit)


def listed(calls):
    """A list for strace, of calls that not every architecture has."""
    return ",".join(f"?{call}" for call in calls)


def spread(totals, wanted):
    """Chooses numbers of calls, so that rare ones are all there and frequent ones evenly.

    `totals` has (first, last) of each call; `None` chooses all.
    """
    shares = {call: 0 for call in totals}
    room = {call: last - first + 1 for call, (first, last) in totals.items()}
    left = sum(room.values()) if wanted is None else min(wanted, sum(room.values()))
    while left > 0:
        for call in [call for call in totals if shares[call] < room[call]][:left]:
            shares[call] += 1
            left -= 1
    return {
        call: [first + (2 * each + 1) * room[call] // (2 * shares[call]) for each in range(shares[call])]
        for call, (first, _) in totals.items() if shares[call]
    }
