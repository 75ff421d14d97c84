"""The one place that opens files of a run: whole or not at all, and never through a link.

A file is replaced by writing a temporary one in the same folder, fsync, rename, fsync of the
folder: at every instant the old content or the new one is there, whole. What is asked for with
`sync=False` nobody waits for: a process that is killed cannot harm it, a power cut can, until
`sync` and `sync_folder` have waited for it.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import re
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from lrrun.errors import EnvironmentFault, UnusableFile
from lrrun.runlog.disk import Disk

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

disk = Disk()
"""What all files are written through."""

SAFELY = (
    getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_BINARY", 0)
    | getattr(os, "O_NONBLOCK", 0)  # opening a FIFO must not wait for its other end
)
"""Flags of every opened file: no link is followed, no child process inherits it."""

_TEMPORARY = re.compile(r"\..+\.[0-9]+\.tmp")
_BUFFER_BYTES = 1 << 20

_ADVICE = {
    errno.ENOSPC: "free space on that disk, or choose another with --runs-dir",
    errno.EDQUOT: "your quota there is used up; free space, or choose another --runs-dir",
    errno.EFBIG: "files may not grow so large there; raise the limit with ulimit -f",
    errno.EACCES: "you may not write there; change the permissions, or choose another --runs-dir",
    errno.EPERM: "you may not write there; change the permissions, or choose another --runs-dir",
    errno.EROFS: "that disk is read-only; choose another with --runs-dir",
    errno.EMFILE: "this process has too many files open; raise the limit with ulimit -n",
    errno.ELOOP: "a link is in the way; remove it",
}


class environment_faults:  # noqa: N801 - used as a block; a generator takes twice as long
    """Turn an OSError of the block into an EnvironmentFault that names `path` and the way out."""

    __slots__ = ("_doing", "_path")

    def __init__(self, path: Path, doing: str = "write") -> None:
        self._path = path
        self._doing = doing

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError):
            advice = _ADVICE.get(error.errno or 0)
            reason = error.strerror or str(error)
            text = f"cannot {self._doing} {str(self._path)!r}: {reason}"
            raise EnvironmentFault(text + (f"; {advice}" if advice else "")) from error


def make_folder(path: Path, sync: bool = True) -> bool:
    """Make one folder, durably; False where something of that name is there already."""
    with environment_faults(path, "make the folder"):
        try:
            disk.make_folder(path)
        except FileExistsError:
            return False
        if sync:
            disk.sync_folder(path.parent)
    return True


def own_folder(path: Path) -> Path:
    """`path`, made where it is missing; raises UnusableFile where it is a link."""
    if path.is_symlink():
        raise UnusableFile(f"{str(path)!r} is a link; expected a folder of the run's own")
    make_folder(path)
    return path


def make_folders(path: Path) -> None:
    """Make a folder and those above it, where they are missing, durably."""
    missing = [each for each in (path, *path.parents) if not each.exists()]
    for each in reversed(missing):
        make_folder(each)


class _Sink(io.RawIOBase):
    """A descriptor as a file that a library can write into."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.given_up = False

    def writable(self) -> bool:
        return True

    def write(self, data: ReadableBuffer, /) -> int:
        view = memoryview(data).cast("B")
        return len(view) if self.given_up else disk.write(self._descriptor, view)


@contextlib.contextmanager
def replacing(
    path: Path,
    prove: Callable[[Path], None] | None = None,
    sync_name: bool = True,
    sync: bool = True,
) -> Iterator[BinaryIO]:
    """A binary file to write into; when the block ends well, it takes the place of `path`.

    `prove` is shown the whole new file before it gets its name, and raises if it is not what it
    should be. When it or the block raises, `path` is as it was. Without `sync_name` a power cut may
    bring the old file back, whole, until something else in the folder is synced; without `sync` it
    may leave anything of either. Raises EnvironmentFault where the disk refuses.
    """
    temporary = _temporary_beside(path)
    with environment_faults(path):
        try:
            with _filling(_new_file(temporary, os.O_TRUNC), sync) as handle:
                yield handle
            if prove is not None:
                prove(temporary)
            disk.replace(temporary, path)
            if sync and sync_name:
                disk.sync_folder(path.parent)
        except BaseException:
            with contextlib.suppress(OSError):
                disk.unlink(temporary)
            raise


