"""What reliability costs a run: writing its log and checkpoints, and the look at every gradient.

    python benchmarks/reliability/costs.py

Writing is timed inside real runs under the default checkpoint policy: everything that RunWriter and
Store do, as a share of the run's wall time. The look at the gradients is timed against the same
updates without it, interleaved, and the medians are compared.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from lrrun.config.reading import experiment_from_text
from lrrun.runlog.writer import RunWriter
from lrrun.training.checkpoint_store import Store
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
WRITES = {RunWriter: ("write", "sync", "note", "finish"), Store: ("save_last", "save_best")}
UPDATES = 300
ROUNDS = 9


class Stopwatch:
    """Adds up the time inside functions that it wraps; calls inside calls count once."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.depth = 0

    def wrap(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*arguments: Any, **named: Any) -> Any:
            self.depth += 1
            begun = time.perf_counter()
            try:
                return function(*arguments, **named)
            finally:
                self.depth -= 1
                if not self.depth:
                    self.seconds += time.perf_counter() - begun

        return timed


def writing(override: str) -> tuple[float, float]:
    """(seconds of the run after its start, seconds of them spent on writing)."""
    watch = Stopwatch()
    kept = {(owner, name): getattr(owner, name) for owner in WRITES for name in WRITES[owner]}
    for (owner, name), function in kept.items():
        setattr(owner, name, watch.wrap(function))
    try:
        with tempfile.TemporaryDirectory() as folder:
            events = run(experiment_from_text(CONFIG, [override]), Path(folder))
            next(events)
            begun = time.perf_counter()
            for _ in events:
                pass
            return time.perf_counter() - begun, watch.seconds
    finally:
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


def main() -> None:
    for name, override in RUNS.items():
        shares = sorted(writing(override) for _ in range(5))
        total, spent = shares[2]
        print(f"writing, {name}: {spent * 1e3:.0f} ms of {total:.2f} s, {spent / total:.1%}")
    for hidden in (128, 512):
        with_, without = looking(hidden)
        print(
            f"looking at gradients, hidden [{hidden}, {hidden}]: {with_ * 1e6:.0f} us an update, "
            f"{without * 1e6:.0f} us without, {with_ / without - 1:+.1%}"
        )


if __name__ == "__main__":
    main()
