from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrrun.analysis.curves import ceiling, reduce_curve, spans_decades

VALUES = st.lists(st.floats(-1e6, 1e6) | st.just(float("nan")), min_size=1, max_size=60)


@given(VALUES, st.integers(1, 70))
def test_nothing_that_stands_out_is_lost(values: list[float], buckets: int) -> None:
    y = np.array(values)
    envelope = reduce_curve(np.arange(float(y.size)), y, buckets)
    assert len(envelope.x) == min(buckets, y.size)
    assert np.all(np.diff(envelope.x) > 0)
    if np.isfinite(y).any():
        assert np.nanmax(envelope.high) == np.nanmax(y)
        assert np.nanmin(envelope.low) == np.nanmin(y)
    finite = np.isfinite(envelope.mean)
    slack = 1e-9 * np.abs(y[np.isfinite(y)]).max(initial=1.0)
    assert np.all(envelope.low[finite] <= envelope.mean[finite] + slack)
    assert np.all(envelope.mean[finite] <= envelope.high[finite] + slack)


def test_one_bucket_a_point_is_the_curve_itself() -> None:
    y = np.array([1.0, np.nan, 3.0, np.inf])
    envelope = reduce_curve(np.arange(4.0), y, 10)
    for part in (envelope.low, envelope.mean, envelope.high):
        np.testing.assert_array_equal(part, [1.0, np.nan, 3.0, np.nan])


def test_buckets_by_hand() -> None:
    envelope = reduce_curve(np.arange(5.0), np.array([4.0, 2.0, 9.0, 1.0, 5.0]), 2)
    assert envelope.x.tolist() == [0.5, 3.0]
    assert envelope.low.tolist() == [2.0, 1.0]
    assert envelope.mean.tolist() == [3.0, 5.0]
    assert envelope.high.tolist() == [4.0, 9.0]


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="1 bucket"):
        reduce_curve(np.arange(2.0), np.arange(2.0), 0)
    with pytest.raises(ValueError, match="got 2 and 3"):
        reduce_curve(np.arange(2.0), np.arange(3.0), 1)
    assert reduce_curve(np.empty(0), np.empty(0), 3).x.size == 0


def test_the_ceiling_cuts_only_a_blow_up() -> None:
    calm, wild = np.array([2.3, 1.0, 0.1]), np.array([2.5, 1e9, np.inf])
    assert ceiling([calm]) is None
    assert ceiling([calm, wild]) == pytest.approx(23.0)
    assert ceiling([np.array([np.nan])]) is None


def test_decades() -> None:
    assert spans_decades([np.array([0.1, 1.0])])
    assert not spans_decades([np.array([0.11, 1.0])])
    assert not spans_decades([np.array([0.0, 1.0])])
    assert not spans_decades([np.array([np.nan])])
