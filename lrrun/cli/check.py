"""`lrrun check`: everything that can be known of an experiment without training it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from lrrun.cli.options import AllowCode, Config, JsonFlag, Overrides, Strict

if TYPE_CHECKING:
    from lrrun.config.clock import Clock
    from lrrun.config.experiment import Experiment
    from lrrun.errors import Problem
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
    from lrrun.config.check import check_if_known
    from lrrun.config.reading import load_experiment

    experiment = load_experiment(config, overrides or (), allow_code)
    clock = check_if_known(experiment)
    found = findings_of(experiment, clock, strict)
    facts = _facts(experiment, clock.units if clock else None)
    if batch:
        from lrrun.training.preflight import one_batch

        facts |= one_batch(experiment)
    if json_output:
        from lrrun.runlog import strict_json

        data = {"config": str(config), "ok": True, **facts, "findings": [str(f) for f in found]}
        print(strict_json.dumps(data))
        return
    from lrrun.render.facts import print_facts, print_findings
    from lrrun.render.terminal import make_console

    console = make_console()
    print_facts(console, f"{config}: ok", facts)
    print_findings(console, found)


def findings_of(experiment: Experiment, clock: Clock | None, strict: bool) -> list[Problem]:
    """What lint finds in the schedule; raises ConfigError with it under --strict."""
    from lrrun.config.check import findings
    from lrrun.errors import ConfigError

    found = findings(experiment, clock) if clock else []
    if strict and found:
        raise ConfigError(found)
    return found


def _facts(experiment: Experiment, units: Units | None) -> dict[str, Any]:
    """What the run would be, in the order in which a person asks."""
    from lrrun.render.values import describe, run_length

    resolved = experiment.resolved()
    facts: dict[str, Any] = {
        "model": describe(resolved["model"]),
        "dataset": describe(resolved["dataset"]),
    }
    if units is None:
        return {**facts, "run": "as long as the dataset's own code makes it"}
    rows = experiment.dataset.facts(experiment.folder)
    assert rows is not None
    return {
        **facts,
        "rows": f"{rows.train_rows:,} for training, {rows.val_rows:,} for validation",
        "run": run_length(units),
        "optimizer": describe({**resolved["optimizer"], "lr": experiment.base_lr}),
        "schedule": describe(resolved["scheduler"]),
        "lr": _rates(experiment, units),
    }


def _rates(experiment: Experiment, units: Units) -> str:
    from lrrun.config.plans import plan_schedules
    from lrrun.render.numbers import number
    from lrrun.schedules.preview import preview

    schedules = plan_schedules(experiment, units, {"default": experiment.base_lr})
    seen = preview("lr", schedules["default"], units.total_steps)
    return (
        f"first {number(seen.first)}, peak {number(seen.peak)} at step {seen.peak_step:,}, "
        f"last {number(seen.last)}, sum {number(seen.total)}"
    )
