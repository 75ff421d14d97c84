"""What a sweep has come to, for people and for --json."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

    from lrrun.runlog.sweeps import Row
    from lrrun.search.design import PlannedTrial


def show_sweep(path: Path, plots: bool, json_output: bool) -> None:
    """What a sweep has come to."""
    from lrrun.render.terminal import make_console

    if json_output:
        print_json(as_data(path))
    else:
        report(make_console(), path, plots)


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
        sweep_report(console, records, lr_key(plan), loss_name=plan.metrics[0], plots=plots)
    except NoAnswer as error:
        console.print(f"no answer: {error}", soft_wrap=True)
    if plan.design.method.halving:
        losses = {number: loss_of(row, plan.metrics[0]) for number, row in rows.items()}
        print_agreement(console, agreements(planned, losses))


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
        "trials": trials,
    }


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
