"""Differences of means against scipy's, and the seeds that a difference needs."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from lrrun.analysis.mean_difference import each_pair, mean_difference
from lrrun.analysis.seed_band import seed_band
from lrrun.analysis.student import t_quantile

STUDENT = (
    [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0],
    [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4],
)
"""Hours of sleep gained by ten patients on two drugs (Student, Biometrika 6, 1908, p. 20)."""


def by_seed(values, first: int = 0) -> dict:
    return dict(enumerate(values, start=first))


def test_students_sleep_paired() -> None:
    """The mean difference is 1.58, its 95% interval 0.70 to 2.46 (t = 4.06)."""
    found = mean_difference(by_seed(STUDENT[1]), by_seed(STUDENT[0]))
    assert found.kind == "paired" and found.is_told
    assert (round(found.low, 4), round(found.high, 4)) == (0.7001, 2.4599)


def test_students_sleep_unpaired() -> None:
    """R's t.test(extra ~ group, data = sleep): df 17.776, -0.2055 to 3.3655."""
    found = mean_difference(by_seed(STUDENT[1]), by_seed(STUDENT[0], 10))
    assert found.kind == "welch" and not found.is_told
    assert (round(found.low, 4), round(found.high, 4)) == (-0.2055, 3.3655)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("confidence", [0.6, 0.95, 0.9999])
def test_intervals_are_scipys(seed: int, confidence: float) -> None:
    random = np.random.default_rng(seed)
    n, m = random.integers(2, 9, 2)
    a, b = random.normal(0, 1, n), random.normal(0.5, 3, m)
    if seed % 2:
        b = np.resize(b, n)
        found = mean_difference(by_seed(a), by_seed(b), confidence)
        expected = stats.ttest_rel(a, b).confidence_interval(confidence)
    else:
        found = mean_difference(by_seed(a), by_seed(b, 100), confidence)
        expected = stats.ttest_ind(a, b, equal_var=False).confidence_interval(confidence)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


def test_one_seed_is_taken_to_spread_as_the_others_do() -> None:
    many = [0.3, 0.5, 0.1, 0.7]
    found = mean_difference({9: 1.0}, by_seed(many))
    expected = stats.ttest_ind([1.0], many).confidence_interval()  # pooled variance, 3 degrees
    assert found.kind == "pooled"
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    turned = mean_difference(by_seed(many), {9: 1.0})
    assert (turned.low, turned.high) == pytest.approx((-found.high, -found.low))


def test_one_seed_each_has_no_interval() -> None:
    found = mean_difference({0: 0.2}, {0: 0.5})
    assert (found.kind, found.half_width, found.is_told) == ("single", None, False)
    assert found.low == found.high == found.value == pytest.approx(-0.3)


def test_equal_values_differ_by_nothing_at_all() -> None:
    values = by_seed([0.1, 0.2, 0.7])
    found = mean_difference(values, values)
    assert (found.value, found.half_width, found.is_told) == (0.0, 0.0, False)
    assert found.seeds_needed() is None
    same = mean_difference(by_seed([0.1] * 7), by_seed([0.1] * 7, 7))
    assert (same.value, same.half_width) == (0.0, 0.0)


@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize("gap", [0.4, 0.9, 2.0])
def test_the_seeds_needed_have_the_power(paired: bool, gap: float) -> None:
    """With the exact power of the noncentral t: 0.8 at that number, and less with two fewer."""
    a = np.array([1.0, -1.0, 0.5, -0.5]) / math.sqrt(2.5 / 3)  # standard deviation 1
    b = np.full(4, -gap) if paired else -a - gap
    found = mean_difference(by_seed(a), by_seed(b, 0 if paired else 4))
    seeds = found.seeds_needed()
    assert seeds is not None

    def power(n: int) -> float:
        freedom = n - 1 if paired else 2 * (n - 1)
        shift = gap / math.sqrt((1 if paired else 2) / n)
        limit = stats.t.ppf(0.975, freedom)
        return stats.nct.sf(limit, freedom, shift) + stats.nct.cdf(-limit, freedom, shift)

    def suffices(n: int) -> bool:
        t = stats.t(n - 1 if paired else 2 * (n - 1))
        return n >= (1 if paired else 2) * ((t.ppf(0.975) + t.ppf(0.8)) / gap) ** 2

    assert seeds == next(n for n in range(2, 1000) if suffices(n))
    assert power(seeds) >= 0.79 and (seeds <= 3 or power(seeds - 2) < 0.8)


def test_more_seeds_than_are_worth_asking_for() -> None:
    assert mean_difference({0: 1.0, 1: -1.0}, {0: -1e-4, 1: -1e-4}).seeds_needed() is None


@pytest.mark.parametrize("freedom", [1.0003, 1.5, 2.7, 9.01, 77.7, 1234.5])
@pytest.mark.parametrize("confidence", [0.6, 0.95, 0.999999])
def test_quantiles_between_whole_degrees_are_scipys(freedom: float, confidence: float) -> None:
    expected = stats.t.ppf((1 + confidence) / 2, freedom)
    assert t_quantile(freedom, confidence) == pytest.approx(expected, rel=1e-7)


def test_all_pairs_hold_at_once() -> None:
    """Of four groups that are the same, the widest gap is told apart 5% of the time at most."""
    confidence, pairs = each_pair(4)
    assert (confidence, pairs) == (pytest.approx(1 - 0.05 / 6), 6)
    random, told, plain = np.random.default_rng(0), 0, 0
    for _ in range(400):
        groups = sorted(random.normal(0, 1, (4, 5)), key=np.mean)
        ends = by_seed(groups[-1]), by_seed(groups[0])
        told += mean_difference(*ends, confidence).is_told
        plain += mean_difference(*ends).is_told
    assert told / 400 <= 0.06 < plain / 400


def test_a_band_is_over_the_steps_that_all_seeds_have() -> None:
    curves = [
        (np.array([1.0, 2.0, 3.0]), np.array([5.0, 4.0, 3.0])),
        (np.array([2.0, 3.0]), np.array([6.0, 3.0])),
    ]
    band = seed_band(curves)
    half = stats.t.ppf(0.975, 1) * math.sqrt(2) / math.sqrt(2)
    assert band.x.tolist() == [2.0, 3.0] and band.mean.tolist() == [5.0, 3.0]
    assert band.high.tolist() == pytest.approx([5 + half, 3])
    assert band.low.tolist() == pytest.approx([5 - half, 3])
    alone = seed_band(curves[:1])
    assert np.array_equal(alone.low, alone.high)
