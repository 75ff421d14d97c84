"""Product, maximum, minimum and nested sequences."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lrrun.errors import ConfigError
from lrrun.schedules import schedule

STEPS = np.arange(101)


def curve(spec: object, lr: float = 0.2) -> np.ndarray:
    return schedule(spec, lr=lr, steps=100)(STEPS)


COSINE = {"name": "cosine", "final": "10%"}
STEP = {"name": "step", "every": 25, "factor": 0.5}


def test_a_product_multiplies_shares_of_the_base_lr() -> None:
    product = curve({"name": "product", "of": [COSINE, STEP]})
    assert product == pytest.approx(curve(COSINE) * curve(STEP) / 0.2)
    assert curve({"name": "product", "of": [COSINE]}) == pytest.approx(curve(COSINE))


def test_a_product_starts_from_the_part_before_it() -> None:
    parts = [{"name": "constant", "factor": 0.5, "for": 40}, {"name": "product", "of": [STEP]}]
    assert schedule(parts, lr=0.2, steps=100)([40, 65]).tolist() == pytest.approx([0.1, 0.05])


def test_maximum_is_a_floor_and_minimum_a_ceiling() -> None:
    floor = {"name": "constant", "factor": "25%"}
    assert curve({"name": "maximum", "of": [COSINE, floor]}) == pytest.approx(
        np.maximum(curve(COSINE), 0.05)
    )
    assert curve({"name": "minimum", "of": [COSINE, floor]}) == pytest.approx(
        np.minimum(curve(COSINE), 0.05)
    )


def test_members_may_be_lists_and_carry_their_own_warmup() -> None:
    warm = {"name": "constant", "warmup": 4}
    twice = [{"name": "constant", "for": 50}, {"name": "constant", "factor": 0.1}]
    lr = schedule({"name": "product", "of": [warm, twice]}, lr=1.0, steps=100)
    assert lr([0, 3, 4, 49, 50]).tolist() == pytest.approx([0.2, 0.8, 1.0, 1.0, 0.1])


def test_a_plateau_in_a_product_multiplies_what_the_others_do() -> None:
    plateau = {"name": "plateau", "patience": 0, "factor": 0.5}
    lr = schedule({"name": "product", "of": ["linear", plateau]}, lr=1.0, steps=10)
    assert [lr.observe(step, {"val_loss": 1.0}) for step in (2, 4)] == [False, True]
    assert lr([3, 4, 5]).tolist() == pytest.approx([0.7, 0.3, 0.25])
    other = schedule({"name": "product", "of": ["linear", plateau]}, lr=1.0, steps=10)
    other.restore(lr.state())
    assert np.array_equal(other(np.arange(10)), lr(np.arange(10)))


def test_a_member_that_drives_the_momentum_still_does() -> None:
    one_cycle = {"name": "one-cycle", "momentum": [0.8, 0.9]}
    lr = schedule({"name": "minimum", "of": ["constant", one_cycle]}, lr=1.0, steps=10)
    momentum = lr.momentum(np.array([0, 3]))
    assert momentum is not None
    assert momentum.tolist() == pytest.approx([0.9, 0.8])


def test_a_sequence_shares_its_part_and_counts_percents_and_until_in_the_run() -> None:
    inner: list[dict[str, Any]] = [
        {"name": "constant", "until": "60%"},
        {"name": "constant", "factor": 0.5, "for": "10%"},
        {"name": "constant", "factor": 0.1},
    ]
    parts = [{"name": "warmup", "for": 20}, {"name": "sequence", "of": inner, "for": 60}, "linear"]
    lr = schedule(parts, lr=1.0, steps=100)
    assert lr([20, 59, 60, 69, 70, 79, 80, 90]).tolist() == pytest.approx(
        [1.0, 1.0, 0.5, 0.5, 0.1, 0.1, 0.1, 0.05]
    )


def test_a_sequence_passes_its_start_on_to_its_first_part() -> None:
    spec = {"name": "sequence", "start": 0.5, "of": [{"name": "linear", "for": 50}, "constant"]}
    assert schedule(spec, lr=1.0, steps=100)([0, 25]).tolist() == [0.5, 0.25]


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"name": "product"}, "of is missing: product needs it"),
        ({"name": "product", "of": "cosine"}, "of: expected a list of schedules, got 'cosine'"),
        ({"name": "product", "of": []}, "of: expected a list of schedules, got []"),
        ({"name": "maximum", "of": ["cosin"]}, "of[0].name: unknown scheduler 'cosin'; did you"),
        (
            {"name": "minimum", "of": ["cosine", {"name": "step", "every": 0}]},
            "of[1].every: expected at least 1 step, got 0 steps",
        ),
        (
            [
                {"name": "linear", "for": 50},
                {"name": "sequence", "of": [{"name": "cosine", "for": 60}]},
            ],
            "[1].of[0]: the parts take 60 steps, there is room for 50",
        ),
        (
            [
                {"name": "linear", "for": 50},
                {"name": "sequence", "of": [{"name": "rex", "until": 40}]},
            ],
            "[1].of[0].until: ends at step 40, before it begins at step 50",
        ),
    ],
)
def test_refusals_name_the_inner_key(spec: object, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        schedule(spec, lr=1.0, steps=100)
    assert said in str(caught.value)


def test_all_problems_of_all_members_come_at_once() -> None:
    spec = {"name": "product", "of": [{"name": "cosine", "finale": 1}, {"name": "step"}, 3]}
    with pytest.raises(ConfigError) as caught:
        schedule(spec, lr=1.0, steps=100)
    assert len(caught.value.problems) == 3


def test_every_plateau_of_a_product_sees_every_evaluation() -> None:
    plateaus = [{"name": "plateau", "patience": patience, "factor": 0.5} for patience in (0, 1)]
    lr = schedule({"name": "product", "of": plateaus}, lr=1.0, steps=10)
    for step in (1, 2, 3):
        lr.observe(step, {"val_loss": 1.0})
    assert lr([1, 2, 3]).tolist() == [1.0, 0.5, 0.125]


def test_an_inner_inverse_sqrt_counts_the_warmup_in_front_of_the_outer_part() -> None:
    inner = {"name": "sequence", "of": ["inverse-sqrt"], "warmup": 100}
    assert schedule(inner, lr=1.0, steps=1000)(400) == pytest.approx(0.5)


def test_planned_is_the_curve_of_a_run_of_another_length_held_past_its_end() -> None:
    plan = {"name": "wsd", "warmup": "10%", "cooldown": "20%"}
    short = schedule(plan, lr=0.3, steps=100)
    kept = schedule({"name": "planned", "of": plan, "run": "100 steps"}, lr=0.3, steps=150)
    assert kept(range(100)).tolist() == short(range(100)).tolist()
    assert kept(range(100, 150)).tolist() == [short(100)] * 50
    branch = schedule(
        [{"name": "planned", "of": plan, "run": 100, "until": 60}, {"name": "linear"}],
        lr=0.3,
        steps=80,
    )
    assert branch(range(60)).tolist() == short(range(60)).tolist()
    assert branch([60, 70]).tolist() == pytest.approx([0.3, 0.15])


def test_what_a_planned_plateau_has_learnt_stands_one_deeper() -> None:
    """The state of the plan alone, inside the state of the part: a fork puts it there."""
    plan = {"name": "plateau", "patience": 0, "factor": 0.5}
    alone = schedule(plan, lr=1.0, steps=10)
    inside = schedule({"name": "planned", "of": plan, "run": 10}, lr=1.0, steps=20)
    for step in (2, 4):
        alone.observe(step, {"val_loss": 1.0})
    inside.restore({"0": alone.state()})
    assert inside(range(10)).tolist() == alone(range(10)).tolist()
    assert inside(19) == 0.5
