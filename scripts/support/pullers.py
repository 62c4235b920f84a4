"""Who pulls and unpacks an image into an empty file system."""

import dataclasses

import registry
from measure import Measured, measure

# Of puller/examples, built by the bench; found by PATH as the others.
FLOOR = "floor"


@dataclasses.dataclass(frozen=True)
class Image:
    """An image in the registry."""

    host: str
    repository: str
    tag: str
    layers: tuple

    def __str__(self):
        return f"{self.host}/{self.repository}:{self.tag}"


def pull_ucr(access, fs, image):
    return measure(["ucr", "pull", "--quiet", str(image)], access.ucr(fs))


def pull_floor(access, fs, image):
    argv = [FLOOR, image.host, image.repository, access.directory / "ca.pem", fs, *image.layers]
    return measure(argv, {"FLOOR_USER": f"{registry.PRINCIPAL}:{registry.SECRET}"})


def pull_podman(access, fs, image):
    return measure(access.podman_pull(fs, str(image)), {"TMPDIR": str(fs)})


def pull_skopeo_umoci(access, fs, image):
    copied = measure(["skopeo", "copy", "--quiet", "--src-cert-dir", access.trust,
                      "--authfile", access.auth, f"docker://{image}", f"oci:{fs}/oci:image"])
    unpacked = measure(["umoci", "unpack", "--image", f"{fs}/oci:image", f"{fs}/bundle"])
    return Measured(copied.seconds + unpacked.seconds,
                    max(copied.peak_bytes, unpacked.peak_bytes))


# Name → the programs that it needs, and how to measure it.
PULLERS = {
    "ucr pull": (["ucr"], pull_ucr),
    "floor": ([], pull_floor),
    "podman pull": (["podman"], pull_podman),
    "skopeo copy + umoci unpack": (["skopeo", "umoci"], pull_skopeo_umoci),
}
# Who is measured where no peers are.
ALONE = ("ucr pull", "floor")
