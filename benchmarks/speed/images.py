"""Synthetic colour images, a dataset by import path: a blurred pattern a class, and noise."""

from __future__ import annotations

import torch
from torch.nn import functional as F
from torch.utils.data import TensorDataset


def patterns(
    rows: int, val_rows: int, classes: int = 10, size: int = 32
) -> tuple[TensorDataset, TensorDataset]:
    """x_NCHW = 0.1·pattern_y + ε with ε ~ N(0, 1), the same at every call; classes are balanced."""
    chance = torch.Generator().manual_seed(0)
    coarse = torch.randn(classes, 3, 4, 4, generator=chance)
    smooth = F.interpolate(coarse, size=(size, size), mode="bilinear")
    x_NCHW = torch.randn(rows + val_rows, 3, size, size, generator=chance)
    for label in range(classes):  # in place: no contender's peak memory shows how data are made
        x_NCHW[label::classes] += 0.1 * smooth[label]
    y_N = torch.arange(rows + val_rows) % classes
    return TensorDataset(x_NCHW[:rows], y_N[:rows]), TensorDataset(x_NCHW[rows:], y_N[rows:])
