"""What the proofs stand on: a build, a registry with small images, a place to work in."""

import contextlib
import dataclasses
import json
import os
import pathlib
import subprocess
import sys

import image
import measure
import oracle
import registry
import small
from access import Access

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
WORK = pathlib.Path("/var/tmp")
# The store that has all images.
ALL = "all"
VERIFY = ["ucr", "verify", "--deep"]


@dataclasses.dataclass
class Testbed:
    """A registry that runs, and how to reach it."""

    place: pathlib.Path
    access: Access
    # The images by their colour.
    images: dict
    # The digests of the trees of each image, pulled in peace.
    whole: dict

    def env(self, place):
        """The environment of a `ucr` that keeps everything in `place`."""
        return self.access.ucr(place)

    def pull(self, place, name):
        """Pulls an image, which must succeed."""
        measure.check(self.argv("pull", name), self.env(place))

    def argv(self, command, name):
        """A command on an image."""
        quiet = ["--quiet"] if command in ("pull", "run") else []
        return ["ucr", command, *quiet, self.images[name]]

    def verify(self, place, wrap=lambda argv: argv):
        """What `ucr verify --deep` has to say against a store, if there is one."""
        done = self._verify(place, wrap(VERIFY))
        if done is None or done.returncode == 0:
            return []
        said = f"{done.stdout.strip()} {done.stderr.strip()}"
        return [f"verify --deep ended with {done.returncode}: {said}"]

    def damaged(self, place):
        """What is in a store and not what it was, by `ucr verify --deep`; what is gone is not told."""
        done = self._verify(place, [*VERIFY, "--format", "json"])
        problems = json.loads(done.stdout)["problems"] if done else []
        return [f"{each['name']} is {each['trouble']}" for each in problems
                if each["trouble"] in ("damaged", "unreadable-record")]

    def _verify(self, place, argv):
        if not (place / "ucr/version").exists():
            return None
        return subprocess.run(argv, env=measure.with_environment(self.env(place)),
                              stdin=subprocess.DEVNULL, capture_output=True, text=True)

    def every_tree(self):
        """The digests of all trees of all images."""
        return {path: digest for trees in self.whole.values() for path, digest in trees.items()}


@contextlib.contextmanager
def testbed(program, tools="proof"):
    """Builds, starts a registry and pushes the small images; `program` names who asks."""
    if os.geteuid() != 0:
        sys.exit(f"{program}: needs root, to keep the owners of images' files")
    for script in [f"scripts/install-deps {tools}", "scripts/build"]:
        subprocess.run(script.split(), cwd=ROOT, stdout=sys.stderr, check=True)
    target = ROOT / os.environ.get("CARGO_TARGET_DIR", "target") / "release"
    os.environ["PATH"] = f"{target}:{os.environ['PATH']}"
    for name in [name for name in os.environ if name.startswith("UCR_")]:
        del os.environ[name]
    with measure.scratch(WORK, f"ucr-{program}-") as place:
        with registry.Registry(place / "registry") as server:
            access = Access(server.directory, server.host)
            measure.check(["ucr", "certs", "add", str(server.ca)], access.ucr(place))
            client = image.Client(server.host, server.ca, registry.PRINCIPAL, registry.SECRET)
            names = zip(small.IMAGES, small.push(client))
            bed = Testbed(place, access, {key: f"{server.host}/{name}" for key, name in names}, {})
            for name in bed.images:
                bed.pull(place / "whole" / name, name)
                bed.pull(place / "whole" / ALL, name)
                bed.whole[name] = oracle.Store(place / "whole" / name / "ucr").digests()
            bed.whole[ALL] = bed.every_tree()
            yield bed
