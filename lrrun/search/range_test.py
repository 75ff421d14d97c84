"""The learning-rate range test: an ordinary run of the same experiment under a rising LR.

It has a model, an optimizer and a run folder of its own, so that it can leave no trace in another
run. Source: Smith, 2017, §3.3, https://arxiv.org/abs/1506.01186.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from lrrun.analysis.lr_rules import Floats, RangeCurve
from lrrun.config.experiment import Experiment
from lrrun.errors import UsageError
from lrrun.records import Outcome, StepRecord
from lrrun.runlog.reader import Run
from lrrun.schedules import schedule
from lrrun.search.lr_key import changed

if TYPE_CHECKING:
    from lrrun.training.signals import StopOnSignals

LOW, HIGH = 1e-7, 10.0
"""The LRs between which nearly every optimizer's best one lies."""

FEWEST, MOST = 100, 200
"""Updates of a range test, unless it is told otherwise: half the run's, within these."""

LOST = 3.0
"""The test ends where the smoothed loss exceeds this multiple of its first one."""

Shape = Literal["exponential", "linear"]


@dataclass(frozen=True)
class RangePlan:
    """A rise from the LR `low` to `high` in `steps` updates; exponential: even in log LR."""

    low: float = LOW
    high: float = HIGH
    steps: int = MOST
    shape: Shape = "exponential"

    def __post_init__(self) -> None:
        if self.shape not in ("exponential", "linear"):
            raise UsageError(f"range test {self.shape!r}: expected exponential or linear")
        if not 0 < self.low < self.high < math.inf:
            raise UsageError(
                f"range test from {self.low:g} to {self.high:g}: expected 0 < from < to"
            )
        if self.steps < 20:
            raise UsageError(f"range test of {self.steps} steps: expected at least 20")

    @property
    def scheduler(self) -> dict[str, Any]:
        """The rise as a config's scheduler section, for a base LR of `high`."""
        start = f"{100 * self.low / self.high!r}%"
        return {"name": self.shape, "start": start, "final": "100%", "end": "inclusive"}

    @property
    def lrs(self) -> Floats:
        """The base LR of each update, [steps]."""
        return schedule(self.scheduler, lr=self.high, steps=self.steps)(np.arange(self.steps))


@dataclass(frozen=True)
class RangeTest:
    """A range test that has been made: its run's folder, its curve, and its updates."""

    path: Path
    curve: RangeCurve
    steps: int

    @classmethod
    def of(cls, path: Path, plan: RangePlan, losses: Floats, diverged: bool) -> RangeTest:
        """The test whose updates, under `plan`, had these losses, [T]."""
        curve = RangeCurve.of(plan.lrs[: len(losses)], losses, diverged)
        return cls(path, curve, len(losses))

    @property
    def seconds_per_step(self) -> float:
        """Wall-clock seconds of an update, all that its run takes beside it included."""
        info = Run.open(self.path).info
        ended, began = (datetime.fromisoformat(info[key]) for key in ("finished", "created"))
        return (ended - began).total_seconds() / max(1, self.steps)


def usual_steps(total_steps: int) -> int:
    """How many updates a range test takes unless it is told otherwise.

    >>> usual_steps(50), usual_steps(276), usual_steps(10_000)
    (100, 138, 200)
    """
    return min(MOST, max(FEWEST, total_steps // 2))


def range_experiment(
    experiment: Experiment, plan: RangePlan, allow_code: bool = False
) -> Experiment:
    """The experiment under the rising LR: every param group rises, each by its own lr_factor.

    What the config schedules beside the LR, its own schedules of groups and whatever would end the
    run early or keep it alive is left out.
    """
    groups = (
        f"optimizer.groups[{index}].scheduler=null"
        for index, group in enumerate(experiment.optimizer.groups)
        if group.scheduler is not None
    )
    overrides = [
        f'name="{experiment.name}-find"',
        f"seed={experiment.seeds[0]}",
        f"scheduler={json.dumps(plan.scheduler)}",
        f"optimizer.lr={plan.high!r}",
        *groups,
        "co_schedules={}",
        f"train.steps={plan.steps}",
        "train.scale=1.0",
        "train.evaluate=100%",
        "train.early_stopping=null",
        "train.log_every=1",
        "train.on_divergence=stop",
        "train.spike_factor=null",
        "train.headroom=null",
        f"train.divergence_factor={LOST}",
        "checkpoint={last: 1, best: null}",
    ]
    return changed(experiment, overrides, allow_code)


def range_test(
    raised: Experiment,
    plan: RangePlan,
    runs_dir: Path,
    *,
    facts: Mapping[str, Any] | None = None,
    stop: StopOnSignals | None = None,
) -> RangeTest | None:
    """Make the test in a new run folder, `<name>-find-<n>`; None where a signal interrupted it.

    `raised` is the `range_experiment` of the same plan; `facts` are further entries of run.json.
    """
    from lrrun.training.journey import Started
    from lrrun.training.runner import run

    losses: list[float] = []
    path, status = runs_dir, ""
    for event in run(raised, runs_dir, facts=facts, stop=stop):
        if isinstance(event, Started):
            path = event.path
        elif isinstance(event, StepRecord):
            losses.append(event.loss)
        elif isinstance(event, Outcome):
            status = event.status
    if status == "interrupted":
        return None
    return RangeTest.of(path, plan, np.array(losses), status == "diverged")
