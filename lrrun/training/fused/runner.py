"""From many Experiments to as many finished run folders: what may be stacked is trained as one."""

from __future__ import annotations

import functools
from collections.abc import Generator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from lrrun.config.experiment import Experiment
from lrrun.config.fusing import Group, groups
from lrrun.errors import EnvironmentFault
from lrrun.records import Notice, Outcome
from lrrun.training.fused.chunks import (
    chunk_sizes,
    fills_the_processor,
    free_memory,
    replica_bytes,
    room_for,
)
from lrrun.training.fused.refusal import NotFusable
from lrrun.training.fused.together import Member, Numbered, Together, sentence_of
from lrrun.training.preparation import Prepared, prepare
from lrrun.training.provenance import provenance
from lrrun.training.runner import run
from lrrun.training.signals import StopOnSignals

Facts = Mapping[str, Any]

_LARGE = "each fills the processor alone, and fused they would be no faster"


def train_many(
    experiments: Sequence[Experiment],
    runs_dir: Path,
    *,
    facts: Facts | Sequence[Facts] | None = None,
    smoke: bool = False,
    stop: StopOnSignals | None = None,
    fuse: bool = True,
) -> Iterator[Numbered]:
    """Train one-seed experiments, each into a run folder of its own; (index, what happens).

    `facts`, one for all or one for each, are further entries of run.json. Every index ends with an
    Outcome: after its Started, or at once where it could not begin (`failed`) or a request to stop
    came before (`interrupted`). Steps come as StepBlocks of a fused run and as StepRecords of a
    solo one. What is not fused though others are says so in a Notice that names the key or the
    operation. Raises EnvironmentFault where the disk or the machine fails; then nothing goes on.
    """
    many = _Many(experiments, runs_dir, facts or {}, smoke, stop or StopOnSignals())
    alone = [Group((index,)) for index in range(len(experiments))]
    for group in groups(experiments) if fuse else alone:
        if group.reason is not None and len(experiments) > 1:
            yield group.indices[0], Notice(f"trained alone: {group.reason}")
        yield from many.group(group.indices)


class _Many:
    """What all experiments of one call have in common."""

    def __init__(
        self,
        experiments: Sequence[Experiment],
        runs_dir: Path,
        facts: Facts | Sequence[Facts],
        smoke: bool,
        stop: StopOnSignals,
    ) -> None:
        self.experiments = experiments
        self.runs_dir = runs_dir
        self.facts = [facts] * len(experiments) if isinstance(facts, Mapping) else [*facts]
        self.smoke = smoke
        self.stop = stop
        self._provenance = functools.cache(lambda device, threads: provenance(device, Path.cwd()))

    def group(self, indices: Sequence[int]) -> Iterator[Numbered]:
        """Train experiments that may be stacked, chunk by chunk."""
        first, left = None, list(indices)
        while first is None and len(left) > 1 and not self.stop.requested():
            first = yield from self._prepared(left[0])
            left = left if first else left[1:]
        if first is None:
            yield from self._one_by_one(left)
            return
        if fills_the_processor(first):
            yield left[0], Notice(f"{len(left)} runs are trained one by one: {_LARGE}")
            yield from self._one_by_one(left)
            return
        ready = {left[0]: first}
        each = replica_bytes(first)
        for size in chunk_sizes(len(left), each, room_for(first.trainee.device, each)):
            chunk, left = left[:size], left[size:]
            if size == 1 or self.stop.requested():
                yield from self._one_by_one(chunk)
                continue
            refused = yield from self._chunk(chunk, first, ready)
            if refused is not None:
                free_memory()  # the stack that was tried
                text = f"{len(chunk + left)} runs are trained one by one: {refused}"
                yield chunk[0], Notice(text)
                yield from self._one_by_one(chunk + left)
                return

    def _chunk(
        self, indices: Sequence[int], like: Prepared, ready: dict[int, Prepared]
    ) -> Generator[Numbered, None, str | None]:
        """Train one chunk; the operation that cannot be stacked, where there is one."""
        members = []
        for index in indices:
            prepared = ready.pop(index, None) or (yield from self._prepared(index, like))
            if prepared is not None:
                members.append(Member(index, prepared, self._facts(index)))
        if members:
            together = Together(self.runs_dir, self.stop, self._machine)
            try:
                yield from together.events(members)
            except NotFusable as error:
                return error.operation
        return None

    def _prepared(
        self, index: int, like: Prepared | None = None
    ) -> Generator[Numbered, None, Prepared | None]:
        """What is ready to begin, on the data of `like`; None, and its Outcome, where it fails."""
        experiment = self.experiments[index]
        try:
            return like.alike(experiment, self.smoke) if like else prepare(experiment, self.smoke)
        except EnvironmentFault:
            raise
        except Exception as error:
            yield index, Outcome("failed", sentence_of(error), 0)
            return None

    def _one_by_one(self, indices: Sequence[int]) -> Iterator[Numbered]:
        for index in indices:
            if self.stop.requested():
                yield index, Outcome("interrupted", "stopped before it began", 0)
            else:
                yield from self._alone(index)

    def _alone(self, index: int) -> Iterator[Numbered]:
        """Train as `train` does; an error is this run's own, unless the machine is to blame."""
        events = run(
            self.experiments[index],
            self.runs_dir,
            smoke=self.smoke,
            stop=self.stop,
            facts=self.facts[index],
        )
        step = 0
        try:
            for event in events:
                step = getattr(event, "step", step)
                yield index, event
        except EnvironmentFault:
            raise
        except Exception as error:
            yield index, Outcome("failed", sentence_of(error), step)

    def _facts(self, index: int) -> Facts:
        return {"smoke": self.smoke, **self.facts[index]}

    def _machine(self, prepared: Prepared) -> Facts:
        """The provenance of every run, asked once for each number of threads."""
        return self._provenance(prepared.trainee.device, torch.get_num_threads())
