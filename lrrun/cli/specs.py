"""What `lrrun schedule` is asked to show: a config, a schedule's name, or an inline spec."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from lrrun.batches import EvenBatches
from lrrun.config.check import check_if_known, findings
from lrrun.config.clock import Clock
from lrrun.config.experiment import Experiment
from lrrun.config.plans import written_lrs
from lrrun.config.reading import load_experiment
from lrrun.errors import UsageError
from lrrun.schedules.inline import read_inline
from lrrun.schedules.lint import lint
from lrrun.schedules.placement import PartSpec
from lrrun.schedules.preview import Preview, preview
from lrrun.schedules.spec import brought_lr, build, parse
from lrrun.units import Units

DEFAULT_STEPS = 1000
"""The run's length for a schedule without a config."""


@dataclass(frozen=True)
class Settings:
    """The options that hold for every spec; None where they were not given."""

    steps: int | None = None
    steps_per_epoch: int | None = None
    lr: float | None = None
    allow_code: bool = False
    metrics: list[float] | None = None


@dataclass(frozen=True)
class Spec:
    """A schedule with all that it takes to evaluate it."""

    name: str
    parts: tuple[PartSpec, ...]
    lr: float
    units: Units
    evaluate_every: int | None
    findings: tuple[str, ...]

    def preview(self, metrics: list[float] | None) -> Preview:
        """Its LRs, plateau parts played out under `metrics`, or under no improvement."""
        schedule = build(self.parts, self.lr, self.units)
        total = self.units.total_steps
        return preview(self.name, schedule, total, self.evaluate_every, metrics)


def read_specs(text: str, settings: Settings) -> list[Spec]:
    """What one argument means: one schedule, or one a param group of a config with several.

    Raises ConfigError or UsageError.
    """
    if text.endswith((".yaml", ".yml")) or Path(text).is_file():
        return _of_config(Path(text), settings)
    parts = parse(read_inline(text), path=())
    units = Units(settings.steps or DEFAULT_STEPS, settings.steps_per_epoch)
    brought = brought_lr(parts)
    own = brought[1] if brought else None
    lr = settings.lr if settings.lr is not None else 1.0 if own is None else own
    every = settings.steps_per_epoch or max(1, units.total_steps // 100)
    found = lint(build(parts, lr, units), parts, units, evaluations=units.total_steps // every)
    return [Spec(text, parts, lr, units, every, tuple(each.message for each in found))]


def _of_config(file: Path, settings: Settings) -> list[Spec]:
    overrides = [f"optimizer.lr={settings.lr}"] if settings.lr is not None else []
    experiment = load_experiment(file, overrides, settings.allow_code)
    clock = _clock(experiment, settings)
    units, evaluate = clock.units, experiment.train.evaluate
    every = units.steps(evaluate) if evaluate else units.steps_per_epoch
    found = tuple(str(each) for each in findings(experiment, clock))
    first = Spec(str(file), experiment.parts, experiment.base_lr, units, every or None, found)
    groups = {
        label: (parts, written_lrs(experiment)[label])
        for label, parts in experiment.group_parts.items()
    }
    return [
        first,
        *(
            replace(first, name=f"{file} {label}", parts=parts, lr=lr, findings=())
            for label, (parts, lr) in groups.items()
        ),
    ]


def _clock(experiment: Experiment, settings: Settings) -> Clock:
    """The config's clock, or the one that the options give in its place."""
    clock = check_if_known(experiment) if settings.steps_per_epoch is None else None
    if clock is not None:
        steps = settings.steps or clock.units.total_steps
        return replace(clock, units=replace(clock.units, total_steps=steps))
    if settings.steps_per_epoch is None:
        raise UsageError(
            "the dataset is somebody's own code and its rows are not known without running it; "
            "give --steps-per-epoch"
        )
    train, per_epoch = experiment.train, settings.steps_per_epoch
    steps = settings.steps or train.steps or (train.epochs or 0) * per_epoch
    if not steps:
        raise UsageError("a run given in tokens needs --steps beside --steps-per-epoch")
    return Clock(Units(steps, per_epoch), EvenBatches(rows=per_epoch, size=1))
