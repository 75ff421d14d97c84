"""Response curves by hand: points, basins, sensitivities, edges, and what they are said to mean."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from lrrun.analysis.basin import basin, best_index, noise, tolerance
from lrrun.analysis.edges import diverged_range, diverges_at, edges
from lrrun.analysis.forgiving import best, findings, forgiving
from lrrun.analysis.points import Point, group
from lrrun.analysis.response import LR_KEY, budgets, respond
from lrrun.analysis.response_data import response_data
from lrrun.analysis.sensitivity import common_range, lr_sensitivity
from lrrun.errors import NoAnswer
from lrrun.records import Trial

INF, NAN = math.inf, math.nan


def trial(lr: float, loss: float, seed: int = 0, status: str = "", **axes: object) -> Trial:
    """A finished trial; an infinite loss is a divergence."""
    lost = math.isinf(loss)
    status = status or ("diverged" if lost else "completed")
    values = {LR_KEY: lr, "seed": seed, **axes}
    return Trial(values, seed, status, NAN if lost else loss, 10, lost)


def sweep(lrs, losses, **axes: object) -> list[Trial]:
    """Each entry of `losses` is a loss, or one for each seed."""
    return [
        trial(lr, each, seed, **axes)
        for lr, seeds in zip(lrs, losses, strict=True)
        for seed, each in enumerate(np.atleast_1d(seeds).tolist())
    ]


def points(*losses, start: float = 1e-3, ratio: float = 10.0) -> list[Point]:
    """Points at start, start·ratio, …, each with its seeds' losses."""
    return [
        Point(start * ratio**k, tuple(sorted(np.atleast_1d(each).tolist())))
        for k, each in enumerate(losses)
    ]


def test_a_point_by_hand() -> None:
    point = Point(0.1, (1.0, 2.0, 6.0))
    assert (point.mean, point.median, point.lost) == (3.0, 2.0, 0)
    assert point.deviation == pytest.approx(math.sqrt((4 + 1 + 9) / 2))
    assert point.half_width == pytest.approx(4.30265 * point.deviation / math.sqrt(3), rel=1e-5)
    broken = Point(0.1, (1.0, INF))
    assert (broken.mean, broken.median, broken.lost) == (INF, 1.0, 1)
    assert broken.half_width is None and broken.deviation is None
    assert Point(0.1, (1.0,)).half_width is None


def test_groups_differ_in_all_but_lr_and_seed() -> None:
    trials = [
        trial(0.1, 1.0, 0, scheduler="cosine"),
        trial(0.1 * (1 + 1e-12), 3.0, 1, scheduler="cosine"),
        trial(0.3, NAN, scheduler="cosine"),
        trial(0.3, 1.0, status="failed", scheduler="cosine"),
        trial(1.0, 2.0, scheduler="wsd"),
    ]
    cosine, wsd = group(trials, LR_KEY)
    assert (cosine.label, wsd.label) == ("cosine", "wsd")
    assert cosine.points == (Point(0.1, (1.0, 3.0)), Point(0.3, (INF,)))
    assert cosine.left_out == {"failed": 1}
    assert cosine.losses == (1.0, 3.0, INF)
    assert group([trial(0.1, 1.0)], LR_KEY)[0].label == "all trials"


def test_labels_say_no_more_than_they_must() -> None:
    def labels(*schedulers: object) -> list[str]:
        trials = [trial(0.1, 1.0, scheduler=each) for each in schedulers]
        return [each.label for each in group(trials, LR_KEY)]

    five, ten = ({"name": "cosine", "warmup": each} for each in ("5%", "10%"))
    assert labels(five, "wsd") == ["cosine", "wsd"]
    assert labels(five, ten) == ["cosine warmup 5%", "cosine warmup 10%"]
    assert labels([{"name": "constant"}, {"name": "cosine"}]) == ["constant > cosine"]
    assert labels(1, "1") == ["scheduler=1", "scheduler='1'"]


