"""Restarts, one-cycle and cyclic against hand-computed numbers and torch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.optim import lr_scheduler

from lrrun.errors import ConfigError
from lrrun.schedules import schedule


def torch_lrs(scheduler: str, lr: float, steps: int, **arguments: Any) -> list[float]:
    """The LRs of torch's own scheduler, stepped once an update."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=lr, momentum=0.9)
    stepper = getattr(lr_scheduler, scheduler)(optimizer, **arguments)
    lrs = []
    for _ in range(steps):
        lrs.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        stepper.step()
    return lrs


@pytest.mark.parametrize("growth", [1, 2, 3])
def test_restarts_are_torchs_warm_restarts(growth: int) -> None:
    ours = schedule("cosine-restarts", lr=0.3, steps=90, cycle=7, growth=growth, final=0.01)
    theirs = torch_lrs("CosineAnnealingWarmRestarts", 0.3, 90, T_0=7, T_mult=growth, eta_min=0.01)
    assert ours(np.arange(90)).tolist() == pytest.approx(theirs, rel=1e-11)


def test_cycles_fill_the_part_peaks_decay_and_each_ends_at_final() -> None:
    lr = schedule("cosine-restarts", lr=1.0, steps=70, cycles=3, growth=2.0, peak_decay=0.5)
    assert lr([0, 5, 10, 20, 30, 50]).tolist() == pytest.approx([1, 0.5, 0.5, 0.25, 0.25, 0.125])
    assert lr(70) == 0.0


def test_each_cycle_can_begin_with_a_warmup() -> None:
    lr = schedule("cosine-restarts", lr=1.0, steps=28, cycles=2, cycle_warmup=4)
    one = [0.2, 0.4, 0.6, 0.8, 1.0, *(0.5 + 0.5 * np.cos(np.pi * np.arange(1, 10) / 10))]
    assert lr(np.arange(28)).tolist() == pytest.approx(one * 2)


@pytest.mark.parametrize(
    ("mode", "theirs"),
    [
        ({}, {}),
        ({"mode": "triangular2"}, {"mode": "triangular2"}),
        ({"mode": "exp-range", "factor": 0.99}, {"mode": "exp_range", "gamma": 0.99}),
    ],
)
def test_cyclic_is_torchs_with_the_base_lr_on_top(
    mode: dict[str, Any], theirs: dict[str, Any]
) -> None:
    ours = schedule("cyclic", lr=0.4, steps=100, up=6, down=11, low="25%", **mode)
    expected = torch_lrs(
        "CyclicLR", 1.0, 100, base_lr=0.1, max_lr=0.4, step_size_up=6, step_size_down=11, **theirs
    )
    assert ours(np.arange(100)).tolist() == pytest.approx(expected, rel=1e-9)


def test_one_cycle_has_its_peak_on_a_whole_step_and_its_final_past_the_last() -> None:
    lr = schedule("one-cycle", lr=1.0, steps=100)
    assert lr([0, 15, 30, 65, 100]).tolist() == pytest.approx([0.04, 0.52, 1, 0.500002, 4e-6])
    three = schedule("one-cycle", lr=1.0, steps=100, phases=3, shape="linear", final=0)
    assert three([0, 15, 30, 45, 60, 80, 100]).tolist() == pytest.approx(
        [0.04, 0.52, 1, 0.52, 0.04, 0.02, 0]
    )


def test_one_cycle_is_torchs_over_one_step_less() -> None:
    theirs = torch_lrs("OneCycleLR", 1.0, 101, max_lr=1.0, total_steps=101, pct_start=31 / 101)
    ours = schedule("one-cycle", lr=1.0, steps=101, rise=0.3, end="inclusive")
    assert ours(np.arange(101)).tolist() == pytest.approx(theirs, rel=1e-9)


def test_one_cycle_drives_the_momentum_the_other_way() -> None:
    lr = schedule("one-cycle", lr=1.0, steps=100, momentum=[0.85, 0.95])
    momentum = lr.momentum(np.array([0, 15, 30, 65, 100]))
    assert momentum is not None
    assert momentum.tolist() == pytest.approx([0.95, 0.9, 0.85, 0.9, 0.95])
    assert schedule("one-cycle", lr=1.0, steps=100).momentum(np.arange(9)) is None


def test_a_part_that_leaves_the_momentum_alone_gives_nan() -> None:
    parts = [{"name": "one-cycle", "for": 50, "momentum": [0.8, 0.9]}, {"name": "constant"}]
    momentum = schedule(parts, lr=1.0, steps=100).momentum(np.array([0, 49, 50]))
    assert momentum is not None
    assert np.isnan(momentum).tolist() == [False, False, True]


def test_one_cycle_begins_where_the_part_before_it_ended() -> None:
    parts = [{"name": "constant", "factor": 0.5, "for": 10}, "one-cycle"]
    assert schedule(parts, lr=1.0, steps=110)(10) == 0.5


def test_slanted_triangular_rises_from_and_falls_to_the_same() -> None:
    lr = schedule("slanted-triangular", lr=3.2, steps=100)
    assert lr([0, 5, 10, 55, 100]).tolist() == pytest.approx([0.1, 1.65, 3.2, 1.65, 0.1])


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        (
            {"name": "cosine-restarts"},
            "(the length of the first) or cycles (their number), got nei",
        ),
        ({"name": "cosine-restarts", "cycle": 5, "cycles": 2}, "got both"),
        ({"name": "cosine-restarts", "cycle": 0}, "cycle: expected at least 1 step, got 0 steps"),
        ({"name": "cosine-restarts", "cycles": 0}, "expected at least 1, got 0"),
        ({"name": "cosine-restarts", "cycles": 101}, "101 cycles do not fit into 100 steps"),
        ({"name": "cosine-restarts", "cycle": 5, "growth": 0.5}, "expected at least 1, got 0.5"),
        ({"name": "cosine-restarts", "cycle": 5, "peak_decay": 2}, "a fraction in (0, 1], got 2"),
        ({"name": "cosine-restarts", "cycle": 5, "cycle_warmup": 5}, "shortest cycle's 5 steps"),
        ({"name": "cyclic", "up": 0}, "up: expected at least 1 step, got 0 steps"),
        ({"name": "cyclic", "up": 5, "factor": 0.9}, "belongs to mode: exp-range"),
        ({"name": "cyclic", "up": 5, "mode": "exp-range"}, "exp-range needs it"),
        ({"name": "cyclic", "up": 5, "low": 2.0}, "low: expected at most the base LR 1, got 2"),
        ({"name": "one-cycle", "rise": 0.5, "phases": 3}, "a share of the part in (0, 0.5)"),
        ({"name": "one-cycle", "phases": 4}, "expected 2 or 3, got 4"),
        ({"name": "one-cycle", "momentum": [0.9, 0.8]}, "expected [low, high]"),
        ({"name": "slanted-triangular", "ratio": 0.5}, "expected at least 1, got 0.5"),
    ],
)
def test_refusals(spec: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        schedule(spec, lr=1.0, steps=100)
    assert said in str(caught.value)


def test_a_one_cycle_too_short_to_fall_is_refused() -> None:
    with pytest.raises(ConfigError, match="a rise of 1 steps leaves none of the part's 2"):
        schedule("one-cycle", lr=1.0, steps=2, phases=3)
