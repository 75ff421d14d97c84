"""Runs that differ in nothing but the seed, taken together: their means, and which is better."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean
from typing import Literal

from lrrun.analysis.compare import Comparison, RunView
from lrrun.analysis.mean_difference import MeanDifference, each_pair, mean_difference
from lrrun.analysis.points import labels
from lrrun.analysis.student import t_interval
from lrrun.records import higher_is_better

Which = Literal["best", "last"]


@dataclass(frozen=True)
class SeedGroup:
    """Runs of one config but for the seed; `runs` are indices into those of the comparison.

    Values are those of completed runs, by seed. A seed that was trained more than once counts as
    one, with the mean of its runs: they are no more independent than one run is.
    """

    label: str
    runs: tuple[int, ...]
    views: tuple[RunView, ...]
    config: Hashable
    """What of its config others do not share."""
    is_baseline: bool = False

    def values(self, metric: str, which: Which = "best") -> dict[Hashable, float]:
        """The metric's finite values, by seed."""
        if (metric, which) not in self._values:
            self._values[metric, which] = self._read(metric, which)
        return self._values[metric, which]

    @cached_property
    def _values(self) -> dict[tuple[str, Which], dict[Hashable, float]]:
        """What `values` has been asked for."""
        return {}

    def _read(self, metric: str, which: Which) -> dict[Hashable, float]:
        found: dict[Hashable, list[float]] = {}
        for run in self.views:
            value = _finite(run, metric, which)
            if run.status == "completed" and value is not None:
                found.setdefault(seed_of(run), []).append(value)
        lost = {seed_of(run) for run in self.diverged}
        return {seed: fmean(each) for seed, each in found.items() if seed not in lost}

    def mean(self, metric: str, which: Which = "best") -> tuple[float, float | None] | None:
        """(mean, half of its 95% interval) over seeds; None without values, or a spread."""
        values = list(self.values(metric, which).values())
        return (fmean(values), t_interval(values)) if values else None

    @cached_property
    def seeds(self) -> int:
        """How many seeds there are, whatever became of them."""
        return len({seed_of(run) for run in self.views})

    @property
    def diverged(self) -> list[RunView]:
        """The runs that diverged: a result of the config, not of bad luck with a machine."""
        return [run for run in self.views if run.status == "diverged"]

    @property
    def lost(self) -> int:
        """How many seeds diverged."""
        return len({seed_of(run) for run in self.diverged})

    @property
    def unfinished(self) -> list[RunView]:
        """The runs that say nothing of the config: running, interrupted, or failed."""
        return [run for run in self.views if run.status not in ("completed", "diverged")]

    def without(self, metric: str, which: Which = "best") -> list[RunView]:
        """The completed runs that have no finite value of the metric."""
        return [
            run
            for run in self.views
            if run.status == "completed" and _finite(run, metric, which) is None
        ]

    @property
    def repeated(self) -> list[RunView]:
        """The completed runs of seeds that were trained more than once."""
        done = [run for run in self.views if run.status == "completed"]
        times = Counter(map(seed_of, done))
        return [run for run in done if times[seed_of(run)] > 1]


def seed_of(run: RunView) -> Hashable:
    """The seed, as something to look up by, whatever a config says."""
    return repr(run.config.get("seed"))


def _finite(run: RunView, metric: str, which: Which) -> float | None:
    best = run.summary.best.get(metric)
    value = run.summary.last.get(metric) if which == "last" else best.value if best else None
    return value if value is not None and math.isfinite(value) else None


@dataclass(frozen=True)
class Grouping:
    """The seed groups of a comparison, the best first.

    Those of which no seed diverged come first, by the mean best value of `metric`; then the others,
    by the share of seeds that did: a mean over the lucky seeds alone is no mean of the config.
    """

    groups: tuple[SeedGroup, ...]
    metric: str | None

    @property
    def decides(self) -> bool:
        """Are there two groups, and seeds to tell them apart by?

        The best run of five seeds and the only one of another config are no fair comparison.
        """
        several = len(self.groups) > 1 and any(each.seeds > 1 for each in self.groups)
        return several and self.metric is not None

    @cached_property
    def comparable(self) -> tuple[SeedGroup, ...]:
        """The groups with a mean that no diverged seed is missing from, the best first."""
        metric = self.metric
        return tuple(
            each for each in self.groups if metric and not each.lost and each.values(metric)
        )

    @cached_property
    def to_best(self) -> dict[str, MeanDifference]:
        """What every other comparable group has less the best, by label.

        The intervals hold for all pairs of groups at once.
        """
        if self.metric is None or len(self.comparable) < 2:
            return {}
        confidence, _ = each_pair(len(self.comparable))
        best, *others = ((each.label, each.values(self.metric)) for each in self.comparable)
        return {label: mean_difference(ours, best[1], confidence) for label, ours in others}


