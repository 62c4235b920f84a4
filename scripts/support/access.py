"""The registry of the benchmark, and how each program is told to trust it and who it is."""

import base64
import json
import shutil

import registry


class Access:
    """Files that name the CA and the password, and the arguments that name the files."""

    def __init__(self, directory, host):
        self.directory, self.host = directory, host
        self.trust = directory / "trust"
        self.trust.mkdir()
        shutil.copy(directory / "ca.pem", self.trust / "ca.crt")
        self.auth = directory / "auth.json"
        credential = base64.b64encode(f"{registry.PRINCIPAL}:{registry.SECRET}".encode()).decode()
        self.auth.write_text(json.dumps({"auths": {host: {"auth": credential}}}))

    def ucr(self, place):
        """The environment in which ucr keeps everything in `place`."""
        return {
            "UCR_ROOT": f"{place}/ucr",
            "UCR_STATE": f"{place}/state",
            "UCR_CERTS_DIR": f"{self.directory}/certs",
            "UCR_PRINCIPAL": registry.PRINCIPAL,
            "UCR_SECRET": registry.SECRET,
        }

    def podman(self, place):
        """The beginning of each podman command that keeps everything in `place`."""
        return ["podman", "--root", f"{place}/podman", "--runroot", f"{place}/runroot",
                "--storage-driver", "overlay", "--cgroup-manager", "cgroupfs"]

    def podman_pull(self, place, image):
        return [*self.podman(place), "pull", "--quiet", "--cert-dir", str(self.trust),
                "--authfile", str(self.auth), image]
