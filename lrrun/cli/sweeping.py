"""What sweep and resume share of sweeps: opening one, and following it to its end."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from lrrun.cli.following import command_line
from lrrun.cli.garbage import load_training
from lrrun.cli.sweep_report import as_data, draw, print_json, report
from lrrun.errors import Exit, UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from lrrun.search.launch import Launcher
    from lrrun.search.outline import Outline
    from lrrun.search.plan import Plan

_ADDRESS = re.compile(r"auto|ray://\S+|[\w.-]+:[0-9]+")


@dataclass(frozen=True)
class Call:
    """The options of a command that trains a sweep."""

    runs_dir: Path
    options: Mapping[str, Any] = field(default_factory=dict)
    """Of the sweep section, those that were given."""
    settings: Sequence[str] = ()
    name: str | None = None
    processes: int | None = None
    ray: bool = False
    address: str | None = None
    fuse: bool = True
    reuse: bool = False
    new: bool = False
    smoke: bool = False
    allow_code: bool = False
    silent: bool = False


@dataclass(frozen=True)
class Opened:
    """A plan, and the folder of the sweep where there is one already."""

    call: Call
    plan: Plan
    path: Path | None
    trials: int | None = None
    minutes: float | None = None


def open_sweep(call: Call, arguments: Sequence[str], extend: str | None) -> Opened:
    """The sweep that a command line means: a new one, one to go on with, or one to widen."""
    from dataclasses import replace

    if call.ray and call.processes:
        raise UsageError("give one of --processes and --ray")
    addresses = [each for each in arguments if call.ray and _ADDRESS.fullmatch(each)]
    if addresses:
        call = replace(call, address=addresses[0])
    positional = [each for each in arguments if each not in addresses[:1]]
    unknown = [each for each in positional[1:] if call.ray and "=" not in each]
    if unknown:
        raise UsageError(
            f"{unknown[0]}: neither key=values nor the address of a Ray cluster, which is auto, "
            "HOST:PORT or ray://HOST:PORT"
        )
    if extend is not None:
        return _widened(call, positional, extend)
    if not positional:
        raise UsageError("expected a config: lrrun sweep CONFIG KEY=VALUES...")
    return _asked(call, Path(positional[0]), positional[1:])


def _widened(call: Call, positional: Sequence[str], extend: str) -> Opened:
    from lrrun.search.axes import parse_axis
    from lrrun.search.lookup import find_sweep
    from lrrun.search.opening import extend as widen

    path = find_sweep(extend, call.runs_dir)
    points = call.options.get("random") or call.options.get("tpe")
    plan = widen(path, [parse_axis(each) for each in positional], points)
    return Opened(call, plan, path, call.options.get("trials"), call.options.get("minutes"))


def _asked(call: Call, config: Path, texts: Sequence[str]) -> Opened:
    from lrrun.config.overrides import apply_overrides
    from lrrun.config.sweep import read_sweep
    from lrrun.config.yaml_text import read_document
    from lrrun.search.lookup import find_same
    from lrrun.search.opening import Asked, axes_and_settings, new_plan

    document = read_document(config)
    section = read_sweep(document, call.options)
    axes, fixed = axes_and_settings(section.axes, texts, document)
    document = apply_overrides(document, [*fixed, *call.settings])
    asked = Asked(
        document=document,
        axes=axes,
        section=section,
        name=call.name,
        command=command_line(),
        smoke=call.smoke,
        fuse=call.fuse,
        workers=_launcher(call).workers,
        allow_code=call.allow_code,
    )
    plan = new_plan(asked)
    path = None if call.new else find_same(plan, call.runs_dir)
    return Opened(call, plan, path, section.trials, section.minutes)


def _launcher(call: Call) -> Launcher:
    from lrrun.search.launch import InProcess

    if call.ray:
        from lrrun.search.on_ray import OnRay

        return OnRay(call.address)
    if call.processes is not None:
        from lrrun.search.processes import Processes

        return Processes(call.processes)
    load_training()
    return InProcess()


def carry_out(opened: Opened, dry_run: bool, json_output: bool, png: Path | None = None) -> None:
    """Print the plan, train it, and report; the exit code says how it went."""
    from lrrun.render.sweeping import print_done, print_outline
    from lrrun.render.terminal import make_console
    from lrrun.search.outline import outline
    from lrrun.search.plan import Plan

    call, plan = opened.call, opened.plan
    if png is not None:
        _refuse_no_curve(plan)
    console = make_console()
    known = Plan.read(opened.path) if opened.path and opened.plan.batches == () else plan
    planned = outline(known, call.allow_code)
    if not call.silent:
        print_outline(console, known, planned)
        if opened.path:
            print_done(console, opened.path, planned.trials)
    if dry_run:
        _print_estimate(console, opened, planned, json_output)
        return
    path, code = _train(opened, known, console)
    if json_output:
        print_json(as_data(path))
    elif not call.silent:
        console.print()
        report(console, path)
    if png is not None:
        draw(path, png)
    if code:
        raise typer.Exit(code)


def _refuse_no_curve(plan: Plan) -> None:
    """Raise UsageError where the trials, once they are trained, would give no curve to draw."""
    from lrrun.search.trials import lr_key

    key, keys = lr_key(plan), [axis.key for axis in plan.design.axes]
    if key not in keys:
        raise UsageError(
            f"--png draws the loss over the learning rate, and no axis varies {key} "
            f"(axes: {', '.join(keys)}); leave --png out, or add an axis such as "
            f"{key}=1e-4..1:log:13"
        )


def _print_estimate(console: Console, opened: Opened, planned: Outline, json_output: bool) -> None:
    """How long the sweep takes at most; with --json, the plan as well."""
    from lrrun.render.numbers import duration
    from lrrun.search.estimate import seconds_per_step

    pace = seconds_per_step(planned.pattern) if planned.pattern else None
    seconds = pace * planned.steps if pace is not None and planned.steps else None
    if json_output:
        known = {key: value for key, value in vars(planned).items() if key != "pattern"}
        path = str(opened.path) if opened.path else None
        print_json({"sweep": path, **known, "seconds_one_by_one": seconds})
    elif seconds is not None and not opened.call.silent:
        text = f"time: about {duration(seconds)} one by one on this machine, by a short probe; less"
        console.print(f"{text} where trials are fused or workers share them", soft_wrap=True)


def _train(opened: Opened, plan: Plan, console: Console) -> tuple[Path, int]:
    """Train what is left of the sweep; its folder, and the exit code."""
    from lrrun.render.sweeping import watch_sweep
    from lrrun.search.opening import begin, go_on
    from lrrun.search.reuse import FinishedRuns, all_folders
    from lrrun.search.sweep import Budget, Sweep
    from lrrun.training.signals import StopOnSignals

    call = opened.call
    with StopOnSignals() as stop:
        reuse = FinishedRuns(all_folders(call.runs_dir)) if call.reuse else None
        writer = go_on(opened.path, plan) if opened.path else begin(plan, call.runs_dir)
        with writer:
            if not call.silent:
                console.print(f"{writer.path}", soft_wrap=True)
            budget = Budget(opened.trials, opened.minutes)
            sweep = Sweep(plan, writer, _launcher(call), stop, budget, call.allow_code, reuse)
            events = sweep.events()
            total = plan.design.total()
            for _ in events if call.silent else watch_sweep(events, console, total, plan):
                pass
        if stop.received is not None and not sweep.complete:
            return writer.path, 128 + stop.received
    failed = any(row.status == "failed" for row in sweep.rows.values())
    return writer.path, int(Exit.PARTLY_FAILED if failed else Exit.DONE)


def sweep_meant(reference: str, runs_dir: Path) -> Path | None:
    """The folder of the sweep that a command's RUN means; None where it means a run, or nothing.

    `latest` is a sweep where that was begun after every run.
    """
    from lrrun.runlog.names import match_run, sweep_folders

    for path in (Path(reference), runs_dir / reference):
        if reference and (path / "sweep.yaml").is_file():
            return path
    if reference == "latest":
        return _newest(runs_dir)
    matching = [each for each in sweep_folders(runs_dir) if each.name.startswith(reference)]
    alone = len(matching) == 1 and match_run(reference, runs_dir) is None
    return matching[0] if alone else None


def _newest(runs_dir: Path) -> Path | None:
    """The newest sweep, unless a run or a search was begun after it."""
    from lrrun.runlog.names import sweep_folders
    from lrrun.runlog.reader import Run, list_runs
    from lrrun.search.overview import overviews

    if not sweep_folders(runs_dir):
        return None
    newest = max(overviews(runs_dir), key=lambda each: each.created)
    begun = [run.created for run in list_runs(runs_dir) if isinstance(run, Run)]
    return runs_dir / newest.name if newest.created > max(begun, default="") else None


def resume_sweep(
    path: Path,
    runs_dir: Path,
    overrides: Sequence[str] | None,
    allow_code: bool,
    quiet: bool,
    json_output: bool,
) -> None:
    """Go on with a sweep, in this process."""
    from lrrun.search.plan import Plan

    if overrides:
        raise UsageError(f"{path} is a sweep; its config stays as it is: {' '.join(overrides)}")
    call = Call(runs_dir, allow_code=allow_code, silent=quiet or json_output)
    carry_out(Opened(call, Plan.read(path), path), dry_run=False, json_output=json_output)
