"""Trials of a sweep, laid out for a curve of loss against LR: one point an LR, over its seeds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from lrrun.analysis.student import t_interval
from lrrun.records import Trial

_SAME_LR = 9
"""LRs that agree in so many significant digits are one: grids of two commands meet."""


@dataclass(frozen=True)
class Point:
    """The losses of all seeds at one LR, rising; inf where a seed diverged."""

    lr: float
    losses: tuple[float, ...]

    @property
    def lost(self) -> int:
        """How many seeds diverged."""
        return sum(math.isinf(loss) for loss in self.losses)

    @cached_property
    def mean(self) -> float:
        """The mean loss; inf where any seed diverged, for such an LR cannot be relied on."""
        return float(np.mean(self.losses))

    @property
    def median(self) -> float:
        """The middle loss: the lower of two, so that it is a loss that was seen."""
        return self.losses[(len(self.losses) - 1) // 2]

    @cached_property
    def half_width(self) -> float | None:
        """Half the 95% t interval of the mean; None for one seed, or where one diverged."""
        return t_interval(self.losses)

    @cached_property
    def deviation(self) -> float | None:
        """The standard deviation over seeds; None for one seed, or where one diverged."""
        known = len(self.losses) > 1 and not self.lost
        return float(np.std(self.losses, ddof=1)) if known else None


@dataclass(frozen=True)
class Group:
    """The trials that differ in nothing but LR and seed.

    `settings` are the values of the other axes, `losses` of all finished trials in their order (inf
    where one diverged), `left_out` how many are not finished or failed, by status.
    """

    label: str
    settings: Mapping[str, object]
    points: tuple[Point, ...]
    losses: tuple[float, ...]
    left_out: Mapping[str, int]


def group(trials: Sequence[Trial], lr_key: str) -> list[Group]:
    """One group for each combination of the axes beside the LR and the seed, as they first come.

    A trial without the key `lr_key` counts among its group's losses, and has no point.
    """
    members: dict[str, list[Trial]] = {}
    for trial in trials:
        members.setdefault(repr(_settings(trial, lr_key)), []).append(trial)
    settings = [_settings(each[0], lr_key) for each in members.values()]
    names = labels(settings)
    return [
        _grouped(label, each, own, lr_key)
        for label, each, own in zip(names, settings, members.values(), strict=True)
    ]


def loss_of(trial: Trial) -> float | None:
    """Its loss; inf where it diverged, or ended without a finite one; None where it does not count.

    >>> loss_of(Trial({}, 0, "completed", float("nan"), 10, False))
    inf
    """
    if trial.diverged or trial.status == "diverged":
        return math.inf
    if trial.status != "completed":
        return None
    return trial.loss if math.isfinite(trial.loss) else math.inf


def _settings(trial: Trial, lr_key: str) -> dict[str, object]:
    return {key: trial.values[key] for key in sorted(trial.values) if key not in (lr_key, "seed")}


def _grouped(
    label: str, settings: Mapping[str, object], trials: Sequence[Trial], lr_key: str
) -> Group:
    losses, left_out = [], dict[str, int]()
    by_lr: dict[float, list[float]] = {}
    for trial in trials:
        loss = loss_of(trial)
        if loss is None:
            left_out[trial.status] = left_out.get(trial.status, 0) + 1
            continue
        losses.append(loss)
        if lr_key in trial.values:
            lr = float(f"{float(str(trial.values[lr_key])):.{_SAME_LR}g}")
            by_lr.setdefault(lr, []).append(loss)
    points = tuple(Point(lr, tuple(sorted(by_lr[lr]))) for lr in sorted(by_lr) if lr > 0)
    return Group(label, settings, points, tuple(losses), left_out)


def labels(settings: Sequence[Mapping[str, object]]) -> list[str]:
    """A short name for each: component names alone where these tell them apart."""
    for write in (_name, _whole):
        short = [", ".join(write(value) for value in each.values()) for each in settings]
        if len(set(short)) == len(short):
            return [label or "all trials" for label in short]
    return [", ".join(f"{key}={value!r}" for key, value in each.items()) for each in settings]


def _name(value: object) -> str:
    if isinstance(value, Mapping) and "name" in value:
        return str(value["name"])
    if isinstance(value, (list, tuple)):
        return " > ".join(_name(each) for each in value)
    return str(value)


def _whole(value: object) -> str:
    if isinstance(value, Mapping):
        named = [str(value["name"])] if "name" in value else []
        return " ".join([*named, *(f"{k} {_whole(v)}" for k, v in value.items() if k != "name")])
    if isinstance(value, (list, tuple)):
        return " > ".join(_whole(each) for each in value)
    return str(value)