def test_the_best_is_never_one_at_which_a_seed_diverged() -> None:
    assert best_index(points(3.0, 2.0, [0.1, INF])) == 1
    assert best_index(points(INF, INF)) is None
    assert best_index(points(1.0, 1.0, 1.0, 1.0)) == 1  # the middle of equal ones


def test_basin_ends_are_where_the_limit_is_passed() -> None:
    """Losses |u| for log10 LR u = -3..3: within 0.5 of the best is -0.5..0.5."""
    found = basin(points(3, 2, 1, 0, 1, 2, 3, start=1e-3), 0.5)
    assert found is not None
    assert (found.low, found.high) == pytest.approx((10**-0.5, 10**0.5))
    assert found.decades == pytest.approx(1.0)
    assert not found.open_low and not found.open_high


def test_basins_that_do_not_end_or_end_in_divergence() -> None:
    found = basin(points(1.0, 1.1, INF, 1.0), 0.2)
    assert found is not None and (found.low, found.high) == pytest.approx((1e-3, 1e-2))
    assert (found.open_low, found.open_high) == (True, False)
    alone = basin(points(1.0), 0.2)
    assert alone is not None and alone.decades == 0.0 and alone.open_low and alone.open_high
    assert basin(points(INF), 0.2) is None


def test_noise_is_pooled_around_the_best() -> None:
    curve = points([9.0, 1.0], [1.0, 3.0], [1.0, 1.2], [1.6, 2.4], [50.0, 100.0])
    assert best_index(curve) == 2
    variances = [2.0, 0.02, 0.32]
    assert noise(curve) == pytest.approx(math.sqrt(sum(variances) / 3))
    assert tolerance(curve, 9.0).why == "one seed-to-seed standard deviation"
    single = points(5.0, 1.0)
    assert noise(single) is None
    assert tolerance(single, 5.0).value == pytest.approx(0.04)
    assert tolerance(points([1.0, 1.0]), None).value == 0.0


def test_sensitivity_of_a_parabola() -> None:
    """E[u²] over u = -2..1, where the best, 0, is inside: (1 + 8)/9 = 1."""
    u = np.linspace(-3, 2, 501)
    curve = [Point(10.0**x, (float(x * x),)) for x in u]
    assert lr_sensitivity(curve, cap=100.0, over=(1e-2, 10.0)) == pytest.approx(1.0, abs=1e-4)
    capped = (2 * (1 / 3) + 1 * 1) / 3  # min(u², 1): 1/3 over -1..1, 1 over -2..-1
    assert lr_sensitivity(curve, cap=1.0, over=(1e-2, 10.0)) == pytest.approx(capped, abs=1e-4)


def test_a_diverged_lr_costs_as_much_as_no_training() -> None:
    curve = points(2.0, [1.0, INF])
    assert lr_sensitivity(curve, 4.0, (1e-3, 1e-2)) == pytest.approx((2.0 + 2.5) / 2 - 2.0)
    assert lr_sensitivity(points(INF, INF), 4.0, (1e-3, 1e-2)) == 0.0


def test_ranges_are_those_that_all_curves_span() -> None:
    assert common_range([points(1, 1, 1), points(1, 1, 1, start=1e-2)]) == (
        1e-2,
        pytest.approx(0.1),
    )
    assert common_range([points(1, 1), points(1, 1, start=1.0)]) is None
    assert common_range([points(1)]) is None
    assert lr_sensitivity(points(1, 2), 4.0, (1e-4, 1e-2)) is None


@pytest.mark.parametrize(
    ("lrs", "losses", "expected"),
    [
        ([0.01, 0.1, 1.0], [3, 2, 1], [("largest", 10.0)]),
        ([0.03, 0.1, 0.3, 1.0], [3, 3, 2, 1], [("largest", 3.0)]),
        ([0.01, 0.1, 1.0], [1, 2, 3], [("smallest", 0.001)]),
        ([0.01, 0.1, 1.0], [2, 1, 3], []),
        ([0.01, 0.1, 1.0], [2, 1, INF], []),
        ([0.01, 0.1, 1.0], [INF, INF, INF], []),
        ([0.1], [1], [("smallest", 0.03), ("largest", 0.3)]),
        ([1.0, 1.1], [2, 1], [("largest", 1.2)]),
        ([1.0, 1.04], [2, 1], [("largest", 1.08)]),
        ([0.1, 0.215, 0.464], [3, 2, 1], [("largest", 0.999)]),
    ],
)
def test_edges_are_told_on_the_grid(lrs, losses, expected) -> None:
    curve = [Point(lr, (float(loss),)) for lr, loss in zip(lrs, losses, strict=True)]
    assert [(edge.side, edge.extend_to) for edge in edges(curve)] == expected


