"""What is summed up between two rows of the epochs' table."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lrrun.records import EpochRecord, StepRecord

_STATE = ("loss", "samples", "norm", "norms", "lr")


@dataclass
class Tally:
    """Sums over the updates since the last row; all but the clock is part of a run's state."""

    loss: float = 0.0
    samples: int = 0
    norm: float = 0.0
    norms: int = 0
    lr: tuple[float, ...] = ()
    training_seconds: float = 0.0
    restored: int = 0
    """Of `samples`, those that were summed up before the run went on here, in seconds unknown."""
    begun: float = field(default_factory=time.perf_counter)

    def add(self, row: StepRecord, samples: int) -> None:
        """Take one update of `samples` rows."""
        self.loss += row.loss * samples
        self.samples += samples
        self.lr = row.lr
        if row.grad_norm is not None:
            self.norm += row.grad_norm
            self.norms += 1

    def record(
        self, epoch: int, step: int, samples: int, metrics: Mapping[str, float]
    ) -> EpochRecord:
        """The row of this moment: `epoch` from 1, `step` updates and `samples` rows done."""
        return EpochRecord(
            epoch=epoch,
            step=step,
            samples=samples,
            lr=self.lr,
            train_loss=self.loss / self.samples if self.samples else math.nan,
            metrics=metrics,
            grad_norm=self.norm / self.norms if self.norms else None,
            seconds=time.perf_counter() - self.begun,
            samples_per_second=self.samples_per_second,
        )

    @property
    def samples_per_second(self) -> float:
        """The training speed since the last row, or since the run went on; 0 where nothing ran."""
        seconds = self.training_seconds
        return (self.samples - self.restored) / seconds if seconds > 0 else 0.0

    def state(self) -> dict[str, Any]:
        """The sums, as plain data."""
        return {name: getattr(self, name) for name in _STATE}

    @classmethod
    def of(cls, state: Mapping[str, Any]) -> Tally:
        """A tally that goes on from what `state()` gave."""
        return cls(**{name: state[name] for name in _STATE}, restored=state["samples"])
