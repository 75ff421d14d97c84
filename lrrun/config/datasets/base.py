"""What every dataset's declaration has, and how its files are found and its rows are split."""

from __future__ import annotations

import math
from abc import abstractmethod
from pathlib import Path
from typing import Annotated

from pydantic import Field

from lrrun.config.base import DataFacts, Section

PathText = Annotated[str, Field(min_length=1, pattern=r"^[^\x00]+$")]
"""A path as written; strict sections do not turn text into paths, `resolve` does."""

ValFraction = Annotated[float, Field(gt=0, lt=1)]
"""The share of the rows that validation takes, 0 < f < 1."""


class Dataset(Section):
    """What all datasets have: a name, a batch size, and the facts known without loading."""

    name: str
    """Which dataset."""

    batch_size: int = Field(64, ge=1)
    """Rows a batch. The last batch of an epoch may be smaller; it is used."""

    @abstractmethod
    def facts(self, folder: Path) -> DataFacts | None:
        """Rows, task and shapes, declared or cheaply counted; None where only its code can tell.

        `folder` is where the config file lies. Raises UnusableFile for a missing or broken file.
        """


def resolve(written: str, folder: Path) -> Path:
    """The path that a config means: beside the config file if it is there, else from where we are.

    >>> resolve("data/no-such-file.csv", Path("configs")).as_posix()
    'data/no-such-file.csv'
    """
    path = _from_home(written)
    beside = folder / path
    return beside if exists(beside) else path


def _from_home(written: str) -> Path:
    try:
        return Path(written).expanduser()
    except RuntimeError:  # ~name, of nobody on this machine
        return Path(written)


def exists(path: Path) -> bool:
    """Is something there? A name too long for the file system is simply not."""
    try:
        path.stat()
    except OSError:
        return False
    return True


def missing(written: str, folder: Path, what: str) -> str:
    """The message for a path that leads nowhere.

    >>> missing("a.csv", Path("configs"), "file")
    'a.csv: no such file (looked in configs and in the current folder)'
    """
    if _from_home(written).is_absolute() or folder == Path():
        return f"{written}: no such {what}"
    return f"{written}: no such {what} (looked in {folder} and in the current folder)"


def split_sizes(rows: int, val_fraction: float, classes: int = 1) -> tuple[int, int]:
    """(training rows, validation rows); validation gets the nearest whole number to rows·fraction.

    Raises ValueError when validation would get no row, or training fewer rows than `classes`.

    >>> split_sizes(150, 0.2)
    (120, 30)
    """
    val = math.floor(rows * val_fraction + 0.5)
    if val < 1 or rows - val < classes:
        least = "1 row" if classes == 1 else f"{classes} rows, one a class,"
        raise ValueError(
            f"val_fraction {val_fraction:g} of {rows} rows leaves {rows - val} for training and "
            f"{val} for validation; expected at least {least} for training and 1 for validation"
        )
    return rows - val, val
