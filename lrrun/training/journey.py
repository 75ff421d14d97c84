"""A run on its way: from wherever it stands to its end, everything written before it is told.

A divergence that is to be rewound ends one leg of the journey and begins another, from the last
checkpoint and with a lower LR.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import torch

from lrrun.errors import LrrunError
from lrrun.records import (
    EpochRecord,
    HeadroomRecord,
    Incident,
    Notice,
    Outcome,
    Record,
    StepBlock,
)
from lrrun.runlog.lock import RunLock
from lrrun.runlog.writer import RunWriter
from lrrun.training.checkpoint_store import Found, Store
from lrrun.training.checkpoints import Checkpoints, Due
from lrrun.training.datasets import close_workers
from lrrun.training.loop import Loop
from lrrun.training.preparation import Prepared
from lrrun.training.rates import Cut
from lrrun.training.signals import StopOnSignals
from lrrun.training.state import restore
from lrrun.units import Units

MAX_REWINDS = 10
"""After so many rewinds the next divergence ends the run."""


@dataclass(frozen=True)
class Started:
    """A run has begun, or goes on from `step`: where it writes, how long it is, on what it runs."""

    path: Path
    seed: int
    units: Units
    groups: tuple[str, ...]
    device: str
    threads: int
    parameters: int
    step: int = 0
    together: int = 1
    """Runs that train as one stacked model, this one among them."""


Event = Started | Record | StepBlock | Incident | Notice | Outcome


class Journey:
    """The run that `writer` writes, from its beginning or from the checkpoint `found`.

    A context manager: leaving it closes the writer, and ends the data's worker processes.
    """

    def __init__(
        self,
        prepared: Prepared,
        writer: RunWriter,
        stop: StopOnSignals,
        found: Found | None = None,
        graft: Callable[[Loop], None] | None = None,
    ) -> None:
        """`graft` puts a run that has no checkpoint yet into the state it begins with."""
        self.prepared = prepared
        self.writer = writer
        self.stop = stop
        self.found = found
        self.graft = graft
        self.incidents = recorded_incidents(writer.info)
        last = prepared.experiment.checkpoint.last
        self.store = Store(writer.checkpoints, writer.info["id"], last)
        self.step = 0
        self._noted = len(self.incidents)

    def events(self) -> Iterator[Event]:
        """Everything that happens, until the Outcome. An error is put on record and raised on."""
        self._forget_superseded()
        try:
            rewound = yield from self._leg(first=True)
            while rewound:
                rewound = yield from self._leg()
        except Exception as error:
            known = isinstance(error, LrrunError)
            sentence = str(error) if known else f"{type(error).__name__}: {error}"
            with contextlib.suppress(LrrunError):  # the disk that failed may fail again
                self.writer.finish(Outcome("failed", sentence, self.step))
            raise

    def _leg(self, first: bool = False) -> Generator[Event, None, bool]:
        """Train to the run's end, or to a divergence that was rewound: then True."""
        experiment = self.prepared.experiment
        due = Due(experiment.checkpoint, self.prepared.clock.units)
        loop = loop_of(self.prepared, self.stop.requested, due, cuts_of(self.incidents))
        checkpoints = Checkpoints(self.store, loop, due, experiment.checkpoint.best, self.writer)
        if self.found is not None:
            restore(loop, self.found.content)
            lost = checkpoints.restore(self.found)
            if lost is not None:
                yield Notice(lost)
        elif self.graft is not None:
            self.graft(loop)
            checkpoints.keep()  # the only way back to before the first checkpoint
            checkpoints.save()
        if first:
            yield self._started(loop.trainee.step)
            yield from map(Notice, self.prepared.notices)
        for record in loop.records():
            self.step = loop.trainee.step
            if isinstance(record, Outcome):
                if self._may_rewind(record):
                    yield self._rewind(record)
                    return True
                self._finish(record, checkpoints)
            else:
                self._write(record)
                checkpoints.after(record)
            yield record
        return False

    def _started(self, step: int) -> Started:
        prepared = self.prepared
        return Started(
            self.writer.path,
            prepared.experiment.seeds[0],
            prepared.clock.units,
            tuple(prepared.trainee.schedules),
            str(prepared.trainee.device),
            torch.get_num_threads(),
            prepared.parameters,
            step,
        )

    def _write(self, record: Record | Incident) -> None:
        if isinstance(record, Incident):
            self.incidents.append(record)
        elif isinstance(record, EpochRecord):
            self._note_incidents()
            self.writer.write(record)
        elif (
            isinstance(record, HeadroomRecord)
            or record.step % self.prepared.experiment.train.log_every == 0
        ):
            self.writer.write(record)

    def _finish(self, outcome: Outcome, checkpoints: Checkpoints) -> None:
        """Save the last state (where it has diverged, the last good one stays); close the log."""
        if outcome.status == "diverged":
            checkpoints.save_best()
        else:
            checkpoints.save(settle=False)
        self._note_incidents()
        self.writer.finish(outcome)

    def _may_rewind(self, outcome: Outcome) -> bool:
        rewinds = sum(each.kind == "rewind" for each in self.incidents)
        wanted = self.prepared.experiment.train.on_divergence == "rewind"
        return outcome.status == "diverged" and wanted and rewinds < MAX_REWINDS

    def _rewind(self, outcome: Outcome) -> Incident:
        """Go back to the last good checkpoint, with a lower LR from there on."""
        self.found = self.store.newest_good(set_aside=True)
        to = self.found.content["step"] if self.found else 0
        factor = self.prepared.experiment.train.rewind_factor
        text = f"{outcome.sentence}; back to step {to}, {factor:g} times the LR from there on"
        incident = Incident("rewind", outcome.step, text, to, factor)
        self.incidents.append(incident)
        self._note_incidents()
        self.writer.close()
        self.writer = reopen(self.prepared, self.writer.path, self.found)
        self.prepared = self.prepared.again()
        self._forget_superseded()
        return incident

    def _forget_superseded(self) -> None:
        """Skips after the step from which the run goes on will happen again."""
        step = self.found.content["step"] if self.found else 0
        kept = [each for each in self.incidents if each.kind == "rewind" or each.step < step]
        if kept != self.incidents:
            self.incidents, self._noted = kept, -1
            self._note_incidents()

    def _note_incidents(self) -> None:
        if len(self.incidents) != self._noted:
            self.writer.note(incidents=[asdict(each) for each in self.incidents])
            self._noted = len(self.incidents)

    def __enter__(self) -> Journey:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        close_workers(self.prepared.data)
        self.writer.close()


