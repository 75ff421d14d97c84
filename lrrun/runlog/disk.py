"""Every operation that changes the disk, and nothing else.

`files.disk` is the one Disk that the whole program writes through. A test puts another in its
place: one that fails or stops at operation n, or one that records what a power cut could undo.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

_CLOEXEC = getattr(os, "O_CLOEXEC", 0)
_NO_SUCH_SYNC = (errno.EINVAL, errno.ENOTSUP)


class Disk:
    """What the operating system offers; every method raises OSError where it refuses."""

    def open(self, path: Path, flags: int) -> int:
        """A descriptor; a new file gets the permissions that the umask leaves."""
        return os.open(path, flags, 0o666)

    def write(self, descriptor: int, data: memoryview) -> int:
        """Write the first bytes of `data`; how many they were."""
        return os.write(descriptor, data)

    def sync(self, descriptor: int) -> None:
        """Wait until the file's content is on the disk."""
        os.fsync(descriptor)

    def truncate(self, descriptor: int, size: int) -> None:
        """Cut the file to its first `size` bytes."""
        os.ftruncate(descriptor, size)

    def close(self, descriptor: int) -> None:
        """Give the descriptor back."""
        os.close(descriptor)

    def replace(self, source: Path, target: Path) -> None:
        """Give `source` the name `target`, in one step; what had that name is gone."""
        source.replace(target)

    def unlink(self, path: Path) -> None:
        """Remove a file."""
        path.unlink()

    def make_folder(self, path: Path) -> None:
        """Make one folder; its parent is there."""
        path.mkdir()

    def remove_folder(self, path: Path) -> None:
        """Remove an empty folder."""
        path.rmdir()

    def sync_folder(self, folder: Path) -> None:
        """Wait until the names in `folder` are on the disk, where the system can be asked to."""
        if os.name == "nt":  # Windows has no handle on a folder to do that with
            return
        descriptor = os.open(folder, os.O_RDONLY | _CLOEXEC)
        try:
            os.fsync(descriptor)
        except OSError as error:
            if error.errno not in _NO_SUCH_SYNC:  # how some network file systems say "not here"
                raise
        finally:
            os.close(descriptor)
