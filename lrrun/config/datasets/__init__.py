"""What a config may say of a dataset: a torch-free declaration each, which knows its row counts."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from lrrun.config.datasets.base import Dataset, resolve
from lrrun.config.datasets.custom import CustomDataset
from lrrun.config.datasets.images import Cifar10, Cifar100, Digits, FashionMnist, Mnist
from lrrun.config.datasets.synthetic import SyntheticClassification, SyntheticRegression
from lrrun.config.datasets.tables import Csv
from lrrun.config.datasets.text import Text

DatasetSpec = Annotated[
    Digits
    | SyntheticClassification
    | SyntheticRegression
    | Text
    | Csv
    | Mnist
    | FashionMnist
    | Cifar10
    | Cifar100,
    Field(discriminator="name"),
]
"""Any built-in dataset, told apart by its `name`."""

DATASETS: tuple[type[Dataset], ...] = (
    Digits,
    SyntheticClassification,
    SyntheticRegression,
    Text,
    Csv,
    Mnist,
    FashionMnist,
    Cifar10,
    Cifar100,
)
"""Every built-in dataset; somebody's own code is a `CustomDataset`."""

__all__ = [
    "DATASETS",
    "Cifar10",
    "Cifar100",
    "Csv",
    "CustomDataset",
    "Dataset",
    "DatasetSpec",
    "Digits",
    "FashionMnist",
    "Mnist",
    "SyntheticClassification",
    "SyntheticRegression",
    "Text",
    "resolve",
]
