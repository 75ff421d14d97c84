"""A planned trial as an experiment, and what became of its run as a row."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from lrrun.config.check import check_if_known
from lrrun.config.experiment import Experiment
from lrrun.config.overrides import apply_overrides
from lrrun.config.reading import read_experiment
from lrrun.config.yaml_text import Document
from lrrun.errors import ConfigError, LrrunError, dotted
from lrrun.records import Trial
from lrrun.runlog.reader import Run
from lrrun.runlog.sweeps import Row
from lrrun.search.axes import overrides, written
from lrrun.search.design import PlannedTrial
from lrrun.search.grid import SEED
from lrrun.search.plan import Plan
from lrrun.units import Length, Units

COOLDOWN = "20%"
"""The share of a rung that `rungs: cooldown` decays over; the rest of the rung is constant."""

_FOLDER = re.compile(r"trial-([0-9]+)(?:-smoke)?-[0-9]+")


def experiment_of(plan: Plan, trial: PlannedTrial, allow_code: bool) -> Experiment:
    """The experiment of a trial, checked as far as can be without its data.

    Raises ConfigError with what is wrong with this combination of values.
    """
    document = Document(dict(plan.config))
    settings = [*overrides(trial.values), f'name="trial-{trial.number:04d}"']
    experiment = read_experiment(apply_overrides(document, settings), allow_code)
    if trial.scale != 1:
        rung = _rung(experiment, trial.scale, plan.design.method.rungs)
        experiment = read_experiment(apply_overrides(document, [*settings, *rung]), allow_code)
    check_if_known(experiment)
    return experiment


def _rung(experiment: Experiment, scale: float, rungs: str) -> list[str]:
    """The settings that make a whole run a short one, its schedule finished."""
    if rungs == "rescaled":
        return [f"train.scale={experiment.train.scale * scale!r}"]
    clock = check_if_known(experiment)
    if clock is None:
        raise ConfigError(
            [experiment.problem(("dataset",), "cooldown rungs need to know its rows beforehand")]
        )
    units = clock.units
    finished = {"name": "wsd", "cooldown": COOLDOWN, **_warmup(experiment, units)}
    steps = max(1, round(units.total_steps * scale))
    return [f"scheduler={written(finished)}", f"train.steps={steps}", "train.scale=1.0"]


def _warmup(experiment: Experiment, units: Units) -> dict[str, Any]:
    """The warmup of the whole run, in steps: the trunk that all rungs share begins with it."""
    section = experiment.scheduler
    length = section.get("warmup") if isinstance(section, Mapping) else None
    if isinstance(length, Mapping) and "for" in length:
        return {"warmup": {**length, "for": units.steps(Length.parse(length["for"]))}}
    return {} if length is None else {"warmup": units.steps(Length.parse(length))}


def refusal(error: ConfigError) -> str:
    """Why a trial could not begin, in one line."""
    found = (f"{dotted(p.path)}: {p.message}" if p.path else p.message for p in error.problems)
    return "refused: " + "; ".join(found)


def row_of(
    plan: Plan,
    trial: PlannedTrial,
    status: str,
    sentence: str,
    folder: str = "",
    run: Run | None = None,
) -> Row:
    """The row of a trial that has ended; what it came to is read from its run."""
    values = {key: written(value) for key, value in trial.values.items()}
    if plan.design.method.halving:
        values |= {
            "bracket": str(trial.bracket),
            "rung": str(trial.rung),
            "scale": repr(trial.scale),
        }
    metrics: dict[str, float] = {}
    steps = 0
    if run is not None:
        summary = run.summary
        steps = summary.steps
        for name in plan.metrics:
            metrics[name] = summary.last.get(name, math.nan)
            best = summary.best.get(name)
            metrics[f"best_{name}"] = best.value if best else math.nan
    return Row(trial.number, values, status, sentence, metrics, steps, folder)


def ended_row(plan: Plan, trial: PlannedTrial, folder: Path, sweep: Path) -> Row | None:
    """The row of a trial whose run in `folder` has ended; None where it has not."""
    try:
        run = Run.open(folder)
        if run.status not in ("completed", "diverged"):
            return None
        place = Path(os.path.relpath(folder, sweep)).as_posix()
        return row_of(plan, trial, run.status, run.sentence, place, run)
    except LrrunError:
        return None


def trial_folders(sweep: Path) -> dict[int, list[Path]]:
    """The run folders that a sweep has, by trial."""
    found: dict[int, list[Path]] = {}
    for each in sorted(sweep.iterdir()):
        match = _FOLDER.fullmatch(each.name)
        if match and each.is_dir() and not each.is_symlink():
            found.setdefault(int(match[1]), []).append(each)
    return found


def loss_of(row: Row, metric: str) -> float:
    """What a trial came to: the last value of the metric, infinite where it did not complete."""
    value = row.metrics.get(metric, math.nan)
    return value if row.status == "completed" and math.isfinite(value) else math.inf


def as_records(plan: Plan, planned: Iterable[PlannedTrial], rows: Mapping[int, Row]) -> list[Trial]:
    """What the analysis needs of the trials that have ended; of halving, the whole runs alone."""
    metric = plan.metrics[0]
    return [
        Trial(
            values={k: v for k, v in trial.values.items() if k != SEED},
            seed=int(trial.values.get(SEED, plan.config.get(SEED, 0))),
            status=row.status,
            loss=row.metrics.get(metric, math.nan),
            steps=row.steps,
            diverged=row.status == "diverged",
        )
        for trial in planned
        if (row := rows.get(trial.number)) is not None and trial.scale == 1
    ]


def best_trial(planned: Iterable[PlannedTrial], losses: Mapping[int, float]) -> PlannedTrial | None:
    """The whole run of the lowest loss; None where none completed."""
    done = [trial for trial in planned if trial.scale == 1 and trial.number in losses]
    best = min(done, key=lambda trial: losses[trial.number], default=None)
    return best if best is not None and math.isfinite(losses[best.number]) else None


def lr_key(plan: Plan) -> str:
    """The axis that holds the learning rate: optimizer.lr, or the key of a schedule's own LR."""
    keys = [axis.key for axis in plan.design.axes]
    last = [key for key in keys if key.rpartition(".")[2] in ("lr", "max_lr", "base_lr")]
    return "optimizer.lr" if "optimizer.lr" in keys or not last else last[0]


def label(values: Mapping[str, Any]) -> str:
    """A trial's values on one line."""
    shown = {k: f"{v:.4g}" if isinstance(v, float) else written(v) for k, v in values.items()}
    return " ".join(f"{key}={value}" for key, value in shown.items())
