"""The disk asks the system for what it promises: a test in memory cannot see a missing fsync."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from lrrun.runlog.disk import Disk


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The inode numbers of what has been waited for."""
    numbers: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda handle: numbers.append(os.fstat(handle).st_ino))
    return numbers


def test_a_file_is_waited_for(tmp_path: Path, synced: list[int]) -> None:
    disk, path = Disk(), tmp_path / "a"
    descriptor = disk.open(path, os.O_WRONLY | os.O_CREAT)
    disk.sync(descriptor)
    disk.close(descriptor)
    assert synced == [path.stat().st_ino]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no handle on a folder")
def test_the_names_in_a_folder_are_waited_for(tmp_path: Path, synced: list[int]) -> None:
    Disk().sync_folder(tmp_path)
    assert synced == [tmp_path.stat().st_ino]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no handle on a folder")
@pytest.mark.parametrize(("number", "raises"), [(errno.EIO, True), (errno.EINVAL, False)])
def test_only_not_here_is_no_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, raises: bool
) -> None:
    def refuse(_: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", refuse)
    if raises:
        with pytest.raises(OSError, match=os.strerror(number)):
            Disk().sync_folder(tmp_path)
    else:
        Disk().sync_folder(tmp_path)
