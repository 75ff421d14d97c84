"""Which rows are validation: the same for every seed of the run, and for every version of numpy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SPLIT_SEED = 0

Rows = NDArray[np.int64]


def shuffled(rows: int) -> Rows:
    """A fixed permutation of 0..rows-1.

    The raw words of PCG64 are sorted: numpy promises the bit generator's stream for good (NEP 19),
    but not that of `Generator.permutation`.
    """
    return np.argsort(np.random.PCG64(SPLIT_SEED).random_raw(rows), kind="stable")


def split(rows: int, val_rows: int) -> tuple[Rows, Rows]:
    """(training rows, validation rows), drawn at random, each in the order of the data.

    >>> train, val = split(10, 3)
    >>> len(train), len(val), sorted([*train, *val]) == list(range(10))
    (7, 3, True)
    """
    order = shuffled(rows)
    return np.sort(order[val_rows:]), np.sort(order[:val_rows])


def stratified_split(labels_N: Rows, val_rows: int) -> tuple[Rows, Rows]:
    """(training rows, validation rows) with each class in proportion, to within one row.

    Of n_k rows of class k, validation gets n_k·val_rows/N, rounded by the largest remainder (the
    smaller class number on a tie), and training keeps at least one row of every class; this needs
    val_rows ≤ N - (number of classes).

    >>> train, val = stratified_split(np.array([0, 0, 0, 0, 1, 1]), 3)
    >>> np.bincount(np.array([0, 0, 0, 0, 1, 1])[val]).tolist()
    [2, 1]
    """
    labels, counts = np.unique(labels_N, return_counts=True)
    exact = counts * val_rows / len(labels_N)
    taken = np.floor(exact).astype(np.int64)
    by_remainder = np.argsort(taken - exact, kind="stable")
    while (left := val_rows - int(taken.sum())) > 0:
        open_classes = [k for k in by_remainder if taken[k] < counts[k] - 1]
        taken[open_classes[:left]] += 1
    order = shuffled(len(labels_N))
    chosen = [
        order[labels_N[order] == label][:count] for label, count in zip(labels, taken, strict=True)
    ]
    val = np.sort(np.concatenate(chosen))
    return np.setdiff1d(np.arange(len(labels_N)), val), val
