"""One writer a run: a lock of the operating system that dies with the process that holds it.

What the lock file says (host and process) is a hint for people; only the lock itself counts, so
a file that a killed process left behind is in nobody's way. Reading commands never take it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import socket
import sys
from pathlib import Path
from types import TracebackType

from lrrun.errors import EnvironmentFault, RunBusy, UnusableFile
from lrrun.runlog import files

FILE_NAME = "lock"

_OWNER = re.compile(r"process ([1-9][0-9]*) on (\S+)")
_OWNER_BYTES = 300
_NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS)
_held: set[int] = set()


def is_abandoned(path: Path) -> bool:
    """Does it look as if nobody wrote the run folder `path` any more?

    Only looks: a reader that took the lock, even for a moment, could be in a writer's way. True
    where there is no lock file, or where it names a process of this machine that is gone; from
    inside a container, one outside looks gone too.
    """
    try:
        text = files.read_bytes(path / FILE_NAME, _OWNER_BYTES).decode(errors="replace")
    except FileNotFoundError:
        return True
    except UnusableFile:
        return False
    owner = _OWNER.fullmatch(text.strip())
    if owner is None or owner[2] != socket.gethostname() or sys.platform == "win32":
        return False
    try:
        os.kill(int(owner[1]), 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):
        return False
    return False


class RunLock:
    """The right to write the run folder `path`, held until `release` or the end of the process."""

    def __init__(self, path: Path) -> None:
        """Take the lock; raises RunBusy where another holds it, EnvironmentFault where none can."""
        self.file = path / FILE_NAME
        self._descriptor: int | None = self._take()
        _held.add(self._descriptor)
        owner = f"process {os.getpid()} on {socket.gethostname()}\n".encode()
        with files.environment_faults(self.file):
            try:
                files.disk.truncate(self._descriptor, 0)
                files.disk.write(self._descriptor, memoryview(owner))
            except BaseException:
                self._let_go()
                raise

    def _take(self) -> int:
        """A locked descriptor of the file that has the lock's name."""
        while True:
            with files.environment_faults(self.file, "lock"):
                descriptor = files.disk.open(self.file, os.O_RDWR | os.O_CREAT | files.SAFELY)
            try:
                _lock(descriptor)
                if self._is_file(descriptor):
                    return descriptor
            except BaseException as error:
                files.disk.close(descriptor)
                raise self._refusal(error) from None
            files.disk.close(descriptor)  # its owner has just removed it: there is a new one

    def _is_file(self, descriptor: int) -> bool:
        with contextlib.suppress(FileNotFoundError):
            return os.path.samestat(os.fstat(descriptor), os.lstat(self.file))
        return False

    def _refusal(self, error: BaseException) -> BaseException:
        if isinstance(error, BlockingIOError | PermissionError):
            run = str(self.file.parent)
            return RunBusy(f"{run!r} is being written by {self._owner()}; wait until it has ended")
        if isinstance(error, OSError) and error.errno in _NO_LOCKS:
            return EnvironmentFault(
                f"cannot lock {str(self.file)!r}: that file system has no locks; choose another "
                "with --runs-dir"
            )
        return error

    def _owner(self) -> str:
        """Who wrote the file, as far as that can be read."""
        try:
            text = files.read_bytes(self.file, _OWNER_BYTES).decode(errors="replace").strip()
        except Exception:
            text = ""
        return text or "another process"

    def release(self) -> None:
        """Give the lock back and remove its file; a second call does nothing."""
        if self._descriptor is not None:
            with contextlib.suppress(OSError):  # Windows removes no open file: then it stays
                files.disk.unlink(self.file)
            self._let_go()

    def _let_go(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None and descriptor in _held:
            _held.discard(descriptor)
            files.disk.close(descriptor)

    def __enter__(self) -> RunLock:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()


if sys.platform == "win32":
    import msvcrt

    _FAR = 1 << 30  # past the owner's name, as Windows keeps others from reading what is locked

    def _lock(descriptor: int) -> None:
        os.lseek(descriptor, _FAR, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        os.lseek(descriptor, 0, os.SEEK_SET)

else:
    import fcntl

    def _lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def _forget_in_child() -> None:
        """A forked worker must not keep a lock alive that its parent, who held it, died with."""
        while _held:
            os.close(_held.pop())

    os.register_at_fork(after_in_child=_forget_in_child)
