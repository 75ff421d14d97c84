"""`lrrun train`: one experiment, or one run for each of its seeds."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lrrun.cli.check import findings_of
from lrrun.cli.following import (
    Ended,
    as_data,
    command_line,
    exit_code,
    follow,
    follow_many,
    tell,
)
from lrrun.cli.garbage import load_training
from lrrun.cli.options import (
    DEFAULT_RUNS_DIR,
    AllowCode,
    Config,
    JsonFlag,
    Overrides,
    RunsDir,
    Strict,
)

if TYPE_CHECKING:
    from lrrun.config.experiment import Experiment
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
    fuse: Annotated[
        bool,
        typer.Option("--fuse", help="Train several seeds as one stacked model: often faster."),
    ] = False,
    runs_dir: RunsDir = DEFAULT_RUNS_DIR,
    strict: Strict = False,
    allow_code: AllowCode = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")] = False,
    json_output: JsonFlag = False,
) -> None:
    """Train an experiment and write its run folder; exit code 4 if it diverges."""
    from lrrun.config.check import check_if_known
    from lrrun.config.reading import load_experiment
    from lrrun.render.facts import print_findings
    from lrrun.render.terminal import make_console

    settings = [*(overrides or ())]
    settings += [f"train.device={device}"] if device is not None else []
    settings += [f'name="{name}"'] if name is not None else []
    experiment = load_experiment(config, settings, allow_code)
    clock = check_if_known(experiment)  # before torch is loaded: a bad config is answered at once
    found = findings_of(experiment, clock, strict)
    if found and not quiet:
        print_findings(make_console(sys.stderr), found)
    ended = _train_all(experiment, runs_dir, smoke, quiet, json_output, fuse)
    code = exit_code(ended)
    if code:
        raise typer.Exit(code)


def _train_all(
    experiment: Experiment,
    runs_dir: Path,
    smoke: bool,
    quiet: bool,
    json_output: bool,
    fuse: bool,
) -> list[Ended]:
    """Train every seed until a signal ends it: in turn, bit for bit as if alone, or fused."""
    from lrrun.training.signals import StopOnSignals

    silent = quiet or json_output
    fuse = fuse and len(experiment.seeds) > 1 and _may_be_fused(experiment)
    with StopOnSignals() as stop:
        load_training()
        if fuse:
            done = _together(experiment, runs_dir, smoke, silent, stop)
        else:
            done = _in_turn(experiment, runs_dir, smoke, silent, stop)
    if json_output:
        from lrrun.runlog import strict_json

        print(strict_json.dumps([as_data(each) for each in done]))
    if not silent and len(done) > 1:
        _print_over_seeds(done)
    return done


def _print_over_seeds(done: list[Ended]) -> None:
    """What the seeds came to together."""
    from lrrun.analysis.compare import over_seeds
    from lrrun.render.terminal import make_console
    from lrrun.runlog.reader import Run

    whole = [each.path for each in done if each.outcome.status == "completed"]
    found = over_seeds([Run.open(path).summary for path in whole])
    if found:
        make_console().print(found, soft_wrap=True, markup=False)


def _may_be_fused(experiment: Experiment) -> bool:
    """Can the seeds be trained as one? Says so where a key forbids it."""
    from lrrun.config.fusing import reason_alone

    reason = reason_alone(experiment)
    if reason is not None:
        tell(f"the seeds are trained one by one: {reason}")
    return reason is None


def _in_turn(
    experiment: Experiment, runs_dir: Path, smoke: bool, silent: bool, stop: StopOnSignals
) -> list[Ended]:
    from lrrun.training.runner import run

    done = []
    for seed in experiment.seeds:
        one = experiment.with_seed(seed)
        events = run(one, runs_dir, command=command_line(), smoke=smoke, stop=stop)
        done.append(follow(events, silent, Path(), lambda: stop.received))
        if stop.requested():
            break
    return done


def _together(
    experiment: Experiment, runs_dir: Path, smoke: bool, silent: bool, stop: StopOnSignals
) -> list[Ended]:
    """Train all seeds at once; where none can begin, the error is the first one's own."""
    from lrrun.training.fused.runner import train_many

    seeds = [experiment.with_seed(seed) for seed in experiment.seeds]
    facts = {"command": command_line()}
    events = train_many(seeds, runs_dir, facts=facts, smoke=smoke, stop=stop)
    done, failures = follow_many(events, silent, lambda: stop.received)
    if failures and not done:
        return _in_turn(experiment, runs_dir, smoke, silent, stop)
    for sentence in failures:
        tell(sentence)
    return done
