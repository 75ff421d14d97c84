"""Reading a range test: against closed forms, brute force, and curves whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from lrrun.analysis.lr_rules import (
    BETA,
    RULES,
    RangeCurve,
    answers,
    disagreement,
    hopeless,
    smooth,
    steepest,
    valley,
)


def basin(steps: int, noise: float = 0.0, seed: int = 0) -> RangeCurve:
    """A loss that falls from 2 to 1 around an LR of 1e-3, and rises as lr² once near 1."""
    lr = np.geomspace(1e-7, 10, steps)
    loss = 2 - 1 / (1 + (lr / 1e-3) ** -2) + lr**2
    loss = loss + noise * np.random.default_rng(seed).normal(size=steps)
    kept = loss < 6
    return RangeCurve.of(lr[kept], loss[kept], bool((~kept).any()))


def test_the_smoothed_loss_is_the_weighted_mean_of_all_before() -> None:
    loss = np.random.default_rng(1).normal(3, 1, size=40)
    for t in (1, 2, 17, 40):
        weights = BETA ** np.arange(t)[::-1]
        assert smooth(loss)[t - 1] == pytest.approx(np.average(loss[:t], weights=weights))


def test_rules_find_what_they_look_for_on_a_curve_that_is_known() -> None:
    curve = basin(20_000)  # so many updates that smoothing does not lag behind
    found = answers(curve)
    assert set(found) == set(RULES)
    # the slope of 1/(1 + u^-2) over ln u is steepest at u = 1; the bottom is at lr² = (1e-3/lr)²
    assert found["steepest"] == pytest.approx(1e-3, rel=0.02)
    assert found["minimum"] == pytest.approx(1e-3**0.5, rel=0.05)
    assert found["minimum/10"] == pytest.approx(found["minimum"] / 10)
    assert found["edge"] == pytest.approx(1.0, rel=0.05)  # where lr² has made good the fall of 1


def test_the_steepest_slope_is_taken_over_log_lr() -> None:
    """Over LR itself, noise at tiny LRs, which are dense, has the steepest slopes of all."""
    curve = basin(200, noise=0.02)
    linear = curve.lr[np.argmin(np.gradient(curve.smoothed, curve.lr))]
    assert linear < 1e-5
    assert 2e-4 < curve.lr[steepest(curve)] < 2e-2


@pytest.mark.parametrize("seed", range(5))
def test_the_valley_is_the_longest_falling_subsequence(seed: int) -> None:
    loss = np.random.default_rng(seed).normal(size=60).cumsum()
    longest = [1] * len(loss)
    for i in range(len(loss)):
        for j in range(i):
            if loss[i] < loss[j]:
                longest[i] = max(longest[i], longest[j] + 1)
    length = max(longest)
    start = max(0, longest.index(length) - length)
    assert valley(loss) == start + length // 3 + length // 6


def test_a_test_that_was_cut_short_ends_at_its_edge() -> None:
    lr = np.geomspace(1e-5, 1, 100)
    falling = np.linspace(2, 1, 100)
    assert "edge" not in answers(RangeCurve.of(lr, falling, diverged=False))
    assert answers(RangeCurve.of(lr, falling, diverged=True))["edge"] == pytest.approx(1.0)


def test_what_follows_a_loss_that_is_not_finite_is_left_out() -> None:
    loss = np.linspace(2, 1, 100)
    loss[60] = np.nan
    curve = RangeCurve.of(np.geomspace(1e-5, 1, 100), loss, diverged=False)
    assert len(curve.lr) == 60
    assert curve.diverged


def test_flat_curves_are_refused_and_good_ones_are_not() -> None:
    lr = np.geomspace(1e-7, 10, 150)
    for seed in range(20):
        noise = np.random.default_rng(seed).normal(2.3, 0.1, size=150)
        assert "never fell" in (hopeless(RangeCurve.of(lr, noise, diverged=False)) or "")
        assert hopeless(basin(150, noise=0.1, seed=seed)) is None
    rising = 2 + np.linspace(0, 3, 150) ** 2
    assert "never fell" in (hopeless(RangeCurve.of(lr, rising, diverged=True)) or "")
    lost = RangeCurve.of(lr[:4], np.array([2.0, 2.0, 9.0, 99.0]), diverged=True)
    assert "after 4 updates" in (hopeless(lost) or "")


def test_disagreement_is_the_largest_suggestion_over_the_smallest() -> None:
    found = {"steepest": 0.3, "valley": 0.01, "minimum/10": 0.05, "minimum": 0.5, "edge": 9.0}
    assert disagreement(found) == pytest.approx(50)
