"""Conditions that a comparison must meet: read from text, and judged with the noise of seeds."""

from __future__ import annotations

import math
import re
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

from lrrun.analysis.compare import named
from lrrun.analysis.mean_difference import MeanDifference, mean_difference
from lrrun.analysis.seed_groups import Grouping, SeedGroup, Which
from lrrun.errors import UsageError
from lrrun.registry import unknown

LR = "lr"
"""The gate that the learning rates be those of the baseline, bit for bit."""

FORMS = (
    '"val_loss <= 0.08", "val_acc >= 0.97", "val_loss <= baseline + 2%", '
    '"val_loss.last <= baseline + 0.001", or "lr"'
)

_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_CONDITION = re.compile(
    r"(?P<metric>[A-Za-z_][\w./-]*?)(?:\.(?P<which>best|last))?\s*(?P<operator>[<>]=?)\s*"
    rf"(?:(?P<number>{_NUMBER})|"
    rf"(?P<baseline>baseline)(?:\s*(?P<sign>[+-])\s*(?P<margin>{_NUMBER})(?P<percent>\s*%)?)?)"
)


@dataclass(frozen=True)
class Gate:
    """`metric` `operator` bound: a number, or the baseline's value, its share and a number more.

    The value of `metric` is its best, or its last if `which` says so; `text` is what was written.
    The gate of the learning rates has the metric LR, and no bound.
    """

    text: str
    metric: str
    which: Which = "best"
    operator: str = "<="
    number: float = 0.0
    share: float = 0.0
    of_baseline: bool = False

    @property
    def downwards(self) -> bool:
        """Is less asked for, rather than more?"""
        return self.operator.startswith("<")

    def bounds(self, baseline: Mapping[Hashable, float]) -> dict[Hashable, float]:
        """What is asked for, by the baseline's seed."""
        return {
            seed: value + self.share * abs(value) + self.number for seed, value in baseline.items()
        }

    def is_met(self, found: MeanDifference) -> bool:
        """Does all of the interval of (value - bound) lie on the right side of 0?"""
        worst = found.high if self.downwards else -found.low
        return worst < 0 or (worst == 0 and self.operator.endswith("="))


def read_gate(text: str) -> Gate:
    """Read a condition; raises UsageError with the forms there are.

    >>> gate = read_gate("val_loss <= baseline + 2%")
    >>> gate.metric, gate.operator, gate.share, gate.of_baseline
    ('val_loss', '<=', 0.02, True)
    """
    if text.strip() == LR:
        return Gate(text.strip(), LR, of_baseline=True)
    match = _CONDITION.fullmatch(text.strip())
    if match is None:
        raise UsageError(f"gate {text!r}: expected a condition such as {FORMS}")
    number = float(match["number"] or match["margin"] or 0)
    if not math.isfinite(number):
        raise UsageError(f"gate {text!r}: expected a finite number")
    number = -number if match["sign"] == "-" else number
    return Gate(
        text.strip(),
        match["metric"],
        "last" if match["which"] == "last" else "best",
        match["operator"],
        0.0 if match["percent"] else number,
        number / 100 if match["percent"] else 0.0,
        match["baseline"] is not None,
    )


@dataclass(frozen=True)
class GateResult:
    """Whether one group, or the one run that it has, meets a gate; `sentence` says what was got.

    `value` is its mean, `bound` what was asked of it, `low` and `high` the ends of the interval
    that was judged, as values of the metric: None where there is no value, or for the gate `lr`.
    """

    gate: str
    of: str
    met: bool
    sentence: str
    value: float | None = None
    bound: float | None = None
    low: float | None = None
    high: float | None = None


def check_gates(gates: Sequence[Gate], grouping: Grouping, metrics: Sequence[str]) -> None:
    """Refuse what cannot be judged: a metric that no run has, a baseline that is missing."""
    for gate in gates:
        if gate.of_baseline and not any(each.is_baseline for each in grouping.groups):
            raise UsageError(f"gate {gate.text!r}: --baseline RUN says which runs that is")
        if metrics and gate.metric not in (*metrics, LR):
            raise UsageError(f"gate {gate.text!r}: {unknown('metric', gate.metric, metrics)}")


def baseline_of(group: SeedGroup, grouping: Grouping) -> SeedGroup:
    """The baseline's group of the same config, else its only one; raises UsageError for several."""
    known = [each for each in grouping.groups if each.is_baseline]
    same = [each for each in known if each.config == group.config]
    if len(same or known) > 1:
        raise UsageError(
            f"{subject(group)}: the baseline has several groups ({named([e.label for e in known])})"
            ", and not one of them has its config; name fewer runs with --baseline"
        )
    return (same or known)[0]


def judge(gate: Gate, group: SeedGroup, baseline: SeedGroup | None) -> GateResult:
    """Hold a condition on a metric against a group of runs, all of which must have completed.

    With several seeds, of the group or of the baseline, the worse end of the 95% interval of the
    mean (for a baseline: of the difference) must meet it, so that few seeds pass no more easily
    than many. One seed has no interval; its value must.
    """
    of = subject(group)
    if missing := unjudged(group):
        return GateResult(gate.text, of, False, missing)
    if empty := group.without(gate.metric, gate.which):
        names = named([run.name for run in empty])
        return GateResult(gate.text, of, False, f"no finite {_what(gate)} in {names}")
    ours = group.values(gate.metric, gate.which)
    if baseline is None:
        bounds = dict.fromkeys(ours, gate.number)
    else:
        bounds = gate.bounds(baseline.values(gate.metric, gate.which))
    if not bounds:
        raise UsageError(f"gate {gate.text!r}: no completed run of the baseline has {_what(gate)}")
    found = mean_difference(ours, bounds)
    value = math.fsum(ours.values()) / len(ours)
    bound = math.fsum(bounds.values()) / len(bounds)
    met = gate.is_met(found)
    return GateResult(
        gate.text,
        of,
        met,
        f"{of} has {_what(gate)} {value:.4g}{_got(gate, bound, found, met)}{_lacking(baseline)}",
        value,
        bound,
        bound + found.low,
        bound + found.high,
    )


def subject(group: SeedGroup) -> str:
    """The run's name where there is one run, else the group's."""
    return group.views[0].name if len(group.views) == 1 else group.label


def unjudged(group: SeedGroup) -> str:
    """Which runs did not complete, in a sentence; empty where all did."""
    ends = [f"{run.name} {run.status}" for run in (*group.diverged, *group.unfinished)]
    return f"not completed: {named(ends)}" if ends else ""


def _what(gate: Gate) -> str:
    return f"last {gate.metric}" if gate.which == "last" else gate.metric


def _got(gate: Gate, bound: float, found: MeanDifference, met: bool) -> str:
    """What was asked where it is no plain number, the interval, and whether that decides."""
    asked = f", asked {gate.operator} {bound:.4g}" if gate.of_baseline else ""
    if found.half_width is None:
        return asked
    how = found.how if gate.of_baseline else f"{found.seeds[0]} seeds"
    got = f"{asked}, and {bound + found.low:.4g} to {bound + found.high:.4g} with 95% ({how})"
    if met or found.is_told:
        return got
    seeds = found.seeds_needed()
    each = " each" if gate.of_baseline else ""
    return f"{got}: undecided" + (f"; about {seeds} seeds{each} would tell" if seeds else "")


def _lacking(baseline: SeedGroup | None) -> str:
    missing = unjudged(baseline) if baseline is not None else ""
    return f"; of the baseline {missing}" if missing else ""
