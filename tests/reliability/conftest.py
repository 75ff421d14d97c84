"""A disk that remembers, and a run so small that it can be stopped at every operation.

Disks take the place of `files.disk`, through which all files are written; nothing else is patched.
"""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch

from lrrun.records import EpochRecord, Outcome, StepRecord
from lrrun.runlog import files
from lrrun.runlog.disk import Disk
from lrrun.runlog.info import read_info
from lrrun.runlog.lock import RunLock
from lrrun.runlog.writer import RunWriter
from lrrun.training.checkpoint_store import Store

STEPS = 7
EPOCH = 2
CHECKPOINTS = (3, 5)


class FastDisk(Disk):
    """A disk that nobody waits for."""

    def sync(self, descriptor: int) -> None:
        pass

    def sync_folder(self, folder: Path) -> None:
        pass


UNWRITTEN = ("nothing", "half", "all", "zeros")

Tree = dict[str, "bytes | None"]
"""Every path below the root: a file's content, or None for a folder."""


@dataclass
class Content:
    """One file: what is surely on the disk, and what was written since."""

    safe: bytes = b""
    now: bytes = b""

    def after_a_cut(self, unwritten: str) -> bytes:
        if self.now == self.safe or unwritten == "nothing":
            return self.safe
        if unwritten == "all":
            return self.now
        if not self.now.startswith(self.safe):  # cut or written anew
            return self.now[: len(self.now) // 2] if unwritten == "half" else bytes(len(self.now))
        new = self.now[len(self.safe) :]
        return self.safe + (new[: len(new) // 2] if unwritten == "half" else bytes(len(new)))


@dataclass
class Names:
    """One folder: the names surely on the disk, and the changes since (None: gone)."""

    safe: dict[str, Any] = field(default_factory=dict)
    pending: list[dict[str, Any]] = field(default_factory=list)

    def after_a_cut(self, kept: int) -> dict[str, Any]:
        names = dict(self.safe)
        for change in self.pending[:kept]:
            names.update(change)
        return {name: each for name, each in names.items() if each is not None}

    @property
    def now(self) -> dict[str, Any]:
        return self.after_a_cut(len(self.pending))


class RememberingDisk(Disk):
    """Does what it is told, but for waiting; `after` is called after every operation."""

    def __init__(self, root: Path) -> None:
        self.root_path = root
        self.root = Names()
        self.by_descriptor: dict[int, Content] = {}
        self.after: Callable[[], None] = lambda: None

    def states(self) -> Iterator[Tree]:
        """Every state that power lost now can leave."""
        return states(self.root)

    def folder(self, path: Path) -> Names:
        names = self.root
        for part in path.relative_to(self.root_path).parts:
            names = names.now[part]
        return names

    def change(self, folder: Path, names: dict[str, Any]) -> None:
        self.folder(folder).pending.append(names)
        self.after()

    def open(self, path: Path, flags: int) -> int:
        descriptor = super().open(path, flags)
        content = self.folder(path.parent).now.get(path.name)
        if content is None:
            content = Content()
            self.change(path.parent, {path.name: content})
        if flags & os.O_TRUNC:
            content.now = b""
        self.by_descriptor[descriptor] = content
        return descriptor

    def write(self, descriptor: int, data: memoryview) -> int:
        written = super().write(descriptor, data)
        self.by_descriptor[descriptor].now += bytes(data[:written])
        self.after()
        return written

    def truncate(self, descriptor: int, size: int) -> None:
        super().truncate(descriptor, size)
        content = self.by_descriptor[descriptor]
        content.now = content.now[:size]
        self.after()

    def sync(self, descriptor: int) -> None:
        content = self.by_descriptor[descriptor]
        content.safe = content.now
        self.after()

    def sync_folder(self, folder: Path) -> None:
        names = self.folder(folder)
        names.safe, names.pending = names.now, []
        self.after()

    def replace(self, source: Path, target: Path) -> None:
        super().replace(source, target)
        content = self.folder(source.parent).now[source.name]
        self.change(source.parent, {source.name: None, target.name: content})

    def unlink(self, path: Path) -> None:
        super().unlink(path)
        self.change(path.parent, {path.name: None})

    def make_folder(self, path: Path) -> None:
        super().make_folder(path)
        self.change(path.parent, {path.name: Names()})


def states(root: Names) -> Iterator[Tree]:
    """Every state that power lost now can leave: all files alike, or one lost, the others whole."""
    for unwritten in UNWRITTEN:
        yield from _states(root, "", lambda content, each=unwritten: each)
    for lost in _dirty(root):
        yield from _states(
            root, "", lambda content, one=lost: "nothing" if content is one else "all"
        )


def _dirty(names: Names) -> list[Content]:
    found = []
    for each in names.now.values():
        if isinstance(each, Names):
            found += _dirty(each)
        elif each.now != each.safe:
            found.append(each)
    return found


def _states(names: Names, at: str, unwritten: Callable[[Content], str]) -> Iterator[Tree]:
    for kept in range(len(names.pending) + 1):
        tree: Tree = {}
        folders = []
        for name, each in names.after_a_cut(kept).items():
            path = f"{at}{name}"
            if isinstance(each, Names):
                tree[path] = None
                folders.append([*_states(each, f"{path}/", unwritten)])
            else:
                tree[path] = each.after_a_cut(unwritten(each))
        for combination in itertools.product(*folders):
            yield {**tree, **{k: v for part in combination for k, v in part.items()}}


@dataclass
class SmallRun:
    """Seven updates of one number, with a row each, an epoch of two, checkpoints after 3 and 5.

    `announced` are the steps of the checkpoints that were saved when somebody was told so; that of
    the last is told when the run has ended.
    """

    runs: Path
    announced: list[int] = field(default_factory=list)
    on_save: Callable[[int], None] = lambda step: None
    stop_at: int = STEPS
    checkpoints: tuple[int, ...] = CHECKPOINTS

    @property
    def path(self) -> Path:
        return self.runs / "a-1"

    def begin(self) -> None:
        """Train from the start; a run that stops before its end is left as a kill leaves it."""
        info = {"config": {"seed": 0}}
        writer = RunWriter.create(self.runs, "a", "x: 1\n", ("all",), info, metrics=("val_loss",))
        self._train(writer, 0, torch.zeros(3))

    def resume(self) -> int:
        """Go on from the newest good checkpoint; its step (0: there was none)."""
        held = RunLock(self.path)
        try:
            found = self._store().newest_good(set_aside=True)
            content = found.content if found else {"step": 0, "logs": None, "w": torch.zeros(3)}
        except BaseException:
            held.release()
            raise
        step = content["step"]
        columns = {"metrics": ("val_loss",)}
        writer = RunWriter.reopen(self.path, step, content["logs"], ("all",), lock=held, **columns)
        self._train(writer, step, content["w"])
        return int(step)

    def _store(self) -> Store:
        return Store(self.path / "checkpoints", read_info(self.path)["id"])

    def _train(self, writer: RunWriter, first: int, w: torch.Tensor) -> None:
        store = self._store()
        with writer:
            for step in range(first, self.stop_at):
                w = w * 0.9 + step
                writer.write(StepRecord(step, (0.1,), float(w[0])))
                done = step + 1
                if done % EPOCH == 0:
                    metrics = {"val_loss": float(w[1])}
                    writer.write(EpochRecord(done // EPOCH, done, done, (0.1,), 1.0, metrics))
                if done in self.checkpoints:
                    store.save_last({"step": done, "logs": writer.sync(), "w": w})
                    writer.settle()
                    self._announce(done)
            if self.stop_at == STEPS:
                store.save_last({"step": STEPS, "logs": writer.sync(), "w": w})
                writer.finish(Outcome("completed", "all steps done", STEPS))
                self._announce(STEPS)

    def _announce(self, step: int) -> None:
        self.announced.append(step)
        self.on_save(step)

    def tables(self) -> dict[str, bytes]:
        names = ("epochs", "steps", "timing")
        return {name: (self.path / f"{name}.csv").read_bytes() for name in names}

    def result(self) -> tuple[dict[str, bytes], list[float]]:
        """What the run came to: its tables, byte for byte, and its weights."""
        return self.tables(), self._store().load("last.pt")["w"].tolist()


@pytest.fixture
def use_disk(monkeypatch: pytest.MonkeyPatch) -> Callable[[Disk], Any]:
    def use(disk: Disk) -> Any:
        monkeypatch.setattr(files, "disk", disk)
        return disk

    return use


@pytest.fixture
def quick_disk() -> Callable[[], Any]:
    """A block in which nobody waits for the disk."""

    @contextlib.contextmanager
    def quick() -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(files, "disk", FastDisk())
            yield

    return quick


@pytest.fixture
def remembering_disk() -> type[RememberingDisk]:
    return RememberingDisk


@pytest.fixture
def fast_disk() -> type[FastDisk]:
    return FastDisk


_CAPABILITIES = 0x20080522
"""_LINUX_CAPABILITY_VERSION_3: sets of 64 bits in two words each; see capget(2)."""


@pytest.fixture
def ordinary_rights() -> Callable[[], contextlib.AbstractContextManager[None]]:
    """A block in which root may do no more to its files than their modes allow their owner."""

    @contextlib.contextmanager
    def ordinary() -> Iterator[None]:
        if os.geteuid() != 0:
            yield
            return
        if not sys.platform.startswith("linux"):
            pytest.skip("root may do everything here")
        system = ctypes.CDLL(None, use_errno=True)
        header, had = (ctypes.c_uint32 * 2)(_CAPABILITIES, 0), (ctypes.c_uint32 * 6)()
        assert system.capget(header, had) == 0
        # (effective, permitted, inheritable), twice: what stays permitted can be taken back
        without = (ctypes.c_uint32 * 6)(0, *had[1:3], 0, *had[4:6])
        assert system.capset(header, without) == 0
        try:
            yield
        finally:
            assert system.capset(header, had) == 0

    return ordinary


@pytest.fixture(scope="session")
def small_run() -> type[SmallRun]:
    return SmallRun


@pytest.fixture
def straight(tmp_path: Path, use_disk: Any) -> Iterator[tuple[dict[str, bytes], list[float]]]:
    """What the small run comes to when nothing happens to it."""
    use_disk(FastDisk())
    run = SmallRun(tmp_path / "straight")
    run.begin()
    assert run.announced == [*CHECKPOINTS, STEPS]
    yield run.result()
