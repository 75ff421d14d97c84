"""Generated datasets: the same for every seed of the run, another draw for each data_seed."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from lrrun.config.base import DataFacts
from lrrun.config.datasets.base import Dataset, ValFraction, split_sizes


class SyntheticClassification(Dataset):
    """Gaussian clusters, one a class: x = separation·u_y + ε.

    u_k is a random unit vector for each class k, ε ~ N(0, I). Classes are balanced to within one
    row; the split is stratified.
    """

    name: Literal["synthetic-classification"] = "synthetic-classification"
    """The dataset's name."""

    rows: int = Field(2000, ge=4)
    """Rows in all, training and validation together."""

    features: int = Field(20, ge=1)
    """Numbers a row."""

    classes: int = Field(4, ge=2)
    """Clusters, and labels."""

    separation: float = Field(3.0, ge=0, allow_inf_nan=False)
    """Distance of each cluster's centre from the origin, in standard deviations of the cluster;
    at 0 the labels are noise."""

    val_fraction: ValFraction = 0.2
    """The share of the rows that validation takes."""

    data_seed: int = Field(0, ge=0)
    """Which draw; the run's own seed does not change the data."""

    @model_validator(mode="after")
    def _splits(self) -> SyntheticClassification:
        split_sizes(self.rows, self.val_fraction, self.classes)
        return self

    def facts(self, folder: Path) -> DataFacts:
        """The rows as the declaration splits them.

        >>> facts = SyntheticClassification(rows=100, val_fraction=0.25).facts(Path("."))
        >>> facts.train_rows, facts.val_rows, facts.inputs, facts.outputs
        (75, 25, (20,), 4)
        """
        train, val = split_sizes(self.rows, self.val_fraction, self.classes)
        return DataFacts(train, val, "classification", (self.features,), self.classes)


class SyntheticRegression(Dataset):
    """A random teacher and noise: y = g(x) + noise·ε, with x ~ N(0, I_F), ε ~ N(0, I_K).

    Linear: g(x) = xW, W_ij ~ N(0, 1/F). Nonlinear: g(x) = tanh(2xA)B, a teacher of 32 hidden
    units with A_ij ~ N(0, 1/F), B_ij ~ N(0, 1/32). No model's expected squared error is below
    noise².
    """

    name: Literal["synthetic-regression"] = "synthetic-regression"
    """The dataset's name."""

    rows: int = Field(2000, ge=2)
    """Rows in all, training and validation together."""

    features: int = Field(20, ge=1)
    """Numbers a row (F)."""

    targets: int = Field(1, ge=1)
    """Numbers to predict (K)."""

    nonlinear: bool = False
    """The teacher is a tanh network instead of a linear map."""

    noise: float = Field(0.1, ge=0, allow_inf_nan=False)
    """Standard deviation of the noise on every target."""

    val_fraction: ValFraction = 0.2
    """The share of the rows that validation takes."""

    data_seed: int = Field(0, ge=0)
    """Which draw; the run's own seed does not change the data."""

    @model_validator(mode="after")
    def _splits(self) -> SyntheticRegression:
        split_sizes(self.rows, self.val_fraction)
        return self

    def facts(self, folder: Path) -> DataFacts:
        """The rows as the declaration splits them."""
        train, val = split_sizes(self.rows, self.val_fraction)
        return DataFacts(train, val, "regression", (self.features,), self.targets)
