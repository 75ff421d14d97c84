"""Custom datasets: an import path beside the config, and everything that can come back from it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from torch.utils.data import Dataset, IterableDataset, Subset, TensorDataset

from lrrun.config.base import DataFacts
from lrrun.config.datasets import CustomDataset
from lrrun.errors import ConfigError
from lrrun.training.datasets import MapStyle, Table, load
from lrrun.training.datasets.custom import as_splits

CODE = """
import torch

def pair(rows, classes=3):
    x = torch.arange(2.0 * rows).reshape(rows, 2)
    y = torch.arange(rows) % classes
    return (x[:-2], y[:-2]), (x[-2:], y[-2:])

def broken(rows):
    raise KeyError("no such rows")

number = 3
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "their_data.py").write_text(CODE)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield tmp_path
    sys.modules.pop("their_data", None)


def custom(**section: object) -> CustomDataset:
    return CustomDataset.model_validate(section)


def test_a_module_beside_the_config(folder):
    splits = load(custom(name="their_data:pair", rows=11, batch_size=4), folder)
    assert splits.facts == DataFacts(9, 2, "classification", (2,), 3)
    assert splits.train.batch(torch.tensor([8]))[0].tolist() == [[16.0, 17.0]]


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"name": "their_data:pair", "row": 3}, "did you mean rows?"),
        ({"name": "their_data:pairs", "rows": 3}, "did you mean pair?"),
        ({"name": "their_data:number"}, "expected a class or function"),
        ({"name": "their_data:broken", "rows": 3}, "failed: KeyError: 'no such rows'"),
        ({"name": "no_such_module:pair"}, "there is no module 'no_such_module'"),
    ],
)
def test_what_cannot_be_called(folder, section, message):
    with pytest.raises(ConfigError) as caught:
        load(custom(**section), folder)
    assert message in str(caught.value)
    assert str(caught.value).startswith("dataset")


class Squares(Dataset):
    """Rows made one by one: (i, i²)."""

    def __init__(self, rows: int, kind: type, **attributes: object) -> None:
        self.rows = rows
        self.kind = kind
        vars(self).update(attributes)

    def __len__(self) -> int:
        return self.rows

    def __getitem__(self, index: int):
        return torch.tensor([float(index)]), self.kind(index**2)


def test_tensors_become_tables():
    x, y = torch.zeros(6, 3, 4, dtype=torch.float64), torch.arange(6, dtype=torch.int16)
    for part in ((x, y), TensorDataset(x, y)):
        splits = as_splits((part, part), "m:f")
        assert isinstance(splits.train, Table)
        assert splits.train.y.dtype == torch.int64
        assert splits.train.x.dtype == torch.float32
        assert splits.facts == DataFacts(6, 6, "classification", (3, 4), 6)


def test_regression_and_language():
    x, y = torch.zeros(5, 4), torch.zeros(5, dtype=torch.float64)
    splits = as_splits(((x, y), (x, y)), "m:f")
    assert splits.facts == DataFacts(5, 5, "regression", (4,), 1)
    assert splits.train.batch(torch.tensor([0]))[1].shape == (1, 1)
    tokens = torch.tensor([[0, 1, 9], [2, 3, 4]])
    facts = as_splits(((tokens, tokens), (tokens, tokens)), "m:f").facts
    assert facts == DataFacts(2, 2, "language", (3,), 10, 3)


def test_map_style_datasets():
    train = Squares(8, int, classes=[str(n) for n in range(50)])
    splits = as_splits((Subset(train, [0, 1, 7]), Squares(2, int)), "m:f")
    assert isinstance(splits.train, MapStyle)
    assert splits.facts == DataFacts(3, 2, "classification", (1,), 50)
    assert splits.train.batch(torch.tensor([2, 1]))[1].tolist() == [49, 1]
    seen = as_splits((Squares(3, int, targets=[0, 1, 4]), Squares(2, int, targets=[0, 1])), "m:f")
    assert seen.facts.outputs == 5
    assert as_splits((Squares(3, float), Squares(2, float)), "m:f").facts.task == "regression"


class Stream(IterableDataset):
    def __iter__(self):
        return iter([])


X, Y = torch.zeros(4, 2), torch.tensor([0, 1, 0, 1])


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (TensorDataset(X, Y), "returned a TensorDataset; expected a pair"),
        (((X, Y), (X, Y), (X, Y)), "returned a tuple of 3; expected a pair"),
        (((X, Y), None), "a NoneType for a part"),
        (((X, Y), (X.numpy(), Y.numpy())), "a tuple of 2 for a part"),
        ((Stream(), Stream()), "a Stream for a part"),
        (((X, Y[:3]), (X, Y)), "x has 4 rows, y has 3"),
        (((X, Y), (X[:0], Y[:0])), "a part has no rows"),
        (((X, Y), (X[:, :1], Y)), "a training row is x (2,)"),
        (((X, Y - 1), (X, Y - 1)), "label -1 is negative"),
        (((X, torch.zeros(4, 2, 2)), (X, torch.zeros(4, 2, 2))), "fits no task"),
        ((Squares(3, int), Squares(3, int)), "number of classes is not known"),
        ((Squares(3, str), Squares(3, str)), "row 0 cannot be made into a batch"),
    ],
)
def test_what_breaks_the_contract(returned, message):
    with pytest.raises(ConfigError) as caught:
        as_splits(returned, "m:f")
    assert message in str(caught.value)


def test_import_paths_only_reach_code_when_loaded(folder: Path):
    (folder / "their_data.py").write_text("raise RuntimeError('ran')")
    assert custom(name="their_data:pair").facts(folder) is None
