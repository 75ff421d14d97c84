"""The parts of the fused loop against what a run alone does: feed, watches, stretches, memory."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from lrrun.config.checkpoint import Checkpoint
from lrrun.config.reading import experiment_from_text
from lrrun.records import EpochRecord, Incident, Outcome, StepBlock, StepRecord
from lrrun.training.checkpoints import SHARE_OF_RUN, Due, Spending
from lrrun.training.datasets.augment import crop_and_flip
from lrrun.training.feed import Feed
from lrrun.training.fused import feed as feed_module
from lrrun.training.fused.chunks import (
    CACHE_BYTES,
    MANY,
    chunk_sizes,
    free_bytes,
    is_out_of_memory,
    replica_bytes,
    room_for,
)
from lrrun.training.fused.feed import FusedFeed
from lrrun.training.fused.loop import FusedLoop
from lrrun.training.fused.replica import Replica
from lrrun.training.fused.updates import FusedUpdates
from lrrun.training.fused.watches import Watches
from lrrun.training.journey import loop_of
from lrrun.training.preparation import Prepared, prepare
from lrrun.training.timetable import Timetable
from lrrun.training.watch import DivergenceWatch

CONFIG = """\
name: l
model: {name: mlp, hidden: [8]}
dataset: {name: digits, batch_size: 120}
optimizer: {name: sgd, lr: 0.05, momentum: 0.9}
scheduler: {name: cosine, warmup: 3 steps}
train: {steps: 30, device: cpu, threads: 1}
"""


def ready(*each: Sequence[str]) -> list[Prepared]:
    return [prepare(experiment_from_text(CONFIG, own)) for own in each]


def fused(prepared: Sequence[Prepared], **options: Any) -> FusedLoop:
    first = prepared[0]
    timetable = Timetable(first.experiment.train, first.clock)
    replicas = [Replica(k, each, timetable) for k, each in enumerate(prepared)]
    return FusedLoop(replicas, **options)


def happened(loop: FusedLoop, count: int) -> list[list[Any]]:
    """What was told of each replica, its updates one by one."""
    told: list[list[Any]] = [[] for _ in range(count)]
    for round_ in loop.rounds():
        for replica, each in round_:
            told[replica.index] += list(each) if isinstance(each, StepBlock) else [each]
    return told


def alone(prepared: Prepared) -> list[Any]:
    due = Due(Checkpoint(), prepared.clock.units)
    return list(loop_of(prepared, lambda: False, due).records())


def with_norm(*arguments: Any) -> nn.Module:
    """A model with batch normalization, for the digits."""
    layers = (nn.Flatten(), nn.Linear(64, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 10))
    return nn.Sequential(*layers)


def assert_alike(one: Sequence[Any], other: Sequence[Any]) -> None:
    """Equal records, but for rounding and the clock; incidents may come after their block."""
    for kind in (StepRecord, EpochRecord, Incident, Outcome):
        pairs = [[each for each in told if isinstance(each, kind)] for told in (one, other)]
        assert len(pairs[0]) == len(pairs[1])
        for a, b in zip(*pairs, strict=True):
            if kind in (Incident, Outcome):
                assert a == b
                continue
            assert (a.step, a.lr) == (b.step, b.lr)
            numbers = ("loss", "grad_norm") if kind is StepRecord else ("train_loss", "grad_norm")
            for name in numbers:
                if getattr(b, name) is not None:
                    expected = pytest.approx(getattr(b, name), rel=1e-4, nan_ok=True)
                    assert getattr(a, name) == expected
            if kind is EpochRecord:
                assert (a.epoch, a.samples) == (b.epoch, b.samples)
                assert a.metrics == pytest.approx(b.metrics, rel=1e-4)


@pytest.mark.parametrize("augmented", [False, True])
@pytest.mark.parametrize("seeds", [(5, 5, 5), (5, 6, 5)], ids=["shared", "own"])
@pytest.mark.parametrize("bytes_at_once", [1, 40_000, 1 << 23])
def test_every_replica_gets_the_batches_of_its_own_feed(
    monkeypatch: pytest.MonkeyPatch, augmented: bool, seeds: tuple[int, ...], bytes_at_once: int
) -> None:
    monkeypatch.setattr(feed_module, "GATHERED_BYTES", bytes_at_once)
    (prepared,) = ready(
        ["co_schedules.batch_size=[{name: constant, factor: 2, for: 4 steps}, {name: constant}]"]
    )
    data = replace(prepared.data, augment=crop_and_flip if augmented else None)
    plan, cpu = prepared.clock.batches, torch.device("cpu")
    solo = [Feed(data, plan, 120, seed, cpu) for seed in seeds]
    many = FusedFeed(data, plan, 120, seeds, cpu, 30)
    assert many.shared == (len(set(seeds)) == 1)
    trails = [""] * 3
    begin = 0
    while begin < 30:
        end = min(plan.epoch_end(begin), 30)
        for step, (batches, samples) in enumerate(many.updates(begin, end), start=begin):
            for k, own in enumerate(solo):
                expected, rows = own.batches(step)
                assert (rows, len(batches)) == (samples, len(expected))
                for (x, y), (own_x, own_y) in zip(batches, expected, strict=True):
                    assert torch.equal(x if many.shared else x[k], own_x)
                    assert torch.equal(y if many.shared else y[k], own_y)
        trails = many.trails(trails, begin, end)
        begin = end
    alone_ = [""] * 3
    for step in range(30):
        alone_ = [own.trail(trail, step) for own, trail in zip(solo, alone_, strict=True)]
    assert trails == alone_


@pytest.mark.parametrize("fixed", [False, True], ids=["each step", "a stretch"])
def test_many_watches_say_what_each_says_alone(fixed: bool) -> None:
    """Random walks of losses with jumps and nans; the sentences and the memories are equal."""
    draw = np.random.default_rng(3)
    settings = [(10.0, None), (1.5, None), (3.0, 1.4), (1e9, 1.2), (2.0, 2.0), (1.01, None)] * 4
    alone_ = [DivergenceWatch(factor, spike) for factor, spike in settings]
    many = Watches([DivergenceWatch(factor, spike) for factor, spike in settings])
    losses = np.exp(draw.normal(0, 0.3, (80, len(settings))).cumsum(0) * 0.3)
    losses[draw.random(losses.shape) < 0.02] *= 5
    losses[draw.random(losses.shape) < 0.01] = math.nan
    losses[40] = -losses[40]
    active = np.ones(len(settings), np.bool_)
    active[3] = False
    seen = 0
    limits = many.limits
    with np.errstate(all="ignore"):
        for step, row in enumerate(losses):
            if step % 8 == 0:
                limits = many.limits
                for k, watch in enumerate(alone_):
                    if active[k]:
                        assert limits[k] == pytest.approx(watch.limit, rel=1e-12)
            found = many.see(row, active, limits if fixed else None)
            for k, watch in enumerate(alone_):
                if active[k]:
                    expected = watch.see(float(row[k]), float(limits[k]) if fixed else None)
                    assert found.get(k) == expected, (step, k)
                    seen += expected is not None
                    assert many.save(k) == watch
    assert seen > 20
    assert many.save(3) == DivergenceWatch(1e9, 1.2)


UNEQUAL = (
    ["optimizer.lr=0.2"],
    ["optimizer.lr=1e9"],
    ["scheduler=wsd", "optimizer.weight_decay=0.1"],
    ["optimizer.lr=0.3", "train.early_stopping={patience: 1, min_delta: 5}"],
    ["optimizer.lr=0.02", "train.early_stopping={patience: 1, min_delta: 5}"],
)


@pytest.mark.parametrize("asynchronous", [False, True])
def test_those_that_end_are_left_behind_and_the_others_go_on(
    monkeypatch: pytest.MonkeyPatch, asynchronous: bool
) -> None:
    """Three of five end early, so that the stack is made smaller on the way."""
    if asynchronous:
        monkeypatch.setattr(FusedUpdates, "_watched", FusedUpdates._unwatched)
    common = ["train.evaluate=5 steps", "train.grad_norm=true"]
    each = [[*common, *own] for own in UNEQUAL]
    loop = fused(ready(*each))
    told = happened(loop, 5)
    assert len(loop.updates.replicas) == 2
    for k, own in enumerate(ready(*each)):
        if asynchronous and told[k][-1].status == "diverged":
            assert [r.step for r in told[k]] == [r.step for r in alone(own)]
        else:
            assert_alike(told[k], alone(own))
    assert [t[-1].step for t in told] == [30, told[1][-1].step, 30, 10, 10]
    assert told[1][-1].status == "diverged"


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_skip_leaves_no_trace_in_its_replica_and_none_in_others(
    monkeypatch: pytest.MonkeyPatch, asynchronous: bool
) -> None:
    """The model keeps statistics, which a bad batch spoils in its forward pass."""
    if asynchronous:
        monkeypatch.setattr(FusedUpdates, "_watched", FusedUpdates._unwatched)
    monkeypatch.setattr("lrrun.training.models.build", with_norm)
    overrides = ["train.on_divergence=skip", "train.steps=20"]
    prepared = ready([*overrides, "seed=1"], [*overrides, "seed=2"])
    prepared[0].data.train.x[11] = math.nan  # type: ignore[attr-defined]
    prepared[1] = replace(prepared[1], data=prepared[0].data)
    loop = fused(prepared)
    told = happened(loop, 2)
    skipped = [[each.step for each in events if isinstance(each, Incident)] for events in told]
    again = ready([*overrides, "seed=1"], [*overrides, "seed=2"])
    for k, own in enumerate(again):
        own.data.train.x[11] = math.nan  # type: ignore[attr-defined]
        assert skipped[k] == [each.step for each in alone(own) if isinstance(each, Incident)]
    assert any(skipped)
    for k in range(2):
        state = loop.updates.model.state_dict(k)
        assert all(bool(each.isfinite().all()) for each in state.values())


def test_gradients_that_are_not_finite_end_one_replica(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = fused(ready(["optimizer.lr=0.1"], ["optimizer.lr=0.2"], ["optimizer.lr=0.3"]))
    gradients, calls = loop.updates.model.gradients, iter(range(99))

    def poisoned(*arguments: Any) -> torch.Tensor:
        losses_K = gradients(*arguments)
        if next(calls) == 4:
            loop.updates.model.grads[0][1] = math.inf
        return losses_K

    monkeypatch.setattr(loop.updates.model, "gradients", poisoned)
    told = happened(loop, 3)
    assert [each[-1].status for each in told] == ["completed", "diverged", "completed"]
    assert told[1][-1].sentence.startswith("the gradients became non-finite at step 4 (epoch 1)")
    assert [each.step for each in told[1]] == [0, 1, 2, 3, 4, 4]


def test_an_interruption_ends_all_at_one_step_even_inside_an_evaluation() -> None:
    asked = iter(range(99))
    loop = fused(ready([], ["seed=1"]), stop_requested=lambda: next(asked) >= 12)
    told = happened(loop, 2)
    assert [each[-1] for each in told] == [Outcome("interrupted", "stopped on request", 12)] * 2
    assert not any(isinstance(each, EpochRecord) for each in told[0])


def test_a_momentum_that_some_replicas_drive_is_kept_by_the_others() -> None:
    """One follows a cycle that drives it, one leaves it alone, one has a co-schedule."""
    cycle = "{name: OneCycleLR, max_lr: 0.1, total_steps: 10, for: 10 steps}"
    each = (
        [
            f"scheduler=[{{name: constant, for: 8 steps}}, {cycle}, {{name: constant}}]",
            "optimizer={name: adam, lr: 0.1, betas: [0.6, 0.9]}",
        ],
        ["optimizer={name: adam, lr: 0.01, betas: [0.5, 0.9]}"],
        [
            "optimizer={name: adam, lr: 0.01}",
            "co_schedules={momentum: {name: linear, final: 10%}, weight_decay: "
            "{name: linear, final: 0}}",
            "optimizer.weight_decay=0.1",
        ],
    )
    told = happened(fused(ready(*each)), 3)
    for k, own in enumerate(ready(*each)):
        solo = alone(own)
        assert_alike(told[k], solo)
        driven = [
            [repr(r.driven) for r in rows if isinstance(r, StepRecord)] for rows in (told[k], solo)
        ]
        assert driven[0] == driven[1]


def test_chunks_are_even_and_fit() -> None:
    assert chunk_sizes(7, 10, None) == [7]
    assert chunk_sizes(7, 10, 35) == [3, 2, 2]
    assert chunk_sizes(3, 10, 5) == [1, 1, 1]
    assert sum(chunk_sizes(1000, 7, 900)) == 1000


def test_a_replicas_memory_grows_with_model_and_batch_and_asking_changes_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    small, large = ready(["model.hidden=[8]"], ["model.hidden=[800]"])
    assert replica_bytes(large) > 10 * replica_bytes(small)
    few, many = ready(["dataset.batch_size=10"], ["dataset.batch_size=1000"])
    assert replica_bytes(many) > 10 * replica_bytes(few)
    monkeypatch.setattr("lrrun.training.models.build", with_norm)
    (norms,) = ready([])
    before = [each.clone() for each in norms.trainee.model.state_dict().values()]
    chance = torch.get_rng_state()
    assert replica_bytes(norms) > 0
    pairs = zip(before, norms.trainee.model.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    assert torch.equal(chance, torch.get_rng_state())
    room = free_bytes(torch.device("cpu"))
    assert room_for(torch.device("cpu"), 1) == min(room or 0, CACHE_BYTES)
    assert room_for(torch.device("cpu"), CACHE_BYTES) == min(room or 0, MANY * CACHE_BYTES)
    assert room is None or room > 1 << 20


def test_running_out_of_memory_is_told_from_other_errors() -> None:
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory"))
    assert is_out_of_memory(MemoryError())
    assert not is_out_of_memory(RuntimeError("shapes do not match"))
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 60)
    assert is_out_of_memory(caught.value)


def test_saving_many_runs_at_once_is_spent_once(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 10.0, 12.0, 12.0 / SHARE_OF_RUN, 999.0])
    monkeypatch.setattr("lrrun.training.checkpoints.time.perf_counter", lambda: next(clock))
    spending = Spending()
    with spending.saving(), spending.saving():
        pass
    assert spending.allows(7)  # 2 s are spent, 2 more are due, 12 are allowed
    assert spending.allows(7)
    assert spending._spent == 2.0


@pytest.mark.parametrize("seeds", [(5, 5), (5, 6)], ids=["shared", "own"])
def test_what_is_probed_is_what_the_run_evaluates(seeds: tuple[int, ...]) -> None:
    loop = fused(ready(*([f"seed={seed}"] for seed in seeds)))
    bound = loop.updates.model._bound
    (probed,) = (key for key in bound if key[0] == "evaluation")
    happened(loop, len(seeds))
    assert [key for key in bound if key[0] == "evaluation"] == [probed]
