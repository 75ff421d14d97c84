"""What `lrrun schedule` is asked to show: a config, a schedule's name, or an inline spec."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lrrun.batches import EvenBatches
from lrrun.config.check import check_if_known, findings
from lrrun.config.clock import Clock
from lrrun.config.experiment import Experiment
from lrrun.config.places import KEYS
from lrrun.config.plans import written_lrs
from lrrun.config.reading import load_experiment
from lrrun.config.yaml_text import parse_value
from lrrun.errors import UsageError
from lrrun.schedules.inline import read_inline
from lrrun.schedules.lint import lint
from lrrun.schedules.placement import PartSpec
from lrrun.schedules.preview import Preview, preview
from lrrun.schedules.spec import brought_lr, build, parse
from lrrun.units import Units

DEFAULT_STEPS = 1000
"""The run's length for a schedule without a config."""

_OVERRIDE = re.compile(rf"({'|'.join(KEYS)})(\[|\.|=)[^ ]*")
"""`optimizer.lr=0.1`: a key of a config, and no schedule."""


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


def read_specs(words: Sequence[str], settings: Settings) -> list[Spec]:
    """What the arguments mean: a schedule each, or one a param group of a config with several.

    A schedule beside a config has that config's run and base LR. `key=value` sets a key of the
    configs. Raises ConfigError or UsageError.
    """
    if settings.lr is not None and not 0 < settings.lr < math.inf:
        raise UsageError(f"--lr: expected a finite number above 0, got {settings.lr:g}")
    overrides = [word for word in words if _OVERRIDE.match(word)]
    texts = [word for word in words if not _OVERRIDE.match(word)]
    configs = {
        text: _of_config(Path(text), overrides, settings) for text in texts if _is_file(text)
    }
    if overrides and not configs:
        raise UsageError(f"{overrides[0]} sets a key of a config, and there is none here")
    beside = next(iter(configs.values()))[0] if configs else None
    return [
        spec for text in texts for spec in configs.get(text) or [_of_text(text, settings, beside)]
    ]


def _is_file(text: str) -> bool:
    return text.endswith((".yaml", ".yml")) or Path(text).is_file()


def _of_text(text: str, settings: Settings, beside: Spec | None) -> Spec:
    """A name, an inline spec, or a mapping; in the run of the config beside it, if there is one."""
    parts = parse(_section(text), path=())
    units = Units(settings.steps or DEFAULT_STEPS, settings.steps_per_epoch)
    if beside is not None and settings.steps is None and settings.steps_per_epoch is None:
        units = beside.units
    brought = brought_lr(parts)
    own = brought[1] if brought else None
    usual = 1.0 if beside is None else beside.lr
    lr = settings.lr if settings.lr is not None else usual if own is None else own
    every = units.steps_per_epoch or max(1, units.total_steps // 100)
    found = lint(build(parts, lr, units), parts, units, evaluations=units.total_steps // every)
    return Spec(text, parts, lr, units, every, tuple(each.message for each in found))


def _section(text: str) -> Any:
    """What is written: a mapping or a list as a config has it, else name key=value."""
    return parse_value(text) if text.lstrip().startswith(("{", "[")) else read_inline(text)


def _of_config(file: Path, overrides: Sequence[str], settings: Settings) -> list[Spec]:
    written = [f"optimizer.lr={settings.lr}"] if settings.lr is not None else []
    experiment = load_experiment(file, [*overrides, *written], settings.allow_code)
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