def test_divergence_is_what_goes_on_to_the_top() -> None:
    assert diverges_at(points(INF, 1.0, [1.0, INF], INF)) == pytest.approx(0.1)
    assert diverges_at(points(INF, 1.0)) is None
    assert diverged_range([points(1.0, INF), points(1.0, 1.0, 1.0)]) == pytest.approx(
        (math.sqrt(1e-5), 0.1)
    )
    assert diverged_range([points(1.0)]) is None
    assert diverged_range([points(INF, INF)]) == pytest.approx((1e-3, 1e-2))


LRS = [1e-3, 1e-2, 1e-1, 1.0, 10.0]
NARROW = [[2.2, 2.3], [1.5, 1.6], [0.5, 0.52], [1.5, 1.6], [INF, INF]]
WIDE = [[1.0, 1.1], [0.52, 0.53], [0.51, 0.53], [0.52, 0.54], [INF, 2.0]]


def test_curves_are_measured_alike() -> None:
    trials = sweep(LRS, NARROW, scheduler="cosine") + sweep(LRS, WIDE, scheduler="wsd")
    response = respond(trials, initial_loss=2.3)
    cosine, wsd = response.curves
    assert [curve.label for curve in response.ranking] == ["cosine", "wsd"]
    assert response.tolerance.value == pytest.approx(math.sqrt(0.0002))
    assert response.over == (1e-3, 10.0)
    assert wsd.basin is not None and cosine.basin is not None
    assert wsd.basin.decades > 1.9 > 0.2 > cosine.basin.decades
    assert (cosine.diverges_at, wsd.diverges_at) == (10.0, 10.0)
    means = np.array([2.25, 1.55, 0.51, 1.55, 2.3])
    by_hand = (means.sum() - (means[0] + means[-1]) / 2) / 4 - 0.51
    assert cosine.sensitivity == pytest.approx(by_hand)
    assert best(response).startswith(
        "Best: cosine at optimizer.lr 0.1, loss 0.51 (+/- 0.13, 2 seeds)"
    )
    assert best(response).endswith("As good within the tolerance: wsd.")
    assert forgiving(response).startswith("Most forgiving: wsd (basin cosine 0.027")
    assert list(findings(response)) == []


def test_a_forgiving_curve_that_is_worse_says_so() -> None:
    worse = [np.array(each) + 0.3 for each in WIDE]
    trials = sweep(LRS, NARROW, scheduler="cosine") + sweep(LRS, worse, scheduler="wsd")
    said = forgiving(respond(trials, initial_loss=3.0))
    assert said.startswith("Most forgiving: wsd") and "its best loss is 0.31 above the best" in said


def test_equal_curves_are_level() -> None:
    trials = sweep(LRS, WIDE, scheduler="a") + sweep(LRS, WIDE, scheduler="b")
    assert forgiving(respond(trials)).startswith("No curve is more forgiving than the others")


def test_basin_and_sensitivity_may_disagree() -> None:
    """One flat around its best and bad elsewhere, one sharp at its best and never bad."""
    flat = [5.0, 1.0, 1.0, 1.0, 5.0]
    sharp = [1.3, 1.3, 1.0, 1.3, 1.3]
    trials = sweep(LRS, flat, scheduler="flat") + sweep(LRS, sharp, scheduler="sharp")
    assert forgiving(respond(trials)).startswith(
        "Most forgiving by basin flat, by sensitivity sharp (basin flat 2"
    )


