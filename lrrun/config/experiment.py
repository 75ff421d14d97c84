"""A validated config as one value."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

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
    train: Train
    folder: Path
    """Where relative paths and import paths start: the config file's folder."""
    document: Document

    @property
    def base_lr(self) -> float:
        """The optimizer's LR, or the one that the schedule brings along (1 where it has several)."""
        if self.optimizer.lr is not None:
            return self.optimizer.lr
        brought = brought_lr(self.parts)
        if brought is None:
            raise ConfigError([self.problem(("optimizer", "lr"), "is missing")])
        return 1.0 if brought[1] is None else brought[1]

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
            "train": self.train.model_dump(mode="json", exclude_none=True),
            **folder,
        }

    def _needs_folder(self) -> bool:
        """Does anything in the config start from the folder that it lies in?"""
        names = (self.model, self.dataset, self.optimizer)
        return hasattr(self.dataset, "path") or any(is_import_path(each.name) for each in names)
