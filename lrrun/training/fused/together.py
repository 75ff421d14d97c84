"""One chunk of replicas from their preparation to their finished folders.

Out of memory, the chunk is halved, and each half goes on from its runs' last checkpoints.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch

from lrrun.errors import EnvironmentFault, LrrunError
from lrrun.records import Notice, Outcome
from lrrun.runlog import files
from lrrun.runlog.names import create_run_folder
from lrrun.training.checkpoint_store import Found
from lrrun.training.checkpoints import Due, Spending
from lrrun.training.datasets import close_workers
from lrrun.training.fused.chunks import free_memory, is_out_of_memory, stacked_threads
from lrrun.training.fused.folders import Folder, engine
from lrrun.training.fused.loop import FusedLoop
from lrrun.training.fused.refusal import NotFusable
from lrrun.training.fused.replica import Replica
from lrrun.training.journey import Event
from lrrun.training.moments import Steps
from lrrun.training.preparation import Prepared
from lrrun.training.runner import create
from lrrun.training.signals import StopOnSignals
from lrrun.training.state import restore_feedback, restore_place, restore_watches
from lrrun.training.timetable import Timetable

Numbered = tuple[int, Event]
Item = TypeVar("Item")

WRITERS = 4
"""Threads that wait for the disk, which takes many small files at once in the time of one. More of
them wait for each other: the interpreter runs one at a time.
"""

FIRST_COST = 0.005
"""What saving a replica is taken to cost, in seconds, before it is known."""


@dataclass
class Member:
    """One experiment of a chunk: by its index, as far as it has come."""

    index: int
    prepared: Prepared
    facts: Mapping[str, Any]
    id: str = field(default_factory=lambda: secrets.token_hex(8))
    folder: Folder | None = None
    found: Found | None = None
    done: bool = False

    @property
    def step(self) -> int:
        """Where it begins, or goes on."""
        return self.found.content["step"] if self.found else 0

    def begin_again(self) -> None:
        """Forget what it has learnt since its last checkpoint."""
        self.prepared = self.prepared.again()
        if self.folder is not None:
            self.folder.prepared = self.prepared
            self.found = self.folder.go_back()


class Together:
    """Trains members that may be stacked, in chunks that were planned."""

    def __init__(
        self, runs_dir: Path, stop: StopOnSignals, machine: Callable[[Prepared], Mapping[str, Any]]
    ) -> None:
        self.runs_dir = runs_dir
        self.stop = stop
        self.machine = machine

    def events(self, members: Sequence[Member]) -> Iterator[Numbered]:
        """Everything that happens to them, until every one has its Outcome.

        Raises NotFusable before anything is written. An error ends all that are left as `failed`;
        where the disk or the machine is to blame it is raised on.
        """
        try:
            left = yield from self._as_one(members)
            if left:  # the error is forgotten by now, and all that its traceback held
                yield from self._halved(left)
        finally:
            close_workers(members[0].prepared.data)
            for member in members:
                if member.folder is not None:
                    member.folder.close()

    def _as_one(self, members: Sequence[Member]) -> Generator[Numbered, None, list[Member]]:
        """Train them in one stack; those that are left where it has no memory for all of them."""
        try:
            yield from self._stacked(members)
        except Exception as error:
            left = [each for each in members if not each.done]
            if is_out_of_memory(error) and len(left) > 1:
                return left
            if isinstance(error, NotFusable) and all(each.folder is None for each in left):
                raise
            yield from _failed(left, error)
            if isinstance(error, EnvironmentFault):
                raise
        return []

    def _stacked(self, members: Sequence[Member]) -> Iterator[Numbered]:
        torch.set_num_threads(stacked_threads(members[0].prepared, len(members)))
        loop, replicas = self._loop(members)
        first = [each for each in members if each.folder is None]
        self._open_folders(members)
        folders = {each.index: _open(each) for each in members}
        spending = Spending(FIRST_COST * len(members))
        for member, replica in zip(members, replicas, strict=True):
            lost = folders[member.index].follow(replica, spending, member.found)
            if member in first:
                yield member.index, folders[member.index].started(len(members))
            if lost is not None:
                yield member.index, lost
        by_index = {each.index: each for each in members}
        for round_ in loop.rounds():
            taken = [(folders[replica.index], happening) for replica, happening in round_]
            waits = any(folder.saves(happening) for folder, happening in taken)
            _at_once(lambda each: each[0].take(each[1]), taken, WRITERS if waits else 1)
            for replica, happening in round_:
                by_index[replica.index].done |= isinstance(happening, Outcome)
                yield replica.index, happening

    def _loop(self, members: Sequence[Member]) -> tuple[FusedLoop, list[Replica]]:
        """The loop of members that stand at one step, restored where they go on."""
        pauses = np.unique(np.concatenate([_pauses(each) for each in members]))
        first = members[0].prepared
        timetable = Timetable(first.experiment.train, first.clock, pauses)
        replicas = [Replica(each.index, each.prepared, timetable) for each in members]
        states = [each.found.content for each in members if each.found is not None]
        for replica, state in zip(replicas, states, strict=False):
            restore_feedback(replica, state)
            restore_place(replica, state)
            restore_watches(replica, state)
        return FusedLoop(replicas, self.stop.requested, states), replicas

    def _open_folders(self, members: Sequence[Member]) -> None:
        """Make the folders that are missing, their names in order, and say who trains together."""
        ids = [each.id for each in members]
        machine = self.machine(members[0].prepared)
        places = {
            each.index: create_run_folder(self.runs_dir, each.prepared.experiment.name, sync=False)
            for each in members
            if each.folder is None
        }
        files.sync_folder(self.runs_dir)

        def open_one(member: Member) -> None:
            if member.folder is not None:
                member.folder.note_engine(ids)
                return
            facts = {**member.facts, "id": member.id, "engine": engine(ids)}
            place = places[member.index]
            writer = create(member.prepared, self.runs_dir, facts, machine, place)
            member.folder = Folder(member.prepared, writer)

        _at_once(open_one, members, 1 if places else WRITERS)  # a new folder waits for nothing

    def _halved(self, members: Sequence[Member]) -> Iterator[Numbered]:
        """Train what is left in halves, those together that stand at one step."""
        for member in members:
            if member.folder is not None:
                member.folder.leave()
        free_memory()
        text = f"out of memory: {len(members)} replicas are trained in two halves"
        yield members[0].index, Notice(text)
        for member in members:
            member.begin_again()
        middle = (len(members) + 1) // 2
        ordered = sorted(members, key=lambda each: each.step)
        for half in (ordered[:middle], ordered[middle:]):
            for step in sorted({each.step for each in half}):
                yield from self.events([each for each in half if each.step == step])


def _open(member: Member) -> Folder:
    assert member.folder is not None
    return member.folder


def _at_once(do: Callable[[Item], object], items: Sequence[Item], threads: int) -> None:
    """Do the same to all of them, in threads where that is asked for; raises what one raised."""
    if min(threads, len(items)) < 2:
        for item in items:
            do(item)
        return
    with ThreadPoolExecutor(min(threads, len(items))) as pool:
        for done in [pool.submit(do, item) for item in items]:
            done.result()


def _pauses(member: Member) -> Steps:
    return Due(member.prepared.experiment.checkpoint, member.prepared.clock.units).pauses


def _failed(members: Sequence[Member], error: Exception) -> Iterator[Numbered]:
    """Put on record that these ended with an error."""
    for member in members:
        step = member.step if member.folder is None else member.folder.step
        outcome = Outcome("failed", sentence_of(error), step)
        if member.folder is not None:
            with contextlib.suppress(LrrunError):
                member.folder.finish(outcome)
        member.done = True
        yield member.index, outcome


def sentence_of(error: Exception) -> str:
    """What an error says of the run that it ended."""
    return str(error) if isinstance(error, LrrunError) else f"{type(error).__name__}: {error}"
