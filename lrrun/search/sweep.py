"""A sweep on its way: batch by batch, chunk by chunk, every trial a row in the end."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lrrun.config.experiment import Experiment
from lrrun.errors import ConfigError, UnusableFile
from lrrun.records import Notice
from lrrun.runlog.sweeps import Row, SweepWriter
from lrrun.search.chunks import chunks_of
from lrrun.search.design import PlannedTrial
from lrrun.search.launch import Began, Ended, Launcher, Order, Progress
from lrrun.search.plan import Chunk, Plan
from lrrun.search.reuse import FinishedRuns
from lrrun.search.trials import (
    ended_row,
    experiment_of,
    loss_of,
    refusal,
    row_of,
)

if TYPE_CHECKING:
    from lrrun.training.signals import StopOnSignals


@dataclass(frozen=True)
class Budget:
    """What a call may spend: so many trials, and no new chunk after so many minutes."""

    trials: int | None = None
    minutes: float | None = None


@dataclass(frozen=True)
class BatchBegins:
    """These trials come next, in these chunks; `done` of them have ended already."""

    trials: tuple[PlannedTrial, ...]
    chunks: tuple[Chunk, ...]
    done: int


SweepEvent = BatchBegins | Began | Progress | Notice | Row


@dataclass
class Sweep:
    """The sweep that `writer` writes, from its beginning or from where it was stopped."""

    plan: Plan
    writer: SweepWriter
    launcher: Launcher
    stop: StopOnSignals
    budget: Budget = field(default_factory=Budget)
    allow_code: bool = False
    reuse: FinishedRuns | None = None
    planned: list[PlannedTrial] = field(default_factory=list)
    complete: bool = False
    """Has every trial a row? Known once `events` has ended."""
    _begun: int = 0
    _since: float = 0.0

    def events(self) -> Iterator[SweepEvent]:
        """Everything that happens until the sweep is done, stopped, or out of budget."""
        self._since = time.monotonic()
        for index in itertools.count():
            batch = self.plan.design.batch(index, self.planned, self._losses())
            if not batch:
                break
            self.planned += batch
            yield from self._batch(index, batch)
            if any(trial.number not in self.rows for trial in batch):
                return
        self.writer.finish()
        self.complete = True

    @property
    def rows(self) -> Mapping[int, Row]:
        """The trials that have ended, by number."""
        return self.writer.rows

    def _batch(self, index: int, batch: list[PlannedTrial]) -> Iterator[SweepEvent]:
        self._check_recorded(batch)
        trials = {trial.number: trial for trial in batch}
        done = sum(number in self.rows for number in trials)
        new: list[Row] = []
        experiments: dict[int, Experiment] = {}
        for trial in batch:
            if trial.number not in self.rows or index >= len(self.plan.batches):
                try:
                    experiments[trial.number] = experiment_of(self.plan, trial, self.allow_code)
                except ConfigError as error:
                    if trial.number not in self.rows:
                        row = row_of(self.plan, trial, "failed", refusal(error))
                        self.writer.write(row)
                        new.append(row)
        new += self._reused(trials, experiments)
        if index >= len(self.plan.batches):
            chunks = chunks_of(experiments, self.plan.chunk, self.plan.workers)
            self.plan = self.plan.with_batch(chunks)
            self.writer.plan(self.plan.text())
        chunks = [*self.plan.batches[index]]
        yield BatchBegins(tuple(batch), tuple(chunks), done)
        yield from new
        for event in self.launcher.run(self._orders(chunks, trials), self.stop):
            if isinstance(event, Ended):
                yield from self._ended(trials[event.trial], event)
            else:
                yield event

    def _orders(self, chunks: list[Chunk], trials: Mapping[int, PlannedTrial]) -> Iterator[Order]:
        """What is left of every chunk, as long as the budget lasts."""
        for chunk in chunks:
            left = [number for number in chunk if number not in self.rows]
            if self.budget.trials is not None:
                left = left[: max(0, self.budget.trials - self._begun)]
            minutes = (time.monotonic() - self._since) / 60
            if self.budget.minutes is not None and minutes >= self.budget.minutes:
                return
            if self.stop.requested():
                return
            self._begun += len(left)
            if left:
                own = tuple(trials[number] for number in left)
                yield Order(self.plan, own, self.writer.path, self.allow_code)

    def _ended(self, trial: PlannedTrial, event: Ended) -> Iterator[Row]:
        """The row of a trial; one that was interrupted has none, and goes on another time."""
        if event.status == "interrupted":
            return
        row = ended_row(self.plan, trial, event.folder, self.writer.path) if event.folder else None
        if row is None:
            place = event.folder.name if event.folder else ""
            row = row_of(self.plan, trial, event.status, event.sentence, place)
        self.writer.write(row)
        yield row

    def _reused(
        self, trials: Mapping[int, PlannedTrial], experiments: Mapping[int, Experiment]
    ) -> Iterator[Row]:
        """Rows of trials that another run has already answered."""
        if self.reuse is None:
            return
        for number, experiment in experiments.items():
            folder = self.reuse.like(experiment) if number not in self.rows else None
            if folder is not None:
                row = ended_row(self.plan, trials[number], folder, self.writer.path)
                if row is not None:
                    self.writer.write(row)
                    yield row

    def _losses(self) -> dict[int, float]:
        metric = self.plan.metrics[0]
        return {number: loss_of(row, metric) for number, row in self.rows.items()}

    def _check_recorded(self, batch: list[PlannedTrial]) -> None:
        """A trial that has a row is the one that is planned here, or results would be mixed up."""
        for trial in batch:
            row = self.rows.get(trial.number)
            if row is not None and row.values != row_of(self.plan, trial, "", "").values:
                raise UnusableFile(
                    f"{self.writer.path}: trial {trial.number} is not the one that this lrrun "
                    "plans there; it was made with other versions of lrrun, numpy or Optuna"
                )
