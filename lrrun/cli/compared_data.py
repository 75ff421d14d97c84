"""A comparison as plain data, for --json."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lrrun.analysis.compare import MISSING, Comparison, caution, verdict
from lrrun.analysis.gates import GateResult
from lrrun.analysis.group_verdict import group_notes, group_verdict
from lrrun.analysis.mean_difference import MeanDifference
from lrrun.analysis.seed_groups import Grouping, SeedGroup, Which


def as_data(
    comparison: Comparison,
    grouping: Grouping,
    results: Sequence[GateResult],
    indices: Sequence[int],
) -> dict[str, Any]:
    """What is printed as text; the runs at `indices`, in their order."""
    names = [run.name for run in comparison.runs]
    decides = grouping.decides
    return {
        "metric": comparison.metric,
        "ranking": [names[index] for index in comparison.ranking],
        "verdict": group_verdict(grouping) if decides else verdict(comparison),
        "caution": " ".join(group_notes(grouping)) if decides else caution(comparison),
        "gates": [vars(each) for each in results],
        "groups": [_group(each, comparison, grouping) for each in grouping.groups if decides],
        "differences": [
            {
                "key": each.key,
                "values": {
                    name: value
                    for name, value in zip(names, each.values, strict=True)
                    if value is not MISSING
                },
            }
            for each in comparison.differences
        ],
        "runs": [
            {
                "name": run.name,
                "status": run.status,
                "sentence": run.sentence,
                **vars(run.summary),
                "lr_sum": run.lr_sum,
            }
            for run in (comparison.runs[index] for index in indices)
        ],
    }


def _group(group: SeedGroup, comparison: Comparison, grouping: Grouping) -> dict[str, Any]:
    to_best = grouping.to_best.get(group.label)
    return {
        "group": group.label,
        "baseline": group.is_baseline,
        "runs": [run.name for run in group.views],
        "seeds": group.seeds,
        "diverged": [run.name for run in group.diverged],
        "unfinished": [run.name for run in group.unfinished],
        "best": _means(group, comparison, "best"),
        "last": _means(group, comparison, "last"),
        "to_best": None if to_best is None else _difference(to_best),
    }


def _means(group: SeedGroup, comparison: Comparison, which: Which) -> dict[str, Any]:
    means = {name: group.mean(name, which) for name in comparison.metrics()}
    return {
        name: {
            "mean": found[0],
            "half_width": found[1],
            "seeds": len(group.values(name, which)),
        }
        for name, found in means.items()
        if found is not None
    }


def _difference(found: MeanDifference) -> dict[str, Any]:
    return {
        "value": found.value,
        "half_width": found.half_width,
        "confidence": found.confidence,
        "test": found.kind,
        "told": found.is_told,
        "seeds_needed": found.seeds_needed(),
    }
