"""What a sweep says, as plain data."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from lrrun.analysis import forgiving
from lrrun.analysis.best_of_k import BestOfK, at_equal_budget
from lrrun.analysis.points import Point
from lrrun.analysis.response import LR_KEY, Response, ResponseCurve, budgets, respond
from lrrun.records import Trial


def response_data(
    trials: Sequence[Trial], lr_key: str = LR_KEY, initial_loss: float | None = None
) -> dict[str, Any]:
    """Curves, basins, sensitivities and best-of-k curves as plain data; None where no number is.

    Raises NoAnswer as `respond` does.
    """
    response = respond(trials, lr_key, initial_loss)
    curves = budgets(trials, lr_key)
    return {
        "lr_key": lr_key,
        "best": forgiving.best(response),
        "forgiving": forgiving.forgiving(response),
        "equal_budget": at_equal_budget(curves),
        "findings": list(forgiving.findings(response)),
        "tolerance": asdict(response.tolerance),
        "cap": {"value": response.cap, "why": response.cap_why},
        "sensitivity_over": response.over,
        "curves": [_curve(response, curve) for curve in response.curves],
        "best_of_k": [_budget(curve) for curve in curves],
    }


def _curve(response: Response, curve: ResponseCurve) -> dict[str, Any]:
    width = curve.basin and {**asdict(curve.basin), "decades": curve.basin.decades}
    return {
        "label": curve.label,
        "settings": dict(curve.settings),
        "best": curve.best and _point(curve.best),
        "basin": width,
        "sensitivity": curve.sensitivity,
        "diverges_at": curve.diverges_at,
        "edges": [asdict(edge) for edge in curve.edges],
        "left_out": dict(curve.left_out),
        "points": [_point(point) for point in curve.points],
    }


def _point(point: Point) -> dict[str, Any]:
    finite = [loss for loss in point.losses if math.isfinite(loss)]
    return {
        "lr": point.lr,
        "seeds": len(point.losses),
        "diverged": point.lost,
        "mean": _finite(point.mean),
        "half_width": point.half_width,
        "median": _finite(point.median),
        "min": min(finite, default=None),
        "max": _finite(max(point.losses)),
        "losses": finite,
    }


def _budget(curve: BestOfK) -> dict[str, Any]:
    return {
        "label": curve.label,
        "trials": len(curve.k),
        **{
            name: [_finite(float(value)) for value in getattr(curve, name)]
            for name in ("median", "low", "high", "expected")
        },
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
