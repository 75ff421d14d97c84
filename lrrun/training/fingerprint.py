"""What tells one set of data from another: how many rows, and a hash of what is in them."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, fields
from typing import Any

import torch
from torch import Tensor

from lrrun.training.datasets import MapStyle, Source, Splits


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """Row counts, and the SHA-256 of training and validation data as they were loaded.

    `sha256` is None for a dataset that makes its rows one by one: reading all would cost an epoch.
    """

    train_rows: int
    val_rows: int
    sha256: str | None

    def as_data(self) -> dict[str, Any]:
        """As plain data, for run.json."""
        return asdict(self)

    def __str__(self) -> str:
        """As people say it."""
        hash_ = f", sha256 {self.sha256[:12]}" if self.sha256 else ""
        return f"{self.train_rows} training and {self.val_rows} validation rows{hash_}"

    @classmethod
    def of(cls, data: dict[str, Any]) -> Fingerprint:
        """Read back what `as_data` gave."""
        return cls(**{field.name: data.get(field.name) for field in fields(cls)})  # type: ignore[arg-type]


def fingerprint(data: Splits) -> Fingerprint:
    """The fingerprint of data that was loaded and lies in memory."""
    digest = hashlib.sha256()
    whole = True
    for source in (data.train, data.val):
        whole = whole and not isinstance(source, MapStyle)
        for name, tensor in _tensors(source):
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(tensor.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return Fingerprint(len(data.train), len(data.val), digest.hexdigest() if whole else None)


def _tensors(source: Source) -> list[tuple[str, Tensor]]:
    held = [(name, getattr(source, name)) for name in getattr(source, "__dataclass_fields__", ())]
    return [(name, value) for name, value in held if isinstance(value, Tensor)]
