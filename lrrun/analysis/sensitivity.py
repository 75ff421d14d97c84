"""How much a wrong LR costs: the sensitivity of a response curve."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from lrrun.analysis.points import Point

Range = tuple[float, float]


def lr_sensitivity(points: Sequence[Point], cap: float, over: Range) -> float | None:
    """E[min(loss(η), cap)] - min(loss): what is lost on average by an LR η drawn from a range.

    `cap` is the loss before training: no LR costs more than not to train. η is log-uniform over the
    range `over`, the mean over seeds of min(loss, cap) is interpolated linearly in log η, and the
    minimum is the lowest of these means at an LR in the range (Wortsman et al., Small-scale proxies
    for large-scale Transformer training instabilities, 2023, §2.2,
    https://arxiv.org/abs/2309.14322, who average over an even grid in log η instead).

    None where the range has no width, or the points do not span it.

    >>> curve = [Point(10.0**k, (loss,)) for k, loss in enumerate([2.0, 1.0, float("inf")])]
    >>> lr_sensitivity(curve, cap=3.0, over=(1.0, 100.0))  # 1/2 over the left, 1 over the right
    0.75
    """
    low, high = (math.log10(end) for end in over)
    if not points or high <= low or points[0].lr > over[0] or points[-1].lr < over[1]:
        return None
    x = np.array([math.log10(point.lr) for point in points])
    y = np.array([np.mean(np.minimum(point.losses, cap)) for point in points])
    nodes = np.unique(np.concatenate([[low, high], x[(x > low) & (x < high)]]))
    heights = np.interp(nodes, x, y)
    average = np.sum(np.diff(nodes) * (heights[1:] + heights[:-1]) / 2) / (high - low)
    return float(average - heights.min())


def common_range(curves: Sequence[Sequence[Point]]) -> Range | None:
    """The LRs that every curve spans; None where there is none, or nothing to share."""
    spans = [(points[0].lr, points[-1].lr) for points in curves if len(points) > 1]
    if not spans:
        return None
    low, high = max(low for low, _ in spans), min(high for _, high in spans)
    return (low, high) if low < high else None
