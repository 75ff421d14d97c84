"""The tasks of this benchmark, and many runs of one of them."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from lrrun.config.reading import load_experiment
from lrrun.records import EpochRecord, Outcome
from lrrun.training.fused.runner import train_many

FOLDER = Path(__file__).parent
RESULTS = FOLDER / "results"
SEEDS = (100, 101, 102, 103, 104)
"""Of the ground truth; `find` is repeated with others."""

TASKS = {
    "digits-mlp-sgd": (1e-3, 1e1),
    "digits-mlp-adamw": (1e-4, 1e0),
    "digits-cnn-sgd": (1e-3, 1e1),
    "tiny-gpt-adamw": (1e-4, 1e0),
    "regression-sgd": (1e-3, 1e1),
}
"""Task → the ends of its grid of LRs."""


def asked() -> list[str]:
    """The tasks on the command line, or all."""
    return sys.argv[1:] or list(TASKS)


def config(task: str) -> Path:
    """The task's file."""
    return FOLDER / "tasks" / f"{task}.yaml"


def final_losses(task: str, runs: Sequence[tuple[float, int]]) -> list[tuple[float, int]]:
    """(final val_loss, updates) of each (LR, seed); infinity where it diverged."""
    experiments = [
        load_experiment(config(task), [f"optimizer.lr={lr!r}", f"seed={seed}"]) for lr, seed in runs
    ]
    losses, ends = [float("inf")] * len(runs), [Outcome("failed", "", 0)] * len(runs)
    with tempfile.TemporaryDirectory() as folder:
        for index, event in train_many(experiments, Path(folder)):
            if isinstance(event, EpochRecord):
                losses[index] = event.metrics.get("val_loss", losses[index])
            elif isinstance(event, Outcome):
                ends[index] = event
    failed = [end.sentence for end in ends if end.status == "failed"]
    if failed:
        raise SystemExit(f"{task}: a run failed: {failed[0]}")
    return [
        (loss if end.status == "completed" else float("inf"), end.step)
        for loss, end in zip(losses, ends, strict=True)
    ]
