"""CSV tables: what a config says of one, and the strict reading that check and training share."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from lrrun.config.base import DataFacts
from lrrun.config.datasets.base import (
    Dataset,
    PathText,
    ValFraction,
    exists,
    missing,
    resolve,
    split_sizes,
)
from lrrun.errors import UnusableFile
from lrrun.registry import nearest

# Plain decimal numbers only: float() would also take 1_0, ٣, nan and inf.
_DECIMAL = r"[ \t]*[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?[ \t]*"
_NUMBER = re.compile(_DECIMAL)
_NUMBERS = re.compile(rf"{_DECIMAL}(?:\x00{_DECIMAL})*")
_LARGEST = 3.4028234663852886e38  # of float32

_SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars"}

Record = tuple[int, list[str]]
"""The line on which a record begins, counted from 1, and its cells."""


@dataclass(frozen=True, slots=True)
class Columns:
    """Which columns of a table are features and which are targets: name → index."""

    features: Mapping[str, int]
    targets: Mapping[str, int]


class Csv(Dataset):
    """A comma-separated file with a header; all columns but the targets are numeric features.

    Classification: one target column, of whole numbers 0..K-1 or of names, which are numbered in
    sorted order; the split is stratified. Regression: one or more numeric target columns. The
    split is the same for every seed.
    """

    name: Literal["csv"] = "csv"
    """The dataset's name."""

    path: PathText
    """The file: UTF-8, comma-separated, the first line names the columns."""

    target: str | Annotated[tuple[str, ...], Field(strict=False, min_length=1)]
    """The target column, or a list of them."""

    task: Literal["classification", "regression"]
    """What to predict."""

    val_fraction: ValFraction = 0.2
    """The share of the rows that validation takes."""

    standardize: bool = True
    """Features get mean 0 and standard deviation 1, by the training rows' statistics; targets
    stay as they are."""

    @property
    def targets(self) -> tuple[str, ...]:
        """The target columns' names."""
        return (self.target,) if isinstance(self.target, str) else self.target

    @field_validator("task")
    @classmethod
    def _one_label(cls, task: str, info: ValidationInfo) -> str:
        target = info.data.get("target", "")
        if task == "classification" and not isinstance(target, str) and len(target) > 1:
            raise ValueError(f"classification has one target column, got {', '.join(target)}")
        return task

    def facts(self, folder: Path) -> DataFacts:
        """Rows and classes, counted in one pass over the file; numbers are checked on loading."""
        path = self.file(folder)
        rows = records(path)
        columns = self.columns(path, next(rows))
        (label_at, *_) = columns.targets.values()
        count = 0
        first_lines: dict[str, int] = {}
        for line, cells in rows:
            count += 1
            if self.task == "classification":
                first_lines.setdefault(cells[label_at].strip(), line)
        return self.described(path, columns, count, first_lines)

    def described(
        self, path: Path, columns: Columns, rows: int, first_lines: Mapping[str, int]
    ) -> DataFacts:
        """The facts of a table of `rows` rows whose labels first stand on `first_lines`."""
        if not rows:
            raise UnusableFile(f"{path}: no rows below the header")
        classification = self.task == "classification"
        classes = len(set(class_numbers(path, first_lines).values())) if classification else 1
        try:
            train, val = split_sizes(rows, self.val_fraction, classes)
        except ValueError as error:
            raise UnusableFile(f"{path}: {error}") from error
        outputs = classes if classification else len(columns.targets)
        return DataFacts(train, val, self.task, (len(columns.features),), outputs)

    def file(self, folder: Path) -> Path:
        """The file that `path` means; raises UnusableFile when it is not there or not a file."""
        path = resolve(self.path, folder)
        if not exists(path):
            raise UnusableFile(missing(self.path, folder, "file"))
        if not path.is_file():
            raise UnusableFile(f"{path}: expected a CSV file, got a folder or a device")
        return path

    def columns(self, path: Path, header: Record) -> Columns:
        """Features and targets by the header; raises UnusableFile for names that cannot be."""
        line, names = header[0], [name.strip() for name in header[1]]
        _refuse_other_separators(path, header)
        at = {name: index for index, name in enumerate(names)}
        if len(at) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise UnusableFile(f"{path}:{line}: two columns have the name {twice!r}")
        if "" in at:
            raise UnusableFile(f"{path}:{line}: column {at[''] + 1} has no name")
        for target in self.targets:
            if target not in at:
                match = nearest(target, names)
                hint = f"did you mean {match}? " if match else ""
                raise UnusableFile(f"{path}:{line}: no column {target!r}; {hint}has {_few(names)}")
        features = {name: index for name, index in at.items() if name not in self.targets}
        if not features:
            raise UnusableFile(f"{path}:{line}: no feature column besides {_few(names)}")
        return Columns(features, {target: at[target] for target in self.targets})


