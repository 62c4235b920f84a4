"""Image layers written to files, and a client that pushes them."""

import base64
import bz2
import gzip
import hashlib
import http.client
import io
import json
import lzma
import pathlib
import platform
import shutil
import ssl
import subprocess
import tarfile
import threading
import urllib.parse

BYTES = "application/octet-stream"
OCI = "application/vnd.oci.image"
# A registry may take its time to hash a large blob before it answers.
TIMEOUT_SECONDS = 300


class HashingWriter:
    """Passes bytes on, and knows their digest and number."""

    def __init__(self, out):
        self._out = out
        self._hash = hashlib.sha256()
        self.size = 0

    def write(self, data):
        self._hash.update(data)
        self.size += len(data)
        return self._out.write(data)

    def flush(self):
        self._out.flush()

    def digest(self):
        return f"sha256:{self._hash.hexdigest()}"


class Zstd:
    """Compresses by zstd(1) what is written."""

    def __init__(self, out, *options):
        argv = ["zstd", "--quiet", "-3", *options]
        self._process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._copier = threading.Thread(target=shutil.copyfileobj, args=(self._process.stdout, out))

    def __enter__(self):
        self._copier.start()
        return self._process.stdin

    def __exit__(self, *_):
        self._process.stdin.close()
        self._copier.join()
        if self._process.wait() != 0:
            raise RuntimeError("zstd failed")


COMPRESSORS = {
    "gzip": lambda out: gzip.GzipFile("", "wb", 6, out, mtime=0),
    # Windows of 2 MiB.
    "zstd": Zstd,
    # Windows of 2^23 bytes, which BuildKit and podman make.
    "zstd-8m": lambda out: Zstd(out, "--long=23"),
    "bzip2": lambda out: bz2.BZ2File(out, "wb"),
    "xz": lambda out: lzma.LZMAFile(out, "wb", preset=6),
}
# There is none for the others; what they are, their bytes tell.
SUFFIXES = {"gzip": "+gzip", "zstd": "+zstd", "zstd-8m": "+zstd"}


class Layer:
    """A compressed tar archive in a file, with the digests of both."""

    def __init__(self, path, fill, compression="gzip"):
        """Writes the layer: `fill` gets an open `tarfile.TarFile`."""
        self.path = pathlib.Path(path)
        self.kind = f"layer.v1.tar{SUFFIXES.get(compression, '')}"
        with open(self.path, "wb") as file:
            compressed = HashingWriter(file)
            with COMPRESSORS[compression](compressed) as zipped:
                plain = HashingWriter(zipped)
                with tarfile.open(fileobj=plain, mode="w|", format=tarfile.GNU_FORMAT) as tar:
                    fill(tar)
        self.digest, self.size = compressed.digest(), compressed.size
        self.diff_id, self.plain_size = plain.digest(), plain.size


def add_directory(tar, name, mode=0o755):
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode = tarfile.DIRTYPE, mode
    tar.addfile(entry)


def add_file(tar, name, data, mode=0o644):
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(data), mode
    tar.addfile(entry, io.BytesIO(data))


def add_link(tar, name, target):
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname, entry.mode = tarfile.SYMTYPE, target, 0o777
    tar.addfile(entry)


def add_hard_link(tar, name, target):
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = tarfile.LNKTYPE, target
    tar.addfile(entry)


class Client:
    """Pushes to one registry, over verified TLS and as one user."""

    def __init__(self, host, cafile, principal, secret):
        self._host = host
        self._tls = ssl.create_default_context(cafile=cafile)
        token = base64.b64encode(f"{principal}:{secret}".encode()).decode()
        self._authorization = f"Basic {token}"

    def request(self, method, target, body=b"", kind=BYTES, size=None, accept="*/*"):
        """Sends one request and returns its status, headers and body."""
        connection = http.client.HTTPSConnection(
            self._host, context=self._tls, timeout=TIMEOUT_SECONDS
        )
        headers = {
            "Authorization": self._authorization,
            "Accept": accept,
            "Content-Type": kind,
            "Content-Length": str(len(body) if size is None else size),
        }
        connection.request(method, target, body, headers)
        response = connection.getresponse()
        answer = response.read()
        connection.close()
        return response.status, response.headers, answer

    def manifest(self, repository, tag):
        """Gets a manifest that was pushed here before, or `None`."""
        target = f"/v2/{repository}/manifests/{tag}"
        status, _, answer = self.request("GET", target, accept=f"{OCI}.manifest.v1+json")
        return json.loads(answer) if status == 200 else None

    def push_blob(self, repository, digest, body, size):
        status, headers, answer = self.request("POST", f"/v2/{repository}/blobs/uploads/")
        expect(status, 202, "start an upload", answer)
        location = urllib.parse.urlsplit(headers["Location"])
        query = "&".join(part for part in (location.query, f"digest={digest}") if part)
        status, _, answer = self.request("PUT", f"{location.path}?{query}", body, size=size)
        expect(status, 201, f"upload {digest}", answer)

    def push_image(self, repository, tag, layers, settings=None):
        """Pushes layers, a config made for them and a manifest."""
        for layer in layers:
            with open(layer.path, "rb") as file:
                self.push_blob(repository, layer.digest, file, layer.size)
        config = json.dumps({
            "architecture": architecture(),
            "os": "linux",
            "config": settings or {},
            "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]},
        }).encode()
        digest = f"sha256:{hashlib.sha256(config).hexdigest()}"
        self.push_blob(repository, digest, config, len(config))
        manifest = json.dumps({
            "schemaVersion": 2,
            "mediaType": f"{OCI}.manifest.v1+json",
            "config": descriptor("config.v1+json", digest, len(config)),
            "layers": [descriptor(layer.kind, layer.digest, layer.size) for layer in layers],
        }).encode()
        target = f"/v2/{repository}/manifests/{tag}"
        status, _, answer = self.request("PUT", target, manifest, f"{OCI}.manifest.v1+json")
        expect(status, 201, f"push {repository}:{tag}", answer)


def descriptor(kind, digest, size):
    return {"mediaType": f"{OCI}.{kind}", "digest": digest, "size": size}


def architecture():
    return {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()]


def expect(status, wanted, what, answer):
    if status != wanted:
        raise RuntimeError(f"cannot {what}: HTTP {status}: {answer.decode(errors='replace')}")
