"""The checksum at the end of a checkpoint, and what its zip archive may look like.

torch.save writes a zip archive; its comment, the last bytes of the file, becomes the SHA-256 of all
that is before. Plain torch and zip tools read past it, and `head -c -64 FILE | sha256sum` checks it
by hand. (torch writes CRC-32 sums of its own, and ignores them when it loads.)
"""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path
from typing import BinaryIO

from lrrun.errors import UnusableFile

_SEAL = b"lrrun checkpoint, sha256 of all before: "
_DIGEST_BYTES = 64
_COMMENT_LIMIT = 1 << 16
_LENGTH_BYTES = 2
_ZIP = b"PK\x03\x04"
_MEMBERS = 1_000_000
_CHUNK = 1 << 20


class SealingFile:
    """A file for torch.save to write into, whose last bytes become its checksum.

    The archive's last two bytes are the length of its comment: they are held back until the end.
    An error of the disk is kept until `close`, as torch's C++ writer must not be unwound by it.
    """

    def __init__(self, handle: BinaryIO) -> None:
        self._handle = handle
        self._hash = hashlib.sha256()
        self._held = b""
        self._error: BaseException | None = None

    def write(self, data: bytes | memoryview) -> int:
        """Write all of `data` but, for the time being, the last two bytes."""
        view = memoryview(data).cast("B")
        if len(view) >= _LENGTH_BYTES:
            self._put(self._held)
            self._put(view[:-_LENGTH_BYTES])
            self._held = bytes(view[-_LENGTH_BYTES:])
        else:
            together = self._held + bytes(view)
            self._put(together[:-_LENGTH_BYTES])
            self._held = together[-_LENGTH_BYTES:]
        return len(view)

    def flush(self) -> None:
        """What torch.save calls at its end; there is nothing to do before `close`."""

    def close(self) -> None:
        """Write the seal; raises what went wrong on the way."""
        self._put((len(_SEAL) + _DIGEST_BYTES).to_bytes(_LENGTH_BYTES, "little"))
        self._put(_SEAL)
        self._put(self._hash.hexdigest().encode())
        if self._error is not None:
            raise self._error

    def _put(self, data: bytes | memoryview) -> None:
        if self._error is None:
            self._hash.update(data)
            try:
                self._handle.write(data)
            except BaseException as error:
                self._error = error


def check_seal(path: Path, handle: BinaryIO) -> None:
    """Raise UnusableFile unless `handle` is, to the last bit, a file that SealingFile wrote."""
    size = handle.seek(0, 2)
    at = size - len(_SEAL) - _DIGEST_BYTES
    handle.seek(max(at, 0))
    if at < 0 or handle.read(len(_SEAL)) != _SEAL:
        raise UnusableFile(f"{path}: {_why_unsealed(handle, size)}")
    expected = handle.read()
    digest, left = hashlib.sha256(), at + len(_SEAL)
    handle.seek(0)
    while left and (chunk := handle.read(min(left, _CHUNK))):
        digest.update(chunk)
        left -= len(chunk)
    if digest.hexdigest().encode() != expected:
        raise UnusableFile(f"{path}: checksum does not match; the file was changed or damaged")


def _why_unsealed(handle: BinaryIO, size: int) -> str:
    handle.seek(max(size - _COMMENT_LIMIT, 0))
    end = handle.read()
    handle.seek(0)
    begin = handle.read(len(_ZIP))
    if not size:
        return "truncated: it is empty"
    if begin != _ZIP:
        return "not an lrrun checkpoint"
    if _SEAL in end:
        return "truncated, or more was written after its end"
    if zipfile.is_zipfile(handle):
        return "not an lrrun checkpoint: it has no checksum at its end"
    return "truncated"


def check_members(path: Path, handle: BinaryIO) -> None:
    """Raise UnusableFile unless the archive is laid out as torch.save does it.

    Every member is stored, not compressed, so that nothing inflates; names are plain and occur
    once; sizes add up to no more than the file has.
    """
    size = handle.seek(0, 2)
    try:
        with zipfile.ZipFile(handle) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError, RuntimeError) as error:
        raise UnusableFile(f"{path}: not an lrrun checkpoint: {error}") from error
    names = {member.filename for member in members}
    stored = all(
        member.compress_type == zipfile.ZIP_STORED
        and member.compress_size == member.file_size
        and not member.flag_bits & 1  # encrypted
        for member in members
    )
    plain = all(
        name.startswith("archive/") and ".." not in name and "\\" not in name for name in names
    )
    total = sum(member.file_size for member in members)
    if len(members) > _MEMBERS or len(names) < len(members):
        raise UnusableFile(f"{path}: refused: its archive has too many members, or one twice")
    if not (stored and plain and total <= size):
        raise UnusableFile(f"{path}: refused: its archive is not laid out as torch.save does it")
