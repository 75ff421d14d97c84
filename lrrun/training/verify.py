"""Is the record of a run true? It is replayed from a checkpoint and compared bit for bit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lrrun.config.reading import load_experiment
from lrrun.errors import UnusableFile
from lrrun.records import Notice, Outcome
from lrrun.runlog.reader import Run
from lrrun.training.replay import Kept, Recorded, Replay
from lrrun.training.resume import changes_of_machine, refuse_bending
from lrrun.training.state import capture, differences

_NOT_COMPARED = ("run", "marks", "best")


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
    yield Notice(f"replaying steps {replay.first} to {target['step']}")
    yield _compare(replay, target)


def _compare(replay: Replay, target: dict[str, object]) -> Verdict:
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
        saved = {key: value for key, value in target.items() if key not in _NOT_COMPARED}
        paths = differences(saved, state)
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
