"""CSV tables."""

from __future__ import annotations

from array import array
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from lrrun.config.datasets import Csv
from lrrun.config.datasets.tables import class_numbers, numbers, records
from lrrun.training.datasets.base import Splits, Table
from lrrun.training.datasets.split import Rows, split, stratified_split


def load(spec: Csv, folder: Path) -> Splits:
    """Features, standardized if asked, and targets. Raises UnusableFile, naming the line.

    Shape suffixes: N rows, F features, K targets.
    """
    path = spec.file(folder)
    rows = records(path)
    columns = spec.columns(path, next(rows))
    classification = spec.task == "classification"
    numeric = columns.features if classification else {**columns.features, **columns.targets}
    label_at = next(iter(columns.targets.values()))
    values = array("d")
    labels: list[str] = []
    first_lines: dict[str, int] = {}
    for line, cells in rows:
        values.extend(numbers(path, line, list(numeric), [cells[at] for at in numeric.values()]))
        labels.append(cells[label_at].strip())
        if classification:
            first_lines.setdefault(labels[-1], line)
    facts = spec.described(path, columns, len(labels), first_lines)
    table = np.frombuffer(values).reshape(len(labels), len(numeric))
    x_NF, y_NK = np.split(table, [len(columns.features)], axis=1)
    if classification:
        classes = class_numbers(path, first_lines)
        y_N = np.array([classes[label] for label in labels])
        train, val = stratified_split(y_N, facts.val_rows)
        targets = torch.from_numpy(y_N)
    else:
        train, val = split(len(labels), facts.val_rows)
        targets = torch.from_numpy(y_NK).float()
    if spec.standardize:
        x_NF = _standardized(x_NF, train)
    inputs = torch.from_numpy(x_NF).float()
    return Splits(Table(inputs[train], targets[train]), Table(inputs[val], targets[val]), facts)


def _standardized(x_NF: NDArray[np.float64], train: Rows) -> NDArray[np.float64]:
    """(x - mean)/std by the training rows; a column that is constant there is only shifted."""
    mean_F, std_F = x_NF[train].mean(axis=0), x_NF[train].std(axis=0)
    constant_F = x_NF[train].min(axis=0) == x_NF[train].max(axis=0)
    scale_F: NDArray[np.float64] = np.where(constant_F, 1.0, std_F)
    return np.asarray((x_NF - mean_F) / scale_F)
