"""Everything of a run that exists before its first step: data, model, optimizer, schedules."""

from __future__ import annotations

import os
import random
from dataclasses import dataclass, replace

import numpy as np
import torch

from lrrun.config.check import check
from lrrun.config.clock import Clock
from lrrun.config.experiment import Experiment
from lrrun.config.plans import driven_names, plan_co_schedules, plan_schedules
from lrrun.errors import ConfigError
from lrrun.training import datasets, models
from lrrun.training.datasets import Splits
from lrrun.training.devices import resolve_device
from lrrun.training.fingerprint import Fingerprint, fingerprint
from lrrun.training.memory import refuse_if_too_large
from lrrun.training.mup import base_model
from lrrun.training.optimizers import build_optimizer
from lrrun.training.tasks import task_for
from lrrun.training.trainee import Trainee
from lrrun.training.tuning import UNDECIDED, Tuning, choose_threads, tune
from lrrun.units import Length, Units

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
    clock: Clock
    fingerprint: Fingerprint
    tuning: Tuning
    notices: tuple[str, ...] = ()
    """What the person at the keyboard should know of how it will be computed."""

    @property
    def parameters(self) -> int:
        """How many numbers the model learns, and keeps."""
        return sum(parameter.numel() for parameter in self.trainee.model.parameters())

    def again(self) -> Prepared:
        """The same as it was before the first step, on the same data, computed alike."""
        return _build(self.experiment, self.data, self.fingerprint, self.tuning)

    def alike(self, experiment: Experiment, smoke: bool = False) -> Prepared:
        """Another one-seed experiment on the same data, which are not loaded again."""
        return _prepared(experiment, self.data, self.fingerprint, smoke, self.tuning)


def prepare(experiment: Experiment, smoke: bool = False, tuning: Tuning = UNDECIDED) -> Prepared:
    """Load the data and build model, optimizer and schedules of a one-seed experiment.

    Seeds every global generator. `smoke` shrinks the run to SMOKE_STEPS updates, and its schedule
    with it; `tuning` is that of a run that goes on. Raises ConfigError, with file and line, or
    UnusableFile.
    """
    try:
        data = datasets.load(experiment.dataset, experiment.folder)
    except ConfigError as error:
        raise ConfigError(experiment.document.locate(error.problems)) from None
    return _prepared(experiment, data, fingerprint(data), smoke, tuning)


def _prepared(
    experiment: Experiment, data: Splits, identity: Fingerprint, smoke: bool, tuning: Tuning
) -> Prepared:
    try:
        if smoke:
            experiment = _shrunk(experiment, check(experiment, data.facts).units)
        return _build(experiment, data, identity, tuning)
    except ConfigError as error:
        raise ConfigError(experiment.document.locate(error.problems)) from None


def _build(experiment: Experiment, data: Splits, identity: Fingerprint, tuning: Tuning) -> Prepared:
    device = resolve_device(experiment.train.device)
    clock = check(experiment, data.facts)
    settings, seed = experiment.train, experiment.seeds[0]
    _be_deterministic(settings.deterministic)
    refuse_if_too_large(experiment.model, data.facts, device)
    seed_everything(seed)
    model = models.build(experiment.model, data.facts, experiment.folder).to(device)
    base = base_model(experiment.optimizer, experiment.model, data.facts, experiment.folder)
    optimizer, groups = build_optimizer(
        experiment.optimizer, model, experiment.folder, experiment.base_lr, base, settings.precision
    )
    base_lrs = {
        group.name: of_torch["lr"]
        for group, of_torch in zip(groups, optimizer.param_groups, strict=True)
    }
    labels = {group.name: group.label for group in groups}
    schedules = plan_schedules(experiment, clock.units, base_lrs, labels)
    co_schedules = plan_co_schedules(experiment, clock.units)
    task = task_for(data.facts.task, settings.label_smoothing)
    rows = experiment.dataset.batch_size * (data.facts.tokens_per_row or 1)
    torch.set_num_threads(choose_threads(settings.threads or tuning.threads, model, rows))
    trainee = Trainee.of(model, optimizer, schedules, co_schedules, task, device, settings)
    trainee.driven = driven_names(experiment, next(iter(schedules.values())))
    data = data.to(device)
    tuned, notices = tune(trainee, experiment, data, clock, tuning)
    return Prepared(experiment, trainee, data, clock, identity, tuned, notices)


def _shrunk(experiment: Experiment, units: Units) -> Experiment:
    """The experiment as a smoke run, which its own resolved config repeats."""
    scale = experiment.train.scale * min(1.0, SMOKE_STEPS / units.total_steps)
    changes = {"scale": scale, "evaluate": Length(50, "%"), "val_rows": SMOKE_VAL_ROWS}
    return replace(
        experiment,
        name=f"{experiment.name}-smoke",
        train=experiment.train.model_copy(update=changes),
    )


def seed_everything(seed: int) -> None:
    """Seed torch's, numpy's and Python's global generators; numpy takes the lowest 32 bits."""
    if torch.accelerator.current_accelerator() is None:  # this torch knows no device but the CPU
        torch.default_generator.manual_seed(seed)
    else:
        torch.manual_seed(seed)
    np.random.seed(seed % 2**32)
    random.seed(seed)


def _be_deterministic(wanted: bool) -> None:
    """Have torch refuse algorithms that do not repeat, or let it choose the fastest."""
    if wanted:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # as cuBLAS asks for
    if wanted != torch.are_deterministic_algorithms_enabled():  # asking loads torch's compiler
        torch.use_deterministic_algorithms(wanted)
    torch.backends.cudnn.benchmark = False
