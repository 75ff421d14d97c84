"""Tables: aligned, compact, and never wider than the console without saying what was left out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from rich.box import SIMPLE_HEAD, Box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from lrrun.render.terminal import printable, supports_unicode

STATUS_COLORS = {"completed": "green", "diverged": "red", "failed": "red", "running": "cyan"}


_ASCII_HEAD = Box("    \n    \n -- \n    \n    \n    \n    \n    \n", ascii=True)


@dataclass(frozen=True)
class Column:
    """A column and its cells. `keep` is how dearly: the lowest goes first when width is short."""

    title: str
    cells: Sequence[str]
    justify: Literal["left", "right"] = "left"
    keep: int = 9
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

    A column whose cells are all '-' says nothing. Columns left out for width are named below.
    """
    shown = [column for column in columns if any(cell != "-" for cell in column.cells)]
    dropped: list[Column] = []
    while len(shown) > 1 and _width(shown) > console.width:
        first = min(shown, key=lambda column: column.keep)
        if first.keep >= 9:
            break
        shown.remove(first)
        dropped.append(first)
    print_columns(console, shown)
    if dropped:
        names = ", ".join(" ".join(column.title.split()) for column in columns if column in dropped)
        console.print(f"(left out for width: {names}; --json has all)", style="dim")


def _width(columns: Sequence[Column]) -> int:
    """Characters across: the widest cell of every column, and two spaces between columns."""
    widest = [
        max(cell_len(printable(text)) for text in (*column.title.split("\n"), *column.cells))
        for column in columns
    ]
    return sum(widest) + 2 * (len(columns) - 1)


def print_components(console: Console, kinds: Mapping[str, Sequence[tuple[str, str, str]]]) -> None:
    """What a config can name: per kind, (name, parameters, what it is) of every component."""
    for position, (kind, rows) in enumerate(kinds.items()):
        if position:
            console.print()
        names, parameters, meanings = zip(*rows, strict=True) if rows else ((), (), ())
        columns = [Column("parameters", parameters), Column("what it is", meanings)]
        print_columns(console, [Column(kind, names, style="cyan"), *columns])
