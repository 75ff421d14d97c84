"""Curves made small enough to draw, without losing what a person looks for in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_FACTOR = 10.0


@dataclass(frozen=True)
class Envelope:
    """A curve in buckets of neighbouring points, shape (buckets,) each.

    `x` is the mean of the bucket's x; `low`, `mean` and `high` are of its finite values, nan where
    it has none, so that a spike stays as high as it was and a gap stays a gap.
    """

    x: Floats
    low: Floats
    mean: Floats
    high: Floats


def reduce_curve(x: Floats, y: Floats, buckets: int) -> Envelope:
    """Reduce a curve of n points to at most `buckets`, each of n/buckets neighbouring points.

    >>> import numpy as np
    >>> envelope = reduce_curve(np.arange(6.0), np.array([1, 9, 2, 2, np.nan, np.nan]), 3)
    >>> envelope.high.tolist(), envelope.mean.tolist()
    ([9.0, 2.0, nan], [5.0, 2.0, nan])
    """
    if buckets < 1:
        raise ValueError(f"expected at least 1 bucket, got {buckets}")
    if len(x) != len(y):
        raise ValueError(f"expected as many x as y, got {len(x)} and {len(y)}")
    if not len(x):
        return Envelope(*(np.empty(0) for _ in range(4)))
    starts = np.unique(np.arange(min(buckets, len(x))) * len(x) // min(buckets, len(x)))
    sizes = np.diff(starts, append=len(x))
    finite = np.isfinite(y)
    count = np.add.reduceat(finite.astype(float), starts)
    some = np.where(count > 0, 1.0, np.nan)
    return Envelope(
        x=np.add.reduceat(x, starts) / sizes,
        low=np.minimum.reduceat(np.where(finite, y, np.inf), starts) * some,
        mean=np.add.reduceat(np.where(finite, y, 0.0), starts) / np.maximum(count, 1) * some,
        high=np.maximum.reduceat(np.where(finite, y, -np.inf), starts) * some,
    )


class Thinning:
    """A curve that comes block by block, of any length, in a bounded number of buckets.

    A bucket holds `size` neighbouring points, by where they begin and end and their lowest and
    highest finite values. Where `buckets` (even) are full, each two neighbours become one, and
    `size` doubles: memory does not grow with the curve, and no spike is lost.
    """

    def __init__(self, buckets: int = 8192) -> None:
        if buckets < 2 or buckets % 2:
            raise ValueError(f"expected an even number of buckets, got {buckets}")
        self.size = 1
        self._most = buckets
        self._full = np.empty((4, 0))  # first x, last x, low, high of each bucket
        self._rest = np.empty((2, 0))  # x, y of fewer points than a bucket takes

    def add(self, x: Floats, y: Floats) -> None:
        """Take the next points, x and y of shape (n,)."""
        points = np.concatenate([self._rest, np.stack([x, np.where(np.isfinite(y), y, np.nan)])], 1)
        while take := min(points.shape[1] // self.size, self._most - self._full.shape[1]):
            now, points = np.split(points, [take * self.size], axis=1)
            self._full = np.concatenate([self._full, _buckets(now, take)], axis=1)
            if self._full.shape[1] == self._most:
                first, _, low, high = self._full[:, ::2]
                _, last, other_low, other_high = self._full[:, 1::2]
                self._full = np.stack(
                    [first, last, np.fmin(low, other_low), np.fmax(high, other_high)]
                )
                self.size *= 2
        self._rest = points

    def line(self) -> tuple[Floats, Floats]:
        """(x, y) to draw: the points as they came, or a zigzag between lows and highs of buckets.

        >>> thinning = Thinning(4)
        >>> thinning.add(np.arange(5.0), np.array([1.0, 9, 2, 3, 4]))
        >>> [values.tolist() for values in thinning.line()]
        [[0.0, 1.0, 2.0, 3.0, 4.0, 4.0], [1.0, 9.0, 2.0, 3.0, 4.0, 4.0]]
        """
        last = [_buckets(self._rest, 1)] if self._rest.size else []
        first_x, last_x, low, high = np.concatenate([self._full, *last], axis=1)
        if self.size == 1:
            return first_x, low
        return np.stack([first_x, last_x], 1).ravel(), np.stack([low, high], 1).ravel()


def _buckets(points: Floats, count: int) -> Floats:
    """First x, last x, low and high, shape (4, count), of points (2, n) in equal buckets."""
    x, y = points.reshape(2, count, -1)
    return np.stack([x[:, 0], x[:, -1], np.fmin.reduce(y, axis=1), np.fmax.reduce(y, axis=1)])


def ceiling(curves: Sequence[Floats], begun: Sequence[Floats] | None = None) -> float | None:
    """A height above which loss curves say only that a run blew up; None where all stay below it.

    It is 10 times the lowest first value of those that `begun` untrained (None: all): more than
    what a model loses that knows nothing.

    >>> ceiling([np.array([2.0, 1.0]), np.array([0.1, 50.0])], [np.array([2.0, 1.0])])
    20.0
    """
    begun = curves if begun is None else begun
    first = [float(y[np.isfinite(y)][0]) for y in begun if np.isfinite(y).any()]
    top = max((float(y[np.isfinite(y)].max()) for y in curves if np.isfinite(y).any()), default=0.0)
    limit = _FACTOR * min(first, default=0.0)
    return limit if 0 < limit < top else None


def spans_decades(curves: Sequence[Floats], decades: float = 1.0) -> bool:
    """True where the curves are positive and reach over `decades` powers of ten: use a log axis."""
    finite = [y[np.isfinite(y)] for y in curves if np.isfinite(y).any()]
    if not finite:
        return False
    low, high = min(float(y.min()) for y in finite), max(float(y.max()) for y in finite)
    return low > 0 and high / low >= 10.0**decades
