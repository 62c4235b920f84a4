"""Small images that share layers, and that a container of can check by itself."""

import hashlib
import tempfile

import busybox
import image

# The layers of each image, the lowest first.
IMAGES = {
    "red": ("base", "red"),
    "green": ("base", "red", "green"),
    "blue": ("base", "green", "blue"),
}
FILES, MOST_BYTES = 12, 40_000

# Succeeds in a container whose files are all as they were made.
CHECK = ["sh", "-c", "cat /srv/*/sums | md5sum -c -s"]


def push(client, names=tuple(IMAGES)):
    """Pushes images as small/NAME:1, and returns their names without the registry's host."""
    with tempfile.TemporaryDirectory() as directory:
        wanted = sorted({layer for name in names for layer in IMAGES[name]})
        layers = {
            name: image.Layer(f"{directory}/{name}", busybox.fill if name == "base" else filler(name))
            for name in wanted
        }
        for name in names:
            client.push_image(f"small/{name}", "1", [layers[each] for each in IMAGES[name]],
                              busybox.SETTINGS)
    return [f"small/{name}:1" for name in names]


def filler(name):
    """What writes a layer with one of each kind of entry, and the checksums of its files."""

    def fill(tar):
        top = f"srv/{name}"
        image.add_directory(tar, "srv")
        image.add_directory(tar, top)
        sums = []
        for number in range(FILES):
            image.add_directory(tar, f"{top}/{number}", 0o1777 if number == 0 else 0o755)
            path, data = f"{top}/{number}/file", content(f"{name} {number}")
            image.add_file(tar, path, data, 0o4755 if number == 1 else 0o644)
            sums.append(f"{hashlib.md5(data).hexdigest()}  /{path}\n")
        image.add_file(tar, f"{top}/sums", "".join(sums).encode())
        image.add_link(tar, f"{top}/link", "0/file")
        image.add_hard_link(tar, f"{top}/same", f"{top}/0/file")
        # Implied directories, a whiteout and an opaque one are what overlayfs has beyond files.
        image.add_file(tar, f"tmp/{name}/implied", b"")
        image.add_file(tar, f"root/.wh.{name}", b"")
        image.add_file(tar, f"etc/{name}/.wh..wh..opq", b"")

    return fill


def content(seed):
    """Bytes that only the seed decides, some tens of kilobytes."""
    blocks, size = [], 1 + int.from_bytes(hashlib.sha256(seed.encode()).digest()[:2]) % MOST_BYTES
    for number in range(size // 32 + 1):
        blocks.append(hashlib.sha256(f"{seed} {number}".encode()).digest())
    return b"".join(blocks)[:size]
