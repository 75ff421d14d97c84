"""scikit-learn's digits, read from the file that scikit-learn brings along."""

from __future__ import annotations

import gzip
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from lrrun.config.datasets import Digits
from lrrun.errors import UnusableFile
from lrrun.training.datasets.base import Splits, Table
from lrrun.training.datasets.split import stratified_split

FILE = Path("datasets/data/digits.csv.gz")
"""Where the table lies in scikit-learn, whose own loader takes a second of imports to reach it."""


def load(spec: Digits, folder: Path) -> Splits:
    """1,437 training and 360 validation images (1, 8, 8), pixels/16.

    Raises UnusableFile where scikit-learn, or the table in it, is not there.
    """
    facts = spec.facts(folder)
    rows = _table()
    pixels, labels = rows[:, :-1], rows[:, -1]
    x_NCHW = torch.from_numpy(pixels.reshape(-1, 1, 8, 8)).float() / 16
    y_N = torch.from_numpy(labels).long()
    train, val = (
        torch.from_numpy(each) for each in stratified_split(labels.astype(np.int64), facts.val_rows)
    )
    return Splits(Table(x_NCHW[train], y_N[train]), Table(x_NCHW[val], y_N[val]), facts)


def _table() -> NDArray[np.uint8]:
    """1,797 rows of 64 pixels in 0..16 and a label, uint8."""
    found = find_spec("sklearn")
    if found is None or not found.submodule_search_locations:
        raise UnusableFile("digits comes with scikit-learn, which is not installed")
    file = Path(found.submodule_search_locations[0]) / FILE
    try:
        with gzip.open(file, "rt", encoding="ascii") as lines:
            return np.loadtxt(lines, delimiter=",").astype(np.uint8)
    except OSError as error:
        reason = error.strerror or error
        raise UnusableFile(f"{file}: cannot be read: {reason}; reinstall scikit-learn") from None
