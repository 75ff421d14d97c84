"""The search for the LR, on made-up tasks whose best LR is known."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from lrrun.analysis.lr_basin import basin
from lrrun.analysis.lr_search import (
    Result,
    SearchPlan,
    Trial,
    lr_at,
    next_trials,
    place_of,
)

PLAN = SearchPlan(low=1e-3, high=1.0, budget=10.5, total_steps=500, seed=0)
Task = Callable[[Trial], float]


def task(best: float, width: float = 0.5, noise: float = 0.0) -> Task:
    """Loss over LR: a parabola in log LR around `best`, and a cliff at eight times it.

    Far below `best` nothing is learnt. Short runs like higher LRs and lose more, as real ones do.
    """

    def loss(trial: Trial) -> float:
        if trial.lr > 8 * best:
            return math.inf
        shift = 0.3 * -math.log10(trial.scale)
        away = (math.log10(trial.lr / best) - shift) / width
        random = np.random.default_rng([round(1e9 * trial.lr), trial.seed])
        trained = (0.1 - 0.5 * math.log10(trial.scale)) * math.exp(
            away**2 + noise * random.normal()
        )
        return float(1 / (1 / 2.3 + 1 / trained))

    return loss


def search(plan: SearchPlan, loss: Task) -> list[Result]:
    results: list[Result] = []
    while trials := next_trials(plan, results):
        assert trials == next_trials(plan, results)
        values = [loss(trial) for trial in trials]
        results += [
            Result(
                each,
                value,
                round(each.scale * plan.total_steps * (0.1 if math.isinf(value) else 1)),
            )
            for each, value in zip(trials, values, strict=True)
        ]
    return results


def found(results: list[Result]) -> float:
    longest = max(each.trial.scale for each in results)
    full = [each for each in results if each.trial.scale == longest]
    return basin([(math.log10(each.trial.lr), each.loss) for each in full]).lr


@pytest.mark.parametrize("best", [1e-4, 3e-4, 0.002, 0.04, 0.5, 7.0])
def test_it_finds_the_best_lr_wherever_the_range_test_pointed(best: float) -> None:
    assert 0.7 * best < found(search(PLAN, task(best))) < 1.4 * best


def test_it_holds_its_budget_repeats_nothing_and_ends_at_full_length() -> None:
    for best in (1e-3, 0.05, 2.0):
        results = search(PLAN, task(best, noise=0.05))
        trials = [each.trial for each in results]
        assert len(set(trials)) == len(trials)
        assert sum(each.steps for each in results) <= PLAN.budget * PLAN.total_steps
        assert trials[-1].scale == 1.0
        assert len({each.seed for each in trials}) > 1


def test_noise_is_averaged_away() -> None:
    """A seed-to-seed noise of 10%: the loss at what is found is within it of the lowest."""
    for seed in range(20):
        results = search(replace(PLAN, seed=seed), task(0.05, noise=0.1))
        assert (math.log10(found(results) / 0.05) / 0.5) ** 2 < 0.1


def test_a_small_budget_shortens_the_last_runs() -> None:
    results = search(replace(PLAN, budget=3.0), task(0.05))
    assert max(each.trial.scale for each in results) == pytest.approx(3 / 8)
    assert sum(each.steps for each in results) <= 3.0 * PLAN.total_steps


def test_very_short_runs_are_not_made_shorter() -> None:
    results = search(replace(PLAN, total_steps=30), task(0.05))
    assert min(each.trial.scale for each in results) * 30 >= 20


def test_only_allowed_lrs_are_tried() -> None:
    results = search(replace(PLAN, allowed=(0.1, 10.0)), task(0.05))
    assert min(each.trial.lr for each in results) == 0.1


def test_where_all_diverge_lower_lrs_are_tried_and_then_no_more() -> None:
    results = search(PLAN, lambda trial: math.inf)
    assert 8 <= len(results) <= 16
    assert min(each.trial.lr for each in results) < 1e-5
    assert {each.trial.scale for each in results} == {PLAN.scout}


def test_the_best_at_an_edge_is_widened() -> None:
    scouts = [place_of(each.trial.lr) for each in search(PLAN, task(1e-4)) if each.trial.scale < 1]
    assert scouts[0] == place_of(1e-3)
    assert min(scouts) <= place_of(1e-4)


def test_the_grid_is_even_in_log_lr_and_short_to_write() -> None:
    lrs = np.array([lr_at(k) for k in range(-40, 9)])
    assert np.diff(np.log10(lrs)) == pytest.approx(1 / 8, abs=0.005)
    assert [place_of(lr) for lr in lrs] == list(range(-40, 9))
