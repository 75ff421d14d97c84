"""Schedules in the terminal: their curves above, their key values in a table below."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Console

from lrrun.render.numbers import count, number, share
from lrrun.render.plots import Curve, line_plot
from lrrun.render.tables import Column, print_table
from lrrun.schedules.preview import Preview


def print_previews(
    console: Console,
    previews: Sequence[Preview],
    points: Sequence[Mapping[str, int]],
    plots: bool = True,
) -> None:
    """Print the curves and key values of schedules; `points` are steps to show, by label."""
    if plots:
        curves = [Curve(seen.name, seen.steps, seen.lr) for seen in previews]
        console.print(line_plot(curves, console, title="learning rate"))
        momenta = [
            Curve(seen.name, seen.steps, seen.momentum)
            for seen in previews
            if seen.momentum is not None
        ]
        if momenta:
            console.print(line_plot(momenta, console, title="momentum", height=5))
        console.print()
    labels = list(dict.fromkeys(label for each in points for label in each))
    columns = [
        Column("schedule", [seen.name for seen in previews], fold=34, style="cyan"),
        Column("steps", [count(len(seen.lr)) for seen in previews], "right", keep=3),
        Column("first", [number(seen.first) for seen in previews], "right"),
        Column("peak", [number(seen.peak) for seen in previews], "right"),
        Column("at step", [count(seen.peak_step) for seen in previews], "right", keep=6),
        Column("last", [number(seen.last) for seen in previews], "right"),
        Column("sum", [number(seen.total) for seen in previews], "right", keep=7),
        Column("rising", [share(seen.rising) for seen in previews], "right", keep=4),
        Column("falling", [share(seen.falling) for seen in previews], "right", keep=5),
    ]
    columns += [
        Column(
            f"at {label}",
            [
                number(seen.at(each[label])) if label in each else "-"
                for seen, each in zip(previews, points, strict=True)
            ],
            "right",
        )
        for label in labels
    ]
    print_table(console, columns)
