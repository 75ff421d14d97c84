"""A stretch of a run that exists, trained once more in memory; nothing is written anywhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lrrun.config.experiment import Experiment
from lrrun.config.plans import DRIVEN
from lrrun.errors import UnusableFile
from lrrun.records import EpochRecord, HeadroomRecord, Incident, Outcome, Record, StepRecord
from lrrun.runlog.columns import HEADROOM
from lrrun.runlog.reader import Run
from lrrun.runlog.table import Floats
from lrrun.training import tolerance
from lrrun.training.checkpoint_store import BEST, Found, Store
from lrrun.training.checkpoints import Due
from lrrun.training.journey import cuts_of, loop_of, recorded_incidents
from lrrun.training.loop import Loop
from lrrun.training.moments import Steps
from lrrun.training.preparation import Prepared
from lrrun.training.resume import prepare_again
from lrrun.training.state import restore

_TABLES = {StepRecord: "steps.csv", EpochRecord: "epochs.csv", HeadroomRecord: HEADROOM}


@dataclass(frozen=True)
class Kept:
    """The good checkpoints of a run, the oldest first, and what is wrong with the others."""

    checkpoints: tuple[Found, ...]
    notes: tuple[str, ...]

    @classmethod
    def of(cls, path: Path, info: Mapping[str, Any]) -> Kept:
        """Load whatever can be loaded; nothing is renamed."""
        store = Store(path / "checkpoints", info["id"])
        good: dict[int, Found] = {}
        notes = []
        for file in sorted((path / "checkpoints").glob("*.pt")):
            if file.name == BEST:
                continue
            try:
                content = store.load(file.name)
            except UnusableFile as error:
                notes.append(str(error))
            else:
                good[content["step"]] = Found(file, content)
        return cls(tuple(good[step] for step in sorted(good)), tuple(notes))

    def at_or_before(self, step: int) -> Found | None:
        """The newest one that is no later than `step`; None where only step 0 is left."""
        early = [each for each in self.checkpoints if each.content["step"] <= step]
        return early[-1] if early else None


class Replay:
    """The run in `path` once more, from a checkpoint or from step 0, on its own data and threads.

    `pauses` are steps at which it must come to rest. Raises UnusableFile where data, checkpoint or
    config are no longer the run's.
    """

    def __init__(
        self, experiment: Experiment, run: Run, found: Found | None, pauses: Steps
    ) -> None:
        self.run = run
        self.prepared: Prepared = prepare_again(experiment, run.info)
        if found is None and run.info.get("parent") is not None:
            raise UnusableFile(f"{run.path}: a fork has no steps before its first checkpoint")
        due = Due(experiment.checkpoint, self.prepared.clock.units)
        due.kept = np.union1d(due.kept, pauses)
        cuts = cuts_of(recorded_incidents(run.info))
        self.loop: Loop = loop_of(self.prepared, lambda: False, due, cuts)
        if found is not None:
            restore(self.loop, found.content)
        self.first = self.loop.trainee.step

    def to(self, step: int) -> str | None:
        """Train to `step`, with the row that is due there; what differs from the record, or None.

        Stops at the first difference. Raises UnusableFile where the run ends before.
        """
        if self.loop.trainee.step == step and self.loop.at_rest:
            return None
        record = Recorded(self.run)
        for happened in self.loop.records():
            if isinstance(happened, Outcome):
                text = f"the replay ended at step {happened.step}: {happened.sentence}"
                raise UnusableFile(f"{self.run.path}: {text}; step {step} was asked for")
            difference = record.difference(happened)
            if difference is not None:
                return difference
            if self.loop.at_rest and self.loop.trainee.step == step:
                return None
        return None


class Recorded:
    """What a run's tables say of each of its records."""

    def __init__(self, run: Run) -> None:
        self.tolerance = tolerance.of(run.info)
        self._tables = {"steps.csv": run.steps, "epochs.csv": run.epochs, HEADROOM: run.headroom}
        self._rows = {
            name: {int(step): k for k, step in enumerate(table["step"])}
            for name, table in self._tables.items()
        }
        self.compared = dict.fromkeys(self._tables, 0)
        """Rows that were found equal, by table."""

    def difference(self, happened: Record | Incident) -> str | None:
        """Hold a record against its row, if it has one: the first cell that differs, or None.

        What a run that was trained fused has measured may differ by the tolerance of such runs.
        """
        if isinstance(happened, Incident):
            return None
        name = _TABLES[type(happened)]
        row = self._rows[name].get(happened.step)
        if row is None:
            return None
        table = self._tables[name]
        for column, value in zip(table, _cells(happened, table), strict=True):
            recorded = float(table[column][row])
            again = float("nan") if value is None else float(value)
            exact = column in _EXACT or column.startswith("lr")
            if not tolerance.near(recorded, again, 0.0 if exact else self.tolerance):
                at = f"{name}: step {happened.step}: {column}"
                return f"{at} is {recorded!r} on record, {again!r} in the replay"
        self.compared[name] += 1
        return None


_EXACT = ("epoch", "step", "samples", *DRIVEN)
"""Columns that are functions of the config alone, as those of the LRs are."""


def _cells(happened: Record, table: Mapping[str, Floats]) -> list[float | None]:
    """The values of a record in the order of its table's columns."""
    if isinstance(happened, HeadroomRecord):
        measured = (happened.headroom, happened.update_ratio, *happened.group_ratios)
        return [happened.step, *happened.lr, *measured]
    norm = [happened.grad_norm] if "grad_norm" in table else []
    if isinstance(happened, StepRecord):
        return [happened.step, *happened.lr, happened.loss, *happened.driven, *norm]
    head = [happened.epoch, happened.step, happened.samples, *happened.lr, happened.train_loss]
    names = list(table)[len(head) : len(table) - len(norm)]
    return [*head, *(happened.metrics.get(name) for name in names), *norm]
