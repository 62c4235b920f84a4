"""The images that are pulled cold, and who pulls each."""

import dataclasses

import content
import pullers
from content import MIB, Content

EVERYBODY = tuple(pullers.PULLERS)
# The floor knows the compressions that most layers have.
WITHOUT_FLOOR = tuple(name for name in EVERYBODY if name != "floor")


@dataclasses.dataclass(frozen=True)
class Case:
    """An image, and a small one in its place for trying."""

    title: str
    full: Content
    quick: Content
    pullers: tuple = EVERYBODY
    # The marks are about the first image: the others take less of an hour.
    rounds: int = 2

    def content(self, quick):
        return self.quick if quick else self.full


FULL, QUICK = tuple(content.FULL), tuple(content.QUICK)
FEW, FEW_QUICK = (80 * MIB, 40 * MIB, 20 * MIB), (4 * MIB, 2 * MIB)
PULLS = {
    "layers": Case("gzip", Content(FULL), Content(QUICK), rounds=3),
    "single": Case("one large layer", Content((1640 * MIB,)), Content((24 * MIB,))),
    "many": Case("small layers", Content((MIB,) * 127), Content((MIB // 8,) * 127)),
    "files": Case("small files", Content((), small_files=(50_000,) * 4),
                  Content((), small_files=(1000,) * 4)),
    "zstd": Case("zstd", Content(FULL, "zstd"), Content(QUICK, "zstd")),
    "zstd-8m": Case("zstd, windows of 8 MiB", Content(FULL, "zstd-8m"), Content(QUICK, "zstd-8m"),
                    tuple(pullers.ALONE)),
    "bzip2": Case("bzip2", Content(FEW, "bzip2"), Content(FEW_QUICK, "bzip2"),
                  WITHOUT_FLOOR),
    "xz": Case("xz", Content(FEW, "xz"), Content(FEW_QUICK, "xz"), WITHOUT_FLOOR),
}


@dataclasses.dataclass(frozen=True)
class Pushed(pullers.Image):
    """An image with its compressed size."""

    bytes: int = 0


def image(client, host, name, quick, say):
    """The image of a case, made and pushed where the registry does not have it from earlier."""
    repository, tag = f"bench/{name}", "quick" if quick else "full"
    manifest = client.manifest(repository, tag)
    if manifest is None:
        say(f"making {repository}:{tag}")
        content.push(client, repository, tag, PULLS[name].content(quick))
        manifest = client.manifest(repository, tag)
    layers = manifest["layers"]
    return Pushed(host, repository, tag, tuple(layer["digest"] for layer in layers),
                  sum(layer["size"] for layer in layers))
