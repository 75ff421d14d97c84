"""Every operation on the disk fails once, or is the last one: nothing announced is ever lost."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lrrun.errors import EnvironmentFault, LrrunError, UnusableFile
from lrrun.runlog import lock
from lrrun.runlog.disk import Disk
from lrrun.runlog.lock import RunLock
from lrrun.runlog.reader import BrokenRun, Run, list_runs
from lrrun.training import checkpoint_files, checkpoint_store
from lrrun.training.checkpoint_store import Store

KINDS = ("kill", "eio", "full", "half")


class Killed(BaseException):
    """The process is gone: no handler of its own can do anything any more."""


class FailingDisk(Disk):
    """Goes wrong at operation `at`, counted from 1.

    kill: the process stops there. eio: that operation alone fails. full: from there on nothing can
    be written. half: a write takes half of the bytes, and from there on the disk is full.
    """

    def __init__(self, kind: str, at: int) -> None:
        self.kind, self.at, self.count = kind, at, 0
        self.open_descriptors: set[int] = set()
        self.dead = False

    @property
    def reached(self) -> bool:
        return self.count >= self.at

    def _operation(self, needs_room: bool) -> None:
        if self.dead:
            raise Killed
        self.count += 1
        if self.kind == "kill" and self.reached:
            self.dead = True
            for descriptor in self.open_descriptors:
                os.close(descriptor)
            lock._held.clear()
            raise Killed
        if self.kind == "eio" and self.count == self.at:
            raise OSError(errno.EIO, "Input/output error")
        if self.kind in ("full", "half") and self.reached and needs_room:
            raise OSError(errno.ENOSPC, "No space left on device")

    def open(self, path: Path, flags: int) -> int:
        self._operation(needs_room=bool(flags & os.O_CREAT) and not path.exists())
        descriptor = super().open(path, flags)
        self.open_descriptors.add(descriptor)
        return descriptor

    def close(self, descriptor: int) -> None:
        if not self.dead:
            self.open_descriptors.discard(descriptor)
            super().close(descriptor)

    def write(self, descriptor: int, data: memoryview) -> int:
        if self.count + 1 == self.at and self.kind in ("half", "kill") and len(data) > 1:
            self.count += self.kind == "half"
            written = super().write(descriptor, data[: len(data) // 2])
            if self.kind == "half":
                return written
        self._operation(needs_room=True)
        return super().write(descriptor, data)

    def sync(self, descriptor: int) -> None:
        self._operation(needs_room=True)

    def sync_folder(self, folder: Path) -> None:
        self._operation(needs_room=False)

    def truncate(self, descriptor: int, size: int) -> None:
        self._operation(needs_room=False)
        super().truncate(descriptor, size)

    def replace(self, source: Path, target: Path) -> None:
        self._operation(needs_room=False)
        super().replace(source, target)

    def unlink(self, path: Path) -> None:
        self._operation(needs_room=False)
        super().unlink(path)

    def make_folder(self, path: Path) -> None:
        self._operation(needs_room=not path.exists())
        super().make_folder(path)

    def remove_folder(self, path: Path) -> None:
        self._operation(needs_room=False)
        super().remove_folder(path)


def walk(tmp_path: Path, kind: str, tools: Any, resuming: bool = False) -> Iterator[Any]:
    """Run with a fault at operation 1, 2, 3 ... until one passes untouched; each run, after it."""
    use_disk, fast_disk, small_run = tools
    at = 0
    while True:
        at += 1
        run = small_run(tmp_path / "runs")
        if resuming:
            use_disk(fast_disk())
            run.stop_at = 4
            run.begin()
            run.stop_at = 7
        disk = use_disk(FailingDisk(kind, at))
        ended = False
        try:
            if resuming:
                run.resume()
            else:
                run.begin()
            ended = True
        except Killed:
            assert kind == "kill"
        except EnvironmentFault as error:
            assert kind != "kill" and str(run.runs) in str(error)
        use_disk(fast_disk())
        if ended and not disk.reached:
            assert at > 20
            return
        yield run
        shutil.rmtree(run.runs, ignore_errors=True)


@pytest.fixture
def tools(use_disk, fast_disk, small_run) -> Any:
    return use_disk, fast_disk, small_run


def check_nothing_lost(run: Any, straight: Any) -> int:
    """Resume what a fault has left; it ends as the straight run. The step it resumed from."""
    announced = max(run.announced, default=0)
    (found,) = list_runs(run.runs) or [None]
    if found is None or isinstance(found, BrokenRun):
        assert announced == 0  # it never began
        return 0
    _ = found.summary, found.epochs, found.steps  # readable, whatever happened
    resumed = run.resume()
    assert resumed >= announced
    assert run.result() == straight
    ended = Run.open(run.path)
    assert [each["step"] for each in ended.info["resumed"]][-1] == resumed
    assert {each.name for each in run.path.iterdir()} - {"superseded"} == {
        *("config.yaml", "run.json", "epochs.csv", "steps.csv", "timing.csv", "checkpoints")
    }
    return int(resumed)


@pytest.mark.parametrize("kind", KINDS)
def test_a_fault_at_any_operation_of_a_run(tmp_path: Path, tools, straight, kind: str) -> None:
    resumed = {check_nothing_lost(run, straight) for run in walk(tmp_path, kind, tools)}
    assert resumed == {0, 3, 5, 7}


@pytest.mark.parametrize("kind", KINDS)
def test_a_fault_at_any_operation_of_a_resume(tmp_path: Path, tools, straight, kind: str) -> None:
    runs = walk(tmp_path, kind, tools, resuming=True)
    resumed = {check_nothing_lost(run, straight) for run in runs}
    assert resumed == {3, 5, 7}


def test_a_disk_that_lies_is_found_out_before_the_last_good_one_is_gone(
    tmp_path: Path, use_disk, fast_disk, small_run
) -> None:
    """One that says it has written everything, and has lost a byte."""

    class Lying(fast_disk):  # type: ignore[misc, valid-type]
        def write(self, descriptor: int, data: memoryview) -> int:
            return super().write(descriptor, data[:-1]) + 1

    use_disk(fast_disk())
    run = small_run(tmp_path, stop_at=4)
    run.begin()
    use_disk(Lying())
    store = run._store()
    with pytest.raises(UnusableFile):
        store.save_last({"step": 4})
    found = store.newest_good()
    assert found is not None and (found.content["step"], found.notes) == (3, ())


def check_retention(folder: Path) -> None:
    """A last.pt that has gone bad pushes no good one out, and no good one is ever missing."""
    store = Store(folder, "r")
    for step in range(1, 4):
        store.save_last({"step": step})
    _damage(folder / "last.pt")
    store.save_last({"step": 4})
    assert (store.load("last.pt")["step"], store.load("previous.pt")["step"]) == (4, 2)
    _damage(folder / "last.pt")
    found = store.newest_good(set_aside=True)
    assert found is not None and found.content["step"] == 2 and len(found.notes) == 2
    assert "last.pt: checksum does not match" in found.notes[0]
    assert found.notes[1] == "going on from previous.pt, step 2"
    assert {path.name for path in folder.iterdir()} == {"previous.pt", "last.pt.bad"}


def _damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 1
    path.write_bytes(bytes(content))


def check_lock(folder: Path) -> None:
    with RunLock(folder), pytest.raises(LrrunError):
        RunLock(folder)


def test_retention_counts_only_what_is_whole(tmp_path: Path) -> None:
    check_retention(tmp_path)


MUTATIONS = {
    "write in place": lambda patch: patch.setattr("lrrun.runlog.files.replacing", _in_place),
    "rows after the checkpoint stay": lambda patch: patch.setattr(
        "lrrun.runlog.writer.supersede", lambda path, tables: None
    ),
    "start over": lambda patch: patch.setattr(Store, "newest_good", lambda *_, **__: None),
    "drop the old one first": lambda patch: patch.setattr(Store, "_save", _drop_then_save),
}


def _in_place(path: Path, *_: object, **__: object) -> Any:
    from lrrun.runlog import files

    return files._filling(files.disk.open(path, 0o1101))  # O_WRONLY | O_CREAT | O_TRUNC


_save = Store._save


def _drop_then_save(store: Store, name: str, content: Any, *rest: Any) -> Path:
    for old in ("last.pt", "previous.pt"):
        checkpoint_store.files.remove(store.folder / old)
    return _save(store, name, content, *rest)


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_fault_shows_every_mutation(
    tmp_path: Path, tools, straight, monkeypatch, name: str
) -> None:
    MUTATIONS[name](monkeypatch)
    with pytest.raises((AssertionError, LrrunError)):
        for run in walk(tmp_path, "kill", tools):
            check_nothing_lost(run, straight)


def test_a_planted_bad_checkpoint_shows_what_counts_it_as_good(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(Store, "_is_whole", lambda *_: True)
    with pytest.raises((AssertionError, LrrunError)):
        check_retention(tmp_path)


def test_a_planted_bad_checkpoint_shows_a_skipped_checksum(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(checkpoint_files, "check_seal", lambda *_: None)
    with pytest.raises((AssertionError, LrrunError)):
        check_retention(tmp_path)


def test_a_second_writer_shows_a_lock_that_does_nothing(tmp_path, monkeypatch) -> None:
    check_lock(tmp_path)
    monkeypatch.setattr("lrrun.runlog.lock._lock", lambda descriptor: None)
    with pytest.raises(pytest.fail.Exception):
        check_lock(tmp_path)
