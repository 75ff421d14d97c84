"""The bottom of a loss-against-LR curve: against parabolas whose numbers are known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from lrrun.analysis.lr_basin import Point, basin, bottom, cliff, means, parabola


def points(noise: float = 0.0, runs: int = 1, seed: int = 0) -> list[Point]:
    """ln loss = ln 0.2 + 3·(x + 1)² over a fourth of a decade each, with noise."""
    random = np.random.default_rng(seed)
    xs = np.repeat(np.linspace(-1.375, -0.625, 7), runs)
    y = math.log(0.2) + 3 * (xs + 1) ** 2 + noise * random.normal(size=len(xs))
    return list(zip(xs.tolist(), np.exp(y).tolist(), strict=True))


def test_a_parabola_is_recovered() -> None:
    fitted = parabola(points())
    assert fitted is not None
    assert fitted.bottom == pytest.approx(-1)
    assert math.exp(fitted.level) == pytest.approx(0.2)
    assert fitted.curvature == pytest.approx(3)
    assert fitted.spread == pytest.approx(0, abs=1e-9)


def test_the_noise_of_one_run_is_recovered() -> None:
    found = basin(points(noise=0.1, runs=40))
    assert found.noise == pytest.approx(0.1 * 0.2, rel=0.1)
    assert math.log10(found.lr) == pytest.approx(-1, abs=0.02)


def test_the_interval_is_where_the_loss_is_within_one_noise() -> None:
    found = basin(points(noise=0.1, runs=40))
    reach = math.sqrt(0.1 / 3)
    assert math.log10(found.low) == pytest.approx(-1 - reach, abs=0.03)
    assert math.log10(found.high) == pytest.approx(-1 + reach, abs=0.03)


def test_the_interval_ends_with_what_was_tried_and_before_the_cliff() -> None:
    wide = [
        (x, math.exp(0.001 * x**2 + 0.05 * (-1) ** k)) for k, x in enumerate((-0.3, -0.1, 0, 0.1))
    ]
    found = basin([*wide, (0.2, math.inf)])
    assert found.high <= 10**0.1 * 1.000001
    assert found.low >= 10**-0.3 * 0.999999


def test_a_cliff_pushes_the_bottom_away_however_high_it_is() -> None:
    """A run past it, as good as it may be, changes nothing; how the others were lost does not."""
    cliffs = [[*points(), (-0.8125, lost), (-0.5, 0.21)] for lost in (5.0, 500.0, math.inf)]
    bottoms = [bottom(each) for each in cliffs]
    assert cliff(cliffs[0]) == -0.8125
    assert bottoms[0] == bottoms[1] == bottoms[2]
    assert -1.15 < bottoms[0] < -1


def test_one_seed_that_diverges_spoils_its_lr() -> None:
    assert bottom([(-1.0, 0.1), (-1.0, math.inf), (-1.5, 0.2), (-2.0, 0.3)]) == -1.5


def test_losses_below_zero_are_fitted_as_they_are() -> None:
    log_likelihoods = [(x, -3 + 2 * (x + 2) ** 2) for x in (-2.3, -2.2, -2.0, -1.9, -1.8)]
    fitted = parabola(log_likelihoods)
    assert fitted is not None and not fitted.logarithmic
    assert fitted.bottom == pytest.approx(-2)
    assert basin(log_likelihoods).loss == pytest.approx(-3)


@pytest.mark.parametrize(
    "few",
    [
        [(-1.0, 0.2)],
        [(-1.0, 0.2), (-0.75, 0.1), (-0.5, 0.3)],
    ],
    ids=["one", "three"],
)
def test_of_a_few_runs_the_best_is_the_answer(few: list[Point]) -> None:
    found = basin(few)
    best = min(few, key=lambda point: point[1])
    assert (math.log10(found.lr), found.loss) == pytest.approx(best)
    assert found.low == found.high == found.lr
    assert math.isnan(found.noise)


def test_means_are_by_lr() -> None:
    assert means([(0.0, 1.0), (-1.0, 4.0), (0.0, 3.0)]) == {-1.0: 4.0, 0.0: 2.0}


def test_of_runs_that_tell_no_lrs_apart_the_middle_is_taken() -> None:
    """Losses that bend the wrong way, within their noise: not the lowest of them, at an edge."""
    losses = (0.2, 0.202, 0.203, 0.203, 0.202, 0.2)
    flat = [(-1.3 + 0.06 * k, loss) for k, loss in enumerate(losses)]
    found = basin(flat)
    assert -1.2 < math.log10(found.lr) < -1.1  # 1.15 is the middle
    assert found.low < found.lr / 1.1
    assert found.high > found.lr * 1.1


def test_a_slope_leads_to_the_edge_of_what_was_tried() -> None:
    slope = [(-1.0, 0.4), (-0.9, 0.3), (-0.8, 0.2), (-0.7, 0.1)]
    assert bottom(slope) == -0.7
