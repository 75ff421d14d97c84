"""What a sweep has come to, for people and for --json."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

    from lrrun.runlog.sweeps import Row
    from lrrun.search.design import PlannedTrial
    from lrrun.search.plan import Plan


def show_sweep(path: Path, plots: bool, json_output: bool, png: Path | None = None) -> None:
    """What a sweep has come to; `png` is the file to draw its curves into."""
    from lrrun.render.terminal import make_console

    if json_output:
        print_json(as_data(path))
    else:
        report(make_console(), path, plots)
    if png is not None:
        draw(path, png)


def report(console: Console, path: Path, plots: bool = True) -> None:
    """What a sweep has come to so far: its trials by status, and what they say."""
    from lrrun.errors import NoAnswer
    from lrrun.render.sweeping import print_agreement, print_trials
    from lrrun.render.sweeps import sweep_report
    from lrrun.search.halving import agreements
    from lrrun.search.opening import trials_so_far
    from lrrun.search.plan import Plan
    from lrrun.search.trials import as_records, loss_of, lr_key

    plan = Plan.read(path)
    planned, rows = trials_so_far(plan, path)
    print_trials(console, path, plan, planned, rows)
    try:
        records = as_records(plan, planned, rows)
        chosen = plan.design.chosen
        metric = plan.metrics[0]
        sweep_report(console, records, lr_key(plan), None, metric, plots, chosen)
    except NoAnswer as error:
        console.print(f"no answer: {error}", soft_wrap=True)
    if plan.design.method.halving:
        losses = {number: loss_of(row, plan.metrics[0]) for number, row in rows.items()}
        print_agreement(console, agreements(planned, losses))


def draw(path: Path, file: Path) -> None:
    """Draw a sweep's response curves and best-of-k curves into a .png or .svg."""
    from lrrun.render.sweeps import save_sweep_figure
    from lrrun.search.opening import trials_so_far
    from lrrun.search.plan import Plan
    from lrrun.search.trials import as_records, lr_key

    plan = Plan.read(path)
    records = as_records(plan, *trials_so_far(plan, path))
    save_sweep_figure(file, records, lr_key(plan), loss_name=plan.metrics[0])


def as_data(path: Path) -> dict[str, Any]:
    """A sweep's trials and its best one, for --json."""
    from dataclasses import asdict

    from lrrun.search.halving import agreements
    from lrrun.search.opening import trials_so_far
    from lrrun.search.plan import Plan
    from lrrun.search.trials import best_trial, loss_of

    plan = Plan.read(path)
    planned, rows = trials_so_far(plan, path)
    losses = {number: loss_of(row, plan.metrics[0]) for number, row in rows.items()}
    best = best_trial(planned, losses)
    trials = [_trial(trial, rows.get(trial.number)) for trial in planned]
    total = plan.design.total()
    return {
        "sweep": str(path),
        "name": path.name,
        "created": plan.created,
        "status": "completed" if len(rows) >= total else "interrupted",
        "trials_planned": total,
        "counts": dict(Counter(row.status for row in rows.values())),
        "best": _trial(best, rows[best.number]) if best else None,
        "agreement": [{**asdict(each), "tau": each.tau} for each in agreements(planned, losses)],
        "response": _response(plan, planned, rows),
        "trials": trials,
    }


def _response(
    plan: Plan, planned: list[PlannedTrial], rows: Mapping[int, Row]
) -> dict[str, Any] | None:
    """What the finished trials say about learning rates; None where they say nothing."""
    from lrrun.analysis.response_data import response_data
    from lrrun.errors import NoAnswer
    from lrrun.search.trials import as_records, lr_key

    try:
        return response_data(as_records(plan, planned, rows), lr_key(plan))
    except NoAnswer:
        return None


def _trial(trial: PlannedTrial, row: Row | None) -> dict[str, Any]:
    known = {"trial": trial.number, "values": trial.values}
    if trial.rung:
        known |= {"bracket": trial.bracket, "rung": trial.rung, "scale": trial.scale}
    if row is None:
        return {**known, "status": "planned"}
    return {
        **known,
        "status": row.status,
        "sentence": row.sentence,
        "metrics": row.metrics,
        "steps": row.steps,
        "folder": row.folder,
    }


def print_json(data: Any) -> None:
    """Print plain data, nan and infinity as null."""
    from lrrun.runlog import strict_json

    print(strict_json.dumps(data))
