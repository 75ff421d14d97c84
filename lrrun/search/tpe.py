"""TPE (tree-structured Parzen estimator) through Optuna: where good points were, more are drawn.

A batch depends on the results of the batches before it and on nothing else: Optuna's study is made
anew for each, in memory, and told what came out. So a killed sweep asks again for the same points.

Source: Bergstra et al., "Algorithms for hyper-parameter optimization", NeurIPS 2011; Akiba et al.,
"Optuna", KDD 2019, https://arxiv.org/abs/1907.10902.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lrrun.errors import MissingExtra
from lrrun.search.axes import Axis
from lrrun.search.design import Design, PlannedTrial, mean_loss, numbered
from lrrun.search.grid import SEED, identity, repeated

if TYPE_CHECKING:
    from optuna import Study
    from optuna.distributions import BaseDistribution

FIRST = 10
"""Points drawn at random before there is anything to learn from."""

TOGETHER = 4
"""Points asked for at once afterwards, so that they may be trained as one."""


def batch(
    design: Design, index: int, planned: Sequence[PlannedTrial], losses: Mapping[int, float]
) -> list[PlannedTrial]:
    """The next points, each with every seed."""
    refuse_without_optuna()
    axes = [axis for axis in design.axes if axis.key != SEED]
    known = _known(planned, losses)
    stages = (design.points_after(k) for k in range(len(design.extensions) + 1))
    left = next((each for each in stages if each > len(known)), len(known)) - len(known)
    size = min(left, TOGETHER if index else FIRST)
    if size <= 0:
        return []
    points = _asked(axes, known, size, (design.method.seed, index))
    return numbered(repeated(points, design.axes), len(planned))


def refuse_without_optuna() -> None:
    """Raise MissingExtra where Optuna is not installed."""
    try:
        import optuna  # noqa: F401
    except ImportError:
        raise MissingExtra("--tpe", "Optuna", "optuna", "use --random N") from None


def _known(
    planned: Sequence[PlannedTrial], losses: Mapping[int, float]
) -> list[tuple[dict[str, Any], float]]:
    """Every point so far with its mean loss over the seeds, in the order planned."""
    found: dict[tuple[str, ...], tuple[dict[str, Any], list[float]]] = {}
    for trial in planned:
        point = {key: value for key, value in trial.values.items() if key != SEED}
        loss = losses.get(trial.number, float("inf"))
        found.setdefault(identity(point), (point, []))[1].append(loss)
    return [(point, mean_loss(each)) for point, each in found.values()]


def _asked(
    axes: Sequence[Axis],
    known: Sequence[tuple[Mapping[str, Any], float]],
    size: int,
    seed: tuple[int, int],
) -> list[dict[str, Any]]:
    """`size` points that Optuna proposes after what is known."""
    import numpy as np
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    number = int(np.random.SeedSequence(seed).generate_state(1)[0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # constant_liar
        sampler = optuna.samplers.TPESampler(
            seed=number, n_startup_trials=FIRST, constant_liar=True
        )
    study = optuna.create_study(sampler=sampler)
    distributions = {axis.key: _distribution(axis) for axis in axes}
    for point, loss in known:
        params = {axis.key: _parameter(axis, point[axis.key]) for axis in axes}
        study.add_trial(
            optuna.trial.create_trial(params=params, distributions=distributions, value=loss)
        )
    return _new_points(study, axes, distributions, {identity(point) for point, _ in known}, size)


def _new_points(
    study: Study,
    axes: Sequence[Axis],
    distributions: dict[str, BaseDistribution],
    seen: set[tuple[str, ...]],
    size: int,
) -> list[dict[str, Any]]:
    """Proposals that were not tried yet, as many as asked for or as there still are."""
    points: list[dict[str, Any]] = []
    for _ in range(100 * size):
        asked = study.ask(fixed_distributions=distributions)
        point = {axis.key: _value(axis, asked.params[axis.key]) for axis in axes}
        if identity(point) not in seen:
            seen.add(identity(point))
            points.append(point)
        if len(points) == size:
            break
    return points


def _distribution(axis: Axis) -> BaseDistribution:
    from optuna.distributions import (
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )

    span = axis.span
    if span is None:
        return CategoricalDistribution(tuple(range(len(axis.values()))))
    if span.spacing == "whole":
        return IntDistribution(int(span.low), int(span.high))
    return FloatDistribution(float(span.low), float(span.high), log=span.spacing == "log")


def _value(axis: Axis, parameter: Any) -> Any:
    """The axis' value that a parameter of Optuna's stands for."""
    span = axis.span
    if span is None:
        return axis.values()[parameter]
    if span.spacing == "whole":
        return int(parameter)
    return f"{parameter:.6g}%" if span.percent else float(f"{parameter:.6g}")


def _parameter(axis: Axis, value: Any) -> Any:
    span = axis.span
    if span is None:
        return [identity({"": each}) for each in axis.values()].index(identity({"": value}))
    number = float(value.removesuffix("%")) if span.percent else value
    return min(max(number, span.low), span.high)