def loop_of(
    prepared: Prepared,
    stop_requested: Callable[[], bool],
    due: Due,
    cuts: Sequence[Cut] = (),
) -> Loop:
    """The loop of a run that has not begun, with a pause wherever a checkpoint is due."""
    experiment = prepared.experiment
    return Loop(
        prepared.trainee,
        prepared.data,
        experiment.train,
        experiment.dataset.batch_size,
        prepared.clock,
        experiment.seeds[0],
        stop_requested,
        due.pauses,
        cuts,
    )


def reopen(
    prepared: Prepared, path: Path, found: Found | None, lock: RunLock | None = None
) -> RunWriter:
    """The writer of a run that goes on from a checkpoint, or from step 0."""
    trainee = prepared.trainee
    content: Mapping[str, Any] = found.content if found else {"step": 0, "marks": None}
    return RunWriter.reopen(
        path,
        content["step"],
        content["marks"],
        tuple(trainee.schedules),
        lock=lock,
        metrics=trainee.task.metric_names,
        grad_norm=prepared.experiment.train.grad_norm,
        driven=trainee.driven,
        headroom=prepared.experiment.train.headroom is not None,
    )


def recorded_incidents(info: Mapping[str, Any]) -> list[Incident]:
    """What run.json says that the run survived."""
    return [Incident(**each) for each in info.get("incidents", ())]


def cuts_of(incidents: Sequence[Incident]) -> tuple[Cut, ...]:
    """What these incidents did to the LR."""
    return tuple(
        Cut(each.to, each.factor)
        for each in incidents
        if each.to is not None and each.factor is not None
    )
