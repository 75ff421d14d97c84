"""The decays against hand-computed numbers and, where it has the same convention, torch."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch.optim import lr_scheduler

from lrrun.errors import ConfigError
from lrrun.schedules import schedule


def torch_lrs(scheduler: str, lr: float, steps: int, **arguments: Any) -> list[float]:
    """The LRs of torch's own scheduler, stepped once an update."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=lr)
    stepper = getattr(lr_scheduler, scheduler)(optimizer, **arguments)
    lrs = []
    for _ in range(steps):
        lrs.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        stepper.step()
    return lrs


R75 = math.sqrt(0.75)
HYPERBOLA = [0.5 * 1.5, 0.375 * 1.375, 0.25 * 1.25, 0.125 * 1.125, 0.0]
"""(D - s)/U · (2 - (D + s)/U) for D = 4 and U = 8."""

GOLDEN = [
    ("linear", {}, [1, 0.75, 0.5, 0.25, 0]),
    ("linear", {"final": "20%"}, [1, 0.8, 0.6, 0.4, 0.2]),
    ("linear", {"end": "inclusive"}, [1, 2 / 3, 1 / 3, 0, 0]),
    ("cosine", {}, [1, 0.8535533905932737, 0.5, 0.1464466094067262, 0]),
    ("cosine", {"final": "10%", "end": "inclusive"}, [1, 0.775, 0.325, 0.1, 0.1]),
    ("polynomial", {"power": 2.0}, [1, 0.5625, 0.25, 0.0625, 0]),
    ("polynomial", {"power": 0.5}, [1, math.sqrt(0.75), math.sqrt(0.5), 0.5, 0]),
    ("k-decay", {"k": 2.0}, [1, 0.99039264, 0.85355339, 0.40245484, 0]),
    ("flat-cosine", {"flat": 0.5}, [1, 1, 1, 0.5, 0]),
    ("rex", {}, [1, 0.75 / 0.875, 0.5 / 0.75, 0.25 / 0.625, 0]),
    ("tanh", {}, [0.99999917, 0.99987661, 0.98201379, 0.26894142, 0.00247262]),
    ("chebyshev", {}, [0.96193977, 0.69134172, 0.30865828, 0.03806023, 0.03806023]),
    ("hyperbolic", {"bound": 4}, [1, 0.75, 0.5, 0.25, 0]),
    ("hyperbolic", {"bound": 8}, [1 - R75 + math.sqrt(v) for v in HYPERBOLA]),
    ("exp-hyperbolic", {"bound": 8}, [0.01 ** (R75 - math.sqrt(v)) for v in HYPERBOLA]),
]


@pytest.mark.parametrize(("name", "arguments", "expected"), GOLDEN)
def test_a_decay_over_four_steps(
    name: str, arguments: dict[str, Any], expected: list[float]
) -> None:
    lr = schedule(name, lr=1.0, steps=4, **arguments)
    assert lr(np.arange(5)) == pytest.approx(np.array(expected), abs=6e-6)
    assert schedule(name, lr=0.02, steps=4, **arguments)(2) == pytest.approx(
        0.02 * expected[2], rel=2e-5
    )


def test_warmup_of_4_then_cosine_over_6_is_the_convention_in_one_line() -> None:
    lr = schedule("cosine", lr=1.0, steps=10, warmup=4)
    golden = [0.2, 0.4, 0.6, 0.8, 1.0, 0.933, 0.75, 0.5, 0.25, 0.067]
    assert lr(np.arange(10)) == pytest.approx(np.array(golden), abs=5e-4)
    assert lr(10) == 0.0


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (
            {"name": "cosine", "final": 0.003},
            ("CosineAnnealingLR", {"T_max": 60, "eta_min": 0.003}),
        ),
        ({"name": "polynomial", "power": 1.7}, ("PolynomialLR", {"total_iters": 60, "power": 1.7})),
        (
            {"name": "linear", "final": "25%"},
            ("LinearLR", {"start_factor": 1.0, "end_factor": 0.25, "total_iters": 60}),
        ),
        ({"name": "step", "every": 7, "factor": 0.3}, ("StepLR", {"step_size": 7, "gamma": 0.3})),
        (
            {"name": "multistep", "at": [5, 20, 20, 41], "factor": 0.5},
            ("MultiStepLR", {"milestones": [5, 20, 20, 41], "gamma": 0.5}),
        ),
        ({"name": "exponential", "factor": 0.97}, ("ExponentialLR", {"gamma": 0.97})),
        ({"name": "exponential", "alpha": 0.03}, ("ExponentialLR", {"gamma": 0.97})),
        (
            {"name": "lambda", "factor": "1 / (1 + step) if step < 30 else 0.01"},
            ("LambdaLR", {"lr_lambda": lambda t: 1 / (1 + t) if t < 30 else 0.01}),
        ),
    ],
    ids=lambda each: each["name"] if isinstance(each, dict) else each[0],
)
def test_over_the_same_horizon_torch_gives_the_same(
    ours: dict[str, Any], theirs: tuple[str, dict[str, Any]]
) -> None:
    lr = schedule(ours, lr=0.3, steps=60)
    expected = torch_lrs(theirs[0], 0.3, 60, **theirs[1])
    assert lr(np.arange(60)) == pytest.approx(np.array(expected), rel=1e-11, abs=1e-14)


