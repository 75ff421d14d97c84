"""From an Experiment to a finished run folder: joins data, model, loop, log and checkpoints.

The runner is a generator too: it writes every record and hands it on, for whoever wants to draw it.
Nothing is written before everything that can be refused has been checked.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from lrrun.config.check import check, plan_schedules
from lrrun.config.dump import to_yaml
from lrrun.config.experiment import Experiment
from lrrun.errors import ConfigError, LrrunError
from lrrun.records import EpochRecord, Outcome, Record
from lrrun.runlog.writer import RunWriter
from lrrun.training import datasets, models
from lrrun.training.checkpoints import Checkpoints
from lrrun.training.datasets import Splits
from lrrun.training.devices import choose_threads, resolve_device
from lrrun.training.loop import Loop
from lrrun.training.optimizers import build_optimizer
from lrrun.training.provenance import provenance
from lrrun.training.signals import StopOnSignals
from lrrun.training.tasks import task_for
from lrrun.training.trainee import Trainee
from lrrun.units import Length, Units


@dataclass(frozen=True)
class Started:
    """A run has begun: where it writes, how long it is, on what it computes."""

    path: Path
    seed: int
    units: Units
    groups: tuple[str, ...]
    device: str
    threads: int
    parameters: int


Event = Started | Record | Outcome

SMOKE_STEPS = 20
"""Updates of a smoke run, or fewer where the experiment is shorter."""

SMOKE_VAL_ROWS = 512
"""Validation rows that a smoke run looks at."""


@dataclass(frozen=True)
class Prepared:
    """Everything of a run that exists before its first step and before its folder."""

    experiment: Experiment
    trainee: Trainee
    data: Splits
    units: Units


def prepare(experiment: Experiment, smoke: bool = False) -> Prepared:
    """Load the data and build model, optimizer and schedules of a one-seed experiment.

    Seeds every global generator. `smoke` shrinks the run to SMOKE_STEPS updates, and its schedule
    with it. Raises ConfigError, with file and line, or UnusableFile.
    """
    try:
        return _prepare(experiment, smoke)
    except ConfigError as error:
        raise ConfigError(experiment.document.locate(error.problems)) from None


def _prepare(experiment: Experiment, smoke: bool) -> Prepared:
    device = resolve_device(experiment.train.device)
    data = datasets.load(experiment.dataset, experiment.folder)
    units = check(experiment, data.facts)
    if smoke:
        experiment = _shrunk(experiment, units)
        units = check(experiment, data.facts)
    settings, seed = experiment.train, experiment.seeds[0]
    seed_everything(seed)
    model = models.build(experiment.model, data.facts, experiment.folder).to(device)
    optimizer, groups = build_optimizer(
        experiment.optimizer, model, experiment.folder, experiment.base_lr
    )
    base_lrs = {
        name: group["lr"] for name, group in zip(groups, optimizer.param_groups, strict=True)
    }
    schedules = plan_schedules(experiment, units, base_lrs)
    task = task_for(data.facts.task, settings.label_smoothing)
    rows = experiment.dataset.batch_size * (data.facts.tokens_per_row or 1)
    torch.set_num_threads(choose_threads(settings.threads, model, rows))
    trainee = Trainee.of(model, optimizer, schedules, task, device, settings)
    return Prepared(experiment, trainee, data.to(device), units)


def _shrunk(experiment: Experiment, units: Units) -> Experiment:
    """The experiment as a smoke run, which its own resolved config repeats."""
    scale = experiment.train.scale * min(1.0, SMOKE_STEPS / units.total_steps)
    changes = {"scale": scale, "evaluate": Length(50, "%"), "val_rows": SMOKE_VAL_ROWS}
    return replace(
        experiment,
        name=f"{experiment.name}-smoke",
        train=experiment.train.model_copy(update=changes),
    )


def run(
    experiment: Experiment,
    runs_dir: Path,
    *,
    command: str = "",
    smoke: bool = False,
    stop: StopOnSignals | None = None,
) -> Iterator[Event]:
    """Train a one-seed experiment into a new folder of `runs_dir`, handing on what happens.

    Ends with an Outcome. `command` is recorded as the command line. An error on the way leaves the
    folder with status `failed` and its sentence, and is raised on.
    """
    prepared = prepare(experiment, smoke)
    experiment, trainee, units = prepared.experiment, prepared.trainee, prepared.units
    groups = tuple(trainee.schedules)
    writer = RunWriter.create(
        runs_dir,
        experiment.name,
        to_yaml(experiment.resolved()),
        groups,
        {
            "seed": experiment.seeds[0],
            "command": command,
            "config": experiment.resolved(),
            "total_steps": units.total_steps,
            "steps_per_epoch": units.steps_per_epoch,
            "parameters": _count(trainee.model),
            "smoke": smoke,
            **provenance(trainee.device, Path.cwd()),
        },
        metrics=trainee.task.metric_names,
        grad_norm=experiment.train.grad_norm,
        momentum=_drives_momentum(trainee),
    )
    yield Started(
        writer.path,
        experiment.seeds[0],
        units,
        groups,
        str(trainee.device),
        torch.get_num_threads(),
        _count(trainee.model),
    )
    with writer:
        yield from _write_all(prepared, writer, stop or StopOnSignals())


def _write_all(
    prepared: Prepared, writer: RunWriter, stop: StopOnSignals
) -> Iterator[Record | Outcome]:
    """Train, and write every record before it is handed on."""
    experiment, trainee = prepared.experiment, prepared.trainee
    log_every = experiment.train.log_every
    loop = Loop(
        trainee,
        prepared.data,
        experiment.train,
        experiment.dataset.batch_size,
        prepared.units,
        experiment.seeds[0],
        stop.requested,
    )
    checkpoints = Checkpoints(writer.checkpoints, trainee)
    try:
        for record in loop.records():
            if isinstance(record, Outcome):
                _finish(record, checkpoints, writer)
            elif isinstance(record, EpochRecord):
                writer.write(record)
                checkpoints.after(record)
            elif record.step % log_every == 0:
                writer.write(record)
            yield record
    except Exception as error:
        known = isinstance(error, LrrunError)
        sentence = str(error) if known else f"{type(error).__name__}: {error}"
        writer.finish(Outcome("failed", sentence, trainee.step))
        raise


def _finish(outcome: Outcome, checkpoints: Checkpoints, writer: RunWriter) -> None:
    """Save the last state (unless it has diverged: the last good one stays) and close the log."""
    if outcome.status != "diverged":
        checkpoints.save()
    writer.finish(outcome)


def seed_everything(seed: int) -> None:
    """Seed torch's, numpy's and Python's global generators; numpy takes the lowest 32 bits."""
    torch.manual_seed(seed)
    np.random.seed(seed % 2**32)
    random.seed(seed)


def _drives_momentum(trainee: Trainee) -> bool:
    return next(iter(trainee.schedules.values())).momentum(np.arange(1)) is not None


def _count(model: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())
