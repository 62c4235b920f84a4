"""Who pulls and unpacks an image into an empty file system."""

from measure import Measured, measure


def pull_ucr(access, fs, image):
    return measure(["ucr", "pull", "--quiet", image], access.ucr(fs))


def pull_podman(access, fs, image):
    return measure(access.podman_pull(fs, image), {"TMPDIR": str(fs)})


def pull_skopeo_umoci(access, fs, image):
    copied = measure(["skopeo", "copy", "--quiet", "--src-cert-dir", access.trust,
                      "--authfile", access.auth, f"docker://{image}", f"oci:{fs}/oci:image"])
    unpacked = measure(["umoci", "unpack", "--image", f"{fs}/oci:image", f"{fs}/bundle"])
    return Measured(copied.seconds + unpacked.seconds,
                    max(copied.peak_bytes, unpacked.peak_bytes))


# Name → the programs that it needs, and how to measure it.
PULLERS = {
    "ucr pull": (["ucr"], pull_ucr),
    "podman pull": (["podman"], pull_podman),
    "skopeo copy + umoci unpack": (["skopeo", "umoci"], pull_skopeo_umoci),
}
