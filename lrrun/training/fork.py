"""A new run that begins where another one stood, under another schedule, horizon or optimizer."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lrrun.config.experiment import Experiment
from lrrun.config.extension import How, extension
from lrrun.config.overrides import apply_overrides, parse_override
from lrrun.config.reading import load_experiment, read_experiment
from lrrun.errors import UnusableFile, UsageError
from lrrun.records import Notice
from lrrun.runlog.reader import Run
from lrrun.training.bare_optimizer import bare
from lrrun.training.chance import restore_chance
from lrrun.training.journey import Event, Journey, recorded_incidents
from lrrun.training.loop import Loop
from lrrun.training.preparation import Prepared, prepare
from lrrun.training.replay import Kept, Replay
from lrrun.training.resume import refuse_bending
from lrrun.training.runner import create
from lrrun.training.signals import StopOnSignals
from lrrun.training.state import (
    State,
    capture,
    check_fit,
    copied,
    moments_only,
    restore_feedback,
    restore_place,
    restore_watches,
    restore_weights,
)
from lrrun.training.tuning import Tuning
from lrrun.units import Length, Units

_OPTIMIZED = ("optimizer", "scheduler", "co_schedules")


@dataclass(frozen=True)
class Fork:
    """A fork that can begin: the parent's state, and the new experiment with its data and model."""

    parent: Run
    step: int
    state: State
    before: Prepared
    """The parent's experiment, as it was replayed to the step."""
    prepared: Prepared
    fresh_optimizer: bool
    planned: bool
    """Do the new schedules go on with the parent's as planned?"""
    notes: tuple[str, ...]

    def events(
        self, runs_dir: Path, command: str = "", stop: StopOnSignals | None = None
    ) -> Iterator[Event]:
        """Train it into a new folder of `runs_dir`, handing on what happens."""
        for note in self.notes:
            yield Notice(note)
        parent = {
            "run": self.parent.name,
            "id": self.parent.info["id"],
            "step": self.step,
            "optimizer": "fresh" if self.fresh_optimizer else "kept",
        }
        rewinds = [
            asdict(each)
            for each in recorded_incidents(self.parent.info)
            if each.kind == "rewind" and each.to is not None and each.to <= self.step
        ]
        facts = {"command": command, "smoke": False, "parent": parent, "incidents": rewinds}
        writer = create(self.prepared, runs_dir, facts)
        with Journey(self.prepared, writer, stop or StopOnSignals(), graft=self._graft) as journey:
            yield from journey.events()

    def _graft(self, loop: Loop) -> None:
        """Put the new run's loop into the parent's state, as far as it means the same there."""
        state, experiment = self.state, self.prepared.experiment
        before, now = self.parent.config, json.loads(json.dumps(experiment.resolved()))
        same = {key: before.get(key) == now.get(key) for key in (*_OPTIMIZED, "seed")}
        check_fit(state, loop)
        restore_weights(loop, state)
        if not self.fresh_optimizer:
            _graft_optimizer(loop, state, experiment, all(same[key] for key in _OPTIMIZED))
        if self.planned:
            restore_feedback(loop, _one_deeper(state))
        elif all(same[key] for key in _OPTIMIZED):
            restore_feedback(loop, state)
        restore_watches(loop, state)
        restore_place(loop, state)
        if same["seed"]:
            restore_chance(state["chance"], loop.trainee.device)


def _one_deeper(state: State) -> State:
    """What the parent's schedules learnt, where they stand as `planned` inside the new ones."""
    return {
        kind: {name: {"0": learnt} for name, learnt in state[kind].items()}
        for kind in ("schedules", "co_schedules")
    }


def _graft_optimizer(
    loop: Loop, state: Mapping[str, Any], experiment: Experiment, unchanged: bool
) -> None:
    """The parent's moments; its settings only where the config still says the same."""
    optimizer, saved = loop.trainee.optimizer, state["optimizer"]
    if not unchanged:
        settings = {key for group in optimizer.param_groups for key in group} - {"params"}
        if experiment.optimizer.is_custom:  # what else stands in its groups is its own affair
            settings &= {"lr", "weight_decay", *experiment.optimizer.arguments}
        saved = moments_only(saved, optimizer, settings)
    bare(optimizer.load_state_dict)(saved)


