"""Kill -9 at random moments of a run that saves often; does every resume end as the straight run?

    python benchmarks/reliability/kills.py --kills 200 --seed 0

Half of the kills come at a random time, half at a random operation on the disk (while a row or a
checkpoint is written, before an fsync, between two renames). After a kill the run is resumed, and
a resume in three is killed as well before the next one may finish. Every resume must go on from the
newest checkpoint that is whole, and the finished run's tables, weights, optimizer, generators and
best weights must be those of a run that was never stopped, bit for bit.

Runs and resumes are forked from this process, which never trains itself: a fork is quick to start.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from lrrun.config.datasets import Digits
from lrrun.config.reading import load_experiment
from lrrun.records import Outcome
from lrrun.runlog import files
from lrrun.runlog.disk import Disk
from lrrun.runlog.info import read_info
from lrrun.training import checkpoint_files, datasets
from lrrun.training.checkpoint_store import Store
from lrrun.training.journey import Started
from lrrun.training.resume import resume
from lrrun.training.runner import run
from lrrun.training.state import differences

CONFIG = """\
name: kill
model: {name: mlp, hidden: [16], dropout: 0.2}
dataset: {name: digits, batch_size: 60}
optimizer: {name: adamw, lr: 0.01}
scheduler: {name: plateau, patience: 0, factor: 0.7, warmup: 5 steps}
train: {steps: 60, accumulate: 2, evaluate: 7 steps, ema: 0.9, grad_norm: true, device: cpu,
  threads: 1}
