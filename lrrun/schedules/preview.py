"""A schedule seen before it is paid for: its values, its key figures, its feedback played out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lrrun.schedules.base import Array, Schedule


class _Whatever(dict[str, float]):
    """The metrics of an imagined evaluation: one value, whichever name is asked for."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = value

    def __missing__(self, key: str) -> float:
        return self.value


@dataclass(frozen=True)
class Preview:
    """A schedule over its whole run; `lr` and `steps` have one entry an update, shape [T]."""

    name: str
    steps: Array
    lr: Array
    momentum: Array | None = None

    @property
    def first(self) -> float:
        """The LR of the first update."""
        return float(self.lr[0])

    @property
    def last(self) -> float:
        """The LR of the last update."""
        return float(self.lr[-1])

    @property
    def peak(self) -> float:
        """The highest LR."""
        return float(self.lr.max())

    @property
    def peak_step(self) -> int:
        """The first step that uses the highest LR."""
        return int(self.lr.argmax())

    @property
    def total(self) -> float:
        """The sum of all LRs: how far the schedule lets the weights go."""
        return float(self.lr.sum())

    @property
    def rising(self) -> float:
        """The share of steps after which the LR rises, 0..1."""
        return self._share(np.diff(self.lr) > 0)

    @property
    def falling(self) -> float:
        """The share of steps after which the LR falls, 0..1."""
        return self._share(np.diff(self.lr) < 0)

    def at(self, step: int) -> float:
        """The LR of one update."""
        return float(self.lr[step])

    def _share(self, moves: np.ndarray) -> float:
        return float(moves.sum() / len(self.lr))


def preview(
    name: str,
    schedule: Schedule,
    total_steps: int,
    evaluate_every: int | None = None,
    metrics: Sequence[float] | None = None,
) -> Preview:
    """The schedule's LR at each of its `total_steps` updates.

    Parts that listen to a metric are played out: an evaluation every `evaluate_every` steps gives
    `metrics` one after another (the last one again where they run out), or, where there are none,
    the same value for ever: what a plateau does when nothing improves.
    """
    if evaluate_every is not None:
        values = list(metrics) if metrics else [1.0]
        for k, step in enumerate(range(evaluate_every, total_steps + 1, evaluate_every)):
            schedule.observe(step, _Whatever(values[min(k, len(values) - 1)]))
    steps = np.arange(total_steps)
    return Preview(name, steps.astype(np.float64), schedule(steps), schedule.momentum(steps))
