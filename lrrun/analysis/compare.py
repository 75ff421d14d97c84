"""Comparing runs: what was configured differently, what came out, who did best."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lrrun.errors import KeyPath, UsageError, dotted
from lrrun.records import Status, higher_is_better
from lrrun.registry import unknown
from lrrun.runlog.summary import Summary

IGNORED_KEYS = frozenset({"name"})

_NAMED = 8
"""Runs that a sentence names; it counts the rest."""


class _Missing:
    """The value of a key that a run's config does not have."""

    def __repr__(self) -> str:
        return "-"


MISSING = _Missing()


@dataclass(frozen=True)
class RunView:
    """What a comparison needs to know of a run.

    `lr_sum` is None unless every step was logged, and has been read.
    """

    name: str
    status: Status
    sentence: str
    config: Mapping[str, Any]
    summary: Summary
    lr_sum: float | None = None


@dataclass(frozen=True)
class Difference:
    """A config key that the runs do not share, and its value in every run, in their order."""

    key: str
    values: tuple[Any, ...]


@dataclass(frozen=True)
class Comparison:
    """Runs side by side.

    `ranking` holds indices into `runs`, the best first: by the best value of `metric`, diverged and
    failed runs after all others. `metric` is None where no run has a number yet.
    """

    runs: tuple[RunView, ...]
    differences: tuple[Difference, ...]
    metric: str | None
    ranking: tuple[int, ...]

    def metrics(self) -> list[str]:
        """The metrics that any run has: the one that decides first, train_loss last."""
        names = [name for run in self.runs for name in run.summary.best]
        order = dict.fromkeys(names)
        return sorted(order, key=lambda name: (name == "train_loss") - (name == self.metric))


def compare(runs: Sequence[RunView]) -> Comparison:
    """Lay runs side by side; the config key `name` is no difference."""
    metric = _shared_metric(runs)
    configs = [
        {key: value for key, value in run.config.items() if key not in IGNORED_KEYS} for run in runs
    ]
    return Comparison(
        runs=tuple(runs),
        differences=tuple(_differences((), configs)),
        metric=metric,
        ranking=tuple(sorted(range(len(runs)), key=lambda index: _rank(runs[index], metric))),
    )


def _shared_metric(runs: Sequence[RunView]) -> str | None:
    """The metric of the run that has one, the one most runs have first; val_loss wherever it is."""
    names = [run.summary.metric for run in runs if run.summary.metric is not None]
    if "val_loss" in names or not names:
        return "val_loss" if names else None
    return Counter(names).most_common(1)[0][0]


def order(comparison: Comparison, by: str) -> tuple[int, ...]:
    """Indices of the runs by `rank`, `given`, `name`, `time`, or a metric's best value.

    Raises UsageError for anything else. Runs that have no value come last.
    """
    runs = comparison.runs
    orders: dict[str, Sequence[int]] = {
        "rank": comparison.ranking,
        "given": range(len(runs)),
        "name": sorted(range(len(runs)), key=lambda index: runs[index].name),
        "time": sorted(range(len(runs)), key=lambda index: runs[index].summary.seconds),
    }
    if by in comparison.metrics():
        return tuple(sorted(range(len(runs)), key=lambda index: _height(runs[index], by)))
    if by not in orders:
        raise UsageError(unknown("order", by, [*orders, *comparison.metrics()]))
    return tuple(orders[by])


def _height(run: RunView, metric: str | None) -> float:
    """The best value, turned so that lower is better; infinite where there is none."""
    best = run.summary.best.get(metric) if metric else None
    if best is None or metric is None:
        return math.inf
    return -best.value if higher_is_better(metric) else best.value


def _rank(run: RunView, metric: str | None) -> tuple[bool, float]:
    return run.status in ("diverged", "failed"), _height(run, metric)


