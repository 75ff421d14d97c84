"""The gates of a comparison: judged for every group that is not the baseline."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from lrrun.analysis.compare import Comparison
from lrrun.analysis.gates import LR, Gate, GateResult, baseline_of, check_gates, judge
from lrrun.analysis.lr_traces import LrTrace, judge_lrs, lr_trace
from lrrun.analysis.seed_groups import Grouping
from lrrun.errors import GateNotMet
from lrrun.runlog.reader import Run

SAID = 20
"""Lines about gates that were not met; the rest are counted."""


def judge_all(
    gates: Sequence[Gate], comparison: Comparison, grouping: Grouping, runs: Sequence[Run]
) -> list[GateResult]:
    """Hold every gate against every group; steps are read for the gate of the LRs alone."""
    check_gates(gates, grouping, comparison.metrics())

    @cache
    def trace(index: int) -> LrTrace:
        updates = comparison.runs[index].summary.steps
        return runs[index].fold_steps(lambda blocks: lr_trace(blocks, updates))

    results = []
    for gate in gates:
        for group in grouping.groups:
            if group.is_baseline:
                continue
            baseline = baseline_of(group, grouping) if gate.of_baseline else None
            if gate.metric == LR and baseline is not None:
                results.append(judge_lrs(gate, group, baseline, trace))
            else:
                results.append(judge(gate, group, baseline))
    return results


def refuse_unmet(results: Sequence[GateResult]) -> None:
    """Raise GateNotMet with a line for each gate that was not met, if any."""
    unmet = [each for each in results if not each.met]
    if unmet:
        raise GateNotMet(
            "\n".join(f"gate {each.gate!r} not met: {each.sentence}" for each in unmet)
        )
