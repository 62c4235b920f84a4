"""A large image for the benchmark: the same bytes on every machine.

It is made like the images of real services: many small files and a few large
ones, directories in directories, links, and upper layers that replace and
remove files of lower ones. Text and program code are imitated by bytes that
gzip compresses about as well.

As a program, `content.py DIRECTORY HOST REPOSITORY TAG` makes it and pushes it
to the registry that `registry.py DIRECTORY` runs on HOST.
"""

import concurrent.futures
import dataclasses
import functools
import pathlib
import random
import sys
import tempfile

import image
import registry

MIB = 1 << 20
# Uncompressed sizes of the layers, the lowest first. Gzip makes 2.3 times less of them.
FULL = [size * MIB for size in (680, 420, 290, 190, 120, 70, 20)]
QUICK = [size * MIB for size in (24, 12, 6, 3, 1)]
# What many small files are made of: none larger than a block.
SMALL_BYTES, FILES_OF_A_DIRECTORY = 4000, 200
POOL_BYTES = 16 * MIB
LARGEST_FILE = 48 * MIB
MODES = [0o644] * 8 + [0o755, 0o600]


class Filler:
    """Writes one layer of pseudo-random content."""

    def __init__(self, index, pool_bytes=POOL_BYTES):
        self._random = random.Random(f"ucr-bench-{index}")
        self._index = index
        self._pool_bytes = min(pool_bytes, POOL_BYTES)
        # Words that come again make gzip find what it finds in text and in programs.
        self._pools = [self._pool(1_000, b"etaoin shrdlu"), self._pool(16_000, range(256))]
        self._names = []
        self._entries = 0

    def _pool(self, count, alphabet):
        words = [
            bytes(self._random.choices(alphabet, k=self._random.randint(3, 11)))
            for _ in range(count)
        ]
        # Zipf's law, as words of a language follow it.
        weights = [1 / rank for rank in range(1, count + 1)]
        return b"".join(self._random.choices(words, weights, k=self._pool_bytes // 7))

    def fill(self, tar, size):
        """Adds directories, files and links until `size` bytes are reached."""
        top = f"srv/layer{self._index}"
        image.add_directory(tar, "srv")
        image.add_directory(tar, top)
        image.add_directory(tar, f"{top}/old")
        for number in range(20):
            image.add_file(tar, f"{top}/old/{number}", self._bytes(2000))
        if self._index > 0:
            image.add_file(tar, f"srv/layer{self._index - 1}/.wh.old", b"")
        written, directories = 0, [top]
        while written < size:
            if self._random.random() < 0.06:
                parent = self._random.choice(directories[-40:])
                directories.append(f"{parent}/d{len(directories) - 1}")
                image.add_directory(tar, directories[-1])
            written += self._add(tar, self._random.choice(directories[-40:]))

    def fill_small(self, tar, files):
        """Adds so many small files, each directory's together."""
        top = f"srv/layer{self._index}"
        for number in range(files):
            directory = f"{top}/{number // FILES_OF_A_DIRECTORY}"
            if number % FILES_OF_A_DIRECTORY == 0:
                image.add_directory(tar, directory)
            size = self._random.randrange(SMALL_BYTES)
            image.add_file(tar, f"{directory}/{number}", self._bytes(size))

    def _add(self, tar, directory):
        self._entries += 1
        name = f"{directory}/f{self._entries}"
        kind = self._random.random()
        if self._names and kind < 0.04:
            image.add_link(tar, name, f"/{self._random.choice(self._names)}")
            return 512
        if self._names and kind < 0.05:
            image.add_hard_link(tar, name, self._random.choice(self._names))
            return 512
        # Half of the files are below 5 KB; the mean is about 35 KB.
        size = min(int(self._random.lognormvariate(8.5, 2.0)), LARGEST_FILE)
        image.add_file(tar, name, self._bytes(size), self._random.choice(MODES))
        self._names.append(name)
        return size + 512

    def _bytes(self, size):
        pool = self._random.choice(self._pools)
        parts = []
        while size > 0:
            start = self._random.randrange(len(pool) - 1)
            part = pool[start : start + size]
            parts.append(part)
            size -= len(part)
        return b"".join(parts)


@dataclasses.dataclass(frozen=True)
class Content:
    """What an image is made of: the sizes of its layers, or how many small files each has."""

    sizes: tuple
    compression: str = "gzip"
    small_files: tuple = ()

    def layers(self):
        return len(self.sizes) + len(self.small_files)


def make_layer(directory, content, index):
    """Writes one layer to a file; runs in a process of its own."""
    path = f"{directory}/{index}"
    if index < len(content.sizes):
        size = content.sizes[index]
        filler = Filler(index, size)
        return image.Layer(path, lambda tar: filler.fill(tar, size), content.compression)
    filler, files = Filler(index), content.small_files[index - len(content.sizes)]
    return image.Layer(path, lambda tar: filler.fill_small(tar, files), content.compression)


def push(client, repository, tag, content):
    """Makes the image and pushes it, and returns its layers."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as directory:
        with concurrent.futures.ProcessPoolExecutor() as processes:
            make = functools.partial(make_layer, directory, content)
            layers = list(processes.map(make, range(content.layers())))
        client.push_image(repository, tag, layers)
    return layers


def main():
    directory, host, repository, tag = sys.argv[1:]
    ca = pathlib.Path(directory) / "ca.pem"
    client = image.Client(host, ca, registry.PRINCIPAL, registry.SECRET)
    push(client, repository, tag, Content(tuple(QUICK if tag == "quick" else FULL)))


if __name__ == "__main__":
    main()
