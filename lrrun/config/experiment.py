"""A validated config as one value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lrrun.config.base import DataFacts
from lrrun.config.checkpoint import Checkpoint
from lrrun.config.clock import Clock, make_clock
from lrrun.config.datasets import Dataset
from lrrun.config.models import Model
from lrrun.config.optimizers import OptimizerSpec
from lrrun.config.train import Train
from lrrun.config.yaml_text import Document
from lrrun.errors import ConfigError, KeyPath, Problem
from lrrun.registry import is_import_path
from lrrun.schedules.placement import PartSpec
from lrrun.schedules.spec import brought_lr


@dataclass(frozen=True)
class Experiment:
    """A validated config: what to train, on what, how long, under which schedule."""

    name: str
    seeds: tuple[int, ...]
    model: Model
    dataset: Dataset
    optimizer: OptimizerSpec
    scheduler: Any
    """The scheduler section as written: plain data."""
    parts: tuple[PartSpec, ...]
    """The same, read."""
    group_parts: Mapping[str, tuple[PartSpec, ...]]
    """The groups of the optimizer section that have a schedule of their own, by label; read."""
    co_schedules: Mapping[str, tuple[PartSpec, ...]]
    """What is scheduled beside the LR: momentum, weight_decay, batch_size."""
    train: Train
    checkpoint: Checkpoint
    folder: Path
    """Where relative paths and import paths start: the config file's folder."""
    document: Document

    @property
    def base_lr(self) -> float:
        """The optimizer's LR, or the one that the schedule brings (1 if it has several)."""
        if self.optimizer.lr is not None:
            return self.optimizer.lr
        brought = brought_lr(self.parts)
        if brought is None:
            raise ConfigError([self.problem(("optimizer", "lr"), "is missing")])
        return 1.0 if brought[1] is None else brought[1]

    def clock(self, facts: DataFacts) -> Clock:
        """How many updates the run has, and which rows of the dataset each of them takes."""
        ramp = self.co_schedules.get("batch_size", ())
        return make_clock(self.train, facts, self.dataset.batch_size, ramp)

    def problem(self, path: KeyPath, message: str) -> Problem:
        """A Problem at `path`, with the file and line where that key stands."""
        return Problem(path, message, self.document.where(path))

    def with_seed(self, seed: int) -> Experiment:
        """The same experiment, for one seed of its group."""
        return replace(self, seeds=(seed,))

    def resolved(self) -> dict[str, Any]:
        """Plain data that says everything, defaults included; reading it gives this experiment."""
        seeds: dict[str, Any] = (
            {"seed": self.seeds[0]} if len(self.seeds) == 1 else {"seeds": list(self.seeds)}
        )
        folder = {"folder": str(self.folder.resolve())} if self._needs_folder() else {}
        return {
            "name": self.name,
            **seeds,
            "model": self.model.model_dump(mode="json"),
            "dataset": self.dataset.model_dump(mode="json"),
            "optimizer": self.optimizer.model_dump(mode="json", exclude_none=True),
            "scheduler": self.scheduler,
            **_co_schedules(self.document),
            "train": self.train.model_dump(mode="json", exclude_none=True),
            "checkpoint": self.checkpoint.model_dump(mode="json"),
            **folder,
        }

    def _needs_folder(self) -> bool:
        """Does anything in the config start from the folder that it lies in?"""
        names = (self.model, self.dataset, self.optimizer)
        named = any(is_import_path(each.name) for each in names)
        return named or hasattr(self.dataset, "path") or _names_code(self.scheduler)


def _names_code(written: Any) -> bool:
    """Does an import path stand anywhere in a scheduler section?"""
    if isinstance(written, dict):
        return any(_names_code(each) for each in written.values())
    if isinstance(written, list):
        return any(_names_code(each) for each in written)
    return isinstance(written, str) and is_import_path(written)


def _co_schedules(document: Document) -> dict[str, Any]:
    written = document.data.get("co_schedules")
    return {"co_schedules": written} if written else {}
