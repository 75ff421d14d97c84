"""Is the record of a run true? It is replayed from a checkpoint and compared bit for bit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lrrun.config.reading import load_experiment
from lrrun.errors import UnusableFile
from lrrun.records import Notice, Outcome
from lrrun.runlog.reader import Run
from lrrun.training import tolerance
from lrrun.training.replay import Kept, Recorded, Replay
from lrrun.training.resume import changes_of_machine, refuse_bending
from lrrun.training.state import capture, differences

_NOT_COMPARED = ("run", "marks", "best")

_TOLERANT = (
    "the run was trained fused with {others} others: rows, steps and LRs are compared exactly, "
    "losses, metrics and weights to {percent:g}%"
)


@dataclass(frozen=True)
class Verdict:
    """What was replayed and compared, and the first thing that differs, if any does."""

    first: int
    last: int
    steps: int
    rows: int
    tensors: int
    difference: str | None


def verify(
    path: Path, since: int | None = None, *, allow_code: bool = False
) -> Iterator[Notice | Verdict]:
    """Replay the run in `path` into memory, up to its last checkpoint; ends with the Verdict.

    It begins at the newest checkpoint no later than step `since`; by default at the one before the
    last. Compared are every LR, loss, metric and sum that is in the tables, and at the end a hash
    over the rows that every update took, the weights, the optimizer's moments and all other state.
    Raises UnusableFile where there is no checkpoint, or data or config are no longer the run's.
    """
    run = Run.open(path)
    experiment = load_experiment(path / "config.yaml", allow_code=allow_code)
    refuse_bending(experiment, run.info, path)
    kept = Kept.of(path, run.info)
    for note in kept.notes:
        yield Notice(note)
    if not kept.checkpoints:
        raise UnusableFile(f"{path}: no checkpoint to verify against; lrrun resume makes one")
    target = kept.checkpoints[-1].content
    begin = target["step"] - 1 if since is None else min(since, target["step"] - 1)
    found = kept.at_or_before(begin)
    replay = Replay(experiment, run, found, np.array([target["step"]]))
    for sentence in changes_of_machine(replay.prepared, run.info):
        yield Notice(sentence)
    others = tolerance.fused_with(run.info)
    if others and tolerance.draws_masks(replay.prepared.trainee.model):
        raise UnusableFile(
            f"{path}: cannot be verified: it was trained fused, with dropout masks that no other "
            "run can draw; lrrun train its config for one that can be"
        )
    if others:
        yield Notice(_TOLERANT.format(others=others, percent=100 * tolerance.RELATIVE))
    yield Notice(f"replaying steps {replay.first} to {target['step']}")
    yield _compare(replay, target)


def _compare(replay: Replay, target: dict[str, Any]) -> Verdict:
    loop, record = replay.loop, Recorded(replay.run)
    difference = None
    for happened in loop.records():
        if isinstance(happened, Outcome):
            if loop.trainee.step != target["step"]:
                difference = f"the replay ended at step {happened.step}: {happened.sentence}"
            break
        difference = record.difference(happened)
        arrived = loop.trainee.step == target["step"] and loop.row_at == target["row_at"]
        if difference is not None or (arrived and loop.handed):
            break
    state = capture(loop)
    if difference is None:
        paths = _differences(target, state, tolerance.of(replay.run.info))
        if paths:
            more = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
            difference = f"the state after step {loop.trainee.step} differs: {paths[0]}{more}"
    return Verdict(
        replay.first,
        loop.trainee.step,
        record.compared["steps.csv"],
        record.compared["epochs.csv"],
        len(state["model"]),
        difference,
    )


def _differences(target: dict[str, Any], state: dict[str, Any], apart: float) -> list[str]:
    """The key paths at which the replayed state is not the saved one, to the tolerance `apart`."""
    if not apart:
        saved = {key: value for key, value in target.items() if key not in _NOT_COMPARED}
        return differences(saved, state)
    exact = [key for key in ("step", "samples", "row_at", "trail") if target[key] != state[key]]
    far = tolerance.far_apart(target["model"], state["model"], apart)
    return [*exact, *(f"model.{name}" for name in far)]
