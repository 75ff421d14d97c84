"""`lrrun check`: everything that can be known of an experiment without training it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lrrun.cli.garbage import load_training
from lrrun.cli.options import AllowCode, Config, JsonFlag, Overrides, Strict

if TYPE_CHECKING:
    from lrrun.config.clock import Clock
    from lrrun.config.experiment import Experiment
    from lrrun.errors import LrrunError, Problem
    from lrrun.schedules.preview import Preview
    from lrrun.units import Units


def check(
    config: Config,
    overrides: Overrides = None,
    batch: Annotated[
        bool, typer.Option("--batch", help="Also run one batch through everything (loads torch).")
    ] = False,
    strict: Strict = False,
    allow_code: AllowCode = False,
    json_output: JsonFlag = False,
) -> None:
    """Check a config: every error at once, with file and line; else what the run would be."""
    from lrrun.errors import LrrunError

    try:
        facts, numbers, found = _checked(config, overrides or (), batch, strict, allow_code)
    except LrrunError as error:
        if json_output:
            _print_problems(config, error)
        raise
    if json_output:
        from lrrun.runlog import strict_json

        data = {"config": str(config), "ok": True, **facts, "numbers": numbers}
        print(strict_json.dumps({**data, "findings": [str(each) for each in found]}))
        return
    from lrrun.render.facts import print_facts, print_findings
    from lrrun.render.terminal import make_console

    console = make_console()
    print_facts(console, f"{config}: ok", facts)
    print_findings(console, found)


def _checked(
    config: Path, overrides: Sequence[str], batch: bool, strict: bool, allow_code: bool
) -> tuple[dict[str, Any], dict[str, Any], list[Problem]]:
    """What the run would be, in words and in numbers, and what lint found.

    Raises LrrunError with all that is wrong.
    """
    from lrrun.config.check import check_if_known
    from lrrun.config.reading import load_experiment

    experiment = load_experiment(config, overrides, allow_code)
    clock = check_if_known(experiment)
    found = findings_of(experiment, clock, strict)
    seen = _previewed(experiment, clock.units) if clock else None
    facts = _facts(experiment, clock.units if clock else None, seen)
    if batch:
        load_training()
        from lrrun.training.preflight import one_batch

        facts |= one_batch(experiment)
    numbers = _numbers(experiment, clock.units, seen) if clock and seen else {}
    return facts, numbers, found


def _print_problems(config: Path, error: LrrunError) -> None:
    """What is wrong, for a program: where it stands, which key, and the message."""
    from lrrun.errors import Problem, dotted
    from lrrun.runlog import strict_json

    problems = getattr(error, "problems", None) or [Problem((), str(error))]
    rows = [
        {"where": each.where, "key": dotted(each.path), "message": each.message}
        for each in problems
    ]
    print(strict_json.dumps({"config": str(config), "ok": False, "problems": rows}))


def findings_of(experiment: Experiment, clock: Clock | None, strict: bool) -> list[Problem]:
    """What lint finds in the schedule; raises ConfigError with it under --strict."""
    from lrrun.config.check import findings
    from lrrun.errors import ConfigError

    found = findings(experiment, clock) if clock else []
    if strict and found:
        raise ConfigError(found)
    return found


def _facts(experiment: Experiment, units: Units | None, seen: Preview | None) -> dict[str, Any]:
    """What the run would be, in the order in which a person asks."""
    from lrrun.render.values import describe, run_length

    resolved = experiment.resolved()
    facts: dict[str, Any] = {
        "model": describe(resolved["model"]),
        "dataset": describe(resolved["dataset"]),
    }
    if units is None or seen is None:
        return {**facts, "run": "as long as the dataset's own code makes it"}
    written = experiment.optimizer.model_dump(mode="json", exclude_defaults=True)
    rows = experiment.dataset.facts(experiment.folder)
    assert rows is not None
    return {
        **facts,
        "rows": f"{rows.train_rows:,} for training, {rows.val_rows:,} for validation",
        "run": run_length(units),
        "optimizer": describe({**written, "lr": experiment.base_lr}),
        "schedule": describe(resolved["scheduler"]),
        "lr": _rates(seen),
    }


def _previewed(experiment: Experiment, units: Units) -> Preview:
    """The LRs of the whole run, of the param group `default`."""
    from lrrun.config.plans import plan_schedules
    from lrrun.schedules.preview import preview

    schedules = plan_schedules(experiment, units, {"default": experiment.base_lr})
    return preview("lr", schedules["default"], units.total_steps)


def _rates(seen: Preview) -> str:
    from lrrun.render.numbers import number

    return (
        f"first {number(seen.first)}, peak {number(seen.peak)} at step {seen.peak_step:,}, "
        f"last {number(seen.last)}, sum {number(seen.total)}"
    )


def _numbers(experiment: Experiment, units: Units, seen: Preview) -> dict[str, Any]:
    """What a program asks for: the run's length and its LRs."""
    return {
        "total_steps": units.total_steps,
        "steps_per_epoch": units.steps_per_epoch,
        "base_lr": experiment.base_lr,
        "first": seen.first,
        "peak": seen.peak,
        "peak_step": seen.peak_step,
        "last": seen.last,
        "sum": seen.total,
    }