checkpoint: {every: 2 steps, keep: [20 steps]}
"""

TABLES = ("epochs.csv", "steps.csv")
LIMIT = 60.0
"""Seconds after which a child counts as hanging."""


class DeadlyDisk(Disk):
    """A disk whose process dies in place of its n-th change (of a write, half is done)."""

    def __init__(self, fatal: int | None) -> None:
        self.fatal = fatal
        self.operations = 0

    def _count(self) -> bool:
        self.operations += 1
        return self.operations == self.fatal

    def write(self, descriptor: int, data: memoryview) -> int:
        if self._count():
            super().write(descriptor, data[: len(data) // 2])
            os.kill(os.getpid(), signal.SIGKILL)
        return super().write(descriptor, data)

    def sync(self, descriptor: int) -> None:
        self._die_or(super().sync, descriptor)

    def truncate(self, descriptor: int, size: int) -> None:
        self._die_or(super().truncate, descriptor, size)

    def replace(self, source: Path, target: Path) -> None:
        self._die_or(super().replace, source, target)

    def unlink(self, path: Path) -> None:
        self._die_or(super().unlink, path)

    def sync_folder(self, folder: Path) -> None:
        self._die_or(super().sync_folder, folder)

    def _die_or(self, do: Callable[..., None], *arguments: Any) -> None:
        if self._count():
            os.kill(os.getpid(), signal.SIGKILL)
        do(*arguments)


def in_child(
    work: Callable[[], None],
    begun_when: Callable[[], bool] = lambda: True,
    delay: float | None = None,
    fatal: int | None = None,
) -> tuple[bool, float, int]:
    """Do `work` in a forked process: (was it killed?, seconds, operations on the disk).

    Seconds count from when `begun_when` says yes. The process is killed after `delay` of them, or
    at the `fatal`-th operation. Raises RuntimeError where the work fails by itself or hangs.
    """
    reader, writer = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forking beside threads: none train
        child = os.fork()
    if child == 0:
        _be_child(work, writer, fatal)
    os.close(writer)
    begun = time.monotonic()
    limit = LIMIT if delay is None else delay
    has_begun = False
    while not (status := os.waitpid(child, os.WNOHANG))[0]:
        if not has_begun and (has_begun := begun_when()):
            begun = time.monotonic()
        if has_begun and time.monotonic() - begun >= limit:
            os.kill(child, signal.SIGKILL)
            status = os.waitpid(child, 0)
            break
        time.sleep(0.0005)
    seconds = time.monotonic() - begun
    with os.fdopen(reader) as pipe:
        told = pipe.read()
    killed = os.WIFSIGNALED(status[1])
    if (killed and delay is None and fatal is None) or (not killed and not told.isdigit()):
        raise RuntimeError(f"the child failed or hung after {seconds:.1f} s: {told}")
    return killed, seconds, int(told or 0)


def _be_child(work: Callable[[], None], writer: int, fatal: int | None) -> None:
    """Never returns."""
    told = "nothing"
    try:
        files.disk = disk = DeadlyDisk(fatal)
        torch.set_num_threads(1)
        work()
        told = str(disk.operations)
    except BaseException:
        told = traceback.format_exc()
    os.write(writer, told.encode())
    os._exit(0)


@dataclass
class Tally:
    """What became of the kills."""

    kills: Counter[str] = field(default_factory=Counter)
    resumed_from: list[int] = field(default_factory=list)
    fell_back: int = 0
    different: list[str] = field(default_factory=list)


class Torture:
    """Kills and resumes one experiment in a folder, over and over."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = folder
        self.chance = random.Random(seed)
        self.tally = Tally()
        (folder / "c.yaml").write_text(CONFIG)
        datasets.load(Digits(batch_size=60), folder)  # imports what every child would import
        self.straight = folder / "straight" / "kill-1"
        runs = folder / "straight"
        _, self.seconds, self.operations = in_child(self._train(runs), _has_a_run(runs))

    def trial(self, number: int) -> None:
        """One run: killed, resumed, perhaps killed again, and compared when it has ended."""
        runs = self.folder / f"trial-{number}"
        self._killed(self._train(runs), number, _has_a_run(runs))
        while not (found := list(runs.glob("*/run.json"))):  # killed before there was a run
            self._killed(self._train(runs), number, _has_a_run(runs))
        path = found[0].parent
        while self.chance.random() < 1 / 3:
            self._resume(path, number, deadly=True)
        self._resume(path, number, deadly=False)
        self.tally.different += [f"trial {number}: {each}" for each in self._differences(path)]

    def _train(self, runs: Path) -> Callable[[], None]:
        def work() -> None:
            *_, outcome = run(load_experiment(self.folder / "c.yaml"), runs)
            assert isinstance(outcome, Outcome) and outcome.status == "completed", outcome

        return work

    def _killed(
        self,
        work: Callable[[], None],
        number: int,
        begun_when: Callable[[], bool] = lambda: True,
    ) -> None:
        if number % 2:
            kind, limits = "at a time", {"delay": self.chance.uniform(0, self.seconds)}
        else:
            kind, limits = "at an operation", {"fatal": self.chance.randint(1, self.operations)}
        killed, _, _ = in_child(work, begun_when, **limits)  # type: ignore[arg-type]
        self.tally.kills[kind if killed else "came too late"] += 1

    def _resume(self, path: Path, number: int, deadly: bool) -> None:
        """Resume; the first step must be that of the newest checkpoint that is whole."""
        info = read_info(path)
        found = Store(path / "checkpoints", info["id"]).newest_good()
        expected = found.content["step"] if found else 0
        finished = info["status"] == "completed"

        def work() -> None:
            for event in resume(path):
                if isinstance(event, Started):
                    assert event.step == expected, f"from {event.step}, expected {expected}"
                    assert not finished
            assert isinstance(event, Outcome) and event.status == "completed", event

        if deadly:
            self._killed(work, number)
        else:
            in_child(work)
        if not finished:
            self.tally.resumed_from.append(expected)
            self.tally.fell_back += bool(found and found.notes)

    def _differences(self, path: Path) -> list[str]:
        """What differs from the straight run."""
        found = [
            table
            for table in TABLES
            if (path / table).read_bytes() != (self.straight / table).read_bytes()
        ]
        for name in ("last.pt", "best.pt", "step-20.pt"):
            one, other = (
                checkpoint_files.load(each / "checkpoints" / name) for each in (path, self.straight)
            )
            for content in (one, other):
                content.pop("run")
                content.pop("marks", None)  # timing.csv, which the clock fills, is among them
            found += [f"{name}: {each}" for each in differences(one, other)]
        return found


def _has_a_run(runs: Path) -> Callable[[], bool]:
    return lambda: any(runs.glob("*/run.json"))


def torture(folder: Path, kills: int, seed: int) -> Tally:
    """Kill until there were `kills`; what became of them."""
    work = Torture(folder, seed)
    number = 0
    while sum(work.tally.kills[kind] for kind in ("at a time", "at an operation")) < kills:
        work.trial(number)
        number += 1
    return work.tally


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--kills", type=int, default=200)
    arguments.add_argument("--seed", type=int, default=0)
    wanted = arguments.parse_args()
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        tally = torture(Path(folder), wanted.kills, wanted.seed)
    later = sum(step > 0 for step in tally.resumed_from)
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(tally.kills.items()))
    print(f"kills: {kinds}")
    print(
        f"resumes: {len(tally.resumed_from)}, {later} of them from a checkpoint (median step "
        f"{sorted(tally.resumed_from)[len(tally.resumed_from) // 2]}), {tally.fell_back} past a "
        "checkpoint that was not whole"
    )
    print(f"runs that ended differently: {len(tally.different)}")
    for each in tally.different:
        print(f"  {each}")
    print(f"{time.monotonic() - begun:.0f} s")
    return int(bool(tally.different))


if __name__ == "__main__":
    sys.exit(main())
