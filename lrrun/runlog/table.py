"""Reading the CSV files of a run: numbers only, any size, one block of lines at a time."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from lrrun.errors import UnusableFile
from lrrun.runlog import files
from lrrun.runlog.log import Mark, tail_after

Floats = NDArray[np.float64]

_COUNTS = ("epoch", "step", "samples")
_BLOCK_BYTES = 1 << 22
_HEADER_BYTES = 1 << 16
_NUMBER = re.compile(rb"[+-]?(\d+\.?\d*([eE][+-]?\d+)?|\.\d+([eE][+-]?\d+)?|nan|inf)?")


@dataclass(frozen=True)
class Table:
    """The columns of a CSV file as float64, all of one length; an empty cell is nan.

    `torn` is True where the last line has no end yet: it is left out.
    """

    columns: dict[str, Floats]
    torn: bool = False


def read_table(path: Path, expected: Sequence[str], whole: Mark | None = None) -> Table:
    """Read a CSV file of numbers whose header begins with the columns `expected`.

    A file that is missing or has no header yet gives empty columns. Raises UnusableFile with
    `file:line` for a broken row, and where steps go backwards or repeat (a new epoch may repeat
    one: that of a run which diverged before the epoch's first update). Where `whole` says how the
    file ended, anything else is refused too.
    """
    table = _read(path, expected)
    if whole is not None and (tail := tail_after(path, whole)):
        raise UnusableFile(f"{path}: has {len(tail)} bytes more than the run wrote")
    return table


def _read(path: Path, expected: Sequence[str]) -> Table:
    empty = Table({name: np.empty(0) for name in expected})
    try:
        handle = files.open_to_read(path)
    except FileNotFoundError:
        return empty
    with handle:
        header = handle.readline(_HEADER_BYTES)
        if not header.endswith(b"\n"):
            return empty
        names = _header(path, header, expected)
        blocks, torn = [], False
        for line, block, torn in _line_blocks(handle):  # noqa: B007 - the last `torn` is returned
            blocks.append(_parse(path, line, block, len(names)))
    rows = np.concatenate(blocks) if blocks else np.empty((0, len(names)))
    columns = {name: np.ascontiguousarray(rows[:, i]) for i, name in enumerate(names)}
    _check_whole(path, columns)
    _check_growing(path, columns)
    return Table(columns, torn)


def _header(path: Path, line: bytes, expected: Sequence[str]) -> list[str]:
    names = line.decode(errors="backslashreplace").rstrip("\r\n").split(",")
    if names[: len(expected)] != list(expected) or len(set(names)) != len(names):
        raise UnusableFile(
            f"{path}:1: expected a header that begins with {','.join(expected)}, "
            f"got {','.join(names)[:100]!r}"
        )
    return names


def _line_blocks(handle: BinaryIO) -> Iterator[tuple[int, bytes, bool]]:
    """(number of the block's first line, whole lines, does an unfinished line follow?)."""
    line, rest = 2, b""
    while chunk := handle.read(_BLOCK_BYTES):
        whole, newline, rest = (rest + chunk).rpartition(b"\n")
        block = (whole + newline).replace(b"\r\n", b"\n")
        yield line, block, bool(rest)
        line += block.count(b"\n")


def _parse(path: Path, first_line: int, block: bytes, width: int) -> Floats:
    """The numbers of whole lines, shape (lines, width)."""
    if not block:
        return np.empty((0, width))
    characters = np.frombuffer(block, np.uint8)
    ends = np.flatnonzero(characters == ord("\n"))
    commas = np.searchsorted(np.flatnonzero(characters == ord(",")), ends)
    text = b"," + block.replace(b"\n", b",")
    for _ in range(2):  # twice, as ",,," holds two empty cells that share a comma
        text = text.replace(b",,", b",nan,")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # how numpy says "not a number here"
        try:
            values: Floats = np.fromstring(text[1:-1], dtype=np.float64, sep=",")
        except ValueError:
            values = np.empty(0)
    ragged = np.any(np.diff(commas, prepend=0) != width - 1)
    if ragged or values.size != ends.size * width:
        raise _broken_row(path, first_line, block, width)
    return values.reshape(-1, width)


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


def _check_whole(path: Path, columns: dict[str, Floats]) -> None:
    """Counts are whole numbers that a float64 holds exactly; nothing else may pass for one."""
    for name in _COUNTS:
        values = columns.get(name, np.empty(0))
        with np.errstate(invalid="ignore"):
            wrong = np.flatnonzero(~((values >= 0) & (values < 2**53) & (values % 1 == 0)))
        if wrong.size:
            line, value = wrong[0] + 2, values[wrong[0]]
            raise UnusableFile(f"{path}:{line}: {name}: expected a whole number, got {value:g}")


def _check_growing(path: Path, columns: dict[str, Floats]) -> None:
    steps = columns["step"]
    rise = np.diff(steps)
    right = rise > 0
    if "epoch" in columns:
        right |= (rise == 0) & (np.diff(columns["epoch"]) > 0)
    wrong = np.flatnonzero(~right)
    if wrong.size:
        before, after = steps[wrong[0]], steps[wrong[0] + 1]
        raise UnusableFile(f"{path}:{wrong[0] + 3}: step {after:g} follows step {before:g}")