def group_by_seed(comparison: Comparison, baseline: AbstractSet[int] = frozenset()) -> Grouping:
    """Put runs together whose configs are equal but for seed and name; `baseline` are indices.

    Where that would bring a seed twice, and each name has seeds of its own, each name is a group:
    one config before and after a change of the code. The runs of the baseline stay by themselves.
    """
    kept = [each for each in comparison.differences if each.key != "seed"]
    configs = [
        tuple(repr(each.values[index]) for each in kept) for index in range(len(comparison.runs))
    ]
    found: dict[Hashable, list[int]] = {}
    for index, config in enumerate(configs):
        found.setdefault((index in baseline, config), []).append(index)
    members = [each for runs in found.values() for each in _by_name(comparison, runs)]
    settings = [{each.key: each.values[runs[0]] for each in kept} for runs in members]
    names = _labels(comparison, members, settings, baseline)
    groups = [
        SeedGroup(
            label,
            tuple(runs),
            tuple(comparison.runs[index] for index in runs),
            configs[runs[0]],
            runs[0] in baseline,
        )
        for label, runs in zip(names, members, strict=True)
    ]
    metric = comparison.metric
    return Grouping(tuple(sorted(groups, key=lambda each: _rank(each, metric))), metric)


def in_order(grouping: Grouping, by: str, runs: Sequence[int]) -> list[SeedGroup]:
    """The groups by rank, by a metric's mean, or as their first run stands among `runs`."""
    if by == "rank":
        return list(grouping.groups)
    if any(each.mean(by) for each in grouping.groups):
        return sorted(grouping.groups, key=lambda each: _rank(each, by)[2])
    place = {index: at for at, index in enumerate(runs)}
    return sorted(grouping.groups, key=lambda each: min(place[index] for index in each.runs))


def _by_name(comparison: Comparison, runs: Sequence[int]) -> list[list[int]]:
    """The runs of one config in one group, or in one a name where seeds come again."""
    seeds = {seed_of(comparison.runs[index]) for index in runs}
    names: dict[object, list[int]] = {}
    for index in runs:
        names.setdefault(repr(comparison.runs[index].config.get("name")), []).append(index)
    own = [{seed_of(comparison.runs[index]) for index in each} for each in names.values()]
    apart = len(seeds) < len(runs) and all(len(each) > 1 for each in own)
    return list(names.values()) if apart else [list(runs)]


def _rank(group: SeedGroup, metric: str | None) -> tuple[bool, float, float]:
    mean = group.mean(metric) if metric else None
    if mean is None or metric is None:
        return True, math.inf, math.inf
    turned = -mean[0] if higher_is_better(metric) else mean[0]
    return False, group.lost / group.seeds, turned


def _labels(
    comparison: Comparison,
    members: Sequence[Sequence[int]],
    settings: Sequence[Mapping[str, object]],
    baseline: AbstractSet[int],
) -> list[str]:
    """What to call each group: the name of its runs, their folder if it is one, else its values."""
    names = [{str(comparison.runs[index].config.get("name")) for index in runs} for runs in members]
    marks = [" (baseline)" if runs[0] in baseline else "" for runs in members]
    called = [(next(iter(each)), mark) for each, mark in zip(names, marks, strict=True)]
    if all(len(each) == 1 for each in names) and len(set(called)) == len(called):
        short = [name for name, _ in called]
    else:
        written = [{key: _said(key, each[key]) for key in each} for each in settings]
        different = list({repr(each): each for each in written}.values())
        told = {repr(each): name for each, name in zip(different, labels(different), strict=True)}
        short = [told[repr(each)] if each else "all runs" for each in written]
    marked = [f"{name}{mark}" for name, mark in zip(short, marks, strict=True)]
    times = Counter(marked)
    return [
        f"{name} of {'/'.join(sorted(own))}" if times[name] > 1 else name
        for name, own in zip(marked, names, strict=True)
    ]


def _said(key: str, value: object) -> object:
    """A component names itself; a bare number needs the name of its key."""
    return value if isinstance(value, (Mapping, list)) else f"{key.rpartition('.')[2]} {value}"
