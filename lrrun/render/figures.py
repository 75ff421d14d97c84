"""Pictures as PNG and SVG, drawn with matplotlib (the extra `plots`)."""

from __future__ import annotations

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


def schedule_figure(previews: Sequence[Preview], file: Path) -> None:
    """Draw the LR of schedules over their steps into `file` (.png or .svg).

    Raises UsageError for another ending, MissingExtra without matplotlib, EnvironmentFault where
    the file cannot be written.
    """
    figure, axes = new_figure(file)
    for seen in previews:
        axes.plot(*_thinned(seen.steps, seen.lr), label=printable(seen.name))
    axes.set_xlabel("step")
    axes.set_ylabel("learning rate")
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    if len(previews) > 1:
        for text in axes.legend().get_texts():
            text.set_parse_math(False)
    else:
        axes.set_title(printable(previews[0].name), parse_math=False)
    save(figure, file)


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


def save(figure: Any, file: Path) -> None:
    """Write a figure in the format that its file's name ends in."""
    picture = BytesIO()
    figure.savefig(picture, format=file.suffix.lower().lstrip("."), dpi=150)
    with files.replacing(file) as handle:
        handle.write(picture.getvalue())
