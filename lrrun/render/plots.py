"""Line plots in the terminal: braille dots in colour, one letter a curve without it.

Drawn here rather than by a plotting package: what learning rates need (a log axis with round
labels, gaps where a run was not finite, curves told apart without colour, plain ASCII) is small.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.text import Text

from lrrun.analysis.curves import reduce_curve
from lrrun.render.axes import Axis
from lrrun.render.numbers import number
from lrrun.render.terminal import has_color, printable, supports_unicode

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

COLORS = ("cyan", "yellow", "magenta", "green", "red", "blue", "bright_cyan", "bright_yellow")
MARKS = "123456789abcdefghijklmnopqrstuvwxyz"
_MAX_WIDTH = 100
_MARGIN = 9  # one for all plots, so that those above each other share their x axis
_DOTS = np.array([[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]])  # of a braille cell


@dataclass(frozen=True)
class Curve:
    """A line to draw: `y` over `x`, one shape (n,); where y is not finite the line has a gap."""

    label: str
    x: Floats
    y: Floats
    later: bool = False
    """Does it go on from another one, as a fork's does, and not from an untrained model?"""
    band: tuple[Floats, Floats] | None = None
    """What lies around it, low and high, shape (n,) each."""


def line_plot(
    curves: Sequence[Curve],
    console: Console,
    *,
    title: str = "",
    x_label: str = "step",
    log_y: bool = False,
    log_x: bool = False,
    top: float | None = None,
    width: int | None = None,
    height: int = 10,
    shaded: Sequence[tuple[float, float]] = (),
) -> Text:
    """Draw curves over one pair of axes, `height` lines of canvas, with a legend for several.

    Values above `top` are drawn at the upper edge and the title says so. With `log_y` or
    `log_x`, values that are not positive are gaps. The first curve lies on top. Cells that stay
    empty within a curve's band, or the ranges of x in `shaded`, get that of `shade(console)`.
    """
    style = _Style.of(console, len(curves))
    y_axis = Axis.around([curve.y for curve in curves], log_y, top)
    x_axis = Axis.along([curve.x for curve in curves], log_x)
    y_ticks = _tick_rows(y_axis, height)
    margin = max(_MARGIN, *(len(label) + 1 for label in y_ticks.values()))
    columns = max(10, min(width or console.width, console.width, _MAX_WIDTH) - margin - 2)
    cells = [["", ""] for _ in range(height * columns)]  # character, colour
    for index in reversed(range(len(curves))):
        for cell, character in style.draw(curves[index], index, x_axis, y_axis, columns, height):
            cells[cell] = [character, style.color(index)]
    for index, curve in enumerate(curves):
        for cell in _band(curve, x_axis, y_axis, columns, height):
            cells[cell] = cells[cell] if cells[cell][0] else [style.shade, style.color(index)]
    for column in _columns_in(shaded, x_axis, columns):
        for cell in range(column, len(cells), columns):
            cells[cell] = cells[cell] if cells[cell][0] else [style.shade, ""]

    text = Text(no_wrap=True)
    cut = f", cut at {number(top)}" if top is not None and _exceeds(curves, top) else ""
    scale = " (log scale)" if y_axis.log else ""
    text.append(f"{printable(title)}{scale}{cut}\n", "bold")
    for row in range(height):
        label = y_ticks.get(row, "")
        text.append(f"{label:>{margin}}{style.tick if label else style.side}")
        for color, group in groupby(cells[row * columns : (row + 1) * columns], key=itemgetter(1)):
            text.append("".join(character or " " for character, _ in group), color or None)
        text.rstrip()
        text.append("\n")
    text.append(_x_axis(x_axis, x_label, margin, columns, style))
    if len(curves) > 1:
        _append_legend(text, curves, style, margin + columns)
    return text


def shade(console: Console) -> str:
    """The character that fills a shaded range."""
    return _Style.of(console, 0).shade


def _columns_in(ranges: Sequence[tuple[float, float]], axis: Axis, columns: int) -> Ints:
    """The columns of the canvas that the ranges of x take."""
    inside = np.zeros(columns, bool)
    for ends in ranges:
        first, last = np.clip(axis.at(np.array(ends)), 0, 1) * (columns - 1)
        inside[round(float(first)) : round(float(last)) + 1] = True
    return np.flatnonzero(inside)


def _band(curve: Curve, x_axis: Axis, y_axis: Axis, columns: int, height: int) -> list[int]:
    """The cells whose middle lies in the band around a curve."""
    if curve.band is None or not len(curve.x):
        return []
    across = x_axis.at(curve.x) * (columns - 1)
    inside = np.arange(max(0, math.ceil(across[0])), min(columns - 1, math.floor(across[-1])) + 1)
    ends = []
    for y in curve.band:  # what a log axis cannot show lies below it
        at = np.nan_to_num(y_axis.at(y), nan=0.0, posinf=1.0, neginf=0.0)
        ends.append(np.interp(inside, across, (1 - np.clip(at, 0, 1)) * (height - 1)))
    return [
        row * columns + int(column)
        for column, low, high in zip(inside, *ends, strict=True)
        for row in range(math.ceil(high), math.floor(low) + 1)
    ]


