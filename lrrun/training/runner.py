"""From an Experiment to a finished run folder: joins data, model, loop, log and checkpoints.

The runner is a generator too: it writes every record and hands it on, for whoever wants to draw it.
Nothing is written before everything that can be refused has been checked.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lrrun.config.dump import to_yaml
from lrrun.config.experiment import Experiment
from lrrun.runlog.writer import RunWriter
from lrrun.training.journey import Event, Journey, Started
from lrrun.training.preparation import Prepared, prepare, seed_everything
from lrrun.training.provenance import provenance
from lrrun.training.signals import StopOnSignals
from lrrun.training.tasks import chance_loss

__all__ = ["Event", "Prepared", "Started", "create", "prepare", "run", "seed_everything"]


def run(
    experiment: Experiment,
    runs_dir: Path,
    *,
    command: str = "",
    smoke: bool = False,
    stop: StopOnSignals | None = None,
    facts: Mapping[str, Any] | None = None,
) -> Iterator[Event]:
    """Train a one-seed experiment into a new folder of `runs_dir`, handing on what happens.

    Ends with an Outcome. `command` is recorded as the command line, beside further `facts`. An
    error on the way leaves the folder with status `failed` and its sentence, and is raised on.
    """
    prepared = prepare(experiment, smoke)
    writer = create(prepared, runs_dir, {"command": command, "smoke": smoke, **(facts or {})})
    with Journey(prepared, writer, stop or StopOnSignals()) as journey:
        yield from journey.events()


def create(
    prepared: Prepared,
    runs_dir: Path,
    facts: Mapping[str, Any],
    machine: Mapping[str, Any] | None = None,
    reserved: Path | None = None,
) -> RunWriter:
    """The folder of a new run; `facts` are further entries of its run.json.

    `machine` is what `provenance` says and `reserved` the run's folder, where they have been asked
    for before.
    """
    experiment, trainee, units = prepared.experiment, prepared.trainee, prepared.clock.units
    config = experiment.resolved()
    return RunWriter.create(
        runs_dir,
        experiment.name,
        to_yaml(config),
        tuple(trainee.schedules),
        {
            "seed": experiment.seeds[0],
            "config": config,
            "total_steps": units.total_steps,
            "steps_per_epoch": units.steps_per_epoch,
            "parameters": prepared.parameters,
            "chance_loss": chance_loss(prepared.data.facts),
            "data": prepared.fingerprint.as_data(),
            **(machine or provenance(trainee.device, Path.cwd())),
            **asdict(prepared.tuning),
            **facts,
        },
        metrics=trainee.task.metric_names,
        grad_norm=experiment.train.grad_norm,
        driven=trainee.driven,
        headroom=experiment.train.headroom is not None,
        reserved=reserved,
    )
