"""The run folder of a replica, written as that of a run alone is."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

import torch

from lrrun.records import EpochRecord, Incident, Notice, Outcome, StepBlock
from lrrun.runlog.writer import RunWriter
from lrrun.training.checkpoint_store import Found, Store
from lrrun.training.checkpoints import Checkpoints, Due, Spending
from lrrun.training.fused.loop import Happening
from lrrun.training.fused.replica import Replica
from lrrun.training.journey import Started, reopen
from lrrun.training.preparation import Prepared


class Folder:
    """Writes what happens to one replica; its checkpoints are those of a run alone.

    The chunk that it trains in is told by `engine` in run.json.
    """

    def __init__(self, prepared: Prepared, writer: RunWriter) -> None:
        self.prepared = prepared
        self.writer = writer
        self.due = Due(prepared.experiment.checkpoint, prepared.clock.units)
        self.incidents: list[Incident] = []
        self._noted = 0
        last = prepared.experiment.checkpoint.last
        self.store = Store(writer.checkpoints, writer.info["id"], last)
        self._checkpoints: Checkpoints | None = None
        self._replica: Replica | None = None
        self._left_at = 0

    @property
    def path(self) -> Path:
        """Where it is."""
        return self.writer.path

    @property
    def step(self) -> int:
        """The replica's step, or the one at which it has been left."""
        return self._left_at if self._replica is None else self._replica.trainee.step

    def follow(self, replica: Replica, spending: Spending, found: Found | None) -> Notice | None:
        """Write this replica from now on, from the checkpoint `found` where there is one."""
        metric = self.prepared.experiment.checkpoint.best
        self._replica = replica
        self._checkpoints = Checkpoints(
            self.store, replica, self.due, metric, self.writer, spending
        )
        lost = None if found is None else self._checkpoints.restore(found)
        return None if lost is None else Notice(lost)

    def started(self, together: int) -> Started:
        """What is said of a run that begins."""
        prepared = self.prepared
        return Started(
            self.path,
            prepared.experiment.seeds[0],
            prepared.clock.units,
            tuple(prepared.trainee.schedules),
            str(prepared.trainee.device),
            torch.get_num_threads(),
            prepared.parameters,
            self.step,
            together,
        )

    def saves(self, happening: Happening) -> bool:
        """Will taking this, or finishing with it, wait for the disk?"""
        assert self._checkpoints is not None
        ends = isinstance(happening, Outcome)
        return ends or self._checkpoints.keeps or self._checkpoints.is_due(happening)

    def take(self, happening: Happening) -> None:
        """Write what has happened, and save where it is due."""
        assert self._checkpoints is not None
        if isinstance(happening, Outcome):
            self.finish(happening)
            return
        if isinstance(happening, StepBlock):
            self.writer.write_steps(happening, self.prepared.experiment.train.log_every)
        elif isinstance(happening, EpochRecord):
            self._note_incidents()
            self.writer.write(happening)
        else:
            self.incidents.append(happening)
        self._checkpoints.after(happening)

    def finish(self, outcome: Outcome) -> None:
        """Save the last state (where it has diverged or failed, the last good one stays); leave."""
        if self._checkpoints is not None:
            if outcome.status in ("completed", "interrupted"):
                self._checkpoints.save(settle=False)
            elif outcome.status == "diverged":
                self._checkpoints.save_best()
        self._note_incidents()
        self.writer.finish(outcome)
        self.leave()

    def leave(self) -> None:
        """Let go of the replica, and it of its stack, which is freed with the last of them."""
        self._left_at = self.step
        if self._replica is not None:
            self._replica.place.joined = None
        self._replica = self._checkpoints = None

    def go_back(self) -> Found | None:
        """Bring the folder to its newest checkpoint, or to step 0; later rows are superseded."""
        self.leave()
        self.writer.close()
        found = self.store.newest_good(set_aside=True)
        self.writer = reopen(self.prepared, self.path, found)
        self._left_at = step = found.content["step"] if found else 0
        self.incidents = [each for each in self.incidents if each.step < step]
        self._noted = -1
        self._note_incidents()
        return found

    def note_engine(self, together: Iterable[str]) -> None:
        """Put on record which runs it trains with."""
        self.writer.note(engine=engine(together))

    def close(self) -> None:
        """Give files and lock back."""
        self.writer.close()

    def _note_incidents(self) -> None:
        if len(self.incidents) != self._noted:
            self.writer.note(incidents=[asdict(each) for each in self.incidents])
            self._noted = len(self.incidents)


def engine(together: Iterable[str]) -> dict[str, object]:
    """What run.json says of a fused run: how many trained as one, and their ids."""
    ids = list(together)
    return {"fused": len(ids), "chunk": ids}
