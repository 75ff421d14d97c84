"""When a run's state is saved, and which of its checkpoints stay."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from lrrun.config.checkpoint import Checkpoint
from lrrun.errors import UnusableFile
from lrrun.records import EpochRecord, higher_is_better
from lrrun.training import moments
from lrrun.training.checkpoint_store import BEST, LAST, Found, Store
from lrrun.training.loop import Loop
from lrrun.training.moments import Steps
from lrrun.training.state import capture
from lrrun.units import Units

SHARE_OF_RUN = 0.01
"""Saving takes at most this share of a run's time, where the config does not say when to save.

With the log's rows that keeps all writing under 2%; the first and the last save come in any case.
"""


class Due:
    """The steps at which a config asks for a checkpoint; `every` is None where it does not say."""

    def __init__(self, settings: Checkpoint, units: Units) -> None:
        self.every = None if settings.every is None else moments.every(settings.every, units)
        self.kept = moments.places(settings.keep, units)

    @property
    def pauses(self) -> Steps:
        """All of them: the loop must come to rest there."""
        return np.union1d(moments.NEVER if self.every is None else self.every, self.kept)


class Checkpoints:
    """Saves the state of a run that is at rest: last.pt, best.pt, step-N.pt.

    best.pt holds the weights of the evaluation with the best metric, as a plain dictionary with a
    `model` entry, so that `model.load_state_dict(torch.load(path, weights_only=True)["model"])`
    needs no lrrun; so does last.pt. The best weights are kept in memory until it is their turn, and
    are on the disk before the state that counts on them. `marks` brings the log onto the disk and
    says how long it is. Raises EnvironmentFault where the disk refuses.
    """

    def __init__(
        self,
        store: Store,
        loop: Loop,
        due: Due,
        metric: str | None,
        marks: Callable[[], Mapping[str, Any]],
    ) -> None:
        self.store = store
        self.loop = loop
        self.due = due
        self.metric = metric
        self.marks = marks
        self.best: tuple[float, int] | None = None
        """Value and step of the best evaluation so far."""
        self._weights: dict[str, Any] | None = None
        self._saved: tuple[int, int] | None = None
        self._begun = time.perf_counter()
        self._spent = self._last_cost = 0.0

    def restore(self, found: Found) -> str | None:
        """Go on from a checkpoint; a sentence where the best weights it counts on are not there."""
        content = found.content
        if found.path.name == LAST:
            self._saved = self._place()
        if content["best"] is None or self.metric is None:
            return None
        value, step = content["best"]
        self.best = value, step
        try:
            if self.store.load(BEST)["step"] >= step:
                return None
            problem = "holds earlier weights"
        except UnusableFile as error:
            problem = str(error)
        return (
            f"the best weights so far ({self.metric} {value:.4g} at step {step}) are lost: "
            f"{problem}; best.pt is written again by the next better evaluation"
        )

    def after(self, record: object) -> None:
        """Take note of a record that was handed out; save where it is due and the loop at rest."""
        if isinstance(record, EpochRecord):
            self._compare(record)
        if not self.loop.at_rest:
            return
        step = self.loop.trainee.step
        if moments.among(self.due.kept, step):
            self.keep()
        if self.due.every is None:
            elapsed = time.perf_counter() - self._begun
            due = isinstance(record, EpochRecord) and (
                self._spent + self._last_cost <= SHARE_OF_RUN * elapsed
            )
        else:
            due = moments.among(self.due.every, step)
        if due:
            self.save()

    def keep(self) -> None:
        """Write step-N.pt, which stays."""
        self._write(self.store.save_kept)

    def save(self) -> None:
        """Write last.pt, and best.pt if it has changed; nothing where this is done already."""
        if self._saved != self._place() or self._weights is not None:
            self._write(self.store.save_last)
            self._saved = self._place()

    def save_best(self) -> None:
        """Write best.pt if it has changed."""
        if self._weights is not None:
            self.store.save_best(self._weights)
            self._weights = None

    def _write(self, save: Callable[[dict[str, Any]], Any]) -> None:
        begun = time.perf_counter()
        self.save_best()
        if _finite(self.loop.trainee.model):  # else what is saved already is better
            save({**capture(self.loop), "best": self.best, "marks": self.marks()})
        self._last_cost = time.perf_counter() - begun
        self._spent += self._last_cost

    def _place(self) -> tuple[int, int]:
        return self.loop.trainee.step, self.loop.row_at

    def _compare(self, record: EpochRecord) -> None:
        """Keep the weights of this evaluation if it is the best so far."""
        value = record.metrics.get(self.metric) if self.metric else None
        if value is None or value != value:
            return
        if self.best is not None:
            best = self.best[0]
            better = value > best if higher_is_better(self.metric or "") else value < best
            if not better:
                return
        self.best = value, record.step
        weights = self.loop.trainee.evaluated_weights
        self._weights = {
            "step": record.step,
            "epoch": record.epoch,
            "samples": record.samples,
            "metrics": dict(record.metrics),
            "model": {name: each.detach().to("cpu", copy=True) for name, each in weights.items()},
        }


def _finite(model: torch.nn.Module) -> bool:
    return all(bool(torch.isfinite(each).all()) for each in model.parameters())
