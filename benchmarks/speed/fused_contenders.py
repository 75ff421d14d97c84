"""Many learning rates of one workload: stacked into one by lrrun, or one after the other.

    python benchmarks/speed/fused_contenders.py CONTENDER WORKLOAD FOLDER COUNT EPOCHS

A short round before the clock starts loads and warms what a second sweep would find warm.
"""

from __future__ import annotations

import copy
import statistics
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from contenders import leanest_eager
from protocol import Marks, peak_mb, tell
from workloads import load

Told = dict[str, Any]

LOWEST, HIGHEST = 0.003, 0.1
"""The ends of the LRs that are swept, evenly in their logarithm; none of them diverges."""


def lrs(count: int) -> list[float]:
    """The learning rates of the sweep."""
    rise = (HIGHEST / LOWEST) ** (1 / max(count - 1, 1))
    return [LOWEST * rise**k for k in range(count)]


def one_by_one(name: str, folder: Path, count: int, epochs: int) -> Told:
    """The leanest eager loop, once for each LR; the data are loaded once."""
    kept = load(name, folder)

    def train(lr: float, epochs: int) -> float:
        workload = replace(
            kept.workload, optimizer={**kept.workload.optimizer, "lr": lr}, epochs=epochs
        )
        own = replace(kept, workload=workload, model=copy.deepcopy(kept.model))
        loss: float = leanest_eager(own, Marks())["val_loss"]
        return loss

    train(LOWEST, 1)
    begun, cpu = time.perf_counter(), time.process_time()
    losses = [train(lr, epochs) for lr in lrs(count)]
    seconds = time.perf_counter() - begun
    return {
        "whole_s": seconds,
        "training_s": seconds,
        "cpu_s": time.process_time() - cpu,
        "val_loss": statistics.mean(losses),
        "runs": len(losses),
    }


def lrrun(name: str, folder: Path, count: int, epochs: int, fuse: bool) -> Told:
    """`train_many`: every LR ends as a run folder of its own, with default logging."""
    from lrrun.config.reading import load_experiment
    from lrrun.records import EpochRecord, Outcome
    from lrrun.training.fused.runner import train_many

    def sweep(count: int, epochs: int) -> tuple[dict[int, float], int, list[float]]:
        length, file = f"train.epochs={epochs}", folder / f"{name}.yaml"
        experiments = [
            load_experiment(file, [f"optimizer.lr={lr}", length], True) for lr in lrs(count)
        ]
        losses, done, rows = {}, 0, []
        with tempfile.TemporaryDirectory() as runs:
            for index, event in train_many(experiments, Path(runs), fuse=fuse):
                if isinstance(event, EpochRecord):
                    losses[index] = event.metrics["val_loss"]
                    rows.append(time.perf_counter())
                elif isinstance(event, Outcome) and event.status == "completed":
                    done += 1
        return losses, done, rows

    sweep(2, 1)
    begun, cpu = time.perf_counter(), time.process_time()
    losses, done, rows = sweep(count, epochs)
    return {
        "whole_s": time.perf_counter() - begun,
        "cpu_s": time.process_time() - cpu,
        "training_s": rows[-1] - rows[0],
        "val_loss": statistics.mean(losses.values()),
        "runs": done,
    }


def main() -> None:
    contender, name, folder = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    count, epochs = int(sys.argv[4]), int(sys.argv[5])
    torch.manual_seed(0)
    if contender == "leanest eager loop":
        told = one_by_one(name, folder, count, epochs)
    else:
        told = lrrun(name, folder, count, epochs, fuse=contender == "lrrun, fused")
    if told["runs"] != count:
        raise SystemExit(f"{contender}: {told['runs']} of {count} runs were completed")
    tell(**told, peak_mb=peak_mb(), threads=torch.get_num_threads())


if __name__ == "__main__":
    main()