def test_when_everything_diverged() -> None:
    response = respond(sweep([0.1, 1.0], [INF, INF]), initial_loss=2.3)
    assert best(response).startswith(
        "A seed diverged at every LR that was tried: begin lower than 0.1"
    )
    assert forgiving(response) == "No basin: a seed diverged at every LR."
    assert response.curves[0].edges == ()
    assert respond(sweep([0.1, 1.0], [INF, INF])).cap is None


def test_one_lr_and_one_seed() -> None:
    response = respond([trial(0.1, 1.0)])
    assert "(one seed)" in best(response)
    assert forgiving(response).startswith("all trials: a basin at least 0 decades; nothing to")
    assert list(findings(response)) == [
        "all trials: one LR was tried, 0.1: try 0.03 and 0.3 too",
        "one seed at every LR: differences may be the seed's doing",
    ]


def test_unequal_lrs_are_compared_where_they_meet() -> None:
    trials = sweep([0.01, 0.1, 1.0], [3.0, 1.0, 2.0], scheduler="a")
    trials += sweep([0.1, 1.0, 10.0], [2.0, 1.0, 3.0], scheduler="b")
    response = respond(trials)
    assert response.over == (0.1, 1.0)
    assert [curve.sensitivity for curve in response.curves] == [0.5, 0.5]
    apart = respond(sweep([1, 2], [1, 2], scheduler="a") + sweep([3, 4], [1, 2], scheduler="b"))
    assert apart.over is None and [curve.sensitivity for curve in apart.curves] == [None, None]
    assert any("share no range" in each for each in findings(apart))


def test_edges_and_what_is_left_out_are_findings() -> None:
    trials = [*sweep([0.1, 1.0], [[2, 2], [1, 1]]), trial(3.0, 1.0, status="failed")]
    assert list(findings(respond(trials))) == [
        "all trials: the best LR, 1, is the largest tried: extend to 10",
        "all trials: 1 trial failed, not counted",
    ]


@pytest.mark.parametrize(
    ("trials", "message"),
    [
        ([], r"no trial is finished yet \(no trials\)"),
        ([trial(0.1, 1.0, status="running")], r"\(1 trials, all running\)"),
        ([Trial({"seed": 0}, 0, "completed", 1.0, 10, False)], r"does not vary optimizer.lr"),
    ],
)
def test_nothing_to_say(trials: list[Trial], message: str) -> None:
    with pytest.raises(NoAnswer, match=message):
        respond(trials)


def test_budgets_need_no_lr() -> None:
    trials = [Trial({"scheduler": "wsd"}, 0, "completed", loss, 10, False) for loss in (2.0, 1.0)]
    (curve,) = budgets(trials)
    assert curve.label == "wsd" and curve.median.tolist() == [1.0, 1.0]


def test_the_data_are_strict_json() -> None:
    trials = sweep(LRS, NARROW, scheduler="cosine") + sweep(LRS, WIDE, scheduler="wsd")
    data = json.loads(json.dumps(response_data(trials, initial_loss=2.3), allow_nan=False))
    assert data["curves"][1]["points"][4] == {
        "lr": 10.0,
        "seeds": 2,
        "diverged": 1,
        "mean": None,
        "half_width": None,
        "median": 2.0,
        "min": 2.0,
        "max": None,
        "losses": [2.0],
    }
    assert data["curves"][0]["best"]["lr"] == 0.1
    assert data["best_of_k"][0]["trials"] == 10
    assert data["forgiving"].startswith("Most forgiving: wsd")
    lost = response_data(sweep([0.1], [INF]))
    assert lost["curves"][0]["best"] is None and lost["curves"][0]["basin"] is None


def test_a_cliff_beside_the_best_lr_is_no_noise():
    valley = points([1.0, 1.2], [0.9, 1.0])
    cliff = points([1.0, 1.2], [0.9, 1.0], [2.0, 30.0])
    assert noise(cliff) == noise(valley) == pytest.approx(math.sqrt((0.02 + 0.005) / 2))
