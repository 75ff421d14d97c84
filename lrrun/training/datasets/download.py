"""Published files: downloaded once, checked, kept, and never unpickled or unpacked to disk."""

from __future__ import annotations

import errno
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lrrun.config.datasets.base import resolve
from lrrun.config.datasets.images import Downloaded
from lrrun.errors import EnvironmentFault, UnusableFile

Downloader = Callable[[str, Any, Any], None]
"""What pooch calls to download: (url, file to write, pooch)."""

_OURS = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT}


@dataclass(frozen=True, slots=True)
class Archive:
    """A published file: its name, its MD5 sum as published, and the folders it lies in, in turn."""

    file: str
    md5: str
    mirrors: tuple[str, ...]


def cache_folder(spec: Downloaded, folder: Path) -> Path:
    """Where a dataset's files are kept; `folder` is where the config file lies."""
    import pooch  # imports a web client

    root = resolve(spec.root, folder) if spec.root else Path(pooch.os_cache("lrrun"))
    return root / spec.name


def fetch(archive: Archive, cache: Path, downloader: Downloader | None = None) -> Path:
    """The file in the cache folder, downloaded into it where it is not there.

    MD5 is what the publishers give; it tells damage, and here nothing read can run as code. Raises
    UnusableFile when the file is damaged or cannot be had, EnvironmentFault when it cannot be kept.
    """
    kept = cache / archive.file
    if kept.exists():
        _verify(kept, archive)
        return kept
    import pooch

    try:
        cache.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EnvironmentFault(f"{cache}: cannot keep downloads here: {error.strerror}") from error
    tried = []
    for mirror in archive.mirrors:
        url = mirror + archive.file
        try:
            pooch.retrieve(url, f"md5:{archive.md5}", archive.file, cache, downloader=downloader)
            return kept
        except (OSError, ValueError) as error:  # requests' errors, or the checksum's
            if isinstance(error, OSError) and error.errno in _OURS:
                raise EnvironmentFault(f"{kept}: {error.strerror}") from error
            tried.append(f"{url} ({_reason(error)})")
    raise UnusableFile(
        f"{kept}: not there, and could not be downloaded from {', nor from '.join(tried)}; "
        f"get it elsewhere and put it there (MD5 {archive.md5}), or set dataset.root"
    )


def _verify(kept: Path, archive: Archive) -> None:
    md5 = hashlib.md5(usedforsecurity=False)
    try:
        with kept.open("rb") as file:
            while block := file.read(1 << 20):
                md5.update(block)
    except OSError as error:
        raise UnusableFile(f"{kept}: {error.strerror}") from error
    if md5.hexdigest() != archive.md5:
        raise UnusableFile(
            f"{kept}: damaged, or another file: MD5 {md5.hexdigest()}, expected {archive.md5}; "
            "delete it to download it again"
        )


def _reason(error: Exception) -> str:
    """One short line of an error that may hold a whole chain of others."""
    if isinstance(error, ValueError):
        return "what came was damaged: its MD5 differs"
    return f"{type(error).__name__}; is this machine offline?"
