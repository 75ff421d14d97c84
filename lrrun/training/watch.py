"""Watching the losses go by: has the run diverged, should it stop early?"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from lrrun.config.train import EarlyStopping


@dataclass
class DivergenceWatch:
    """Says when training has gone wrong: a non-finite loss, or a smoothed loss far above the first.

    The smoothed loss is the bias-corrected moving average m_t / (1 - β^t), with
    m_t = β m_{t-1} + (1-β) loss_t and β = 0.9 (Kingma & Ba 2015, https://arxiv.org/abs/1412.6980,
    correct their moments alike); it has diverged above `factor` times the loss of the first update.
    """

    factor: float
    beta: float = 0.9
    first: float | None = None
    average: float = 0.0
    count: int = 0

    def see(self, loss: float) -> str | None:
        """Take the next update's loss; a reason to stop, or None."""
        if not math.isfinite(loss):
            return f"the loss became {loss}"
        if self.first is None:
            self.first = loss
        self.count += 1
        self.average = self.beta * self.average + (1 - self.beta) * loss
        smoothed = self.average / (1 - self.beta**self.count)
        limit = self.factor * abs(self.first)
        if smoothed > limit and limit > 0:
            return (
                f"the smoothed loss rose to {smoothed:.4g}, over {self.factor:g} times "
                f"the first one ({self.first:.4g})"
            )
        return None


@dataclass
class EarlyStop:
    """Counts evaluations without an improvement of a metric."""

    settings: EarlyStopping
    best: float | None = field(default=None)
    bad: int = 0

    def see(self, value: float) -> str | None:
        """Take the next evaluation; a reason to stop, or None."""
        sign = 1 if self.settings.mode == "min" else -1
        improved = self.best is None or sign * (self.best - value) > self.settings.min_delta
        if improved and not math.isnan(value):
            self.best, self.bad = value, 0
            return None
        self.bad += 1
        if self.bad < self.settings.patience:
            return None
        return f"{self.settings.metric} has not improved for {self.bad} evaluations"
