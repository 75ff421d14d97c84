"""Checkpoints: files of plain values and dense tensors that plain torch loads."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lrrun.records import EpochRecord, higher_is_better
from lrrun.runlog import files
from lrrun.training.trainee import Trainee

SHARE_OF_RUN = 0.02
"""Saving takes at most this share of a run's time, but for the last checkpoint."""


class Checkpoints:
    """Keeps last.pt and best.pt of a run, as often as that costs little.

    `best.pt` holds the weights of the evaluation with the best `metric`; they are kept in memory
    until it is their turn to be written. Both are plain dictionaries with a `model` entry,
    so that `model.load_state_dict(torch.load(path, weights_only=True)["model"])` needs no lrrun.
    """

    def __init__(self, folder: Path, trainee: Trainee, metric: str = "val_loss") -> None:
        self.folder = folder
        self.trainee = trainee
        self.metric = metric
        self._begun = time.perf_counter()
        self._spent = 0.0
        self._best: dict[str, Any] | None = None
        self._best_value: float | None = None
        self._best_is_written = True

    def after(self, record: EpochRecord) -> None:
        """Take note of an evaluation, and save if it is cheap enough."""
        value = record.metrics.get(self.metric)
        if value is not None and self._improves(value):
            self._best_value = value
            self._best = {
                **_place(record),
                "metrics": dict(record.metrics),
                "model": _copied(self.trainee.evaluated_weights),
            }
            self._best_is_written = False
        if self._spent <= SHARE_OF_RUN * (time.perf_counter() - self._begun):
            self.save()

    def save(self) -> None:
        """Write last.pt, and best.pt if it has changed."""
        begun = time.perf_counter()
        trainee = self.trainee
        last = {
            "step": trainee.step,
            "samples": trainee.samples,
            "model": trainee.model.state_dict(),
            "optimizer": trainee.optimizer.state_dict(),
            "schedules": {name: each.state() for name, each in trainee.schedules.items()},
        }
        if trainee.ema is not None:
            last["ema"] = trainee.ema.module.state_dict()
        _write(self.folder / "last.pt", last)
        if not self._best_is_written:
            _write(self.folder / "best.pt", self._best)
            self._best_is_written = True
        self._spent += time.perf_counter() - begun

    def _improves(self, value: float) -> bool:
        if value != value:
            return False
        if self._best_value is None:
            return True
        if higher_is_better(self.metric):
            return value > self._best_value
        return value < self._best_value


def _place(record: EpochRecord) -> dict[str, Any]:
    return {"step": record.step, "epoch": record.epoch, "samples": record.samples}


def _copied(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().to("cpu", copy=True) for name, tensor in weights.items()}


def _write(path: Path, content: Any) -> None:
    with files.replacing(path) as handle:
        torch.save(content, handle)
