"""Pictures as PNG and SVG, drawn with matplotlib (the extra `plots`)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lrrun.analysis.curves import reduce_curve
from lrrun.errors import MissingExtra, UsageError
from lrrun.render.terminal import printable
from lrrun.runlog import files

if TYPE_CHECKING:
    from lrrun.schedules.preview import Preview

Floats = NDArray[np.float64]

FORMATS = (".png", ".svg")
POINTS = 2000
"""Buckets a curve is drawn with: more than a picture has columns."""

_DASHES = ("-", "--", "-.", ":")

_NAMES_INSIDE, _NAMES_HIGH = 6, 24
"""Names that a legend inside the axes has at most, and that stand above each other beside them."""

_FEW = 100
"""Ends of a log axis that are no further apart have too few powers of ten between them to read."""


def schedule_figure(previews: Sequence[Preview], file: Path) -> None:
    """Draw the LR of schedules over their steps into `file` (.png or .svg).

    Raises UsageError for another ending, MissingExtra without matplotlib, EnvironmentFault where
    the file cannot be written.
    """
    figure, axes = new_figure(file)
    for k, seen in enumerate(previews):
        axes.plot(*_thinned(seen.steps, seen.lr), label=printable(seen.name), **style(k))
    axes.set_xlabel("step")
    axes.set_ylabel("learning rate")
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    if len(previews) > 1:
        add_legend(axes)
    else:
        axes.set_title(printable(previews[0].name), parse_math=False)
    save(figure, file)


def style(k: int) -> dict[str, str]:
    """How curve `k` of a picture is drawn: ten colours, and then other dashes.

    >>> style(1), style(11)
    ({'color': 'C1', 'linestyle': '-'}, {'color': 'C1', 'linestyle': '--'})
    """
    return {"color": f"C{k % 10}", "linestyle": _DASHES[k // 10 % len(_DASHES)]}


def _thinned(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """The curve, or a zigzag between its lowest and highest values where it is too fine."""
    if len(x) <= POINTS:
        return x, y
    envelope = reduce_curve(x, y, POINTS // 2)
    return np.repeat(envelope.x, 2), np.stack([envelope.low, envelope.high], axis=1).ravel()


def refuse_undrawable(file: Path) -> None:
    """Refuse before the work what `new_figure` and `save` would refuse after it."""
    new_figure(file)
    files.refuse_unwritable(file)


def new_figure(file: Path, panels: int = 1) -> tuple[Any, Any]:
    """A figure for `file` and its axes: one, or an array of several side by side."""
    if file.suffix.lower() not in FORMATS:
        raise UsageError(f"{str(file)!r}: expected a name that ends in .png or .svg")
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingExtra("a picture", "matplotlib", "plots") from None
    figure = Figure(figsize=(8 + 4 * (panels - 1), 4.5), layout="constrained")
    return figure, figure.subplots(1, panels)


def add_legend(axes: Any) -> None:
    """Name the curves: inside, or where many names would hide them, once, beside the panels."""
    handles, labels = axes.get_legend_handles_labels()
    figure = axes.figure
    if len(labels) <= _NAMES_INSIDE:
        legend = axes.legend()
    elif figure.legends:
        return
    else:
        columns = math.ceil(len(labels) / _NAMES_HIGH)
        place = "outside right upper"
        legend = figure.legend(handles, labels, loc=place, ncols=columns, fontsize="small")
    for text in legend.get_texts():
        text.set_parse_math(False)


def save(figure: Any, file: Path) -> None:
    """Write a figure in the format that its file's name ends in."""
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            _label_few_decades(axis)
    picture = BytesIO()
    figure.savefig(picture, format=file.suffix.lower().lstrip("."), dpi=150)
    with files.replacing(file) as handle:
        handle.write(picture.getvalue())


def _label_few_decades(axis: Any) -> None:
    """Plain numbers on a log axis that spans little: 2 · 10^-3, 3 · 10^-3, ... touch each other."""
    low, high = axis.get_view_interval()
    if axis.get_scale() != "log" or high > _FEW * low:
        return
    from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

    ticks = LogLocator(subs=(1, 2, 5))
    shown = [each for each in ticks.tick_values(low, high) if low <= each <= high]
    axis.set_major_locator(ticks if len(shown) > 2 else MaxNLocator(5))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter(NullFormatter())
