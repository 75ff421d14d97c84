"""TPE through Optuna: the same points from the same results, and better ones than chance."""

from __future__ import annotations

import math

import pytest

from lrrun.search.axes import parse_axis
from lrrun.search.design import Design, Method, PlannedTrial

pytest.importorskip("optuna")


def played(design: Design, best: float = 1e-2) -> list[list[PlannedTrial]]:
    """All batches, where the loss is the distance to `best` in decades and above 1 diverges."""
    batches: list[list[PlannedTrial]] = []
    planned: list[PlannedTrial] = []
    losses: dict[int, float] = {}
    while batch := design.batch(len(batches), planned, losses):
        batches.append(batch)
        planned += batch
        for trial in batch:
            lr = trial.values["optimizer.lr"]
            losses[trial.number] = math.inf if lr > 1 else abs(math.log10(lr / best))
    return batches


def design(*axes: str, points: int, extensions: tuple[int, ...] = (), seed: int = 0) -> Design:
    method = Method("tpe", points, seed=seed)
    return Design(tuple(map(parse_axis, axes)), method, extensions)


def test_points_gather_where_the_loss_was_low() -> None:
    batches = played(design("optimizer.lr=1e-6..10:log", points=42))
    assert [len(batch) for batch in batches] == [10, *[4] * 8]
    late = [trial.values["optimizer.lr"] for batch in batches[-4:] for trial in batch]
    near = sum(abs(math.log10(lr / 1e-2)) < 1 for lr in late)
    assert near >= 10  # two of seven decades: chance would put 5 of 16 there


def test_the_same_results_lead_to_the_same_points_and_an_extension_keeps_them() -> None:
    short = played(design("optimizer.lr=1e-6..10:log", "scheduler=cosine,wsd", points=16))
    again = played(design("optimizer.lr=1e-6..10:log", "scheduler=cosine,wsd", points=16))
    assert short == again
    assert [len(batch) for batch in short] == [10, 4, 2]
    longer = design("optimizer.lr=1e-6..10:log", "scheduler=cosine,wsd", points=16, extensions=(3,))
    assert played(longer)[:3] == short
    assert sum(map(len, played(longer))) == longer.total() == 19
    assert played(design("optimizer.lr=1e-6..10:log", "scheduler=a,b", points=4, seed=1)) != played(
        design("optimizer.lr=1e-6..10:log", "scheduler=a,b", points=4, seed=2)
    )


def test_every_point_has_every_seed_and_counts_once() -> None:
    batches = played(design("optimizer.lr=1e-6..10:log", "seed=0,1", points=12))
    assert [len(batch) for batch in batches] == [20, 4]
    for batch in batches:
        half = len(batch) // 2
        lrs = [trial.values["optimizer.lr"] for trial in batch]
        assert lrs[:half] == lrs[half:]


def test_listed_and_percent_and_whole_axes_stay_what_they_are() -> None:
    wanted = design(
        "optimizer.lr=1e-3,1e-2,1e-1", "scheduler.warmup=1%..20%:log", "model.depth=1..4", points=14
    )
    for batch in played(wanted):
        for trial in batch:
            assert trial.values["optimizer.lr"] in (1e-3, 1e-2, 1e-1)
            assert 1 <= float(trial.values["scheduler.warmup"].removesuffix("%")) <= 20
            assert trial.values["model.depth"] in (1, 2, 3, 4)


def test_points_that_are_used_up_end_the_search() -> None:
    batches = played(design("optimizer.lr=1e-3,1e-2,1e-1", points=10))
    assert sorted(t.values["optimizer.lr"] for b in batches for t in b) == [1e-3, 1e-2, 1e-1]
