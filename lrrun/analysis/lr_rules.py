"""What a learning-rate range test says: its curve smoothed, the rules that read an LR off it.

In a range test the LR rises from update to update; the loss of update t was measured before that
update, so it answers to all LRs up to t-1. Shapes: every array here is [T], one value an update.
Source: Smith, Cyclical learning rates, 2017, §3.3, https://arxiv.org/abs/1506.01186.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

BETA = 0.9
"""Weight of the past in the smoothed loss."""

HEAD = 0.1
"""The share of a range test whose LRs are taken to change nothing: where the loss begins."""

DROP = 3.0
"""A loss may have fallen where it is so many standard deviations of its smoothed noise lower."""

CLEAR_DROP = 6.0
"""And has, where it is so many lower: of losses that only scatter, one in two hundred is."""

LEAST_DROP = 0.01
"""And by this share of what it began with."""


def smooth(loss: Floats, beta: float = BETA) -> Floats:
    """The bias-corrected moving average m_t / (1 - β^t), m_t = β·m_{t-1} + (1-β)·loss_t, m_0 = 0.

    The correction makes the first value the first loss (Kingma & Ba, Adam, 2015, §3,
    https://arxiv.org/abs/1412.6980).

    >>> smooth(np.array([2.0, 2.0, 1.0])).round(3).tolist()
    [2.0, 2.0, 1.631]
    """
    average, values = 0.0, np.empty(len(loss))
    for t, each in enumerate(loss.tolist(), start=1):
        average = beta * average + (1 - beta) * each
        values[t - 1] = average / (1 - beta**t)
    return values


@dataclass(frozen=True)
class RangeCurve:
    """The losses of a range test over its rising LRs, up to the last one that was finite.

    `diverged` says that the test ended early, because the loss had gone.
    """

    lr: Floats
    loss: Floats
    smoothed: Floats
    diverged: bool

    @classmethod
    def of(cls, lr: Floats, loss: Floats, diverged: bool) -> RangeCurve:
        """The curve of a test; what follows the first loss that is not finite is left out."""
        lost = ~np.isfinite(loss)
        end = int(np.argmax(lost)) if lost.any() else len(loss)
        return cls(lr[:end], loss[:end], smooth(loss[:end]), diverged or bool(lost.any()))

    @property
    def lowest(self) -> int:
        """Where the smoothed loss is lowest, past the head, in which it is hardly smoothed yet."""
        head = len(self.head)
        return head + int(np.argmin(self.smoothed[head:]))

    @property
    def begins_at(self) -> float:
        """The loss that the test begins with: the mean over its head."""
        return float(self.head.mean())

    @property
    def noise(self) -> float:
        """The standard deviation of the smoothed loss: √((1-β)/(1+β)) of one loss's, σ.

        σ is the median step between neighbours, up to the lowest loss, over √2 · 0.6745, which is
        what it is of a normal distribution: a slow fall hardly changes it.
        """
        step = np.median(np.abs(np.diff(self.loss[: self.lowest + 1])))
        return float(step / (2**0.5 * 0.6745) * ((1 - BETA) / (1 + BETA)) ** 0.5)

    @property
    def head(self) -> Floats:
        """The losses at LRs that change nothing yet."""
        return self.loss[: max(3, round(HEAD * len(self.loss)))]


RULES: Mapping[str, str] = {
    "steepest": "where the loss falls fastest per decade of LR",
    "valley": "the middle of the longest fall",
    "minimum/10": "a tenth of the LR with the lowest loss",
    "minimum": "the LR with the lowest loss",
    "edge": "where the loss is back at what it began with",
}
"""The rules that lrrun reads a range test by, and what each looks for."""


def answers(curve: RangeCurve) -> dict[str, float]:
    """The LR that each of RULES reads off the curve.

    There is no `edge` where the loss never came back up and the test was not cut short.
    """
    lowest = float(curve.lr[curve.lowest])
    found = {
        "steepest": float(curve.lr[steepest(curve)]),
        "valley": float(curve.lr[valley(curve.smoothed)]),
        "minimum/10": lowest / 10,
        "minimum": lowest,
    }
    edge = divergence_edge(curve)
    return found if edge is None else {**found, "edge": float(curve.lr[edge])}


def disagreement(found: Mapping[str, float]) -> float:
    """The largest of the rules' LRs over the smallest; the edge, which none should train at, apart.

    >>> disagreement({"steepest": 0.1, "minimum/10": 0.05, "minimum": 0.5, "edge": 3.0})
    10.0
    """
    suggested = [lr for rule, lr in found.items() if rule != "edge"]
    return max(suggested) / min(suggested)


def steepest(curve: RangeCurve) -> int:
    """Where the smoothed loss falls fastest in ln LR, past the head and before it is lowest.

    The slope is taken over the logarithm, in which the LRs of an exponential test are even.
    """
    head, end = len(curve.head), curve.lowest + 1
    if end - head < 2:
        return curve.lowest
    slope = np.gradient(curve.smoothed[head:end], np.log(curve.lr[head:end]))
    return head + int(np.argmin(slope))


def valley(loss: Floats) -> int:
    """The middle of the longest fall: of the stretch that the longest falling subsequence fills.

    If that subsequence has L values and ends at e, the stretch is e-L … e, and the middle is a
    third and a sixth of L behind its start. Source: fastai, `valley` (Novetta, 2021).

    >>> valley(np.array([5.0, 5.0, 4.0, 3.0, 2.0, 1.0, 0.5, 9.0]))
    3
    """
    tails: list[float] = []  # tails[k]: the least negated loss that ends a fall of k+1 values
    length, end = 0, 0
    for index, value in enumerate(loss.tolist()):
        at = bisect_left(tails, -value)
        tails[at : at + 1] = [-value]
        if at + 1 > length:
            length, end = at + 1, index
    return max(0, end - length) + length // 3 + length // 6


def divergence_edge(curve: RangeCurve) -> int | None:
    """The first update past the lowest loss at which the smoothed loss is back where it began.

    The last update where the test was cut short before that; None where neither happened.
    """
    past = curve.smoothed[curve.lowest :] >= curve.begins_at
    if past.any():
        return curve.lowest + int(np.argmax(past))
    return len(curve.lr) - 1 if curve.diverged else None


def hopeless(curve: RangeCurve, drop: float = CLEAR_DROP) -> str | None:
    """Why no learning rate can be read off the curve, or None; `drop` says how clear it must be.

    >>> lr = np.geomspace(1e-7, 10, 100)
    >>> hopeless(RangeCurve.of(lr, np.tile([1.0, 1.1], 50), diverged=False))
    'the loss never fell: it began at 1.05 and was 1.045 at its lowest'
    """
    if len(curve.loss) < 10:
        return f"the loss was lost after {len(curve.loss)} updates, at an LR that should do nothing"
    begins, lowest = curve.begins_at, float(curve.smoothed[curve.lowest])
    if begins - lowest < max(drop * curve.noise, LEAST_DROP * abs(begins)):
        return f"the loss never fell: it began at {begins:.4g} and was {lowest:.4g} at its lowest"
    return None
