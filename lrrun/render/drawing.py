"""A schedule as a small SVG that is the same, byte for byte, on every machine."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray

WIDTH, HEIGHT = 360, 120
LEFT, RIGHT, TOP, BOTTOM = 30, 8, 8, 20
TIE = 1e-6
"""Added before rounding: a value on the edge between two pixels goes one way on all processors."""

Point = tuple[int, int]


def drawing(lr: NDArray[np.float64], peak: float, title: str) -> str:
    """The LR of every update, [T], from 0 up to `peak`, as SVG; it reads on light and dark."""
    right, floor = WIDTH - RIGHT, HEIGHT - BOTTOM
    x = np.linspace(LEFT, right, len(lr))
    y = floor - (floor - TOP) * lr / peak
    tenths = [np.floor(10 * each + 0.5 + TIE).astype(int).tolist() for each in (x, y)]
    points = " ".join(
        f"{a / 10:g},{b / 10:g}" for a, b in _corners(list(zip(*tenths, strict=True)))
    )
    label = f"{peak:.4g}"
    return f"""<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" \
width="{WIDTH}" height="{HEIGHT}" role="img">
<title>{escape(title)}</title>
<path d="M{LEFT} {TOP}V{floor}H{right}" fill="none" stroke="#888"/>
<path d="M{LEFT} {TOP}H{right}" stroke="#888" stroke-dasharray="2 4" opacity="0.6"/>
<g font-family="sans-serif" font-size="10" fill="#888">
<text x="{LEFT - 4}" y="{TOP + 4}" text-anchor="end">{label}</text>
<text x="{LEFT - 4}" y="{floor + 3}" text-anchor="end">0</text>
<text x="{LEFT}" y="{HEIGHT - 6}">step 0</text>
<text x="{right}" y="{HEIGHT - 6}" text-anchor="end">{len(lr)}</text>
</g>
<polyline points="{points}" fill="none" stroke="#2a7ae2" stroke-width="2" stroke-linejoin="round"/>
</svg>
"""


def _corners(points: Sequence[Point]) -> list[Point]:
    """The points without those on the straight line between their neighbours.

    >>> _corners([(0, 0), (1, 1), (2, 2), (3, 0)])
    [(0, 0), (2, 2), (3, 0)]
    """
    kept: list[Point] = []
    for point in points:
        while len(kept) > 1 and _straight(kept[-2], kept[-1], point):
            kept.pop()
        kept.append(point)
    return kept


def _straight(a: Point, b: Point, c: Point) -> bool:
    return (b[0] - a[0]) * (c[1] - a[1]) == (c[0] - a[0]) * (b[1] - a[1])
