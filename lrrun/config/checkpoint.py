"""The `checkpoint` section: what of a run is saved, and when."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from lrrun.config.base import Section
from lrrun.config.fields import LengthField


class Checkpoint(Section):
    """When to save, and which of the saved states to keep."""

    every: LengthField | None = None
    """Save after every so many steps; by default at the rows of epochs.csv, as often as that costs
    less than 2% of the run. The run's end and a signal save as well."""
    keep: list[LengthField] = Field(default_factory=list)
    """Places in the run whose checkpoint is kept for good: [2000 steps, 10 epochs]."""
    last: Annotated[int, Field(ge=1, le=1000)] = 2
    """How many of the latest checkpoints are kept, so that one that goes bad costs little."""
    best: str | None = "val_loss"
    """The metric whose best evaluation keeps its weights in best.pt; null keeps none."""
