"""Reading the CSV files of a run: numbers only, any size, one block of lines at a time."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from lrrun.errors import UnusableFile
from lrrun.runlog import files
from lrrun.runlog.log import Mark, tail_after

Floats = NDArray[np.float64]

_COUNTS = ("epoch", "step", "samples")
_BLOCK_BYTES = 1 << 20
_HEADER_BYTES = 1 << 16
_LARGE_BYTES = 1 << 16
_NUMBER = re.compile(rb"(-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?|nan|-?inf)?")
_NUMBER_BYTES = b"0123456789.eE+-naif"


@dataclass(frozen=True)
class Table:
    """Columns of a CSV file as float64, all of one length; an empty cell is nan.

    `torn` is True where the last line has no end yet: it is left out.
    """

    columns: dict[str, Floats]
    torn: bool = False


def read_table(path: Path, expected: Sequence[str], whole: Mark | None = None) -> Table:
    """A whole CSV file of numbers; arguments and errors are those of `read_blocks`."""
    return join_blocks(read_blocks(path, expected, whole))


def join_blocks(blocks: Iterable[Table]) -> Table:
    """One table of the blocks of another; there is at least one."""
    taken = list(blocks)
    names = taken[0].columns
    columns = {name: np.concatenate([block.columns[name] for block in taken]) for name in names}
    return Table(columns, taken[-1].torn)


def read_blocks(path: Path, expected: Sequence[str], whole: Mark | None = None) -> Iterator[Table]:
    """The rows of a CSV file of numbers, in blocks of about 1 MB of text; an empty one if none.

    The header begins with the columns `expected`. A file that is missing or has no header yet has
    no rows. Raises UnusableFile with `file:line` for a broken row, and where steps go backwards or
    repeat (a new epoch may repeat one: that of a run which diverged before the epoch's first
    update). Where `whole` says how the file ended, anything else is refused too, after the last
    block: what was made of the blocks counts only once all of them have been taken.
    """
    yield from _checked(path, expected)
    if whole is not None and (tail := tail_after(path, whole)):
        raise UnusableFile(f"{path}: has {len(tail)} bytes more than the run wrote")


def _checked(path: Path, expected: Sequence[str]) -> Iterator[Table]:
    """Every block of whole lines, once its cells and steps are in order."""
    empty = Table({name: np.empty(0) for name in expected})
    try:
        handle = files.open_to_read(path)
    except FileNotFoundError:
        yield empty
        return
    with handle:
        header = handle.readline(_HEADER_BYTES)
        if not header.endswith(b"\n"):
            yield empty
            return
        names = _header(path, header, expected)
        order, line = _Order(path), 2
        for block, torn in _line_blocks(handle):
            rows = _parse(path, line, block, len(names))
            columns = {name: np.ascontiguousarray(rows[:, i]) for i, name in enumerate(names)}
            _check_whole(path, line, columns)
            order.check(line, columns)
            yield Table(columns, torn)
            line += len(rows)


def _header(path: Path, line: bytes, expected: Sequence[str]) -> list[str]:
    names = line.decode(errors="backslashreplace").rstrip("\r\n").split(",")
    if names[: len(expected)] != list(expected) or len(set(names)) != len(names):
        raise UnusableFile(
            f"{path}:1: expected a header that begins with {','.join(expected)}, "
            f"got {','.join(names)[:100]!r}"
        )
    return names


def _line_blocks(handle: BinaryIO) -> Iterator[tuple[bytes, bool]]:
    """(whole lines, does an unfinished line follow?)."""
    rest, first = b"", True
    while (chunk := handle.read(_BLOCK_BYTES)) or first:
        whole, newline, rest = (rest + chunk).rpartition(b"\n")
        block = whole + newline
        if b"\r" in block:  # to look for one byte is a hundred times faster than to replace two
            block = block.replace(b"\r\n", b"\n")
        yield block, bool(rest)
        first = False


def _parse(path: Path, first_line: int, block: bytes, width: int) -> Floats:
    """The numbers of whole lines, shape (lines, width)."""
    separators = block.translate(None, _NUMBER_BYTES)
    lines = len(separators) // width
    if separators == (b"," * (width - 1) + b"\n") * lines:
        try:
            return np.fromiter(_decode(block), np.float64, lines * width).reshape(lines, width)
        except (ValueError, OverflowError):  # of a number that is none, or past every float
            pass
    raise _broken_row(path, first_line, block, width)


def _decode(block: bytes) -> list[Any]:
    """The cells of whole lines, row after row; raises ValueError where one is not a number.

    The numbers that a run writes are JSON's, for which there are exact and strict readers; only
    nan, inf and empty cells have to be put into its words.
    """
    cells = block.replace(b"\n", b",")
    try:
        return _decode_json(cells)
    except ValueError:
        return _decode_json(_in_words_of_json(cells))


def _decode_json(cells: bytes) -> list[Any]:
    """The numbers of cells that end with a comma each.

    Of the readers, the standard library's is at hand, and pydantic's, worth its import for a large
    block, five times as fast.
    """
    array = b"".join((b"[", memoryview(cells)[:-1], b"]"))
    if len(array) < _LARGE_BYTES:
        numbers: list[Any] = json.loads(array)
    else:
        from pydantic_core import from_json

        numbers = from_json(array, cache_strings=False)
    return numbers


def _in_words_of_json(cells: bytes) -> bytes:
    r"""The cells with NaN and Infinity as Python's JSON has them, and NaN in the empty ones.

    >>> _in_words_of_json(b",,0.5,-inf,nan,")
    b'NaN,NaN,0.5,-Infinity,NaN,'
    """
    text = b"," + cells.replace(b"nan", b"NaN").replace(b"inf", b"Infinity")
    for _ in range(2):  # twice, as ",,," holds two empty cells that share a comma
        text = text.replace(b",,", b",NaN,")
    return text[1:]


def _broken_row(path: Path, first_line: int, block: bytes, width: int) -> UnusableFile:
    """Find the first row that does not parse, now that one is known to be there."""
    for number, line in enumerate(block.split(b"\n"), start=first_line):
        cells = line.split(b",")
        shown = line[:60].decode(errors="backslashreplace")
        if len(cells) != width:
            problem = f"expected {width} cells, got {len(cells)}"
            return UnusableFile(f"{path}:{number}: {problem} in {shown!r}")
        for cell in cells:
            if not _NUMBER.fullmatch(cell):
                wrong = cell[:40].decode(errors="backslashreplace")
                return UnusableFile(f"{path}:{number}: expected a number, got {wrong!r}")
    return UnusableFile(f"{path}:{first_line}: expected numbers from this line on")


def _check_whole(path: Path, first_line: int, columns: dict[str, Floats]) -> None:
    """Counts are whole numbers that a float64 holds exactly; nothing else may pass for one."""
    for name in _COUNTS:
        values = columns.get(name, np.empty(0))
        with np.errstate(invalid="ignore"):
            wrong = np.flatnonzero(
                ~((values >= 0) & (values < 2**53) & (np.floor(values) == values))
            )
        if wrong.size:
            line, value = wrong[0] + first_line, values[wrong[0]]
            raise UnusableFile(f"{path}:{line}: {name}: expected a whole number, got {value:g}")


@dataclass
class _Order:
    """Whether steps grow from row to row, across the borders of blocks."""

    path: Path
    _last: dict[str, Floats] = field(default_factory=dict)

    def check(self, first_line: int, columns: dict[str, Floats]) -> None:
        """Take the next block; raises UnusableFile for the first row that is out of order."""
        steps, epochs = (self._after_last(name, columns) for name in ("step", "epoch"))
        rise = np.diff(steps)
        right = rise > 0
        if epochs.size:
            right |= (rise == 0) & (np.diff(epochs) > 0)
        wrong = np.flatnonzero(~right)
        if wrong.size:
            row = int(wrong[0])
            line = first_line + row + 1 - (steps.size - columns["step"].size)
            raise UnusableFile(
                f"{self.path}:{line}: step {steps[row + 1]:g} follows step {steps[row]:g}"
            )
        self._last = {"step": steps[-1:], "epoch": epochs[-1:]}

    def _after_last(self, name: str, columns: dict[str, Floats]) -> Floats:
        """The column, behind the value that the block before ended with."""
        return np.concatenate([self._last.get(name, np.empty(0)), columns.get(name, np.empty(0))])
