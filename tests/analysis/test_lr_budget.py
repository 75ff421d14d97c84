"""What a search may cost, and that no course of it costs more: the arithmetic, without training."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from lrrun.analysis.lr_budget import most_steps
from lrrun.analysis.lr_search import (
    Result,
    SearchPlan,
    Trial,
    lr_at,
    next_trials,
    place_of,
    why_at_edge,
)
from lrrun.search.range_test import usual_steps

BOUND = 12
"""Runs of the config that a search may cost."""

LENGTHS = (1, 2, 5, 9, 10, 17, 20, 21, 33, 50, 91, 99, 100, 101, 138, 250, 1_000, 100_000)

Course = Callable[[Trial], float]


def smooth(best: float) -> Course:
    return lambda trial: 0.1 + abs(math.log10(trial.lr / best))


def noisy(trial: Trial) -> float:
    return float(np.random.default_rng([round(1e12 * trial.lr), trial.seed]).exponential())


def two_basins(trial: Trial) -> float:
    return min(smooth(1e-4)(trial), 0.01 * trial.seed + smooth(0.3)(trial))


def good_alone(trial: Trial) -> float:
    """Long runs go wrong wherever short ones did well."""
    return smooth(0.1)(trial) if trial.scale < 1 else math.inf


COURSES: dict[str, Course] = {
    "always higher": lambda trial: 1 / trial.lr,
    "always lower": lambda trial: trial.lr,
    "flat": lambda trial: 1.0,
    "all lost": lambda trial: math.inf,
    "noise": noisy,
    "two basins": two_basins,
    "lost when long": good_alone,
    "far above": smooth(1e3),
    "far below": smooth(1e-9),
    "inside": smooth(0.02),
}


def plan_of(
    total: int, budget: float | None = None, low: float = 3e-8, high: float = 10.0
) -> SearchPlan:
    left = most_steps(total, budget) - usual_steps(total)
    return SearchPlan(low, high, left / total, total, seed=0, lost=2.3)


def search(plan: SearchPlan, course: Course) -> list[Result]:
    results: list[Result] = []
    while trials := next_trials(plan, results):
        assert len(set(trials)) == len(trials)
        results += [Result(each, course(each), plan.steps(each.scale)) for each in trials]
        assert len(results) < 300
    return results


@pytest.mark.parametrize("total", LENGTHS)
@pytest.mark.parametrize("course", COURSES)
def test_no_course_of_a_search_costs_more_than_it_may(course: str, total: int) -> None:
    """Twelve runs, range test and all; of short runs a minute's worth: 1,100 steps at most."""
    for low, high in ((3e-8, 10.0), (1e-3, 1.0), (0.1, 0.1)):
        results = search(plan_of(total, None, low, high), COURSES[course])
        spent = usual_steps(total) + sum(each.steps for each in results)
        assert spent <= most_steps(total)
        assert spent <= max(BOUND * total, 1_100)
        assert results


@pytest.mark.parametrize("total", LENGTHS)
@pytest.mark.parametrize("course", COURSES)
def test_a_budget_that_was_given_is_held(course: str, total: int) -> None:
    for budget in (1.5, 2.4, 4.0, 12.0):
        if usual_steps(total) < most_steps(total, budget):  # else it is refused at once
            results = search(plan_of(total, budget), COURSES[course])
            assert usual_steps(total) + sum(each.steps for each in results) <= budget * total


def test_slow_steps_take_the_allowance_of_short_runs_away() -> None:
    """60 s pay for 300 updates of 0.2 s; ten runs of 50 are more, and of 20 less."""
    assert most_steps(50, seconds_per_step=0.2) == 550
    assert most_steps(20, seconds_per_step=0.2) == 300
    assert most_steps(20, seconds_per_step=20.0) == 220
    assert most_steps(1_000, seconds_per_step=1e-9) == 11_000


@pytest.mark.parametrize("total", [5, 10, 20, 30, 50, 100, 1_000])
@pytest.mark.parametrize("best", [1e-4, 0.02, 5.0])
def test_runs_of_every_length_widen_to_the_best(total: int, best: float) -> None:
    """Also to where the rules did not point."""
    results = search(plan_of(total, None, 1e-3, 1.0), smooth(best))
    full = [each for each in results if each.trial.scale == 1]
    found = min(full, key=lambda each: each.loss).trial.lr
    assert abs(place_of(found) - place_of(best)) <= 2
    assert why_at_edge(plan_of(total, None, 1e-3, 1.0), results, found) == ""


def test_a_few_runs_are_spread_around_the_middle_of_what_the_rules_say() -> None:
    plan = plan_of(10, 16.0, 1e-4, 1.0)  # six runs, of which three may begin
    first = [place_of(each.lr) for each in next_trials(plan, [])]
    assert first == [-28, -16, -4]
    assert [each.lr for each in next_trials(plan_of(10, 11.0, 1e-4, 1.0), [])] == [lr_at(-16)]


@pytest.mark.parametrize(
    ("budget", "allowed", "course", "reason"),
    [
        (11.0, (0.0, math.inf), smooth(0.1), "the only LR tried: give a larger --budget"),
        (13.0, (0.0, math.inf), smooth(1e3), "largest LR tried, and the budget is spent"),
        (13.0, (0.0, math.inf), smooth(1e-9), "smallest LR tried, and the budget is spent"),
        (None, (0.0, 0.2), smooth(1e3), "largest LR tried: the config allows no larger one"),
        (None, (1e-3, 9.0), smooth(1e-9), "smallest LR tried: the config allows no smaller one"),
        (None, (0.0, math.inf), smooth(1e9), "largest LR tried, after 6 widenings: give a larger"),
        (None, (0.0, math.inf), smooth(0.02), ""),
    ],
)
def test_why_the_best_stayed_at_the_edge_is_said(
    budget: float | None, allowed: tuple[float, float], course: Course, reason: str
) -> None:
    plan = plan_of(10, budget, 1e-3, 1.0)
    plan = SearchPlan(plan.low, plan.high, plan.budget, 10, 0, allowed)
    results = search(plan, course)
    found = min(results, key=lambda each: each.loss).trial.lr
    said = why_at_edge(plan, results, 10 ** math.log10(found))
    assert reason in said
    assert bool(said) == bool(reason)
