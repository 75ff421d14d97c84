"""Datasets in memory: `load` takes a declaration of config/ to training and validation data."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from lrrun.config import datasets as declared
from lrrun.training.datasets import cifar, custom, digits, idx, synthetic, tables, text
from lrrun.training.datasets.base import Augment, Images, Source, Splits, Table, Windows
from lrrun.training.datasets.order import augmentation_generator, epoch_order
from lrrun.training.datasets.rows import MapStyle, RowsAhead, close_workers, in_order

LOADERS: dict[type[declared.Dataset], Callable[[Any, Path], Splits]] = {
    declared.Digits: digits.load,
    declared.SyntheticClassification: synthetic.load_classification,
    declared.SyntheticRegression: synthetic.load_regression,
    declared.Text: text.load,
    declared.Csv: tables.load,
    declared.Mnist: idx.load,
    declared.FashionMnist: idx.load,
    declared.Cifar10: cifar.load,
    declared.Cifar100: cifar.load,
    declared.CustomDataset: custom.load,
}


def load(spec: declared.Dataset, folder: Path) -> Splits:
    """Read or generate the data that `spec` declares, on the CPU; `folder` holds the config file.

    Raises UnusableFile for a data file that is missing, broken or cannot be downloaded, and
    ConfigError for somebody's own dataset that cannot be imported, called or used.

    >>> splits = load(declared.SyntheticRegression(rows=10), Path("."))
    >>> len(splits.train), len(splits.val)
    (8, 2)
    """
    return LOADERS[type(spec)](spec, folder)


__all__ = [
    "LOADERS",
    "Augment",
    "Images",
    "MapStyle",
    "RowsAhead",
    "Source",
    "Splits",
    "Table",
    "Windows",
    "augmentation_generator",
    "close_workers",
    "epoch_order",
    "in_order",
    "load",
]
