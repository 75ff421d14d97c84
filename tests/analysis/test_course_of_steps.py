"""steps.csv in blocks, against the same steps whole."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrrun.analysis.course import follow
from lrrun.analysis.curves import Thinning

NAN, INF = float("nan"), float("inf")


def blocks(columns: dict[str, np.ndarray], rows: int):
    size = len(columns["step"])
    for start in range(0, max(size, 1), rows):
        yield {name: values[start : start + rows] for name, values in columns.items()}


@given(
    st.lists(st.floats(-1e6, 1e6) | st.sampled_from([NAN, INF]), max_size=200),
    st.integers(1, 60),
    st.sampled_from([2, 8, 64]),
)
def test_a_thinned_curve_keeps_its_ends_its_lows_and_its_highs(values, rows, buckets) -> None:
    y = np.array(values)
    steps = np.arange(float(y.size))
    thinning = Thinning(buckets)
    for block in blocks({"step": steps, "y": y}, rows):
        thinning.add(block["step"], block["y"])
    x, drawn = thinning.line()
    assert x.size == drawn.size <= 2 * (buckets + 1)
    finite = np.where(np.isfinite(y), y, NAN)
    if thinning.size == 1:
        np.testing.assert_array_equal(drawn, finite)
        np.testing.assert_array_equal(x, steps)
        return
    np.testing.assert_array_equal(x[[0, -1]], steps[[0, -1]])
    for start, low, high in zip(x[::2], drawn[::2], drawn[1::2], strict=True):
        bucket = finite[int(start) : int(start) + thinning.size]
        known = bucket[~np.isnan(bucket)]
        assert (low, high) == (known.min(), known.max()) if known.size else np.isnan([low, high])[0]


def test_memory_does_not_grow_with_the_curve() -> None:
    thinning, most = Thinning(16), 0
    for start in range(0, 50_000, 1000):
        x = np.arange(start, start + 1000.0)
        thinning.add(x, np.sin(x))
        most = max(most, thinning.line()[0].size)
    assert most <= 2 * (16 + 1)
    assert thinning.size * 16 >= 50_000 / 2


def test_buckets_come_in_pairs() -> None:
    with pytest.raises(ValueError, match="even number of buckets, got 7"):
        Thinning(7)


@pytest.mark.parametrize("rows", [1, 3, 1000])
def test_a_course_is_that_of_the_whole_table(rows: int) -> None:
    steps = {
        "step": np.arange(100.0),
        "lr/body": np.linspace(0.5, 0.1, 100),
        "lr/head": np.full(100, 7.0),
        "loss": np.geomspace(4.0, 1.0, 100),
    }
    course = follow(blocks(steps, rows))
    assert (course.rows, course.first, course.last) == (100, 0, 99)
    assert course.lr_sum(100) == pytest.approx(30.0)
    assert course.peak_lr == 0.5
    np.testing.assert_array_equal(course.lr[1], steps["lr/body"])
    np.testing.assert_array_equal(course.loss, [steps["step"], steps["loss"]])


def test_lr_sum_only_of_whole_logs() -> None:
    whole = {"step": np.arange(4.0), "lr": np.full(4, 0.25)}
    assert follow([whole]).lr_sum(4) == 1.0
    assert follow([whole]).lr_sum(5) is None
    gaps = {"step": np.arange(0.0, 8, 2), "lr": np.ones(4)}
    assert follow([gaps]).lr_sum(4) is None
    nothing = follow([{"step": np.empty(0)}])
    assert (nothing.rows, nothing.lr_sum(0), nothing.lr[0].size) == (0, None, 0)
    assert follow([{"step": np.arange(2.0)}]).lr_sum(2) is None