def _temporary_beside(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}.tmp")


def _new_file(path: Path, extra_flags: int) -> int:
    return disk.open(path, os.O_WRONLY | os.O_CREAT | extra_flags | SAFELY)


@contextlib.contextmanager
def _filling(descriptor: int, sync: bool = True) -> Iterator[BinaryIO]:
    """A file to write into; its content is on the disk when the block ends well."""
    sink = _Sink(descriptor)
    handle = io.BufferedWriter(sink, _BUFFER_BYTES)
    try:
        yield cast(BinaryIO, handle)
        handle.flush()
        if sync:
            disk.sync(descriptor)
    except BaseException:
        sink.given_up = True  # what the buffer still holds goes nowhere
        raise
    finally:
        handle.close()
        disk.close(descriptor)


def refuse_unwritable(path: Path) -> None:
    """Raise EnvironmentFault where `path` could not be written: a new file beside it is tried.

    For what is to be written after long work; nothing is left behind.
    """
    trial = _temporary_beside(path)
    with environment_faults(path):
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        disk.close(_new_file(trial, os.O_TRUNC))
        disk.unlink(trial)


def write_text(path: Path, text: str) -> None:
    """Replace the whole of `path` by `text`, in UTF-8; raises EnvironmentFault."""
    with replacing(path) as handle:
        handle.write(text.encode())


def write_new_text(path: Path, text: str, sync: bool = True) -> bool:
    """Write a file that must not be there yet; False, and nothing done, where something is."""
    with environment_faults(path):
        try:
            descriptor = _new_file(path, os.O_EXCL)
        except FileExistsError:
            return False
        try:
            with _filling(descriptor, sync) as handle:
                handle.write(text.encode())
        except BaseException:
            with contextlib.suppress(OSError):
                disk.unlink(path)
            raise
        if sync:
            disk.sync_folder(path.parent)
    return True


def sync(path: Path) -> None:
    """Wait until the content of a file is on the disk; raises EnvironmentFault."""
    with environment_faults(path):
        descriptor = disk.open(path, os.O_WRONLY | SAFELY)  # Windows syncs no file opened to read
        try:
            disk.sync(descriptor)
        finally:
            disk.close(descriptor)


def sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on the disk; raises EnvironmentFault."""
    with environment_faults(folder):
        disk.sync_folder(folder)


def rename(source: Path, target: Path, sync_name: bool = True) -> None:
    """Rename a file inside one folder; raises EnvironmentFault.

    Without `sync_name` a power cut may undo it until something else in the folder is synced.
    """
    with environment_faults(target, "rename a file to"):
        disk.replace(source, target)
        if sync_name:
            disk.sync_folder(target.parent)


def remove(path: Path) -> None:
    """Remove a file; nothing is done where there is none. Raises EnvironmentFault."""
    with environment_faults(path, "remove"), contextlib.suppress(FileNotFoundError):
        disk.unlink(path)


def remove_temporaries(folder: Path) -> None:
    """Remove what writers that were killed left behind; only for whoever holds the run's lock."""
    with environment_faults(folder, "look into"):
        names = [each.name for each in os.scandir(folder)]
    for name in names:
        if _TEMPORARY.fullmatch(name):
            remove(folder / name)


def remove_new_folder(folder: Path) -> None:
    """Take back a folder that was just made here, with the plain files in it, if that works."""
    with contextlib.suppress(OSError):
        for each in folder.iterdir():
            if each.is_dir() and not each.is_symlink():
                disk.remove_folder(each)
            else:
                disk.unlink(each)
        disk.remove_folder(folder)


def open_to_read(path: Path) -> BinaryIO:
    """Open a regular file of a run; a link, a device or a pipe is refused.

    Raises FileNotFoundError where nothing is there, UnusableFile for anything else in the way.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | SAFELY)
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
