"""Cooldown, SWA and the schedules in phases: shapes, lengths, refusals."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from lrrun.errors import ConfigError
from lrrun.schedules import schedule

SHAPES = [
    ({}, [1, 0.75, 0.5, 0.25, 0]),
    ({"shape": "linear", "final": "20%"}, [1, 0.8, 0.6, 0.4, 0.2]),
    ({"shape": "cosine"}, [1, 0.85355339, 0.5, 0.14644661, 0]),
    ({"shape": "1-sqrt"}, [1, 0.5, 1 - math.sqrt(0.5), 1 - math.sqrt(0.75), 0]),
    ({"shape": "exponential"}, [1, 0.51371258, 0.24025307, 0.08647549, 0]),
    ({"shape": "exponential", "ratio": 0.5}, [2 * 0.5 ** (k / 4) - 1 for k in range(5)]),
    ({"shape": "power"}, [1, 0.5625, 0.25, 0.0625, 0]),
    ({"shape": "power", "power": 3.0}, [1, 0.421875, 0.125, 0.015625, 0]),
    ({"shape": "1-power", "power": 2.0}, [1, 0.9375, 0.75, 0.4375, 0]),
    ({"shape": "(1 - x)**3"}, [1, 0.421875, 0.125, 0.015625, 0]),
    ({"shape": "linear", "end": "inclusive"}, [1, 2 / 3, 1 / 3, 0, 0]),
]


@pytest.mark.parametrize(("arguments", "expected"), SHAPES)
def test_a_cooldown_of_four_steps_behind_anything(
    arguments: dict[str, Any], expected: list[float]
) -> None:
    lr = schedule("constant", lr=1.0, steps=10, cooldown={"for": 4, **arguments})
    assert lr(np.arange(7)).tolist() == [1.0] * 7
    assert lr(np.arange(6, 11)).tolist() == pytest.approx(expected, abs=1e-7)


@pytest.mark.parametrize(("arguments", "expected"), SHAPES[1:])
def test_wsd_cools_down_in_the_same_shapes(
    arguments: dict[str, Any], expected: list[float]
) -> None:
    lr = schedule("wsd", lr=1.0, steps=20, warmup=4, cooldown=4, **arguments)
    assert lr(np.arange(5)).tolist() == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert lr(np.arange(5, 17)).tolist() == [1.0] * 12
    assert lr(np.arange(16, 21)).tolist() == pytest.approx(expected, abs=1e-7)


def test_a_cooldown_starts_from_where_the_decay_before_it_is() -> None:
    lr = schedule("linear", lr=1.0, steps=20, final="50%", cooldown=5)
    assert lr([14, 15, 16, 20]).tolist() == pytest.approx([1 - 0.5 * 14 / 15, 0.5, 0.4, 0.0])


def test_decaying_stable_phases_of_wsd_go_on_from_the_warmup() -> None:
    lr = schedule("wsd", lr=1.0, steps=1000, warmup=100, cooldown=100, stable="inverse-sqrt")
    assert lr([100, 400, 900]).tolist() == pytest.approx([1.0, 0.5, 1 / 3])
    assert lr(925) == pytest.approx(1 / 3 * (1 - math.sqrt(0.25)))
    powered = schedule(
        "wsd", lr=1.0, steps=1000, stable="power", exponent=1.0, timescale=100, cooldown=100
    )
    assert powered([300, 900]).tolist() == pytest.approx([0.25, 0.1])


def test_wsd_s_reaches_its_final_at_the_end_of_every_period_and_jumps_back() -> None:
    lr = schedule("wsd-s", lr=1.0, steps=40, periods=2, cooldown=0.2, final="20%")
    assert lr([15, 16, 17, 18, 19, 20]).tolist() == pytest.approx([1, 1, 0.8, 0.6, 0.4, 1])
    assert lr([36, 38, 40]).tolist() == pytest.approx([1, 0.6, 0.2])
    listed = schedule("wsd-s", lr=1.0, steps=40, periods=[10, "50%"], cooldown=0.2, final=0)
    assert listed([8, 9, 10, 26, 28, 30, 39]).tolist() == pytest.approx([1, 0.5, 1, 1, 0.5, 1, 0.5])


def test_infinite_falls_to_a_constant_and_anneals_at_the_end() -> None:
    arguments = {"cooldown": 20, "anneal": 10, "hold": "50%", "final": "5%"}
    lr = schedule("infinite", lr=1.0, steps=100, warmup=10, **arguments)
    assert lr([10, 20, 30, 60, 90]).tolist() == pytest.approx([1.0, 0.75, 0.5, 0.5, 0.5])
    assert lr([95, 100]).tolist() == pytest.approx([0.5 * 0.1**0.5, 0.05])


def test_tri_stage() -> None:
    lr = schedule("tri-stage", lr=1.0, steps=100)
    assert lr([0, 5, 10, 30, 50]).tolist() == pytest.approx([0.01, 0.505, 1, 1, 1])
    assert lr([75, 100]).tolist() == pytest.approx([0.1, 0.01])
    assert schedule("tri-stage", lr=1.0, steps=100, start=0, warmup=20)(5) == 0.25


def test_swa_anneals_and_then_holds() -> None:
    lr = schedule("swa", lr=1.0, steps=100, anneal=10, final="40%")
    assert lr([0, 5, 10, 99]).tolist() == pytest.approx([1.0, 0.7, 0.4, 0.4])
    assert schedule("swa", lr=1.0, steps=100, anneal=0, final="40%")(0) == 0.4
    assert schedule("swa", lr=1.0, steps=9, anneal=4, final=0, shape="linear")(1) == 0.75


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"name": "wsd", "cooldown": 101}, "cooldown: expected at most the part's 100 steps"),
        ({"name": "wsd", "shape": "1-sqr"}, "unknown shape '1-sqr'; did you mean 1-sqrt?"),
        ({"name": "wsd", "shape": "power", "power": 0.0}, "expected a power above 0, got 0"),
        ({"name": "wsd", "ratio": 1}, "expected a ratio between 0 and 1, got 1"),
        ({"name": "wsd", "shape": "x.real"}, "expected an arithmetic expression of x"),
        ({"name": "wsd", "timescale": 10}, "belongs to stable: inverse-sqrt or power"),
        ({"name": "wsd", "stable": "power"}, "no warmup stands before this part"),
        ({"name": "wsd", "final": 3.0}, "at most the base LR 1, got 3"),
        ({"name": "wsd-s", "periods": 0}, "expected 1 to 100, the part's steps, got 0"),
        ({"name": "wsd-s", "periods": [60, 60]}, "at most the part's 100 steps, got 120"),
        ({"name": "wsd-s", "periods": 2, "cooldown": 0}, "a share of a period in (0, 1], got 0"),
        ({"name": "infinite", "cooldown": 60, "anneal": 50}, "take 110 steps, the part has 100"),
        ({"name": "infinite", "cooldown": 60}, "anneal is missing: infinite needs it"),
        ({"name": "tri-stage", "hold": "90%"}, "take 100 of the part's 100 steps: none is left"),
        ({"name": "swa", "anneal": 101, "final": 0}, "at most the part's 100 steps, got 101"),
        ({"name": "cosine", "cooldown": 100}, "the other parts take 100 steps, the run has 100"),
    ],
)
def test_refusals(spec: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        schedule(spec, lr=1.0, steps=100)
    assert said in str(caught.value)