def fork(
    path: Path,
    at: str,
    overrides: Iterable[str] = (),
    *,
    extend: Length | None = None,
    how: How = "keep",
    fresh_optimizer: bool = False,
    allow_code: bool = False,
) -> Fork:
    """Get a fork of the run in `path` ready; nothing is written, and the parent is not touched.

    `at` is a step (a bare number), a length from the run's beginning such as `10 epochs`, `best` or
    `last`. Where there is no checkpoint, the run is replayed from the one before. `extend` makes
    the run longer, `how` says how its schedule continues (see config/extension.py). Raises
    UsageError for a place that the run has not reached, and for changes that mean another past:
    other data, other batches before the fork, moments of another optimizer.
    """
    parent = Run.open(path)
    before = load_experiment(path / "config.yaml", allow_code=allow_code)
    refuse_bending(before, parent.info, path)
    kept = Kept.of(path, parent.info)
    step = place(at, parent, kept, before)
    overrides = list(overrides)
    if extend is not None:
        overrides = _extended(before, parent, step, extend, how, overrides)
    after = read_experiment(apply_overrides(before.document, overrides), allow_code)
    if not fresh_optimizer:
        _refuse_other_moments(before, after)
    notes = list(kept.notes)
    found = kept.at_or_before(step)
    replay = Replay(before, parent, found, np.array([step]))
    if replay.first != step:
        notes.append(f"no checkpoint at step {step}: steps {replay.first} to {step} are replayed")
    difference = replay.to(step)
    if difference is not None:
        raise UnusableFile(
            f"{path}: the replay is not the run any more ({difference}); fork at a step that has a "
            "checkpoint, or see lrrun verify"
        )
    state = copied(capture(replay.loop))
    prepared = prepare(after, tuning=Tuning.recorded(parent.info))
    _refuse_another_past(prepared, replay.prepared, state)
    planned = extend is not None and how != "rescale"
    old = replay.prepared
    return Fork(parent, step, state, old, prepared, fresh_optimizer, planned, tuple(notes))


def _extended(
    experiment: Experiment,
    parent: Run,
    step: int,
    longer: Length,
    how: How,
    overrides: list[str],
) -> list[str]:
    """The overrides, with the extension's before them; a scheduler among them is the tail."""
    tails = [each for each in overrides if parse_override(each)[0] == ("scheduler",)]
    rest = [each for each in overrides if each not in tails]
    tail = parse_override(tails[-1])[1] if tails else None
    units = _units(experiment, parent)
    return [*extension(experiment, units, step, longer, how, tail), *rest]


def place(at: str, parent: Run, kept: Kept, experiment: Experiment) -> int:
    """The step that `--at` means; raises UsageError where the run has not been there."""
    done = int(max([-1, *parent.steps["step"]])) + 1
    done = max([done, *(each.content["step"] for each in kept.checkpoints)])
    if at == "last":
        return kept.checkpoints[-1].content["step"] if kept.checkpoints else 0
    if at == "best":
        metric = experiment.checkpoint.best or parent.summary.metric
        best = parent.summary.best.get(metric or "")
        if best is None:
            raise UsageError(f"--at best: {parent.name} has no {metric or 'metric'} yet")
        return best.step
    try:
        step = _units(experiment, parent).steps(Length.parse(int(at) if at.isdigit() else at))
    except ValueError as error:
        raise UsageError(f"--at {at}: {error}; or write best or last") from None
    if step > done:
        raise UsageError(f"--at {at} is step {step}, and {parent.name} has done {done} steps")
    return step


def _units(experiment: Experiment, parent: Run) -> Units:
    """The parent's units; of somebody's own dataset only what run.json says is known."""
    facts = experiment.dataset.facts(experiment.folder)
    if facts is not None:
        return experiment.clock(facts).units
    return Units(parent.info["total_steps"], parent.info.get("steps_per_epoch"))


def _refuse_other_moments(before: Experiment, after: Experiment) -> None:
    old, new = before.optimizer, after.optimizer
    if old.name != new.name:
        text = f"optimizer.name: {old.name} in the parent, {new.name} asked for"
    elif [each.match for each in old.groups] != [each.match for each in new.groups]:
        text = "optimizer.groups: other param groups than in the parent"
    else:
        return
    raise UsageError(f"{text}; its moments mean nothing there: pass --fresh-optimizer")


def _refuse_another_past(new: Prepared, old: Prepared, state: State) -> None:
    """The steps before the fork must have taken the rows that they take in the new run's clock."""
    if new.fingerprint != old.fingerprint:
        raise UsageError(
            f"dataset: a fork keeps its parent's data ({old.fingerprint}), got {new.fingerprint}"
        )
    step, total = state["step"], new.clock.units.total_steps
    if step >= total:
        raise UsageError(f"the fork begins at step {step}, and its run would have {total} steps")
    epoch, begin, _ = new.clock.batches.at(step)
    rows = epoch * len(new.data.train) + begin
    if rows != state["samples"]:
        raise UsageError(
            f"at step {step} the parent has seen {state['samples']} rows, the new run would have "
            f"seen {rows}: a fork keeps the batches before its beginning (dataset.batch_size, "
            "train.accumulate, co_schedules.batch_size)"
        )
