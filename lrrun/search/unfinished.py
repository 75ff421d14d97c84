"""A search for a learning rate that was stopped, found again by the same search."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lrrun.config.experiment import Experiment
from lrrun.errors import RunBusy
from lrrun.runlog.lock import is_abandoned
from lrrun.runlog.reader import Run, list_runs
from lrrun.runlog.sweeps import discard_run
from lrrun.search.finding import is_stopped
from lrrun.search.range_test import RangePlan, RangeTest
from lrrun.search.reuse import FinishedRuns, is_same_work


def stopped_search(
    raised: Experiment, plan: RangePlan, quick: bool, runs_dir: Path
) -> RangeTest | None:
    """The range test of a search in `runs_dir` that was stopped after it; None: there is none.

    `raised` is the experiment under the rising LR. One that another process is busy with is left.
    """

    def goes_on(run: Run) -> bool:
        same = run.is_search and run.info["range_test"].get("quick") == quick
        return same and is_stopped(run) and is_abandoned(run.path)

    folder = FinishedRuns([runs_dir], goes_on).like(raised)
    if folder is None:
        return None
    run = Run.open(folder)
    return RangeTest.of(folder, plan, run.steps["loss"], run.status == "diverged")


def discard_range_tests(raised: Experiment, quick: bool, runs_dir: Path) -> list[Path]:
    """Remove what the same search left where it was stopped inside its range test; the folders.

    The test is short, and is repeated whole. One that another process is busy with is left.
    """
    discarded = []
    for run in list_runs(runs_dir):
        if isinstance(run, Run) and _is_half(run, quick) and is_same_work(run, raised):
            with contextlib.suppress(RunBusy):
                discard_run(run.path)
                discarded.append(run.path)
    return discarded


def _is_half(run: Run, quick: bool) -> bool:
    """Is it a range test that nobody makes any more, and that did not come to its end?"""
    facts = run.info.get("range_test")
    same = isinstance(facts, Mapping) and facts.get("quick") == quick
    over = run.status in ("completed", "diverged") or not is_stopped(run)
    return same and not over and is_abandoned(run.path)


def finished_trials(folder: Path) -> FinishedRuns:
    """The runs of a stopped search that are whole; what is left of others is removed."""
    for each in list_runs(folder):
        if not (isinstance(each, Run) and each.status in ("completed", "diverged")):
            discard_run(each.path)
    return FinishedRuns([folder])


def facts_of(command: str, plan: RangePlan, quick: bool) -> dict[str, Any]:
    """What run.json of a search's range test says beside what every run's does."""
    return {"command": command, "range_test": {**asdict(plan), "quick": quick}}
