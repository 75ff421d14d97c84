"""Tables: aligned, compact, and never wider than the console without saying what was left out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Literal

from rich.box import SIMPLE_HEAD, Box
from rich.cells import cell_len
from rich.console import Console
from rich.segment import Segment, Segments
from rich.style import Style
from rich.table import Table
from rich.text import Text

from lrrun.render.terminal import printable, supports_unicode

STATUS_COLORS = {
    "completed": "green",
    "diverged": "red",
    "failed": "red",
    "running": "cyan",
    "stopped?": "yellow",
}

_FOLDED_ROWS = 100
_GAP = Segment("  ")

_ASCII_HEAD = Box("    \n    \n -- \n    \n    \n    \n    \n    \n", ascii=True)


@dataclass(frozen=True)
class Column:
    """A column and its cells. `keep` is how dearly: the lowest goes first when width is short.

    Cells wider than `fold` (0: none) are folded to it before another column is left out.
    """

    title: str
    cells: Sequence[str]
    justify: Literal["left", "right"] = "left"
    keep: int = 9
    fold: int = 0
    style: str = ""
    colors: Mapping[str, str] = field(default_factory=dict)
    """Cell → its style, where some cells are to stand out."""


def build_table(console: Console, columns: Iterable[Column]) -> Table:
    """The columns side by side; cells are data, so no markup in them is read."""
    box = SIMPLE_HEAD if supports_unicode(console) else _ASCII_HEAD
    table = Table(
        box=box, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold"
    )
    shown = list(columns)
    for column in shown:
        title = Text(column.title)
        table.add_column(title, justify=column.justify, style=column.style, overflow="fold")
    for row in zip(*(column.cells for column in shown), strict=True):
        styles = (column.colors.get(cell, "") for column, cell in zip(shown, row, strict=True))
        table.add_row(*(Text(printable(c), style) for c, style in zip(row, styles, strict=True)))
    return table


def print_columns(console: Console, columns: Iterable[Column]) -> None:
    """Print a table whole; cells that do not fit are folded."""
    console.print(build_table(console, columns))


def print_table(console: Console, columns: Sequence[Column]) -> None:
    """Print the columns that say something, and as many of them as the console is wide enough for.

    A column whose cells are all '-' says nothing. Columns left out for width are named below. A
    table of more than a hundred rows is not folded where even then its lines are too long.
    """
    folds = bool(columns) and len(columns[0].cells) <= _FOLDED_ROWS
    widths = {id(column): _width(column, folds) for column in columns}
    shown = [column for column in columns if any(cell != "-" for cell in column.cells)]
    dropped: list[Column] = []
    while len(shown) > 1 and _across(shown, widths) > console.width:
        first = min(shown, key=lambda column: column.keep)
        if first.keep >= 9:
            break
        shown.remove(first)
        dropped.append(first)
    if shown and len(shown[0].cells) > _FOLDED_ROWS:
        _print_lines(console, shown, [widths[id(column)] for column in shown])
    else:
        print_columns(console, shown)
    if dropped:
        names = ", ".join(" ".join(column.title.split()) for column in columns if column in dropped)
        console.print(f"(left out for width: {names}; --json has all)", style="dim")


def _width(column: Column, folds: bool) -> int:
    """Characters across the widest cell, folded where it may be."""
    widest = max(cell_len(printable(text)) for text in (*column.title.split("\n"), *column.cells))
    return min(widest, column.fold or widest) if folds else widest


def _across(columns: Sequence[Column], widths: Mapping[int, int]) -> int:
    """Characters across a table: its columns, and two spaces between them."""
    return sum(widths[id(column)] for column in columns) + 2 * (len(columns) - 1)


def _print_lines(console: Console, columns: Sequence[Column], widths: Sequence[int]) -> None:
    """A table as `build_table` lays it out, unfolded: rich's own layout takes 1 ms a row."""
    titles = [column.title.split("\n") for column in columns]
    height = max(map(len, titles))
    head = zip(*([""] * (height - len(title)) + title for title in titles), strict=True)
    rule = "─" if supports_unicode(console) else "-"
    styled = console.color_system is not None
    segments = list[Segment]()
    for row in head:
        segments += _line(columns, widths, row, ["bold"] * len(columns) if styled else None)
    segments.append(Segment(rule * (sum(widths) + 2 * len(widths) - 2) + "\n"))
    for row in zip(*(column.cells for column in columns), strict=True):
        chosen = zip(columns, row, strict=True)
        styles = [column.colors.get(cell, column.style) for column, cell in chosen]
        segments += _line(columns, widths, row, styles if styled else None)
    console.print(Segments(segments), soft_wrap=True)


def _line(
    columns: Sequence[Column],
    widths: Sequence[int],
    row: Sequence[str],
    styles: Sequence[str] | None,
) -> list[Segment]:
    """One row, every cell padded to its column's width, and styled where the console can."""
    cells = []
    for column, width, cell in zip(columns, widths, row, strict=True):
        text = printable(cell)
        pad = " " * (width - cell_len(text))
        cells.append(pad + text if column.justify == "right" else text + pad)
    if styles is None:
        return [Segment("  ".join(cells) + "\n")]
    pairs = zip(cells, styles, strict=True)
    parts = [part for cell, style in pairs for part in (Segment(cell, _parsed(style)), _GAP)]
    return [*parts[:-1], Segment.line()]


@cache
def _parsed(style: str) -> Style | None:
    return Style.parse(style) if style else None


def print_components(console: Console, kinds: Mapping[str, Sequence[tuple[str, str, str]]]) -> None:
    """What a config can name: per kind, (name, parameters, what it is) of every component."""
    for position, (kind, rows) in enumerate(kinds.items()):
        if position:
            console.print()
        names, parameters, meanings = zip(*rows, strict=True) if rows else ((), (), ())
        columns = [Column("parameters", parameters), Column("what it is", meanings)]
        print_columns(console, [Column(kind, names, style="cyan"), *columns])
