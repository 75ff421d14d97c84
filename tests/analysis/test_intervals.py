"""Student's t and bands of order statistics, against scipy and simulation."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from lrrun.analysis.best_of_k import at_equal_budget, best_of_k
from lrrun.analysis.order_statistics import EXACT, band, stays_within
from lrrun.analysis.student import t_interval, t_quantile

INF = math.inf


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 7, 30, 101])
@pytest.mark.parametrize("confidence", [0.5, 0.95, 0.999])
def test_t_quantiles_are_scipys(freedom: int, confidence: float) -> None:
    expected = stats.t.ppf((1 + confidence) / 2, freedom)
    assert t_quantile(freedom, confidence) == pytest.approx(expected, rel=1e-9)


def test_t_intervals() -> None:
    values = [0.11, 0.14, 0.1, 0.13]
    low, _ = stats.t.interval(0.95, 3, np.mean(values), stats.sem(values))
    assert t_interval(values) == pytest.approx(np.mean(values) - low)
    assert t_interval([1.0, INF]) is None
    with pytest.raises(ValueError, match="freedom >= 1"):
        t_quantile(0)


@pytest.mark.parametrize("n", [1, 2, 5, 17, 60])
@pytest.mark.parametrize("width", [0.5, 1.0, 1.5])
def test_chances_of_a_band_of_one_width_are_kolmogorovs(n: int, width: float) -> None:
    half, ranks = width / math.sqrt(n), np.arange(1, n + 1) / n
    chance = stays_within(np.maximum(ranks - half, 0), np.minimum(ranks - 1 / n + half, 1))
    assert chance == pytest.approx(stats.kstwo(n).cdf(half), abs=1e-9)


@pytest.mark.parametrize("n", [2, 13, 40])
def test_the_band_has_equal_tails_and_its_coverage(n: int) -> None:
    lowest, highest = band(n, 0.9)
    rank = np.arange(1, n + 1)
    below = stats.beta.cdf(lowest, rank, n + 1 - rank)
    above = stats.beta.sf(highest, rank, n + 1 - rank)
    np.testing.assert_allclose(below, below[0], rtol=1e-6)
    np.testing.assert_allclose(above, below[0], rtol=1e-6)
    values = np.sort(np.random.default_rng(0).random((20_000, n)), axis=1)
    held = np.mean(np.all((values >= lowest) & (values <= highest), axis=1))
    assert held == pytest.approx(0.9, abs=4 * math.sqrt(0.09 / 20_000))


def test_large_samples_have_massarts_width() -> None:
    n = EXACT + 1
    lowest, highest = band(n, 0.95)
    half = math.sqrt(math.log(40) / (2 * n))
    assert lowest[-1] == pytest.approx(1 - half) and lowest[0] == 0.0
    assert highest[0] == pytest.approx(half) and highest[-1] == 1.0


def test_the_mean_best_is_that_over_all_choices() -> None:
    losses = [0.3, 0.1, 0.25, 0.9, 0.1, INF]
    curve = best_of_k("a", losses)
    for k in range(1, 7):
        mean = np.mean([min(chosen) for chosen in itertools.combinations(losses, k)])
        assert curve.expected[k - 1] == pytest.approx(mean)
    assert np.isinf(curve.expected[0]) and np.isfinite(curve.expected[1])


def test_the_median_best_is_the_middle_of_repeated_draws() -> None:
    losses = np.arange(50.0)
    curve = best_of_k("a", losses)
    draws = np.random.default_rng(1).integers(0, 50, (4001, 50))
    for k in (1, 2, 7, 30):
        seen = np.median(losses[draws[:, :k]].min(axis=1))
        assert abs(curve.median[k - 1] - seen) <= 1
    assert np.all(np.diff(curve.median) <= 0)


def test_the_band_of_best_of_k_holds_where_the_truth_is_known() -> None:
    """For losses uniform on 0..1 the median best of k is 1 - 2^(-1/k)."""
    truth = 1 - 2.0 ** (-1 / np.arange(1, 13))
    random, held = np.random.default_rng(2), 0
    for _ in range(500):
        curve = best_of_k("a", random.random(12), 0.8)
        held += bool(np.all((curve.low <= truth) & (truth <= curve.high)))
    assert held / 500 >= 0.8 - 3 * 0.018  # simultaneous over k, so that it may only be surer


@pytest.mark.parametrize("n", [5, 39])
def test_the_band_of_best_of_k_ends_at_the_first_ranks_that_are_sure(n: int) -> None:
    """Rank i is Beta(i, n+1-i) distributed: past the quantile q, or not, up to the band's tail."""
    curve, tail = best_of_k("a", np.arange(1.0, n + 1)), band(n, 0.95)[0][0]
    tail = stats.beta.cdf(tail, 1, n) * (1 + 1e-6)
    for k, low, high in zip(curve.k, curve.low, curve.high, strict=True):
        q = 1 - 2 ** (-1 / k)
        past = [i for i in range(1, n + 1) if stats.beta.cdf(q, i, n + 1 - i) <= tail]
        before = [i for i in range(1, n + 1) if stats.beta.sf(q, i, n + 1 - i) <= tail]
        assert (low, high) == (max(before, default=-INF), min(past, default=INF))


def test_one_trial_sets_no_bounds() -> None:
    curve = best_of_k("a", [0.5])
    assert (curve.median[0], curve.low[0], curve.high[0]) == (0.5, -INF, INF)
    with pytest.raises(ValueError, match="at least one"):
        best_of_k("a", [])


def test_budgets_are_made_equal() -> None:
    much = best_of_k("much", np.linspace(0.2, 1.0, 60))
    little = best_of_k("little", [0.3, 0.35, 0.4])
    said = at_equal_budget([much, little])
    assert said.startswith(
        "With 3 trials each, drawn from those made, the best loss is 0.3 for little, 0.3627 for"
    )
    assert "may be chance" in said
    good = best_of_k("good", np.linspace(0.01, 0.02, 60))
    assert at_equal_budget([much, good]).endswith("the 95% bands are apart at 1 to 6 trials.")
    assert good.high[5] < much.low[5] and np.isinf(much.low[6])
    assert at_equal_budget([good]) == ""
    lost = best_of_k("lost", [INF, INF])
    assert "diverges more often than not" in at_equal_budget([lost, best_of_k("too", [INF])])
