"""Rows of a CSV table: every number in the fewest digits that read back as the same float."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def row(*values: float | None) -> str:
    r"""One line; nothing is written for None.

    >>> row(3, 0.1, None)
    '3,0.1,\n'
    """
    return ",".join(map(_cell, values)) + "\n"


def rows(columns: Iterable[Sequence[float | None]]) -> list[str]:
    r"""The lines of a table given in columns of plain numbers.

    >>> rows([[0, 1], [0.1, 0.2]])
    ['0,0.1\n', '1,0.2\n']
    """
    cells = [map(_plain if None in column else repr, column) for column in columns]
    return [line + "\n" for line in map(",".join, zip(*cells, strict=True))]


def _cell(value: float | None) -> str:
    if value is None:
        return ""
    return repr(value if type(value) is int else float(value))


def _plain(value: float | None) -> str:
    return "" if value is None else repr(value)
