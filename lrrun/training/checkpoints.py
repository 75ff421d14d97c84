"""When a run's state is saved, and which of its checkpoints stay."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

from lrrun.config.checkpoint import Checkpoint
from lrrun.errors import UnusableFile
from lrrun.records import EpochRecord, higher_is_better
from lrrun.runlog.writer import RunWriter
from lrrun.training import moments
from lrrun.training.checkpoint_store import BEST, LAST, Found, Store
from lrrun.training.moments import Steps
from lrrun.training.standing import Standing, Weights
from lrrun.training.state import capture
from lrrun.units import Units

SHARE_OF_RUN = 0.005
"""Saving takes at most this share of a run's time, where the config does not say when to save.

Rows of the log take 1.3% of a run whose updates take 0.6 ms: all writing stays under 2%, as
soon as the last save, which comes in any case, is a small part of it.
"""

FIRST_COST = 0.01
"""What a save is taken to cost, in seconds, before one is known: the first two have none."""


class Due:
    """The steps at which a config asks for a checkpoint; `every` is None where it does not say."""

    def __init__(self, settings: Checkpoint, units: Units) -> None:
        self.every = None if settings.every is None else moments.every(settings.every, units)
        self.kept = moments.places(settings.keep, units)

    @property
    def pauses(self) -> Steps:
        """All of them: the loop must come to rest there."""
        return np.union1d(moments.NEVER if self.every is None else self.every, self.kept)


class Spending:
    """Time that went into saving: of one run, or of several that train and save together.

    `first_cost` is what the first save is taken to cost, in seconds.
    """

    def __init__(self, first_cost: float = FIRST_COST) -> None:
        self._begun = time.perf_counter()
        self._since = self._spent = 0.0
        self._last_cost = first_cost
        self._saving = 0
        self._lock = threading.Lock()
        self._answer = (-1, False)

    def allows(self, step: int) -> bool:
        """May what rests at `step` be saved? All runs get the answer that the first one gets."""
        if self._answer[0] != step:
            elapsed = time.perf_counter() - self._begun
            self._answer = step, self._spent + self._last_cost <= SHARE_OF_RUN * elapsed
        return self._answer[1]

    @contextlib.contextmanager
    def saving(self) -> Iterator[None]:
        """A block that saves; runs that save at the same time spend that time once."""
        with self._lock:
            self._since = self._since if self._saving else time.perf_counter()
            self._saving += 1
        try:
            yield
        finally:
            with self._lock:
                self._saving -= 1
                if not self._saving:
                    self._last_cost = time.perf_counter() - self._since
                    self._spent += self._last_cost


class Checkpoints:
    """Saves the state of a run that is at rest: last.pt, best.pt, step-N.pt.

    best.pt holds the weights of the evaluation with the best metric, as a plain dictionary with a
    `model` entry, so that `model.load_state_dict(torch.load(path, weights_only=True)["model"])`
    needs no lrrun; so does last.pt. The best weights are kept in memory until it is their turn, and
    are on the disk before the state that counts on them, and so are the rows that `writer` has
    written by then. Raises EnvironmentFault where the disk refuses.
    """

    def __init__(
        self,
        store: Store,
        loop: Standing,
        due: Due,
        metric: str | None,
        writer: RunWriter,
        spending: Spending | None = None,
    ) -> None:
        self.store = store
        self.loop = loop
        self.due = due
        self.metric = metric
        self.writer = writer
        self.best: tuple[float, int] | None = None
        """Value and step of the best evaluation so far."""
        self._weights: dict[str, Any] | None = None
        self._saved: tuple[int, int] | None = None
        self._spending = spending or Spending()

    def restore(self, found: Found) -> str | None:
        """Go on from a checkpoint; a sentence where the best weights it counts on are not there."""
        content = found.content
        if found.path.name == LAST:
            self._saved = self._place()
        try:
            best: tuple[Any, Any] = content["best"] or (None, None)
            value, step = best
        except (KeyError, TypeError, ValueError):
            text = "it does not say what is the best evaluation so far ('best')"
            raise UnusableFile(f"{found.path}: does not fit this run: {text}") from None
        if value is None or self.metric is None:
            return None
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
        if self.keeps:
            self.keep()
        if self.is_due(record):
            self.save()

    @property
    def keeps(self) -> bool:
        """Does the loop rest where a checkpoint is kept for good?"""
        return self.loop.at_rest and moments.among(self.due.kept, self.loop.trainee.step)

    def is_due(self, record: object) -> bool:
        """Does the loop rest, after this record, where it is to be saved?"""
        if not self.loop.at_rest:
            return False
        step = self.loop.trainee.step
        if self.due.every is None:
            return isinstance(record, EpochRecord) and self._spending.allows(step)
        return moments.among(self.due.every, step)

    def keep(self) -> None:
        """Write step-N.pt, which stays."""
        self._write(self.store.save_kept)

    def save(self, settle: bool = True) -> None:
        """Write last.pt, and best.pt if it has changed; nothing where this is done already.

        Without `settle` a power cut may still take the run with it, until `RunWriter.finish`.
        """
        if self._saved != self._place() or self._weights is not None:
            self._write(self.store.save_last, settle)
            self._saved = self._place()

    def save_best(self, sync_name: bool = True) -> None:
        """Write best.pt if it has changed; a save that follows makes sure of its name."""
        if self._weights is not None:
            self.store.save_best(self._weights, sync_name)
            self._weights = None

    def _write(self, save: Callable[[dict[str, Any]], Any], settle: bool = True) -> None:
        with self._spending.saving():
            finite = _finite(self.loop.trainee.model)
            self.save_best(sync_name=not finite)
            if finite:  # else what is saved already is better
                save({**capture(self.loop), "best": self.best, "marks": self.writer.sync()})
            if settle:
                self.writer.settle()

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


def _finite(model: Weights) -> bool:
    return all(bool(torch.isfinite(each).all()) for each in model.parameters())
