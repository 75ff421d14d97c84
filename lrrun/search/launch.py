"""Training the chunks of a sweep: what a chunk is told, and what it tells."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from lrrun.errors import EnvironmentFault, LrrunError, UnusableFile
from lrrun.records import EpochRecord, Notice, Outcome
from lrrun.runlog.reader import Run
from lrrun.runlog.sweeps import discard_run
from lrrun.search.design import PlannedTrial
from lrrun.search.plan import Plan
from lrrun.search.trials import experiment_of, trial_folders

if TYPE_CHECKING:
    from lrrun.config.experiment import Experiment
    from lrrun.training.journey import Event
    from lrrun.training.signals import StopOnSignals


@dataclass(frozen=True)
class Order:
    """A chunk to train, as plain data that can go to another process or machine."""

    plan: Plan
    trials: tuple[PlannedTrial, ...]
    sweep: Path
    allow_code: bool = False

    def without(self, number: int) -> Order:
        """What is left to do once a trial has ended."""
        left = tuple(trial for trial in self.trials if trial.number != number)
        return replace(self, trials=left)


@dataclass(frozen=True)
class Began:
    """A trial's run has begun, of so many steps."""

    trial: int
    folder: Path
    steps: int


@dataclass(frozen=True)
class Progress:
    """A trial has done `step` updates; its metrics there."""

    trial: int
    step: int
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class Ended:
    """A trial's run has ended; `folder` is None where it could not begin."""

    trial: int
    status: str
    sentence: str
    folder: Path | None = None


Happening = Began | Progress | Notice | Ended


class Launcher(Protocol):
    """Where chunks are trained."""

    @property
    def workers(self) -> int:
        """How many chunks are trained at a time."""

    def run(self, orders: Iterator[Order], stop: StopOnSignals) -> Iterator[Happening]:
        """Train what is ordered; orders are taken when there is a worker free for them."""


class InProcess:
    """One chunk after the other, in this process."""

    workers = 1

    def run(self, orders: Iterator[Order], stop: StopOnSignals) -> Iterator[Happening]:
        """Train what is ordered, in order."""
        for order in orders:
            yield from train_chunk(order, stop)


def train_chunk(order: Order, stop: StopOnSignals) -> Iterator[Happening]:
    """Train the trials of a chunk together where they may be; every one of them ends.

    A trial that stands alone goes on from its last checkpoint, if it has one; several begin anew,
    so that they stay as they were planned. An error that stops all of them has each of them try
    alone, so that it ends those alone that cause it. Raises EnvironmentFault where the disk fails.
    """
    left = {trial.number: trial for trial in order.trials}
    try:
        for event in _together(order, stop):
            if isinstance(event, Ended):
                del left[event.trial]
            yield event
    except EnvironmentFault:
        raise
    except Exception as error:
        if len(order.trials) == 1:
            yield Ended(order.trials[0].number, "failed", _sentence(error))
            return
    for trial in left.values():
        yield from train_chunk(replace(order, trials=(trial,)), stop)


def _sentence(error: Exception) -> str:
    return str(error) if isinstance(error, LrrunError) else f"{type(error).__name__}: {error}"


def _together(order: Order, stop: StopOnSignals) -> Iterator[Happening]:
    begun = trial_folders(order.sweep)
    for number in [trial.number for trial in order.trials]:
        for folder in begun.get(number, ()):
            ended = _ended_in(folder, number)
            if ended is not None:
                yield ended
                order = order.without(number)
                break
    numbers = [trial.number for trial in order.trials]
    if not numbers:
        return
    if len(numbers) == 1 and begun.get(numbers[0]):
        resumed = _resumed(begun[numbers[0]][-1], order, stop)
        if resumed is not None:
            yield from _told(((0, event) for event in resumed), numbers)
            return
    for number in numbers:
        for folder in begun.get(number, ()):
            discard_run(folder)
    experiments = [experiment_of(order.plan, each, order.allow_code) for each in order.trials]
    yield from _told(_trained(experiments, order, stop), numbers)


def _ended_in(folder: Path, number: int) -> Ended | None:
    """The end of a run that the sweep was killed before it heard of."""
    try:
        run = Run.open(folder)
    except UnusableFile:
        return None
    if run.status not in ("completed", "diverged"):
        return None
    return Ended(number, run.status, run.sentence, folder)


def _resumed(folder: Path, order: Order, stop: StopOnSignals) -> Iterator[Event] | None:
    """The rest of a run that was stopped; None where it cannot go on and has to begin anew."""
    from lrrun.training.resume import resume

    events = resume(folder, allow_code=order.allow_code, stop=stop)
    try:
        first = next(events)
    except UnusableFile:
        return None
    return _chained(first, events)


def _chained(first: Event, rest: Iterator[Event]) -> Iterator[Event]:
    yield first
    yield from rest


def _trained(
    experiments: Sequence[Experiment], order: Order, stop: StopOnSignals
) -> Iterator[tuple[int, Event]]:
    from lrrun.training.fused.runner import train_many

    plan = order.plan
    facts = {"command": plan.command, "smoke": plan.smoke}
    fuse = plan.chunk > 1
    return train_many(experiments, order.sweep, facts=facts, smoke=plan.smoke, stop=stop, fuse=fuse)


def _told(events: Iterator[tuple[int, Event]], numbers: Sequence[int]) -> Iterator[Happening]:
    """What the sweep wants to know of what happens to its runs."""
    from lrrun.training.journey import Started

    folders: dict[int, Path] = {}
    for index, event in events:
        number = numbers[index]
        if isinstance(event, Started):
            folders[number] = event.path
            yield Began(number, event.path, event.units.total_steps)
        elif isinstance(event, Notice):
            yield event
        elif isinstance(event, EpochRecord):
            yield Progress(number, event.step, event.metrics)
        elif isinstance(event, Outcome):
            yield Ended(number, event.status, event.sentence, folders.get(number))
