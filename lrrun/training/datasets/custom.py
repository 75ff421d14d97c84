"""Somebody's own dataset, behind an import path.

The contract: the object that the path names is called with the config's other keys, and returns
a pair `(train, val)`. Each of the two is

- `(x, y)`, two tensors with as many rows, or a `TensorDataset` of them: kept on the device; or
- a map-style torch `Dataset` whose items are pairs `(x, y)`: rows are made one by one.

The dtype and shape of y say what the task is. Integers of shape (N,) are classes: the number of
classes is `len(train.classes)` where a dataset has that attribute, else one more than the largest
label (of y, or of its attribute `targets`). Floats of shape (N,) or (N, K) are regression
targets. Integers of shape (N, T) are the tokens that follow those of x, the size of the vocabulary
being `train.vocabulary`, else one more than the largest token (of tensors). Inputs become
float32, but int64 inputs stay.

Rows that are made one by one may draw from torch's, numpy's and Python's global generators: what
they draw is a function of the seed and the update. They must not draw from a generator of their
own, nor remember what was asked for before: a resumed run could not repeat that.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Subset, TensorDataset

from lrrun.config.base import DataFacts, Task
from lrrun.config.datasets import CustomDataset
from lrrun.config.datasets.custom import IN_PROCESS, Workers
from lrrun.errors import ConfigError, LrrunError, Problem
from lrrun.registry import import_callable
from lrrun.training.datasets.base import Source, Splits, Table, as_input, as_target
from lrrun.training.datasets.rows import MapStyle

_PATH = ("dataset",)
_CONTRACT = (
    "expected a pair (train, val), each a map-style torch Dataset of (x, y), a TensorDataset, "
    "or two tensors (x, y)"
)


def load(spec: CustomDataset, folder: Path) -> Splits:
    """Import, call and wrap; modules are also looked for in `folder`. Raises ConfigError.

    This runs code that the config names: whoever calls it has asked for permission.
    """
    called = import_callable(spec.name, spec.arguments, _PATH, folder)
    try:
        returned = called(**spec.arguments)
    except LrrunError:
        raise
    except Exception as error:  # somebody's code: whatever it raises is their message
        raise _problem(f"calling {spec.name} failed: {type(error).__name__}: {error}") from error
    return as_splits(returned, spec.name, spec.pool)


def as_splits(returned: object, name: str, workers: Workers = IN_PROCESS) -> Splits:
    """What a custom dataset returned, as Splits; raises ConfigError if it breaks the contract."""
    if not isinstance(returned, (tuple, list)) or len(returned) != 2:
        raise _problem(f"{name} returned {_kind(returned)}; {_CONTRACT}")
    train = _source(returned[0], name, "training", workers)
    val = _source(returned[1], name, "validation", workers)
    if workers.count and not any(isinstance(part, MapStyle) for part in (train, val)):
        text = f"{name} returns tensors, and nothing is to be made of them; leave it out"
        raise ConfigError([Problem(("dataset", "workers"), text)])
    x, y = _first(train, name)
    val_x, val_y = _first(val, name)
    if (x.shape, y.shape, y.dtype) != (val_x.shape, val_y.shape, val_y.dtype):
        raise _problem(
            f"{name}: a training row is x {tuple(x.shape[1:])}, y {tuple(y.shape[1:])} {y.dtype}, "
            f"a validation row x {tuple(val_x.shape[1:])}, y {tuple(val_y.shape[1:])} "
            f"{val_y.dtype}; expected the same"
        )
    task = _task(x, y, name)
    outputs = y.shape[1] if task == "regression" else _classes(returned, task, name)
    tokens = y.shape[1] if task == "language" else None
    facts = DataFacts(len(train), len(val), task, tuple(x.shape[1:]), outputs, tokens)
    return Splits(train, val, facts)


def _source(part: Any, name: str, which: str, workers: Workers) -> Source:
    tensors = _tensors(part)
    if tensors is not None:
        x, y = tensors
        if len(x) != len(y):
            raise _problem(f"{name}: x has {len(x)} rows, y has {len(y)}")
        return Table(as_input(x), as_target(y))
    listed = isinstance(part, (tuple, list))
    if listed or not hasattr(part, "__getitem__") or not hasattr(part, "__len__"):
        raise _problem(f"{name} returned {_kind(part)} for a part; {_CONTRACT}")
    return MapStyle(part, torch.device("cpu"), f"{name}: {which} row", workers)


def _tensors(part: Any) -> tuple[Tensor, Tensor] | None:
    """The tensors x and y, where a part is two tensors in memory."""
    pair = part.tensors if isinstance(part, TensorDataset) else part
    if isinstance(pair, (tuple, list)) and len(pair) == 2:
        x, y = pair
        if isinstance(x, Tensor) and isinstance(y, Tensor) and x.ndim and y.ndim:
            return x, y
    return None


def _first(source: Source, name: str) -> tuple[Tensor, Tensor]:
    """A batch of the first row, to see what rows are."""
    if not len(source):
        raise _problem(f"{name}: a part has no rows")
    try:
        return source.batch(torch.tensor([0]))
    except ConfigError as error:
        raise _problem(f"{error.problems[0].message}; {_CONTRACT}") from error


def _task(x: Tensor, y: Tensor, name: str) -> Task:
    if y.is_floating_point() and y.ndim == 2:
        return "regression"
    if not y.is_floating_point() and y.ndim == 1:
        return "classification"
    if not y.is_floating_point() and y.shape == x.shape and y.ndim == 2:
        return "language"
    raise _problem(
        f"{name}: y of shape {tuple(y.shape[1:])} a row, {y.dtype}, fits no task; expected an "
        "integer (classes), floats of shape (K,) (regression), or integers shaped like x (tokens)"
    )


def _classes(parts: tuple[Any, Any] | list[Any], task: Task, name: str) -> int:
    """How many classes there are, or tokens in the vocabulary: as stated, else as seen."""
    stated = _attribute(parts[0], "classes" if task == "classification" else "vocabulary")
    if stated is not None:
        return stated if isinstance(stated, int) else len(stated)
    largest = -1
    for part in parts:
        tensors = _tensors(part)
        labels = tensors[1] if tensors else _attribute(part, "targets")
        if labels is None:
            attribute = "classes" if task == "classification" else "vocabulary"
            raise _problem(
                f"{name}: the number of {attribute} is not known; give the training dataset an "
                f"attribute `{attribute}` (a number, or a list of names)"
            )
        seen = torch.as_tensor(labels)
        if int(seen.min()) < 0:
            raise _problem(f"{name}: label {int(seen.min())} is negative; classes count from 0")
        largest = max(largest, int(seen.max()))
        if tensors and task == "language":
            largest = max(largest, int(tensors[0].max()))
    return largest + 1


def _attribute(part: Any, attribute: str) -> Any:
    """A dataset's attribute, looked for through `Subset` (which torch's random_split makes)."""
    while isinstance(part, Subset):
        part = part.dataset
    return getattr(part, attribute, None)


def _problem(message: str) -> ConfigError:
    return ConfigError([Problem(("dataset", "name"), message)])


def _kind(returned: object) -> str:
    size = f" of {len(returned)}" if isinstance(returned, (tuple, list)) else ""
    return f"a {type(returned).__name__}{size}"