def _differences(path: KeyPath, values: Sequence[Any]) -> list[Difference]:
    """Where the values under one key differ, as deep down as they are still of one kind.

    Mappings are entered, unless they name different components (`{name: cosine, …}` and
    `{name: step, …}`): these stand whole, without the arguments that all of them share.
    """
    if _equal(values):
        return []
    if not all(isinstance(value, Mapping) for value in values):
        return [Difference(dotted(path), tuple(values))]
    keys = list(dict.fromkeys(key for value in values for key in value))
    inner = {key: [value.get(key, MISSING) for value in values] for key in keys}
    if path and "name" in inner and not _equal(inner["name"]):
        unshared = [key for key in keys if not _equal(inner[key])]
        whole = tuple({key: value[key] for key in unshared if key in value} for value in values)
        return [Difference(dotted(path), whole)]
    return [each for key in keys for each in _differences((*path, key), inner[key])]


def _equal(values: Sequence[Any]) -> bool:
    return all(value == values[0] for value in values)


def verdict(comparison: Comparison) -> str:
    """One sentence: which run is best, where, and by how much."""
    runs, metric = comparison.runs, comparison.metric
    if metric is None:
        return "No run has a finished epoch yet, so there is nothing to rank."
    first, second = (runs[index] for index in (*comparison.ranking, *comparison.ranking)[:2])
    best, next_best = first.summary.best.get(metric), second.summary.best.get(metric)
    if best is None:
        return f"No run that may be ranked has a {metric}."
    at = f"{metric} {best.value:.4g} at epoch {best.epoch}"
    if len(runs) == 1:
        return f"{first.name}: {at}."
    if next_best is None:
        return f"{first.name} is best: {at}; no other run has a {metric}."
    gap = abs(best.value - next_best.value)
    if gap == 0:
        return f"{first.name} and {second.name} are level: {metric} {best.value:.4g}."
    side = "above" if higher_is_better(metric) else "below"
    by = gap_in_words(gap, next_best.value)
    return f"{first.name} is best: {at}, {by} {side} {second.name}."


def gap_in_words(gap: float, base: float) -> str:
    """A gap, and what share of `base` it is, unless that is more than ten times.

    >>> gap_in_words(0.1, 0.25), gap_in_words(3.0, 0.0)
    ('0.1 (40%)', '3')
    """
    percent = 100 * gap / abs(base) if base else math.inf
    share = f" ({percent:.0f}%)" if percent >= 10 else f" ({percent:.2g}%)"
    return f"{gap:.3g}{share if percent < 1000 else ''}"


def named(names: Sequence[str]) -> str:
    """Names in a sentence: the first few, and how many more there are.

    >>> named(["a", "b"])
    'a, b'
    """
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def over_seeds(summaries: Sequence[Summary]) -> str:
    """A sentence on completed runs that differ in their seed alone: mean and spread of their best.

    Empty where fewer than two have a value.
    """
    metric = next((each.metric for each in summaries if each.metric), None)
    bests = [each.best[metric].value for each in summaries if metric and metric in each.best]
    if len(bests) < 2:
        return ""
    mean, spread = statistics.fmean(bests), statistics.stdev(bests)
    return f"Best {metric} over {len(bests)} seeds: {mean:.4g} ± {spread:.2g} (standard deviation)."


def caution(comparison: Comparison) -> str:
    """What keeps the verdict from being the last word, or an empty text."""
    unfinished = [run.name for run in comparison.runs if run.status == "running"]
    if unfinished:
        return f"Still running, or its process died: {named(unfinished)}."
    if [each.key for each in comparison.differences] == ["seed"]:
        text = "The runs differ in nothing but the seed: the gap is the spread between seeds"
        found = over_seeds([run.summary for run in comparison.runs if run.status == "completed"])
        return f"{text}. {found}" if found else f"{text}."
    seeds = {repr(run.config.get("seed")) for run in comparison.runs}
    one_each = len(seeds) == 1 < len(comparison.runs) and comparison.metric is not None
    return "One seed each: a gap this size may be the seed's doing." if one_each else ""
