"""What is in a store, looked at without `ucr`, and beside a store that was made in peace."""

import hashlib
import json
import os
import pathlib
import stat

# Directories of a store that nobody leaves anything in. Leases and locks are files of whoever lives.
PASSING = ["tmp", "trash", "locks", "leases", "partial", "containers"]


class Store:
    """A store's directory."""

    def __init__(self, root):
        self.root = pathlib.Path(root)

    def layers(self):
        """The trees in their places: path below the store → its record, if that can be read."""
        found = {}
        for kind in ["layers", "fixups"]:
            for tree in (self.root / kind).glob("*/*"):
                found[str(tree.relative_to(self.root))] = recorded(tree)
        return found

    def trusted(self, boot):
        """The trees that a `ucr` of the boot with this ID takes for whole."""
        return {
            path: record for path, record in self.layers().items()
            if record and record.get("written") in ("durable", {"boot": boot})
        }

    def digest(self, path):
        """Stands for all that an image says of a tree."""
        return tree_digest(self.root / path / "fs")

    def digests(self):
        """The digests of all trees."""
        return {path: self.digest(path) for path in self.layers()}

    def left_over(self):
        """What nobody should have left."""
        return [f"{place}/{name}" for place in PASSING if (self.root / place).is_dir()
                for name in os.listdir(self.root / place)]

    def bytes(self):
        """The space that the store takes."""
        total = 0
        for place, _, names in os.walk(self.root):
            total += sum(os.lstat(f"{place}/{name}").st_blocks * 512 for name in names)
        return total


def recorded(tree):
    """A tree's record; none where it is missing or torn, as `ucr` has it."""
    try:
        return json.loads((tree / "meta").read_bytes())
    except (OSError, ValueError):
        return None


def tree_digest(top):
    """The digest of names, kinds, modes, owners, times, attributes, links and content."""
    digest = hashlib.sha256()
    for place, directories, names in os.walk(os.fsencode(top)):
        directories.sort()
        for name in sorted([*directories, *names, b"."]):
            path = os.path.join(place, name)
            digest.update(repr((os.path.relpath(path, os.fsencode(top)), facts(path))).encode())
    return digest.hexdigest()


def facts(path):
    """What an archive says of one file."""
    status = os.lstat(path)
    attributes = [
        (key, os.getxattr(path, key, follow_symlinks=False))
        for key in sorted(os.listxattr(path, follow_symlinks=False))
    ]
    known = [status.st_mode, status.st_uid, status.st_gid, status.st_rdev, attributes]
    if stat.S_ISREG(status.st_mode):
        content = hashlib.sha256(pathlib.Path(os.fsdecode(path)).read_bytes()).digest()
        known += [status.st_size, status.st_nlink, status.st_mtime_ns, content]
    elif stat.S_ISLNK(status.st_mode):
        known.append(os.readlink(path))
    return known


def damaged(store, boot, whole):
    """The trees that are taken for whole and are not what a store made in peace has."""
    return [
        f"{path} is taken for whole and is not"
        for path in store.trusted(boot) if store.digest(path) != whole.get(path)
    ]


def missing(store, boot, wanted):
    """The trees that should be there and taken for whole, and are not."""
    trusted = store.trusted(boot)
    return [f"{path} is missing" for path in wanted if path not in trusted]


def boot_id():
    """The ID of this boot."""
    return pathlib.Path("/proc/sys/kernel/random/boot_id").read_text().strip()
