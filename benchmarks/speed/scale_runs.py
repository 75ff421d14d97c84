"""Makes the folders that scale.py reads, through lrrun's own writer, without waiting for disks.

python benchmarks/speed/scale_runs.py many COUNT FOLDER
python benchmarks/speed/scale_runs.py long ROWS FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from protocol import HERE, tell

from lrrun.config.reading import load_experiment
from lrrun.records import EpochRecord, Outcome, StepBlock
from lrrun.runlog import files
from lrrun.runlog.disk import Disk
from lrrun.runlog.writer import RunWriter

CONFIG = HERE.parents[1] / "configs" / "digits.yaml"
EPOCHS, STEPS_PER_EPOCH = 30, 23
SCHEDULERS = ("cosine", "linear", "wsd")
GROUPS = ("all",)
METRICS = ("val_loss", "val_acc")


class _Unhurried(Disk):
    """A disk that is never waited for: the folders live as long as the benchmark."""

    def sync(self, descriptor: int) -> None:
        pass

    def sync_folder(self, folder: Path) -> None:
        pass


def config(lr: float, seed: int, scheduler: str) -> dict[str, Any]:
    """A resolved config, as a run folder has it."""
    overrides = [f"optimizer.lr={lr!r}", f"seed={seed}", f"scheduler={scheduler}"]
    return dict(load_experiment(CONFIG, overrides).resolved())


def write(runs: Path, name: str, lr: float, settings: dict[str, Any], epochs: int, per: int) -> int:
    """One finished run of epochs·per steps, its losses those of a noisy power law."""
    chance = np.random.default_rng(settings["seed"])
    text = yaml.safe_dump(settings, sort_keys=False)
    facts = {"config": settings, "seed": settings["seed"], "chance_loss": 2.303}
    with RunWriter.create(runs, name, text, GROUPS, facts, metrics=METRICS) as writer:
        for epoch in range(epochs):
            steps = np.arange(epoch * per, (epoch + 1) * per)
            lrs = lr * (1 + np.cos(np.pi * steps / (epochs * per))) / 2
            losses = 2 / np.sqrt(1 + steps * lr) + 0.05 * chance.standard_normal(per)
            writer.write_steps(StepBlock(int(steps[0]), (lrs.tolist(),), losses.tolist()))
            done, loss = int(steps[-1]) + 1, float(losses.mean())
            metrics = {"val_loss": loss + 0.01, "val_acc": 1 / (1 + loss)}
            last = (float(lrs[-1]),)
            writer.write(EpochRecord(epoch + 1, done, 64 * done, last, loss, metrics, None, 0.1))
        writer.finish(Outcome("completed", f"all {epochs * per} steps done", epochs * per))
    return epochs * per


def write_many(runs: Path, count: int) -> int:
    """`count` short runs: three schedulers, learning rates from 1e-3 to 1e-1, five seeds."""
    by_scheduler = {name: config(0.05, 0, name) for name in SCHEDULERS}
    runs.mkdir(parents=True)
    rows = 0
    for number in range(count):
        scheduler, lr = SCHEDULERS[number % 3], 10 ** (-3 + 2 * number / count)
        settings = {**by_scheduler[scheduler], "seed": number % 5}
        settings["optimizer"] = {**settings["optimizer"], "lr": lr}
        # a folder for every 100, as the writer looks through all runs before it makes another
        batch = runs.with_name(f"batch-{number // 100}")
        name = f"digits-{scheduler}-{number // 100}"
        rows += write(batch, name, lr, settings, EPOCHS, STEPS_PER_EPOCH)
        if number % 100 == 99 or number == count - 1:
            for each in batch.iterdir():
                each.rename(runs / each.name)
            batch.rmdir()
    return rows


def main() -> None:
    kind, count, runs = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
    files.disk = _Unhurried()
    rows = 0
    if kind == "long":
        for name, share in (("long", 1), ("shorter", 10)):
            settings = config(0.05, 0 if share == 1 else 1, "cosine")
            rows += write(runs, name, 0.05, settings, 1000, count // share // 1000)
    else:
        rows = write_many(runs, count)
    tell(rows=rows)


if __name__ == "__main__":
    main()
