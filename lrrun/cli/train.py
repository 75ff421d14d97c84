"""`lrrun train`: one experiment, or one run for each of its seeds."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lrrun.cli.options import (
    DEFAULT_RUNS_DIR,
    AllowCode,
    Config,
    JsonFlag,
    Overrides,
    RunsDir,
)
from lrrun.errors import Exit

if TYPE_CHECKING:
    from lrrun.config.experiment import Experiment
    from lrrun.records import Outcome
    from lrrun.training.signals import StopOnSignals


def train(
    config: Config,
    overrides: Overrides = None,
    smoke: Annotated[
        bool, typer.Option("--smoke", help="A few steps of the same experiment, in seconds.")
    ] = False,
    device: Annotated[
        str | None, typer.Option("--device", help="auto, cpu, cuda, cuda:1 or mps.")
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", help="The beginning of the run folder's name.")
    ] = None,
    runs_dir: RunsDir = DEFAULT_RUNS_DIR,
    allow_code: AllowCode = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")] = False,
    json_output: JsonFlag = False,
) -> None:
    """Train an experiment and write its run folder; exit code 4 if it diverges."""
    from lrrun.config.check import check_if_known
    from lrrun.config.reading import load_experiment

    settings = [*(overrides or ())]
    settings += [f"train.device={device}"] if device is not None else []
    settings += [f'name="{name}"'] if name is not None else []
    experiment = load_experiment(config, settings, allow_code)
    check_if_known(experiment)  # before torch is loaded: a bad config is answered at once
    outcomes = _train_all(experiment, runs_dir, smoke, quiet, json_output)
    code = _exit_code(outcomes)
    if code:
        raise typer.Exit(code)


def _train_all(
    experiment: Experiment, runs_dir: Path, smoke: bool, quiet: bool, json_output: bool
) -> list[tuple[Path, Outcome, int | None]]:
    """Train every seed in turn, until a signal ends it: the run folders and how each ended."""
    from lrrun.training.signals import StopOnSignals

    done = []
    with StopOnSignals() as stop:
        for seed in experiment.seeds:
            run = _train_one(
                experiment.with_seed(seed), runs_dir, smoke, quiet or json_output, stop
            )
            done.append(run)
            if stop.requested():
                break
    if json_output:
        from lrrun.runlog import strict_json

        print(strict_json.dumps([_as_data(path, outcome) for path, outcome, _ in done]))
    return done


def _train_one(
    experiment: Experiment, runs_dir: Path, smoke: bool, silent: bool, stop: StopOnSignals
) -> tuple[Path, Outcome, int | None]:
    from lrrun.records import Outcome
    from lrrun.render.progress import watch
    from lrrun.training.runner import Started, run

    events = run(experiment, runs_dir, command=_command_line(), smoke=smoke, stop=stop)
    path, outcome = Path(), Outcome("failed", "", 0)
    for event in events if silent else watch(events):
        if isinstance(event, Started):
            path = event.path
        elif isinstance(event, Outcome):
            outcome = event
    return path, outcome, stop.received


def _command_line() -> str:
    import shlex

    return shlex.join(["lrrun", *sys.argv[1:]])


def _as_data(path: Path, outcome: Outcome) -> dict[str, Any]:
    from lrrun.runlog.reader import Run

    return {**Run.open(path).info, "path": str(path), "status": outcome.status}


def _exit_code(runs: list[tuple[Path, Outcome, int | None]]) -> int:
    """What the worst of the runs asks for."""
    for _, outcome, signal in runs:
        if outcome.status == "interrupted" and signal is not None:
            return 128 + signal
    statuses = {outcome.status for _, outcome, _ in runs}
    return int(Exit.DIVERGED) if "diverged" in statuses else int(Exit.DONE)
