"""Batches of trials: the grid, draws, extensions, halving; each a function of results alone."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy.stats import kendalltau

from lrrun.errors import UsageError
from lrrun.search.axes import parse_axis
from lrrun.search.design import Design, Method, PlannedTrial
from lrrun.search.halving import agreements, brackets

Loss = Callable[[PlannedTrial], float]


def design(*axes: str, **method: object) -> Design:
    return Design(tuple(map(parse_axis, axes)), Method(**method))  # type: ignore[arg-type]


def played(design: Design, loss: Loss) -> tuple[list[list[PlannedTrial]], dict[int, float]]:
    """All batches of a sweep whose trials come to `loss`."""
    batches: list[list[PlannedTrial]] = []
    planned: list[PlannedTrial] = []
    losses: dict[int, float] = {}
    while batch := design.batch(len(batches), planned, losses):
        batches.append(batch)
        planned += batch
        losses |= {trial.number: loss(trial) for trial in batch}
    return batches, losses


def distance(trial: PlannedTrial) -> float:
    """The loss is least at a learning rate of 0.1."""
    return abs(math.log10(trial.values["optimizer.lr"]) + 1)


def test_a_grid_is_one_batch_with_the_seed_slowest_and_numbers_from_1() -> None:
    (batch,), _ = played(design("seed=0,1", "optimizer.lr=0.1,1", "scheduler=wsd,cosine"), distance)
    assert [trial.number for trial in batch] == [*range(1, 9)]
    assert [tuple(trial.values.values()) for trial in batch[:5]] == [
        (0, 0.1, "wsd"),
        (0, 0.1, "cosine"),
        (0, 1, "wsd"),
        (0, 1, "cosine"),
        (1, 0.1, "wsd"),
    ]


def test_an_extension_adds_what_is_new_and_renumbers_nothing() -> None:
    first = design("optimizer.lr=0.01,0.1", "seed=0,1")
    added = (parse_axis("optimizer.lr=0.1,1"), parse_axis("seed=2"))
    wider = Design(first.axes, first.method, (added,))
    batches, _ = played(wider, distance)
    assert batches[0] == played(first, distance)[0][0]
    assert [tuple(trial.values.values()) for trial in batches[1]] == [
        (1, 0),
        (1, 1),
        (0.01, 2),
        (0.1, 2),
        (1, 2),
    ]
    assert [trial.number for trial in batches[1]] == [5, 6, 7, 8, 9]
    assert wider.total() == 9


def test_draws_are_seeded_spread_over_the_log_and_repeated_with_every_seed() -> None:
    wanted = design("optimizer.lr=1e-4..1:log", "seed=3,4", name="random", points=200, seed=7)
    (batch,), _ = played(wanted, distance)
    assert len(batch) == wanted.total() == 400
    first = [trial.values["optimizer.lr"] for trial in batch if trial.values["seed"] == 3]
    second = [trial.values["optimizer.lr"] for trial in batch if trial.values["seed"] == 4]
    assert first == second
    assert np.histogram(np.log10(first), 4, (-4, 0))[0] == pytest.approx([50] * 4, abs=20)
    more = design("optimizer.lr=1e-4..1:log", "seed=3,4", name="random", points=210, seed=7)
    longer = [t.values["optimizer.lr"] for t in played(more, distance)[0][0]]
    assert longer[:200] == first
    other = design("optimizer.lr=1e-4..1:log", name="random", points=5, seed=8)
    assert played(other, distance)[0][0][0].values["optimizer.lr"] != first[0]


def test_draws_never_repeat_and_say_when_there_are_no_more() -> None:
    (batch,), _ = played(design("scheduler=a,b", "seed=0", name="random", points=2), lambda t: 0)
    assert {trial.values["scheduler"] for trial in batch} == {"a", "b"}
    with pytest.raises(UsageError, match="3 points are asked for, and these axes have 2 points"):
        played(design("scheduler=a,b", name="random", points=3), lambda t: 0)


def test_more_trials_than_the_limit_are_refused() -> None:
    with pytest.raises(UsageError, match="20,000 trials; a sweep has at most 10,000"):
        design("optimizer.lr=1e-4..1:log:10000", "seed=0,1").batch(0, [], {})


def test_halving_keeps_the_best_third_and_trains_it_three_times_as_long() -> None:
    wanted = design("optimizer.lr=1e-5..1e3:log:27", halving="halving", least=1 / 27)
    batches, losses = played(wanted, distance)
    assert [len(batch) for batch in batches] == [27, 9, 3, 2]  # two at least have the whole run
    assert [batch[0].scale for batch in batches] == pytest.approx([1 / 27, 1 / 9, 1 / 3, 1])
    for before, batch in itertools.pairwise(batches):
        kept = {trial.values["optimizer.lr"] for trial in batch}
        by_loss = sorted(before, key=lambda trial: losses[trial.number])
        assert kept == {trial.values["optimizer.lr"] for trial in by_loss[: len(batch)]}
    assert wanted.total() == 41


def test_a_point_is_judged_by_all_of_its_seeds_and_a_diverged_seed_drops_it() -> None:
    wanted = design("optimizer.lr=0.01,0.1,1", "seed=0,1", halving="halving", least=0.3, eta=2)

    def loss(trial: PlannedTrial) -> float:
        return math.inf if trial.values == {"optimizer.lr": 0.1, "seed": 1} else distance(trial)

    batches, _ = played(wanted, loss)
    assert {trial.values["optimizer.lr"] for trial in batches[-1]} == {0.01, 1}
    assert [(t.values["optimizer.lr"], t.values["seed"]) for t in batches[-1]] == [
        (0.01, 0),
        (1, 0),
        (0.01, 1),
        (1, 1),
    ]


def test_hyperband_deals_every_point_to_one_bracket_and_starts_them_at_different_rungs() -> None:
    wanted = design("optimizer.lr=1e-9..1:log:143", halving="hyperband", least=1 / 81)
    found = brackets(wanted)
    # Li et al. 2018, table 1: with R = 81 and eta = 3, 81, 34, 15, 8 and 5 points
    assert [len(each.points) for each in found] == [81, 34, 15, 8, 5]
    assert [each.scales[0] for each in found] == pytest.approx([1 / 81, 1 / 27, 1 / 9, 1 / 3, 1])
    assert found[0].sizes == (81, 27, 9, 3, 2)
    dealt = [point["optimizer.lr"] for each in found for point in each.points]
    assert sorted(dealt) == sorted(wanted.axes[0].values())
    batches, _ = played(wanted, distance)
    assert sum(map(len, batches)) == wanted.total()


def test_agreement_of_rungs_is_kendalls_tau() -> None:
    rng = np.random.default_rng(0)
    wanted = design("optimizer.lr=1e-5..1e3:log:27", halving="halving", least=1 / 9)
    batches, losses = played(wanted, lambda trial: float(rng.normal()))
    planned = [trial for batch in batches for trial in batch]
    for found in agreements(planned, losses):
        scores = []
        for rung in (found.rung, found.later):
            of = {t.values["optimizer.lr"]: losses[t.number] for t in planned if t.rung == rung}
            scores.append(of)
        both = [lr for lr in scores[1] if lr in scores[0]]
        expected = kendalltau([scores[0][lr] for lr in both], [scores[1][lr] for lr in both])
        assert found.tau == pytest.approx(expected.statistic)
        assert found.pairs == len(both) * (len(both) - 1) // 2
    assert [(each.rung, each.later) for each in agreements(planned, losses)] == [
        (1, 2),
        (1, 3),
        (2, 3),
    ]