def records(path: Path) -> Iterator[Record]:
    """The header, then the rows, all equally wide; blank lines are passed over.

    Raises UnusableFile, naming the line: not UTF-8, a NUL byte, an unclosed quote, a ragged row;
    or, naming the file: unreadable, or without a header.
    """
    width = None
    line = 1
    try:
        with path.open("rb") as file:
            reader = csv.reader(_decoded(path, file), strict=True)
            for cells in reader:
                if width is None and cells:
                    width = len(cells)
                if cells and len(cells) != width:
                    raise UnusableFile(f"{path}:{line}: {len(cells)} columns, expected {width}")
                if cells:
                    yield line, cells
                line = reader.line_num + 1
    except csv.Error as error:
        raise UnusableFile(f"{path}:{line}: {error}") from error
    except OSError as error:
        raise UnusableFile(f"{path}: {error.strerror}") from error
    if width is None:
        raise UnusableFile(f"{path}: empty, expected a header and rows")


def _refuse_other_separators(path: Path, header: Record) -> None:
    """A header of one cell that other separators part is that of another kind of table."""
    line, names = header
    for separator, word in _SEPARATORS.items():
        if len(names) == 1 and separator in names[0].strip():
            raise UnusableFile(
                f"{path}:{line}: expected commas between the columns, got {word}: "
                f"{_short(names[0])}; write the table again with commas"
            )


def _decoded(path: Path, lines: Iterator[bytes]) -> Iterator[str]:
    for number, raw in enumerate(lines, start=1):
        if b"\0" in raw:
            raise UnusableFile(f"{path}:{number}: a NUL byte; expected text")
        try:
            yield raw.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            wrong = raw[error.start]
            raise UnusableFile(f"{path}:{number}: byte 0x{wrong:02x} is not UTF-8") from error


def numbers(path: Path, line: int, names: Sequence[str], cells: Sequence[str]) -> list[float]:
    """The cells as numbers; raises UnusableFile with the line, the column and the cell.

    >>> numbers(Path("d.csv"), 41, ["x1", "x2"], ["1e-3", " -2"])
    [0.001, -2.0]
    >>> numbers(Path("d.csv"), 41, ["x1", "x2"], ["1_0", "2"])
    Traceback (most recent call last):
    ...
    lrrun.errors.UnusableFile: d.csv:41: column 'x1': '1_0' is not a number
    """
    # NUL, which no cell can hold, separates the cells: one match a row is several times faster
    if _NUMBERS.fullmatch("\0".join(cells)):
        values = [float(cell) for cell in cells]
        if max(map(abs, values)) <= _LARGEST:
            return values
    for name, cell in zip(names, cells, strict=True):
        where = f"{path}:{line}: column {name!r}"
        if not cell.strip():
            raise UnusableFile(f"{where}: blank; fill it in or remove the row")
        if cell.strip().lower().lstrip("+-") in ("nan", "inf", "infinity"):
            raise UnusableFile(f"{where}: {cell.strip()} is not finite; remove the row")
        if not _NUMBER.fullmatch(cell):
            raise UnusableFile(f"{where}: {_short(cell)} is not a number")
        if abs(float(cell)) > _LARGEST:
            raise UnusableFile(f"{where}: {_short(cell)} is too large for a 32-bit float")
    raise AssertionError("some cell did not match")


def class_numbers(path: Path, first_lines: Mapping[str, int]) -> dict[str, int]:
    """Label → class: whole numbers stand for themselves, names count in sorted order.

    `first_lines` gives, for each label, the line on which it first stands. Raises UnusableFile
    for a blank label, one class only, or numbers that are not 0..K-1.

    >>> class_numbers(Path("d.csv"), {"setosa": 2, "virginica": 3, "iris": 9})
    {'iris': 0, 'setosa': 1, 'virginica': 2}
    """
    for label, line in first_lines.items():
        if not label:
            raise UnusableFile(f"{path}:{line}: blank label; fill it in or remove the row")
    if not all(_NUMBER.fullmatch(label) for label in first_lines):
        classes = {label: number for number, label in enumerate(sorted(first_lines))}
    else:
        classes = {}
        for label, line in first_lines.items():
            if not label.isdigit() or len(label) > 9:
                raise UnusableFile(
                    f"{path}:{line}: label {_short(label)} is not a whole number from 0 on"
                )
            classes[label] = int(label)
    count = len(set(classes.values()))
    for label, number in classes.items():
        if number >= count:
            raise UnusableFile(
                f"{path}:{first_lines[label]}: label {label} is outside 0..{count - 1} "
                f"(there are {count} different labels); number the classes from 0 without gaps"
            )
    if count < 2:
        (label, *_) = classes
        raise UnusableFile(f"{path}: every label is {_short(label)}; expected two classes or more")
    return classes


def _short(cell: str) -> str:
    return repr(cell if len(cell) <= 40 else cell[:40] + "…")


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:12]) + (", …" if len(names) > 12 else "")
