"""Somebody's own dataset: an import path, and arguments that only its own code can check."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, Field

from lrrun.config.datasets.base import Dataset
from lrrun.registry import IMPORT_PATH


@dataclass(frozen=True, slots=True)
class Workers:
    """The processes that make rows: how many, batches ahead of each, seconds until one is hung."""

    count: int = 0
    prefetch: int = 2
    timeout: int = 600


IN_PROCESS = Workers()
"""No workers: rows are made where they are used."""


class CustomDataset(Dataset):
    """An import path `package.module:thing`; keys that are not named here are its arguments.

    What the call must return is told in `lrrun.training.datasets.custom`.

    >>> CustomDataset(name="my.data:pair", batch_size=32, rows=100).arguments
    {'rows': 100}
    """

    model_config = ConfigDict(extra="allow")

    name: str = Field(pattern=f"^{IMPORT_PATH.pattern}$")
    """The import path of a callable that returns the training and the validation data."""

    workers: int = Field(IN_PROCESS.count, ge=0, le=1024)
    """Processes that make rows ahead of need; 0 makes them in the training process."""

    prefetch: int = Field(IN_PROCESS.prefetch, ge=1, le=1024)
    """Batches that each worker makes ahead."""

    worker_timeout: int = Field(IN_PROCESS.timeout, ge=1)
    """Seconds without a batch after which a worker counts as hung, and the run stops."""

    @property
    def arguments(self) -> dict[str, Any]:
        """The keyword arguments of the call."""
        return dict(self.model_extra or {})

    @property
    def pool(self) -> Workers:
        """The worker processes that it asks for."""
        return Workers(self.workers, self.prefetch, self.worker_timeout)

    def facts(self, folder: Path) -> None:
        """None: nothing can be known before the code is imported and called."""
        return None