def _tick_rows(axis: Axis, height: int) -> dict[int, str]:
    """Row → label: both ends of the axis as they are, and round values between them."""
    ticks = axis.ticks(max(2, height // 2))
    rows = np.rint((1 - axis.at(np.array(ticks))) * (height - 1)).astype(int)
    inner = {int(row): number(tick, 3) for row, tick in zip(rows, ticks, strict=True)}
    between = {row: label for row, label in inner.items() if 1 < row < height - 2}
    return {0: number(axis.high, 3), **between, height - 1: number(axis.low, 3)}


def _exceeds(curves: Sequence[Curve], top: float) -> bool:
    return any(bool(np.any(curve.y > top)) for curve in curves)


def _x_axis(axis: Axis, name: str, margin: int, columns: int, style: _Style) -> str:
    """The line under the canvas, and its labels; the name of the axis ends the second."""
    line, labels = [style.bottom] * columns, list(f" {name}".rjust(columns))
    for tick in axis.ticks(max(2, columns // 12)):
        at = round(float(axis.at(np.array([tick]))[0]) * (columns - 1))
        line[at] = style.notch
        text = number(tick)
        start = max(0, at - len(text) // 2)
        if all(c == " " for c in labels[max(0, start - 1) : start + len(text) + 1]):
            labels[start : start + len(text)] = text
    under = "".join(labels[:columns])
    return f"{'':{margin}}{style.corner}{''.join(line)}\n{'':{margin + 1}}{under}"


def _append_legend(text: Text, curves: Sequence[Curve], style: _Style, width: int) -> None:
    """Every curve's mark and name, as many in a line as fit."""
    used = width
    for index, curve in enumerate(curves):
        label = printable(curve.label)
        if used + len(label) + 5 > width:
            text.append("\n ")
            used = 1
        text.append(f"  {style.mark(index)}", style.color(index) or None)
        text.append(f" {label}")
        used += len(label) + 4


@dataclass(frozen=True)
class _Style:
    """The characters of a plot: what the stream can carry, and what tells the curves apart."""

    braille: bool
    colored: bool
    side: str = "|"
    tick: str = "+"
    corner: str = "+"
    bottom: str = "-"
    notch: str = "+"
    shade: str = ":"

    @classmethod
    def of(cls, console: Console, curves: int) -> _Style:
        colored = has_color(console)
        if not supports_unicode(console):
            return cls(braille=False, colored=colored)
        braille = curves == 1 or (colored and curves <= len(COLORS))
        return cls(
            braille, colored, side="│", tick="┤", corner="└", bottom="─", notch="┬", shade="░"
        )

    def color(self, index: int) -> str:
        return COLORS[index % len(COLORS)] if self.colored else ""

    def mark(self, index: int) -> str:
        return "━━" if self.braille else MARKS[index % len(MARKS)]

    def draw(
        self, curve: Curve, index: int, x_axis: Axis, y_axis: Axis, columns: int, height: int
    ) -> list[tuple[int, str]]:
        """(cell, character) wherever the curve passes; cells count along the rows from the top."""
        wide, tall = (2, 4) if self.braille else (1, 1)
        across, down = _pixels(curve, x_axis, y_axis, columns * wide, height * tall)
        cells = (down // tall) * columns + across // wide
        if not self.braille:
            return [(int(cell), self.mark(index)) for cell in np.unique(cells)]
        dots = np.zeros(columns * height, np.int64)
        np.bitwise_or.at(dots, cells, _DOTS[down % tall, across % wide])
        return [(int(cell), chr(0x2800 + dots[cell])) for cell in np.flatnonzero(dots)]


def _pixels(curve: Curve, x_axis: Axis, y_axis: Axis, width: int, height: int) -> tuple[Ints, Ints]:
    """(across, down) of every pixel on the line; a pixel may come twice."""
    x, y = curve.x, curve.y
    if len(x) > 2 * width:
        envelope = reduce_curve(x, y, width)
        x = np.repeat(envelope.x, 2)
        y = np.stack([envelope.low, envelope.high], axis=1).ravel()
    across = np.rint(x_axis.at(x) * (width - 1))
    down = np.rint((1 - np.clip(y_axis.at(y), 0, 1)) * (height - 1))
    known = np.isfinite(across) & np.isfinite(down)
    joined = known[:-1] & known[1:]
    start = np.stack([across, down])[:, :-1][:, joined]
    way = np.stack([across, down])[:, 1:][:, joined] - start
    points = np.maximum(np.abs(way).max(axis=0, initial=1), 1).astype(int) + 1
    segment = np.repeat(np.arange(points.size), points)
    along = np.arange(points.sum()) - np.repeat(np.cumsum(points) - points, points)
    line = np.rint(start[:, segment] + way[:, segment] * (along / (points - 1)[segment]))
    every = np.concatenate([line, np.stack([across, down])[:, known]], axis=1).astype(np.int64)
    return every[0], every[1]
