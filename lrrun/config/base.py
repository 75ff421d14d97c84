"""What every section of a config is: strict, frozen, no unknown keys."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict

Task = Literal["classification", "regression", "language"]

METRICS: dict[Task, tuple[str, ...]] = {
    "classification": ("val_loss", "val_acc"),
    "regression": ("val_loss", "val_mae", "val_r2"),
    "language": ("val_loss", "val_acc", "val_bits"),
}
"""What an evaluation measures, by task, in the order of the columns."""


class Section(BaseModel):
    """A mapping of the config file; nothing is coerced, nothing unknown is let through."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True
    )


@dataclass(frozen=True, slots=True)
class DataFacts:
    """What can be known of a dataset without loading it.

    `inputs` is the shape of one sample without the batch: (1, 8, 8) for an image (C, H, W), (20,)
    for a row of features, (context,) for a window of tokens. `outputs` is the number of classes,
    of regression targets, or the size of the vocabulary. `tokens_per_row` is None unless the task
    is "language".
    """

    train_rows: int
    val_rows: int
    task: Task
    inputs: tuple[int, ...]
    outputs: int
    tokens_per_row: int | None = None
