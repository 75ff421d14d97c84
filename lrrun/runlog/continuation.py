"""Going on with the tables of a run from a checkpoint: later rows are superseded, never lost.

Everything is checked before anything is written, and a crash at any moment leaves a folder from
which the same call does the same.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lrrun.errors import UnusableFile
from lrrun.runlog import files
from lrrun.runlog.log import Mark, cut_at, tail_after

FOLDER = "superseded"
"""Where rows go that were logged after the checkpoint from which their run went on."""

_NUMBERED = re.compile(r"(.+)-([1-9][0-9]{0,8})\.csv")


def check_tables(
    path: Path, headers: Mapping[str, str], marks: Mapping[str, Any] | None
) -> dict[str, tuple[Mark, bytes]]:
    """For every table, by file name: where it goes on, and the bytes that stand after that.

    `headers` holds the first line that each has, `marks` what `RunWriter.sync` gave for the
    checkpoint (None: there is none, and every row is superseded). Raises UnusableFile for a table
    that is missing, too short, changed, or of other columns.
    """
    found = {}
    for name, header in headers.items():
        mark = _mark_of(path / name, header, marks)
        found[name] = (mark, tail_after(path / name, mark))
        with files.open_to_read(path / name) as handle:
            first = handle.readline(len(header.encode()) + 1)
        if first != header.encode():
            raise UnusableFile(f"{path / name}:1: its columns are not those of this experiment")
    return found


def _mark_of(file: Path, header: str, marks: Mapping[str, Any] | None) -> Mark:
    if marks is None:
        return Mark(len(header.encode()), hashlib.sha256(header.encode()).hexdigest())
    try:
        return Mark.of(marks.get(file.name))
    except ValueError as error:
        raise UnusableFile(f"{file}: the checkpoint does not say where it ended: {error}") from None


def supersede(path: Path, tables: Mapping[str, tuple[Mark, bytes]]) -> None:
    """Keep what `check_tables` found after the marks in files of its own, then cut it off."""
    for name, (mark, tail) in tables.items():
        if tail:
            _keep(path, name, tail)
            cut_at(path / name, mark)


def _keep(path: Path, name: str, tail: bytes) -> None:
    """Write the rows into superseded/<table>-<n>.csv, unless a crash left them there already."""
    folder = files.own_folder(path / FOLDER)
    with (path / name).open("rb") as handle:
        content = handle.readline() + tail
    table = name.removesuffix(".csv")
    matches = (_NUMBERED.fullmatch(each.name) for each in folder.iterdir())
    last = max((int(match[2]) for match in matches if match and match[1] == table), default=0)
    if last and (folder / f"{table}-{last}.csv").read_bytes() == content:
        return
    with files.replacing(folder / f"{table}-{last + 1}.csv") as handle:
        handle.write(content)
