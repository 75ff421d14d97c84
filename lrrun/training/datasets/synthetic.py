"""Generated tables, by numpy's default generator and the declaration's data_seed.

Shape suffixes: N rows, F features, K classes or targets, H hidden units of the teacher.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from lrrun.config.datasets import SyntheticClassification, SyntheticRegression
from lrrun.training.datasets.base import Splits, Table
from lrrun.training.datasets.split import Rows, split, stratified_split

TEACHER_UNITS = 32


def load_classification(spec: SyntheticClassification, folder: Path) -> Splits:
    """Gaussian clusters: x = separation·u_y + ε."""
    facts = spec.facts(folder)
    rng = np.random.default_rng(spec.data_seed)
    u_KF = rng.standard_normal((spec.classes, spec.features))
    u_KF /= np.linalg.norm(u_KF, axis=1, keepdims=True)
    y_N = np.arange(spec.rows) % spec.classes
    x_NF = spec.separation * u_KF[y_N] + rng.standard_normal((spec.rows, spec.features))
    train, val = stratified_split(y_N, facts.val_rows)
    return Splits(_rows(x_NF, y_N, train), _rows(x_NF, y_N, val), facts)


def load_regression(spec: SyntheticRegression, folder: Path) -> Splits:
    """A random teacher and noise: y = g(x) + noise·ε."""
    facts = spec.facts(folder)
    rng = np.random.default_rng(spec.data_seed)
    x_NF = rng.standard_normal((spec.rows, spec.features))
    if spec.nonlinear:
        a_FH = rng.standard_normal((spec.features, TEACHER_UNITS)) / spec.features**0.5
        b_HK = rng.standard_normal((TEACHER_UNITS, spec.targets)) / TEACHER_UNITS**0.5
        g_NK = np.tanh(2 * x_NF @ a_FH) @ b_HK
    else:
        w_FK = rng.standard_normal((spec.features, spec.targets)) / spec.features**0.5
        g_NK = x_NF @ w_FK
    y_NK = g_NK + spec.noise * rng.standard_normal(g_NK.shape)
    train, val = split(spec.rows, facts.val_rows)
    x_NF, y_NK = x_NF.astype(np.float32), y_NK.astype(np.float32)
    return Splits(_rows(x_NF, y_NK, train), _rows(x_NF, y_NK, val), facts)


def _rows(x_NF: NDArray[np.float32 | np.float64], y: NDArray[np.generic], rows: Rows) -> Table:
    return Table(torch.from_numpy(x_NF[rows]).float(), torch.from_numpy(y[rows]))
