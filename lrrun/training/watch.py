"""Watching the losses go by: has the run diverged, should it stop early?"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from lrrun.config.train import EarlyStopping

BETA = 0.9
"""Weight of the past in the smoothed loss."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why an update should not be made; `of_batch` where leaving out its batch may be the cure."""

    reason: str
    of_batch: bool


@dataclass
class DivergenceWatch:
    """Says when training has gone wrong, before the update that would make it worse.

    A loss is trouble when it is not finite; when it is above `spike` times the smoothed loss of the
    updates before it (if `spike` is given); and when it lifts the smoothed loss above `factor`
    times the loss of the first update. The smoothed loss is the bias-corrected moving average
    m_t / (1 - β^t), with m_t = β m_{t-1} + (1-β) loss_t (Kingma & Ba 2015,
    https://arxiv.org/abs/1412.6980, correct their moments alike).
    """

    factor: float
    spike: float | None = None
    first: float | None = None
    average: float = 0.0
    count: int = 0

    @property
    def smoothed(self) -> float:
        """The smoothed loss; nan before the first update."""
        return self.average / (1 - BETA**self.count) if self.count else math.nan

    @property
    def limit(self) -> float:
        """Above this the next loss is a spike."""
        if self.spike is None or self.smoothed != self.smoothed or self.smoothed <= 0:
            return math.inf
        return self.spike * self.smoothed

    def see(self, loss: float, limit: float | None = None) -> Trouble | None:
        """Take the next update's loss; what is wrong with it, or None.

        `limit` takes the place of the one of this moment. A loss that is not finite or a spike
        leaves the smoothed loss as it was.
        """
        if not math.isfinite(loss):
            return Trouble(f"the loss became {loss}", of_batch=True)
        limit = self.limit if limit is None else limit
        if loss > limit:
            text = f"the loss jumped to {loss:.4g}, over {self.spike:g} times its smoothed value"
            return Trouble(f"{text} ({self.smoothed:.4g})", of_batch=True)
        if self.first is None:
            self.first = loss
        self.count += 1
        self.average = BETA * self.average + (1 - BETA) * loss
        highest = self.factor * abs(self.first)
        if self.smoothed > highest > 0:
            text = f"the smoothed loss rose to {self.smoothed:.4g}, over {self.factor:g} times"
            return Trouble(f"{text} the first one ({self.first:.4g})", of_batch=False)
        return None


@dataclass
class EarlyStop:
    """Counts evaluations without an improvement of a metric."""

    settings: EarlyStopping
    best: float | None = field(default=None)
    bad: int = 0

    @property
    def reason(self) -> str | None:
        """Why the run should end now, or None."""
        if self.bad < self.settings.patience:
            return None
        return f"{self.settings.metric} has not improved for {self.bad} evaluations"

    def see(self, value: float) -> None:
        """Take the next evaluation."""
        sign = 1 if self.settings.mode == "min" else -1
        improved = self.best is None or sign * (self.best - value) > self.settings.min_delta
        if improved and not math.isnan(value):
            self.best, self.bad = value, 0
        else:
            self.bad += 1
