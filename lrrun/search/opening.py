"""A sweep as it begins: a plan made from a config, or the folder of one that was begun before."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Literal

from lrrun.config.base import METRICS
from lrrun.config.experiment import Experiment
from lrrun.config.places import KEYS, unknown_top
from lrrun.config.sweep import Sweep
from lrrun.config.yaml_text import Document
from lrrun.errors import ConfigError, Problem, UnusableFile, UsageError
from lrrun.registry import nearest
from lrrun.runlog.names import check_name
from lrrun.runlog.sweeps import SweepWriter, read_rows
from lrrun.search.axes import Axis, overrides, parse_axis, read_axis
from lrrun.search.chunks import MOST
from lrrun.search.design import Design, Method, PlannedTrial
from lrrun.search.grid import check_points, check_size
from lrrun.search.plan import Plan
from lrrun.search.trials import experiment_of

NOT_SWEPT = ("name", "folder", "seeds", "checkpoint", "sweep")
"""Keys that say nothing about what a run comes to."""


@dataclass(frozen=True)
class Asked:
    """A sweep as the command line asks for it: `document` is the config that the axes vary."""

    document: Document
    axes: tuple[Axis, ...]
    section: Sweep
    name: str | None = None
    command: str = ""
    smoke: bool = False
    fuse: bool = True
    workers: int = 1
    allow_code: bool = False


def axes_and_settings(
    section: Mapping[str, Any], texts: Sequence[str], document: Document
) -> tuple[tuple[Axis, ...], list[str]]:
    """The axes of a sweep section and of a command line, which wins; single values are settings.

    Raises ConfigError with every text that is neither, at its place.
    """
    axes: dict[str, Axis] = {}
    problems: list[Problem] = []
    for key, value in section.items():
        try:
            axes[key] = read_axis(key, value)
        except ConfigError as error:
            place = document.where(("sweep", "axes", key))
            problems += [Problem(each.path, each.message, place) for each in error.problems]
    given: set[str] = set()
    for text in texts:
        try:
            axis = parse_axis(text)
            if axis.key in given:
                place = f"command line: {text}"
                raise ConfigError([Problem(axis.path, "given twice; write it once", place)])
            given.add(axis.key)
            axes[axis.key] = axis
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(problems)
    many = tuple(each for each in axes.values() if each.span or len(each.items) > 1)
    single = {each.key: each.items[0] for each in axes.values() if each not in many}
    return many, overrides(single)


def _method(section: Sweep) -> Method:
    pruned: Literal["halving", "hyperband"] | None = None
    if section.halving or section.hyperband:
        pruned = "halving" if section.halving else "hyperband"
    name: Literal["grid", "random", "tpe"] = "grid"
    if section.random or section.tpe:
        name = "random" if section.random else "tpe"
    return Method(
        name,
        section.random or section.tpe,
        section.seed,
        pruned,
        section.eta,
        section.least,
        section.rungs,
    )


def new_plan(asked: Asked) -> Plan:
    """The plan of a sweep, before anything is written.

    Raises ConfigError, with every finding, where an axis cannot be one or no trial at all can be
    trained; UsageError where there are no axes or too many trials.
    """
    document = asked.document
    axes = _with_seeds(asked.axes, document)
    _refuse_keys(axes, document)
    base = {key: value for key, value in document.data.items() if key not in ("sweep", "name")}
    if any(axis.key == "seed" for axis in axes):
        base.pop("seeds", None)
    base.setdefault("folder", str(document.folder.resolve()))
    plan = Plan(
        name=check_name(asked.name or f"{_stem(document)}-sweep"),
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        command=asked.command,
        config=copy.deepcopy(base),
        design=Design(axes, _method(asked.section)),
        metrics=(),
        smoke=asked.smoke,
        chunk=MOST if asked.fuse else 1,
        workers=asked.workers,
    )
    _refuse_rungs(plan.design, document)
    check_size(plan.design.total())
    check_points(axes, plan.design.method.points or 0)
    first = _first_experiment(plan, document, asked.allow_code)
    return replace(plan, metrics=_metrics(first))


def _stem(document: Document) -> str:
    """What runs of this config are called."""
    name = document.data.get("name") or (document.file.stem if document.file else "run")
    return "".join(each if each.isalnum() or each in "._-" else "-" for each in str(name))


def _with_seeds(axes: tuple[Axis, ...], document: Document) -> tuple[Axis, ...]:
    """A config of several seeds sweeps them all."""
    if not axes:
        raise UsageError(
            "no axes: no key has more than one value; give one several, such as "
            "optimizer.lr=1e-4..1:log:13, or the config a sweep section; for one run: lrrun train"
        )
    seeds = document.data.get("seeds")
    if isinstance(seeds, list) and all(axis.key != "seed" for axis in axes):
        return (*axes, Axis("seed", ("seed",), tuple(seeds)))
    return axes


def _refuse_keys(axes: Sequence[Axis], document: Document) -> None:
    problems = []
    for axis in axes:
        top = str(axis.path[0])
        if top in NOT_SWEPT:
            problems.append(Problem(axis.path, f"{top} cannot be swept" + _instead(top)))
        elif top not in KEYS:
            problems.append(Problem(axis.path, unknown_top(top)))
    if problems:
        raise ConfigError(_located(document, axes, problems))


def _refuse_rungs(design: Design, document: Document) -> None:
    """Cooldown rungs put a schedule of their own in the place of the one that is swept."""
    swept = [axis for axis in design.axes if axis.path[0] == "scheduler"]
    if design.method.halving and design.method.rungs == "cooldown" and swept:
        text = "cooldown rungs all have one schedule and cannot compare several; use rescaled rungs"
        raise ConfigError(_located(document, swept, [Problem(swept[0].path, text)]))


def _instead(key: str) -> str:
    return "; write seed=0..4" if key == "seeds" else ""


def _first_experiment(plan: Plan, document: Document, allow_code: bool) -> Experiment:
    """A trial that can be trained; where there is none, ConfigError with what is wrong with all."""
    problems: dict[tuple[Any, str], Problem] = {}
    for trial in plan.design.batch(0, [], {}):
        try:
            return experiment_of(plan, trial, allow_code)
        except ConfigError as error:
            for each in error.problems:
                problems.setdefault((each.path, each.message), each)
    raise ConfigError(_located(document, plan.design.axes, problems.values()))


def _located(
    document: Document, axes: Sequence[Axis], problems: Iterable[Problem]
) -> list[Problem]:
    """Findings with the place of the axis that brought them, or of their key in the config."""
    places = dict(document.places)
    for axis in axes:
        place = document.places.get(("sweep", "axes", axis.key))
        places[axis.path] = place or f"command line: {axis.key}=..."
    return Document(document.data, places, document.file).locate(problems)


def _metrics(experiment: Experiment) -> tuple[str, ...]:
    facts = experiment.dataset.facts(experiment.folder)
    if facts is None:  # somebody's own code says what its data are
        from lrrun.training import datasets

        facts = datasets.load(experiment.dataset, experiment.folder).facts
    return METRICS[facts.task]


def begin(plan: Plan, runs_dir: Path) -> SweepWriter:
    """The folder of a new sweep."""
    return SweepWriter.create(runs_dir, plan.name, plan.text(), plan.columns, plan.metric_columns)


def go_on(path: Path, plan: Plan) -> SweepWriter:
    """The folder of a sweep that was begun before; trials that failed are tried again.

    Where later points were chosen after them (TPE, halving), they stay as they are.
    """
    return SweepWriter.reopen(path, plan.columns, plan.metric_columns, retry_from(plan))


def retry_from(plan: Plan) -> int:
    """The number of the first trial whose failure no later batch was planned after."""
    if not plan.design.chosen or len(plan.batches) < 2:
        return 1
    earlier = [number for chunks in plan.batches[:-1] for chunk in chunks for number in chunk]
    return max(earlier, default=0) + 1


def extend(path: Path, added: Sequence[Axis], points: int | None) -> Plan:
    """The plan in `path`, widened by values of its axes, or to `points` points; nothing is written.

    What the sweep has already adds nothing. Raises UsageError for an axis that it does not have.
    """
    plan = Plan.read(path)
    design = plan.design
    if design.method.halving:
        raise UsageError(f"{path}: halving chose among its points; begin a new sweep with more")
    if design.method.name != "grid":
        if added or points is None:
            raise UsageError(
                f"{path}: its points are drawn; extend it with more of them: --{design.method.name}"
                " N, N the points it is to have in all"
            )
        more = points - design.points_after(len(design.extensions))
        return plan.extended(more) if more > 0 else plan
    if points is not None or not added:
        raise UsageError(f"{path}: it is a grid; extend it with values: optimizer.lr=1..10:log:3")
    keys = [axis.key for axis in design.axes]
    for axis in added:
        if axis.key not in keys:
            match = nearest(axis.key, keys)
            hint = f"did you mean {match}? " if match else ""
            raise UsageError(
                f"{axis.key}: not an axis of {path}; {hint}its axes are {', '.join(keys)}; another "
                "key needs a sweep of its own"
            )
    wider = plan.extended(tuple(added))
    check_size(wider.design.total())
    return wider if wider.design.total() > design.total() else plan


def trials_so_far(plan: Plan, path: Path) -> tuple[list[PlannedTrial], dict[int, Any]]:
    """The trials planned so far, and the rows of those that have ended; nothing is written."""
    from lrrun.search.trials import loss_of

    rows = {row.trial: row for row in read_rows(path)}
    planned: list[PlannedTrial] = []
    metric = plan.metrics[0]
    for index in range(len(plan.batches)):
        losses = {number: loss_of(row, metric) for number, row in rows.items()}
        planned += plan.design.batch(index, planned, losses)
    if not planned:
        raise UnusableFile(f"{path}: no trials were planned")
    return planned, rows
