"""Which rows each update takes: an epoch is a partition, whatever the sizes."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lrrun.batches import Batches, EvenBatches, RampedBatches


def covered(batches: Batches, steps: int) -> list[tuple[int, int, int]]:
    return [batches.at(step) for step in range(steps)]


@given(st.integers(1, 50), st.integers(1, 60), st.integers(1, 4))
def test_even_updates_partition_every_epoch(rows: int, size: int, epochs: int) -> None:
    even = EvenBatches(rows, size)
    steps = covered(even, epochs * even.steps_per_epoch)
    seen = [(epoch, row) for epoch, begin, n in steps for row in range(begin, begin + n)]
    assert seen == [(epoch, row) for epoch in range(epochs) for row in range(rows)]
    assert all(1 <= n <= size for _, _, n in steps)


@given(st.integers(1, 40), st.lists(st.integers(1, 40), min_size=1, max_size=8), st.integers(1, 99))
def test_ramped_updates_partition_every_epoch(rows: int, sizes: list[int], total: int) -> None:
    ramp = RampedBatches.plan(
        rows, lambda seen: min(rows, sizes[min(seen // 7, len(sizes) - 1)]), total_rows=total
    )
    steps = covered(ramp, len(ramp.counts))
    seen = [(epoch, row) for epoch, begin, n in steps for row in range(begin, begin + n)]
    assert seen == [(k // rows, k % rows) for k in range(len(seen))]
    assert total <= len(seen) < total + rows
    assert ramp.rows_before.tolist() == [0, *np.cumsum(ramp.counts).tolist()]


@given(st.integers(1, 30), st.integers(1, 30), st.integers(1, 60))
def test_a_ramp_of_one_size_is_even(rows: int, size: int, steps: int) -> None:
    even = EvenBatches(rows, size)
    ramp = RampedBatches.plan(rows, lambda seen: size, total_steps=steps)
    assert covered(even, steps) == covered(ramp, steps)
    inside = [k for k in range(steps) if even.epoch_end(k) <= steps]
    assert [even.epoch_end(k) for k in inside] == [ramp.epoch_end(k) for k in inside]
