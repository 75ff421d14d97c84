"""A run in a few numbers: what its tables say about the best and the last evaluation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lrrun.records import higher_is_better
from lrrun.runlog.table import Floats

NOT_METRICS = frozenset({"epoch", "step", "samples", "lr", "grad_norm"})


@dataclass(frozen=True)
class Best:
    """The best value of a metric, where it was reached, and the LR (one per group) used there."""

    value: float
    epoch: int
    step: int
    lr: tuple[float, ...]


@dataclass(frozen=True)
class Summary:
    """A run in a few numbers.

    `best` holds every metric that had a finite value, `train_loss` included; `last` the last value
    of every metric that was not nan. `epochs` counts the epochs that have a row, `steps` the
    updates done, `samples` the training samples seen, `seconds` the wall-clock time of the rows.
    """

    best: Mapping[str, Best] = field(default_factory=dict)
    last: Mapping[str, float] = field(default_factory=dict)
    epochs: int = 0
    steps: int = 0
    samples: int = 0
    seconds: float = 0.0

    @property
    def metric(self) -> str | None:
        """The metric to judge the run by: val_loss, else the first other one, else train_loss."""
        names = [name for name in self.best if name != "train_loss"] + list(self.best)
        return "val_loss" if "val_loss" in self.best else names[0] if names else None

    @classmethod
    def from_info(cls, info: Mapping[str, Any]) -> Summary:
        """Read back what `dataclasses.asdict` gave and JSON kept; raises ValueError otherwise."""
        try:
            best = {
                str(name): Best(
                    float(each["value"]),
                    int(each["epoch"]),
                    int(each["step"]),
                    tuple(float(lr) for lr in each["lr"]),
                )
                for name, each in info["best"].items()
            }
            last = {str(name): _number(value) for name, value in info["last"].items()}
            epochs, steps, samples = (int(info[name]) for name in ("epochs", "steps", "samples"))
            return cls(best, last, epochs, steps, samples, _number(info["seconds"]))
        except (KeyError, TypeError, AttributeError, OverflowError) as error:
            raise ValueError(f"not a summary: {error!r}") from error


def _number(value: Any) -> float:
    return float("nan") if value is None else float(value)


def lr_columns(table: Mapping[str, Floats]) -> list[str]:
    """The names of the columns that hold learning rates, one per param group."""
    return [name for name in table if name == "lr" or name.startswith("lr/")]


def summarize(epochs: Mapping[str, Floats], timing: Mapping[str, Floats]) -> Summary:
    """Reduce the columns of epochs.csv and timing.csv to a Summary."""
    if not epochs["step"].size:
        return Summary()
    groups = lr_columns(epochs)
    best, last = {}, {}
    for name, values in epochs.items():
        if name in NOT_METRICS or name in groups:
            continue
        finite = np.flatnonzero(np.isfinite(values))
        if finite.size:
            pick = np.argmax if higher_is_better(name) else np.argmin
            row = int(finite[pick(values[finite])])
            best[name] = Best(
                value=float(values[row]),
                epoch=int(epochs["epoch"][row]),
                step=int(epochs["step"][row]),
                lr=tuple(float(epochs[group][row]) for group in groups),
            )
        known = np.flatnonzero(~np.isnan(values))
        if known.size:
            last[name] = float(values[known[-1]])
    return Summary(
        best=best,
        last=last,
        epochs=int(epochs["epoch"][-1]),
        steps=int(epochs["step"][-1]),
        samples=int(epochs["samples"][-1]),
        seconds=float(np.nansum(timing["seconds"])),
    )
