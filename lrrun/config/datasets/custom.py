"""Somebody's own dataset: an import path, and arguments that only its own code can check."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import ConfigDict, Field

from lrrun.config.datasets.base import Dataset
from lrrun.registry import IMPORT_PATH


class CustomDataset(Dataset):
    """An import path `package.module:thing`; every other key is an argument of the call.

    What the call must return is told in `lrrun.training.datasets.custom`.

    >>> CustomDataset(name="my.data:pair", batch_size=32, rows=100).arguments
    {'rows': 100}
    """

    model_config = ConfigDict(extra="allow")

    name: str = Field(pattern=f"^{IMPORT_PATH.pattern}$")
    """The import path of a callable that returns the training and the validation data."""

    @property
    def arguments(self) -> dict[str, Any]:
        """The keyword arguments of the call."""
        return dict(self.model_extra or {})

    def facts(self, folder: Path) -> None:
        """None: nothing can be known before the code is imported and called."""
        return None
