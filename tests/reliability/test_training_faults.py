"""The whole program, stopped at operations on the disk from its first to its last."""

from __future__ import annotations

import errno
import json
import os
import shutil
import socket
from pathlib import Path
from typing import Any

import pytest

from lrrun.runlog import lock
from lrrun.runlog.disk import Disk
from lrrun.training import checkpoint_files

CONFIG = """\
name: a
model: {name: mlp, hidden: [4], dropout: 0.2}
dataset: {name: digits, batch_size: 256}
optimizer: {name: adam, lr: 0.01}
scheduler: {name: cosine}
train: {epochs: 2, device: cpu, ema: 0.9}
checkpoint: {every: 2 steps, keep: [4 steps]}
"""

STRIDE = 7
"""Every 7th operation; the others have their turn in test_writing.py, in a smaller run."""


class Killed(BaseException):
    pass


class Stopping(Disk):
    """Counts its operations; at number `at` the process is gone, or the disk is full from there."""

    def __init__(self, kind: str, at: int) -> None:
        self.kind, self.at, self.count = kind, at, 0
        self.descriptors: set[int] = set()
        self.refused = False

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        if name in ("write", "sync", "replace", "make_folder", "truncate", "unlink"):
            self._operation(name)
        return found

    def _operation(self, name: str) -> None:
        self.count += 1
        if self.count < self.at:
            return
        if self.kind == "full" and name in ("write", "sync", "make_folder"):
            self.refused = True
            raise OSError(errno.ENOSPC, "No space left on device")
        if self.kind == "kill":
            while self.descriptors:
                os.close(self.descriptors.pop())
            lock._held.clear()
            raise Killed

    def open(self, path: Path, flags: int) -> int:
        descriptor = super().open(path, flags)
        self.descriptors.add(descriptor)
        return descriptor

    def close(self, descriptor: int) -> None:
        if descriptor in self.descriptors:
            self.descriptors.remove(descriptor)
            super().close(descriptor)


def result(run: Path) -> dict[str, bytes]:
    return {name: (run / name).read_bytes() for name in ("epochs.csv", "steps.csv")}


@pytest.mark.parametrize("kind", ["kill", "full"])
def test_a_training_that_is_stopped_anywhere_resumes_to_the_same_bytes(
    lrrun: Any, empty_folder: Path, use_disk: Any, fast_disk: Any, kind: str
) -> None:
    (empty_folder / "c.yaml").write_text(CONFIG)
    use_disk(fast_disk())
    assert lrrun("train", "c.yaml", "-q").code == 0
    straight = result(Path("runs/a-1"))
    shutil.rmtree("runs")
    resumed_from, at = set(), 1
    while True:
        disk = use_disk(Stopping(kind, at))
        try:
            done = lrrun("train", "c.yaml", "-q")
            assert done.code == (5 if disk.refused else 0), done.err
            assert not disk.refused or "No space left on device; free space" in done.err
        except Killed:
            pass
        use_disk(fast_disk())
        if disk.count < at:
            break
        if Path("runs/a-1/run.json").exists():
            again = lrrun("resume", "a-1", "-q")
            assert again.code == 0, again.err
            info = json.loads(Path("runs/a-1/run.json").read_text())
            resumed_from |= {each["step"] for each in info.get("resumed", ())}
            assert info["status"] == "completed"
            assert result(Path("runs/a-1")) == straight
        shutil.rmtree("runs", ignore_errors=True)
        at += STRIDE
    assert {2, 4, 6, 8, 10} <= resumed_from


def test_f30_a_sweep_that_fills_the_disk_goes_on_where_it_stopped(
    lrrun: Any, empty_folder: Path, use_disk: Any, fast_disk: Any
) -> None:
    (empty_folder / "c.yaml").write_text(CONFIG)
    command = ("sweep", "c.yaml", "optimizer.lr=0.01,0.02", "--no-fuse", "-q")
    trials = ("trials.csv", "trial-0001-1/steps.csv", "trial-0002-1/steps.csv")

    def made(sweep: str) -> list[bytes]:
        return [Path("runs", sweep, name).read_bytes() for name in trials]

    disk = use_disk(Stopping("full", 10**6))
    assert lrrun(*command).code == 0
    straight, rows = made("a-sweep-1"), set()
    for at in range(20, disk.count, disk.count // 7):
        shutil.rmtree("runs")
        use_disk(Stopping("full", at))
        done = lrrun(*command)
        assert done.code == 5
        assert "No space left on device; free space" in done.err
        table = Path("runs/a-sweep-1/trials.csv").read_bytes()
        assert straight[0].startswith(table)
        rows.add(table.count(b"\n") - 1)
        use_disk(fast_disk())
        assert lrrun(*command).code == 0
        assert [each.name for each in Path("runs").iterdir()] == ["a-sweep-1"]
        assert made("a-sweep-1") == straight
    assert rows == {0, 1}


def test_no_state_is_there_before_the_best_weights_that_it_counts_on(
    lrrun: Any, empty_folder: Path, use_disk: Any, fast_disk: Any
) -> None:
    """Looked at whenever a last.pt gets its name: a process killed there leaves just that."""
    seen = []

    class Looking(fast_disk):  # type: ignore[misc, valid-type]
        def replace(self, source: Path, target: Path) -> None:
            super().replace(source, target)
            if target.name == "last.pt" and (best := checkpoint_files.load(target)["best"]):
                assert checkpoint_files.load(target.with_name("best.pt"))["step"] == best[1]
                seen.append(best[1])

    use_disk(Looking())
    (empty_folder / "c.yaml").write_text(CONFIG)
    assert lrrun("train", "c.yaml", "-q", "train.epochs=4").code == 0
    assert len(set(seen)) > 1


def test_weights_that_overflow_are_not_saved(
    lrrun: Any, empty_folder: Path, use_disk: Any, fast_disk: Any
) -> None:
    """Gradients are finite, and times the LR they are not: the loss of the next step shows it."""
    use_disk(fast_disk())
    (empty_folder / "c.yaml").write_text(CONFIG)
    settings = ("optimizer={name: sgd, lr: 1e+40}", "checkpoint.every=1 step")
    assert lrrun("train", "c.yaml", "-q", *settings).code == 4
    for file in Path("runs/a-1/checkpoints").iterdir():
        weights = checkpoint_files.load(file)["model"]
        assert all(bool(each.isfinite().all()) for each in weights.values()), file


def test_nothing_goes_out_and_nothing_listens(
    lrrun: Any, empty_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("the network was used")

    for name in ("connect", "connect_ex", "bind", "sendto"):
        monkeypatch.setattr(socket.socket, name, refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    (empty_folder / "c.yaml").write_text(CONFIG)
    for arguments in (["train", "c.yaml", "-q"], ["show"], ["list"], ["resume", "a-1"], ["doctor"]):
        done = lrrun(*arguments)
        assert done.code == 0, done.err
