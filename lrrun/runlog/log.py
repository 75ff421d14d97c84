"""A log that only grows, and the mark that says how it began."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lrrun.errors import UnusableFile
from lrrun.runlog import files

_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Mark:
    """A place in a log: its first `bytes` bytes have this SHA-256."""

    bytes: int
    sha256: str

    def as_data(self) -> dict[str, int | str]:
        """As plain data, for a checkpoint or run.json."""
        return asdict(self)

    @classmethod
    def of(cls, data: Any) -> Mark:
        """Read back what `as_data` gave; raises ValueError for anything else.

        >>> Mark.of({"bytes": 0, "sha256": "e3b0"})
        Mark(bytes=0, sha256='e3b0')
        """
        if not isinstance(data, Mapping) or set(data) != {"bytes", "sha256"}:
            raise ValueError(f"not a mark of a log: {str(data)[:80]!r}")
        size, digest = data["bytes"], data["sha256"]
        if type(size) is not int or size < 0 or not isinstance(digest, str):
            raise ValueError(f"not a mark of a log: {str(data)[:80]!r}")
        return cls(size, digest)


class Log:
    """A text file that only grows; each `append` lands whole or not at all.

    Raises EnvironmentFault where the disk refuses, and then the file ends where it ended before.
    After a failed fsync nobody can say what is on the disk: every later call is refused, and the
    run goes on from its last checkpoint with `resume`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._hash = hashlib.sha256()
        self._size = 0
        self._synced = -1
        self._torn = False
        self._lost = False
        try:
            with files.open_to_read(path) as handle:
                while chunk := handle.read(_CHUNK):
                    self._hash.update(chunk)
                    self._size += len(chunk)
        except FileNotFoundError:
            pass
        with files.environment_faults(path):
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | files.SAFELY
            self._descriptor: int | None = files.disk.open(path, flags)

    @property
    def mark(self) -> Mark:
        """Where the log ends now."""
        return Mark(self._size, self._hash.hexdigest())

    def append(self, text: str) -> None:
        """Write `text`, in UTF-8, at the end; one system call where the disk allows it."""
        data = text.encode()
        descriptor = self._usable()
        with files.environment_faults(self.path):
            if self._torn:
                self._cut_to_size(descriptor)
            rest = memoryview(data)
            try:
                while rest:
                    rest = rest[files.disk.write(descriptor, rest) :]
            except BaseException:
                self._torn = True
                with contextlib.suppress(OSError):
                    self._cut_to_size(descriptor)
                raise
        self._size += len(data)
        self._hash.update(data)

    def sync(self) -> Mark:
        """Wait until everything written is on the disk; where the log ends then.

        What the last call has waited for is not waited for again.
        """
        descriptor = self._usable()
        if self._synced == self._size and not self._torn:
            return self.mark
        with files.environment_faults(self.path):
            if self._torn:
                self._cut_to_size(descriptor)
            try:
                files.disk.sync(descriptor)
            except OSError:
                self._lost = True
                raise
        self._synced = self._size
        return self.mark

    def close(self) -> None:
        """Give the handle back; a second call does nothing."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            with files.environment_faults(self.path):
                files.disk.close(descriptor)

    def _usable(self) -> int:
        if self._descriptor is None:
            raise ValueError(f"{self.path} is closed")
        with files.environment_faults(self.path):
            if self._lost:
                raise OSError(errno.EIO, "an earlier write did not reach the disk; resume the run")
        return self._descriptor

    def _cut_to_size(self, descriptor: int) -> None:
        files.disk.truncate(descriptor, self._size)
        self._torn = False


def tail_after(path: Path, mark: Mark) -> bytes:
    """What a log holds after `mark`, a torn last line included.

    Raises UnusableFile where the log is missing, shorter than the mark, or does not begin as it did
    when the mark was made.
    """
    digest, left = hashlib.sha256(), mark.bytes
    try:
        handle = files.open_to_read(path)
    except FileNotFoundError:
        raise UnusableFile(f"{path}: missing; the run wrote {mark.bytes} bytes of it") from None
    with handle:
        while left and (chunk := handle.read(min(left, _CHUNK))):
            digest.update(chunk)
            left -= len(chunk)
        if left:
            raise UnusableFile(
                f"{path}: cut short; expected {mark.bytes} bytes or more, got {mark.bytes - left}"
            )
        if digest.hexdigest() != mark.sha256:
            raise UnusableFile(
                f"{path}: changed or damaged; its first {mark.bytes} bytes are not those that the "
                "run wrote"
            )
        return handle.read()


def cut_at(path: Path, mark: Mark) -> None:
    """Cut a log to `mark`, durably; raises EnvironmentFault."""
    with files.environment_faults(path):
        descriptor = files.disk.open(path, os.O_WRONLY | files.SAFELY)
        try:
            files.disk.truncate(descriptor, mark.bytes)
            files.disk.sync(descriptor)
        finally:
            files.disk.close(descriptor)
