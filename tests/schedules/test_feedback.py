"""Plateau under three rules, GreedyLR, and both of them anywhere in a sequence."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.optim.lr_scheduler import ReduceLROnPlateau

from lrrun.errors import ConfigError
from lrrun.schedules import Schedule, schedule
from lrrun.schedules.feedback import Improvement, Reactive, TorchRule, cut

FLAT = [1.0] * 20
GREEDY = [0.1, 0.2, 0.2, 0.4, 0.4, 0.2, 0.2, 0.1, 0.1, 0.05, 0.05, 0.1, 0.1, 0.2, 0.2, 0.4]
"""transformers 5.23.0: GreedyLR(patience=0, factor=0.5, smooth=True, window_size=2, reset_start=2,
min_lr=0.05, max_lr=0.4, cooldown=1, warmup=1) on the losses of the test that reads this."""


def fed(lr: Schedule, losses: list[float], every: int = 1) -> list[float]:
    """The LR of every step, an evaluation after each `every` updates."""
    used = []
    for step in range(len(losses) * every):
        used.append(lr(step))
        if (step + 1) % every == 0:
            lr.observe(step + 1, {"val_loss": losses[(step + 1) // every - 1]})
    return used


metrics = st.lists(
    st.one_of(st.sampled_from([0.5, 0.99995, 1.0, 1.0001, 2.0, -1.0]), st.just(math.nan)),
    min_size=20,
    max_size=40,
)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    losses=metrics,
    arguments=st.fixed_dictionaries(
        {
            "mode": st.sampled_from(["min", "max"]),
            "factor": st.sampled_from([0.1, 0.5]),
            "patience": st.integers(0, 3),
            "threshold": st.sampled_from([0.0, 1e-4, 0.1]),
            "threshold_mode": st.sampled_from(["rel", "abs"]),
            "cooldown": st.integers(0, 3),
            "min_lr": st.sampled_from([0.0, 0.003, 0.1]),
            "eps": st.sampled_from([0.0, 1e-8, 1e-3]),
        }
    ),
)
def test_plateau_is_torchs_to_the_bit(losses: list[float], arguments: dict[str, Any]) -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    theirs = ReduceLROnPlateau(optimizer, **arguments)
    expected = []
    for loss in losses:
        expected.append(optimizer.param_groups[0]["lr"])
        theirs.step(loss)
    ours = schedule("plateau", lr=0.1, steps=len(losses), **arguments)
    assert fed(ours, losses) == expected


@pytest.mark.parametrize(
    ("rule", "cooldown", "cuts"),
    [
        ("torch", 0, [4, 7, 10]),  # the first metric is the best, then patience 2 and one more
        ("keras", 0, [3, 5, 7, 9]),
        ("optax", 0, [3, 5, 7, 9]),
        ("torch", 2, [4, 9]),
        ("keras", 2, [3, 6, 9]),  # the cooldown's last evaluation counts already
        ("optax", 2, [3, 7]),
    ],
)
def test_on_a_flat_metric_the_rules_cut_at(rule: str, cooldown: int, cuts: list[int]) -> None:
    arguments = {"patience": 2, "cooldown": cooldown, "factor": 0.5, "rule": rule}
    lr = schedule("plateau", lr=1.0, steps=20, **arguments)
    used = fed(lr, [1.0] * 11)
    assert [step for step in range(1, 11) if used[step] < used[step - 1]] == cuts


def test_a_cut_acts_from_the_step_after_the_evaluation_and_leaves_the_past_alone() -> None:
    lr = schedule("plateau", lr=1.0, steps=100, patience=0, factor=0.5)
    assert not lr.observe(10, {"val_loss": 1.0})
    assert lr.observe(20, {"val_loss": 1.0})
    assert lr([0, 19, 20, 99]).tolist() == [1.0, 1.0, 0.5, 0.5]
    assert lr.state() == {"0": {"best": 1.0, "bad": 0, "cooldown": 0, "acts": [[20, "cut"]]}}


def test_one_state_serves_every_param_group() -> None:
    arguments = {"patience": 0, "factor": 0.1, "min_lr": 0.02}
    first = schedule("plateau", lr=1.0, steps=20, **arguments)
    fed(first, FLAT[:4])
    second = schedule("plateau", lr=0.1, steps=20, **arguments)
    second.restore(first.state())
    assert second([1, 2, 3, 4]).tolist() == pytest.approx([0.1, 0.02, 0.02, 0.02])
    assert first([1, 2, 3, 4]).tolist() == pytest.approx([1.0, 0.1, 0.02, 0.02])


def test_restoring_replaces_what_was_learnt_before() -> None:
    curve = Reactive(1.0, "val_loss", TorchRule(Improvement("min"), patience=0), cut(0.5))
    start = curve.state()
    for step in (1, 2, 3):
        curve.observe(step, {"val_loss": 1.0})
    curve.restore(start)
    assert curve(np.arange(4.0)).tolist() == [1.0] * 4
    assert curve.state() == start


def test_a_warmup_in_front_delays_the_plateau_and_its_evaluations_are_not_counted() -> None:
    lr = schedule("plateau", lr=1.0, steps=20, warmup=4, patience=1, factor=0.5)
    used = fed(lr, FLAT)
    assert used[:8] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0, 1.0, 1.0, 0.5])


def test_its_own_cooldown_is_evaluations_and_its_warmup_may_have_a_shape() -> None:
    warmup = {"for": 4, "shape": "cosine", "start": 0}
    lr = schedule("plateau", lr=1.0, steps=20, warmup=warmup, cooldown=3)
    assert [part.name for part in lr.parts] == ["warmup", "plateau"]
    assert lr([0, 2, 4]).tolist() == pytest.approx([0.0, 0.5, 1.0])


def test_a_part_behind_a_plateau_starts_from_what_it_came_down_to() -> None:
    parts = [{"name": "plateau", "for": 10, "patience": 1, "factor": 0.5}, {"name": "cosine"}]
    lr = schedule(parts, lr=1.0, steps=20)
    assert lr([10, 15]).tolist() == pytest.approx([1.0, 0.5])
    fed(lr, FLAT[:10])
    assert lr([0, 9, 10, 15, 20]).tolist() == pytest.approx([1.0, 1 / 16, 1 / 16, 1 / 32, 0.0])


def test_two_plateaus_in_a_sequence_each_listen_in_their_own_time() -> None:
    plateau = {"name": "plateau", "patience": 0, "factor": 0.5, "threshold": 0.0}
    parts = [{**plateau, "for": 6}, {**plateau, "metric": "val_acc", "mode": "max"}]
    lr = schedule(parts, lr=1.0, steps=12)
    for step in (2, 4, 6, 8, 10):
        lr.observe(step, {"val_loss": 1.0, "val_acc": step / 10})
    assert lr([3, 4, 6, 11]).tolist() == [1.0, 0.5, 0.25, 0.25]
    assert not lr.observe(11, {"val_loss": 9.0, "val_acc": 2.0})
    assert lr.observe(12, {"val_loss": 0.0, "val_acc": 1.9})


def test_a_metric_that_is_not_there_is_named() -> None:
    lr = schedule("plateau", lr=1.0, steps=10, metric="val_accuracy")
    with pytest.raises(KeyError, match="val_accuracy"):
        lr.observe(1, {"val_loss": 1.0})


def test_greedy_rises_while_the_metric_improves_and_falls_while_it_does_not() -> None:
    losses = [1.0, 0.9, 0.8, 0.7, 0.7, 0.7, 0.7]
    lr = schedule("greedy", lr=0.1, steps=7, patience=1, factor=0.5)
    assert fed(lr, losses) == pytest.approx([0.1, 0.1, 0.2, 0.2, 0.4, 0.4, 0.2])


def test_greedy_gives_the_published_codes_values() -> None:
    losses = [1.0, 0.5, 0.4, 0.6, 0.6, 0.6, 0.6, 0.6, 0.6, 0.6, 0.6, 0.6, 0.1, 0.1, 0.1, 0.1]
    lr = schedule(
        "greedy",
        **{"lr": 0.1, "steps": 16, "patience": 0, "factor": 0.5, "window": 2, "reset": 2},
        **{"min_lr": 0.05, "max_lr": 0.4, "cooldown": 1, "warmup": 1},
    )
    assert fed(lr, losses) == pytest.approx(GREEDY)


def test_greedy_goes_back_to_its_start_after_being_stuck_at_its_minimum() -> None:
    lr = schedule("greedy", lr=0.1, steps=9, patience=0, factor=0.5, min_lr=0.05, reset=2)
    flat = fed(lr, [1.0] + [2.0] * 8)
    assert flat[1:5] == pytest.approx([0.2, 0.1, 0.05, 0.1])


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"name": "plateau", "factor": 1}, "factor: expected a factor between 0 and 1, got 1"),
        ({"name": "plateau", "patience": -1}, "patience: expected at least 0, got -1"),
        ({"name": "plateau", "patience": 2.5}, "patience: expected a whole number, got 2.5"),
        ({"name": "plateau", "cooldown": "5%"}, "cooldown: expected a whole number, got '5%'"),
        ({"name": "plateau", "min_lr": 0.5}, "min_lr: expected at most the base LR 0.1, got 0.5"),
        ({"name": "plateau", "mode": "auto"}, "mode: expected min or max, got 'auto'"),
        ({"name": "plateau", "rule": "keras", "patience": 0}, "at least 1 under keras's rule"),
        ({"name": "greedy", "max_lr": "50%"}, "max_lr: expected at least the base LR 0.1"),
        ({"name": "greedy", "min_lr": 0.2}, "min_lr: expected at most the base LR 0.1"),
        ({"name": "greedy", "window": 0}, "window: expected at least 1, got 0"),
        ({"name": "greedy", "warmup": -1}, "warmup: expected at least 0, got -1"),
    ],
)
def test_refusals(spec: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        schedule(spec, lr=0.1, steps=100)
    assert said in str(caught.value)


def test_a_plateau_evaluated_over_an_array_equals_its_steps() -> None:
    lr = schedule("plateau", lr=1.0, steps=40, patience=0, factor=0.5)
    used = fed(lr, FLAT, every=2)
    assert np.array_equal(lr(np.arange(40)), used)
