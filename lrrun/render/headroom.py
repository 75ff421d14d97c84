"""The headroom of a run in the terminal."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from rich.console import Console

from lrrun.render.plots import Curve, line_plot
from lrrun.runlog.table import Floats

_TOP = 10.0
"""Above this a measurement says only that the update helped nothing."""


def print_headroom(console: Console, table: Mapping[str, Floats]) -> None:
    """Draw lr / critical_lr over the steps, on a log scale; nothing where it was not measured."""
    values = table.get("headroom")
    if values is None or not np.any(np.isfinite(values) & (values > 0)):
        return
    console.print()
    curve = Curve("headroom", table["step"], values)
    title = "headroom: lr / critical lr"
    console.print(line_plot([curve], console, title=title, log_y=True, top=_TOP, height=6))
