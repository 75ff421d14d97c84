"""A search for a learning rate that was stopped, found again by the same search."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from lrrun.config.experiment import Experiment
from lrrun.runlog.lock import is_abandoned
from lrrun.runlog.reader import Run, list_runs
from lrrun.runlog.sweeps import discard_run
from lrrun.search.finding import is_search, is_stopped
from lrrun.search.range_test import RangePlan, RangeTest
from lrrun.search.reuse import FinishedRuns


def stopped_search(
    raised: Experiment, plan: RangePlan, quick: bool, runs_dir: Path
) -> RangeTest | None:
    """The range test of a search in `runs_dir` that was stopped after it; None: there is none.

    `raised` is the experiment under the rising LR. One that another process is busy with is left.
    """

    def goes_on(run: Run) -> bool:
        same = is_search(run) and run.info["range_test"].get("quick") == quick
        return same and is_stopped(run) and is_abandoned(run.path)

    folder = FinishedRuns([runs_dir], goes_on).like(raised)
    if folder is None:
        return None
    run = Run.open(folder)
    return RangeTest.of(folder, plan, run.steps["loss"], run.status == "diverged")


def finished_trials(folder: Path) -> FinishedRuns:
    """The runs of a stopped search that are whole; what is left of others is removed."""
    for each in list_runs(folder):
        if not (isinstance(each, Run) and each.status in ("completed", "diverged")):
            discard_run(each.path)
    return FinishedRuns([folder])


def facts_of(command: str, plan: RangePlan, quick: bool) -> dict[str, Any]:
    """What run.json of a search's range test says beside what every run's does."""
    return {"command": command, "range_test": {**asdict(plan), "quick": quick}}
