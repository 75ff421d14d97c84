"""The one place that opens files of a run: whole or not at all, and never through a link.

A file is replaced by writing a temporary one in the same folder, fsync, rename, fsync of the
folder: at every instant the old content or the new one is there, whole. Logs only grow, and a row
that could not be written whole is taken back.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from lrrun.errors import EnvironmentFault, UnusableFile

_NOFOLLOW = getattr(os, "O_NOFOLLOW", 0)
_CLOEXEC = getattr(os, "O_CLOEXEC", 0)
_NONBLOCK = getattr(os, "O_NONBLOCK", 0)  # opening a FIFO must not wait for its other end

_ADVICE = {
    errno.ENOSPC: "free space on that disk, or choose another with --runs-dir",
    errno.EDQUOT: "your quota there is used up; free space, or choose another --runs-dir",
    errno.EACCES: "you may not write there; change the permissions, or choose another --runs-dir",
    errno.EPERM: "you may not write there; change the permissions, or choose another --runs-dir",
    errno.EROFS: "that disk is read-only; choose another with --runs-dir",
    errno.EMFILE: "this process has too many files open; raise the limit with ulimit -n",
}


@contextlib.contextmanager
def environment_faults(path: Path, doing: str = "write") -> Iterator[None]:
    """Turn an OSError of the block into an EnvironmentFault that names `path` and the way out."""
    try:
        yield
    except OSError as error:
        advice = _ADVICE.get(error.errno or 0)
        reason = error.strerror or str(error)
        text = f"cannot {doing} {str(path)!r}: {reason}" + (f"; {advice}" if advice else "")
        raise EnvironmentFault(text) from error


def make_folder(path: Path) -> bool:
    """Make one folder; False where something of that name is there already."""
    with environment_faults(path, "make the folder"):
        try:
            path.mkdir()
        except FileExistsError:
            return False
    return True


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A binary file to write into; when the block ends well, it takes the place of `path`.

    When the block raises, `path` is as it was. Raises EnvironmentFault where the disk refuses.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | _NOFOLLOW | _CLOEXEC
    with environment_faults(path):
        handle = os.fdopen(os.open(temporary, flags, 0o666), "w+b")
        try:
            with handle:
                yield handle
                handle.flush()
                os.fsync(handle.fileno())
            temporary.replace(path)
            _sync_folder(path.parent)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise


def write_text(path: Path, text: str) -> None:
    """Replace the whole of `path` by `text`, in UTF-8; raises EnvironmentFault."""
    with replacing(path) as handle:
        handle.write(text.encode())


def write_new_text(path: Path, text: str) -> bool:
    """Write a file that must not be there yet; False, and nothing done, where something is."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NOFOLLOW | _CLOEXEC
    with environment_faults(path):
        try:
            descriptor = os.open(path, flags, 0o666)
        except FileExistsError:
            return False
        with os.fdopen(descriptor, "wb") as handle:
            handle.write(text.encode())
    return True


def _sync_folder(folder: Path) -> None:
    """Make a rename durable; Windows has no handle on a folder to do that with."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY | _CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class AppendFile:
    """A text file that only grows; each `append` lands whole or not at all.

    Raises EnvironmentFault where the disk refuses, and then the file ends where it ended before.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | _NOFOLLOW | _CLOEXEC
        with environment_faults(path):
            self._descriptor = os.open(path, flags, 0o666)
            self._size = os.fstat(self._descriptor).st_size
        self._open = True

    def append(self, text: str) -> None:
        """Write `text`, in UTF-8, at the end; one system call where the disk allows it."""
        data = memoryview(text.encode())
        with environment_faults(self.path):
            try:
                written = 0
                while written < len(data):
                    written += os.write(self._descriptor, data[written:])
            except BaseException:
                with contextlib.suppress(OSError):
                    os.ftruncate(self._descriptor, self._size)
                raise
        self._size += len(data)

    def sync(self) -> None:
        """Wait until everything written is on the disk."""
        with environment_faults(self.path):
            os.fsync(self._descriptor)

    def close(self) -> None:
        """Give the handle back; a second call does nothing."""
        if self._open:
            self._open = False
            os.close(self._descriptor)


def open_to_read(path: Path) -> BinaryIO:
    """Open a regular file of a run; a link, a device or a pipe is refused.

    Raises FileNotFoundError where nothing is there, UnusableFile for anything else in the way.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | _NOFOLLOW | _NONBLOCK | _CLOEXEC)
    except FileNotFoundError:
        raise
    except OSError as error:
        why = "it is a link" if error.errno == errno.ELOOP else error.strerror
        raise UnusableFile(f"{str(path)!r}: cannot be read: {why}") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise UnusableFile(f"{str(path)!r}: cannot be read: it is not a plain file")
    return os.fdopen(descriptor, "rb")


def read_bytes(path: Path, limit: int) -> bytes:
    """The whole of a small file, as `open_to_read` opens it; UnusableFile above `limit` bytes."""
    with open_to_read(path) as handle:
        content = handle.read(limit + 1)
    if len(content) > limit:
        raise UnusableFile(
            f"{str(path)!r}: larger than the {limit} bytes that such a file can have"
        )
    return content