def test_the_horizon_free_decays_follow_their_formulas() -> None:
    def at(step: int, name: str, **arguments: Any) -> float:
        return schedule(name, lr=2.0, steps=100, **arguments)(step)

    assert at(30, "step", every="10%") == pytest.approx(2e-3)
    assert at(25, "multistep", at=[10, "20%"], factor=[0.5, 0.1]) == pytest.approx(0.1)
    assert at(15, "exponential", factor=0.5, every=10) == pytest.approx(2 * 0.5**1.5)
    assert at(15, "exponential", factor=0.5, every=10, staircase=True) == pytest.approx(1.0)
    assert at(50, "exponential", final="1%") == pytest.approx(0.2)
    assert at(99, "exponential", final="1%", end="inclusive") == pytest.approx(0.02)
    assert at(20, "natural-exponential", rate=0.1) == pytest.approx(2 * math.exp(-2))
    assert at(20, "inverse-time", rate=0.5) == pytest.approx(2 / 11)
    assert at(25, "inverse-time", rate=0.5, every=10, staircase=True) == pytest.approx(1.0)
    assert at(30, "inverse-time", rate=0.1, power=0.5) == pytest.approx(1.0)
    assert at(30, "inverse-sqrt", timescale=10) == pytest.approx(1.0)
    assert at(70, "power-law", timescale=10, exponent=1 / 3) == pytest.approx(1.0)


def test_inverse_sqrt_behind_a_warmup_is_peak_times_the_root_of_w_over_t() -> None:
    lr = schedule("inverse-sqrt", lr=1.0, steps=1000, warmup=100)
    assert lr(400) == pytest.approx(0.5)
    assert lr(900) == pytest.approx(1 / 3)


def test_a_rising_exponential_with_an_explicit_start_is_a_range_test() -> None:
    lr = schedule("exponential", lr=0.1, steps=100, start=1e-6, final=1.0)
    assert lr(0) == pytest.approx(1e-6)
    assert lr(50) == pytest.approx(1e-3)
    assert lr(100) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"name": "cosine", "final": 0.1}, "at most the base LR 0.01, got 0.1"),
        ({"name": "multistep", "at": [20, 10]}, "expected rising milestones, got 20 steps before"),
        ({"name": "multistep", "at": ["200%"]}, "milestone 200% = step 200 is past the part's end"),
        ({"name": "multistep", "at": [5], "factor": [0.1, 0.2]}, "expected 1 factors"),
        ({"name": "exponential"}, "expected one of factor, alpha and final, got none"),
        ({"name": "exponential", "factor": 0.5, "alpha": 0.5}, "got factor and alpha"),
        ({"name": "exponential", "final": 0}, "expected above 0"),
        ({"name": "exponential", "alpha": 1.5}, "expected a fraction in [0, 1), got 1.5"),
        ({"name": "step", "every": 0}, "every: expected at least 1 step, got 0 steps"),
        ({"name": "step", "every": "0.1%"}, "expected at least 1 step, got 0.1% = 0 steps"),
        ({"name": "step", "every": 5, "factor": -1}, "expected a number above 0, got -1"),
        ({"name": "inverse-sqrt"}, "no warmup stands before this part"),
        ({"name": "inverse-time", "rate": -1.0}, "expected at least 0, got -1"),
        ({"name": "polynomial", "power": 0.0}, "expected a number above 0, got 0"),
        ({"name": "tanh", "lower": 4.0}, "expected less than upper = 3, got 4"),
        ({"name": "flat-cosine", "flat": 1.5}, "expected a share of the part in [0, 1)"),
        ({"name": "hyperbolic", "bound": 50}, "at least the part's 100 steps, got 50 steps = 50"),
        ({"name": "constant", "factor": -0.5}, "expected a factor of at least 0, got -0.5"),
        ({"name": "lambda", "factor": "__import__('os')"}, "expected an arithmetic expression"),
        ({"name": "cosine", "end": "open"}, "expected exclusive or inclusive, got 'open'"),
    ],
)
def test_refusals(spec: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        schedule(spec, lr=0.01, steps=100)
    assert said in str(caught.value)


def test_a_group_whose_base_lr_is_0_stays_at_0() -> None:
    for spec in ({"name": "cosine", "final": "1%"}, {"name": "exponential", "final": "1%"}):
        assert schedule(spec, lr=0.0, steps=9, warmup=2)(np.arange(9)).tolist() == [0.0] * 9
