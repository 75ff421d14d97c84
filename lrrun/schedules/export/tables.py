"""The tables of a snippet: their names, their text, and how a step finds its row."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from lrrun.schedules.export.blocks import Block, Table
from lrrun.schedules.export.code import number

WIDTH = 88


def table_names(k: int, blocks: Sequence[Block]) -> tuple[str, list[str]]:
    """(the name of the starts, those of the columns) of the table of block k."""
    place = sum(block.table is not None for block in blocks[:k]) + 1
    suffix = str(place) if place > 1 else ""
    table = blocks[k].table
    width = len(table.columns) if table else 0
    letters = ["VALUES"] if width == 1 else [f"VALUES_{each}" for each in range(1, width + 1)]
    return f"STARTS{suffix}", [letter + suffix for letter in letters]


def definitions(table: Table, starts: str, columns: Sequence[str]) -> list[str]:
    """The lists of a table; its starts only where they are needed."""
    named = dict(zip(columns, table.columns, strict=True))
    if table.stride is None or table.of_starts:
        named = {starts: table.starts, **named}
    return [_definition(name, values) for name, values in named.items()]


def _definition(name: str, values: Sequence[float]) -> str:
    inside = ", ".join(map(number, values))
    if len(name) + len(inside) + 5 <= WIDTH:
        return f"{name} = [{inside}]"
    return "\n".join([f"{name} = [", *indented(textwrap.wrap(inside + ",", WIDTH - 4)), "]"])


def python_row(table: Table, starts: str) -> str:
    """The row of a step, in Python."""
    row = _by_stride(table)
    if row is None:
        return f"bisect.bisect_right({starts}, step) - 1"
    return f"min({row}, {len(table.starts) - 1})" if table.runs_on else row


def jax_row(table: Table, starts: str) -> str:
    """The row of a traced step, in jax, which takes the nearest row where there is none."""
    row = _by_stride(table)
    if row is None:
        return f'jnp.searchsorted(jnp.array({starts}), step, side="right") - 1'
    return f"jnp.clip({row}, 0, {len(table.starts) - 1}).astype(int)"


def keras_row(table: Table, starts: str) -> str:
    """The row of a step that may be a tensor, in keras.ops; always one that is there."""
    row = _by_stride(table)
    if row is None:
        row = f'ops.sum(ops.cast(step >= ops.array({starts}, "float32"), "int32")) - 1'
        return f"ops.maximum({row}, 0)" if table.starts[0] > 0 else row
    return f'ops.cast(ops.clip({row}, 0, {len(table.starts) - 1}), "int32")'


def _by_stride(table: Table) -> str | None:
    """The row by arithmetic, where all rows are equally long."""
    if table.stride is None:
        return None
    begin = int(table.starts[0])
    moved = f"step - {begin}" if begin else "step"
    if table.stride == 1:
        return moved
    return f"({moved}) // {table.stride}" if begin else f"step // {table.stride}"


def indented(lines: Sequence[str], levels: int = 1) -> list[str]:
    """Lines, four spaces a level further in."""
    return ["    " * levels + line if line else line for line in lines]
