"""What reliability costs a run: writing its log and checkpoints, and the look at every gradient.

    python benchmarks/reliability/costs.py

Writing is timed inside real runs under the default checkpoint policy: everything that RunWriter and
Store do, as a share of the run's wall time, for a run alone and for runs that train as one; beside
it stand the fsyncs of a whole run, from its beginning to its end. The look at the gradients is
timed against the same updates without it, interleaved; medians of all.
"""

from __future__ import annotations

import itertools
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from lrrun.config.reading import experiment_from_text
from lrrun.runlog import files
from lrrun.runlog.disk import Disk
from lrrun.runlog.writer import RunWriter
from lrrun.training.checkpoint_store import Store
from lrrun.training.fused.runner import train_many
from lrrun.training.preparation import prepare
from lrrun.training.runner import run
from lrrun.training.update import Update

CONFIG = """\
name: cost
model: {name: mlp, hidden: [128, 128]}
dataset: {name: digits, batch_size: 64}
optimizer: {name: adamw, lr: 0.001}
scheduler: {name: cosine, warmup: 5%}
train: {epochs: 30, device: cpu, threads: 1}
"""

RUNS = {"30 epochs": "train.epochs=30", "300 epochs": "train.epochs=300"}
TOGETHER = 16
WRITES = {
    RunWriter: ("write", "write_steps", "sync", "note", "finish", "close"),
    Store: ("save_last", "save_best", "save_kept"),
}
UPDATES = 300
ROUNDS = 9
RUNS_EACH = 5


class Stopwatch:
    """The time in which any of the functions that it wraps is at work, in whatever thread."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.depth = 0
        self.begun = 0.0
        self.lock = threading.Lock()

    def wrap(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*arguments: Any, **named: Any) -> Any:
            self._enter(1)
            try:
                return function(*arguments, **named)
            finally:
                self._enter(-1)

        return timed

    def _enter(self, change: int) -> None:
        with self.lock:
            now = time.perf_counter()
            if self.depth:
                self.seconds += now - self.begun
            self.depth, self.begun = self.depth + change, now


class CountingDisk(Disk):
    """Counts what it waits for."""

    def __init__(self) -> None:
        self.waits = 0
        self.lock = threading.Lock()

    def sync(self, descriptor: int) -> None:
        with self.lock:
            self.waits += 1
        super().sync(descriptor)

    def sync_folder(self, folder: Path) -> None:
        with self.lock:
            self.waits += 1
        super().sync_folder(folder)


def alone(override: str, runs: Path) -> Iterator[Any]:
    """What happens to one run."""
    return run(experiment_from_text(CONFIG, [override]), runs)


def together(override: str, runs: Path) -> Iterator[Any]:
    """What happens to runs of several seeds that train as one."""
    experiment = experiment_from_text(CONFIG, [override])
    return train_many([experiment.with_seed(seed) for seed in range(TOGETHER)], runs)


def writing(train: Callable[[str, Path], Iterator[Any]], override: str) -> tuple[float, float, int]:
    """(seconds after the start, those of them in which something was being written, fsyncs)."""
    watch, disk = Stopwatch(), CountingDisk()
    before, files.disk = files.disk, disk
    kept = {(owner, name): getattr(owner, name) for owner in WRITES for name in WRITES[owner]}
    for (owner, name), function in kept.items():
        setattr(owner, name, watch.wrap(function))
    try:
        with tempfile.TemporaryDirectory() as folder:
            events = train(override, Path(folder))
            next(events)
            begun, watch.seconds = time.perf_counter(), 0.0
            for _ in events:
                pass
            return time.perf_counter() - begun, watch.seconds, disk.waits
    finally:
        files.disk = before
        for (owner, name), function in kept.items():
            setattr(owner, name, function)


def looking(hidden: int) -> tuple[float, float]:
    """Median seconds of an update with the look at its gradients, and without."""
    ready = prepare(experiment_from_text(CONFIG, [f"model.hidden=[{hidden}, {hidden}]"]))
    update = Update(ready.trainee, ready.experiment.train)
    look = update._finite
    rows = torch.arange(64)
    batches = [ready.data.train.batch(rows)]
    times: dict[bool, list[float]] = {True: [], False: []}
    for _ in range(ROUNDS):
        for looks, seen in times.items():
            update._finite = look if looks else lambda: True  # type: ignore[method-assign]
            begun = time.perf_counter()
            for _ in range(UPDATES):
                update.gradients(batches, 64).item()
                update.apply()
            seen.append((time.perf_counter() - begun) / UPDATES)
    return statistics.median(times[True]), statistics.median(times[False])


def _share(measured: tuple[float, float, int]) -> float:
    total, spent, _ = measured
    return spent / total


def main() -> None:
    arms = {"alone": (1, alone), f"{TOGETHER} as one": (TOGETHER, together)}
    for (name, override), (how, (runs, train)) in itertools.product(RUNS.items(), arms.items()):
        shares = sorted((writing(train, override) for _ in range(RUNS_EACH)), key=_share)
        total, spent, waits = shares[len(shares) // 2]
        print(
            f"writing, {name}, {how}: {spent * 1e3:.0f} ms of {total:.2f} s, {spent / total:.1%}; "
            f"{waits / runs:.1f} fsyncs a run"
        )
    for hidden in (128, 512):
        with_, without = looking(hidden)
        print(
            f"looking at gradients, hidden [{hidden}, {hidden}]: {with_ * 1e6:.0f} us an update, "
            f"{without * 1e6:.0f} us without, {with_ / without - 1:+.1%}"
        )


if __name__ == "__main__":
    main()
