"""pytorch_scheduler's schedulers: values worked out by hand, compositions, refusals."""

import math

import numpy as np
import pytest

from lrrun.errors import ConfigError
from lrrun.schedules import CATALOGUE, schedule
from lrrun.schedules.base import ScheduleEnded

LATE = 10**6


def ps(name, steps=100, lr=1.0, **arguments):
    return schedule(f"pytorch_scheduler.{name}", lr=lr, steps=steps, **arguments)


def part(name, **arguments):
    return {"name": f"pytorch_scheduler.{name}", **arguments}


VALUES = [
    ("IdentityScheduler", {}, {0: 1.0, LATE: 1.0}),
    ("RexScheduler", {"total_steps": 10}, {0: 1.0, 5: 2 / 3, 10: 0.0, LATE: 0.0}),
    (
        "LinearDecayScheduler",
        {"total_steps": 10, "warmup_steps": 2, "min_lr": 0.2},
        {0: 0.0, 1: 0.5, 2: 1.0, 6: 0.6, 10: 0.2, LATE: 0.2},
    ),
    (
        "CosineWithWarmupScheduler",
        {"total_steps": 10, "warmup_steps": 2, "min_lr": 0.2},
        {1: 0.5, 2: 1.0, 6: 0.6, 10: 0.2},
    ),
    (
        "WarmupHoldCosineScheduler",
        {"total_steps": 10, "warmup_steps": 2, "hold_steps": 4},
        {1: 0.5, 5: 1.0, 6: 1.0, 8: 0.5, 10: 0.0},
    ),
    ("FlatCosineScheduler", {"total_steps": 10, "flat_fraction": 0.6}, {6: 1.0, 8: 0.5, 10: 0.0}),
    ("KDecayScheduler", {"total_steps": 10, "k": 2.0}, {5: (1 + math.cos(math.pi / 4)) / 2}),
    (
        "TanhDecayScheduler",
        {"total_steps": 10, "steepness": 1.0},
        {0: (1 + math.tanh(1)) / 2, 5: 0.5, 10: 0.0},
    ),
    (
        "ChebyshevScheduler",
        {"total_steps": 2},
        {0: (1 + math.cos(math.pi / 4)) / 2, 1: (1 - math.cos(math.pi / 4)) / 2, LATE: 0.14644661},
    ),
    (
        "TrapezoidalScheduler",
        {"total_steps": 10, "warmup_steps": 2, "decay_steps": 4},
        {1: 0.5, 5: 1.0, 6: 1.0, 8: 0.5, 10: 0.0},
    ),
    (
        "WSDScheduler",
        {"total_steps": 10, "warmup_steps": 2, "stable_steps": 4, "decay_type": "sqrt"},
        {1: 0.5, 6: 1.0, 7: 0.5, 10: 0.0},
    ),
    (
        "PolynomialScheduler",
        {"total_steps": 4, "power": 2.0, "cycle": True},
        {0: 1.0, 2: 0.25, 4: 1.0, 6: 0.25},
    ),
    ("InverseSqrtScheduler", {"warmup_steps": 4}, {0: 0.0, 2: 0.5, 4: 1.0, 16: 0.5}),
    (
        "PowerDecayScheduler",
        {"total_steps": 10, "warmup_steps": 2, "alpha": 1.0, "min_lr": 0.1},
        {1: 0.5, 2: 1.0, 8: 0.25, LATE: 0.1},
    ),
    ("PowerDecayScheduler", {"total_steps": 10}, {0: 1.0, 3: 0.5, 15: 0.25}),
    (
        "SlantedTriangularScheduler",
        {"total_steps": 10, "cut_frac": 0.2, "ratio": 4.0},
        {0: 0.25, 1: 0.625, 2: 1.0, 6: 0.625, 10: 0.25, LATE: 0.25},
    ),
    (
        "CosineAnnealingWarmupRestarts",
        {"first_cycle_steps": 6, "warmup_steps": 2, "max_lr": 2.0, "min_lr": 0.0, "gamma": 0.5},
        {0: 0.0, 1: 1.0, 2: 2.0, 4: 1.0, 6: 0.0, 8: 1.0},
    ),
    (
        "HyperbolicLRScheduler",
        {"total_steps": 10, "upper_bound": 10, "min_lr": 0.5},
        {0: 1.0, 5: 0.75, 10: 0.5, LATE: 0.5},
    ),
    (
        "ExpHyperbolicLRScheduler",
        {"total_steps": 12, "upper_bound": 12, "min_lr": 0.01, "warmup_steps": 2},
        {0: 0.01, 1: 0.505, 2: 1.0},
    ),
]


@pytest.mark.parametrize(("name", "arguments", "values"), VALUES)
def test_values(name, arguments, values):
    lr = ps(name, **arguments)
    assert [lr(step) for step in values] == pytest.approx(list(values.values()))


def test_every_scheduler_has_a_value_worked_out_by_hand():
    composed = {"WarmupScheduler", "SequentialComposer"}
    names = {each.partition(".")[2] for each in CATALOGUE if each.startswith("pytorch_scheduler.")}
    assert names - composed == {name for name, _, _ in VALUES}


def test_a_longer_bound_leaves_the_hyperbola_above_its_floor():
    lr = ps("HyperbolicLRScheduler", total_steps=10, upper_bound=20, min_lr=0.5)
    assert lr(10) == pytest.approx(1 - 0.5 * math.sqrt(0.75))


@pytest.mark.parametrize(
    ("kind", "middle"), [("linear", 0.5), ("cosine", 0.5), ("exponential", 0.25)]
)
def test_a_warmup_in_front_of_another_scheduler(kind, middle):
    rex = part("RexScheduler", total_steps=10)
    lr = ps("WarmupScheduler", base_scheduler=rex, warmup_steps=4, warmup_type=kind)
    assert lr(np.array([0, 2, 4, 9, 14])) == pytest.approx([0.0, middle, 1.0, 2 / 3, 0.0])


def test_schedulers_in_a_row_count_from_their_milestones():
    row = [part("IdentityScheduler"), part("LinearDecayScheduler", total_steps=4)]
    lr = ps("SequentialComposer", schedulers=row, milestones=[3])
    assert lr(np.array([0, 2, 3, 5, 7])).tolist() == [1.0, 1.0, 1.0, 0.5, 0.0]


def test_cycles_that_shrink_to_0_steps_come_to_an_end():
    lr = ps("CosineAnnealingWarmupRestarts", first_cycle_steps=4, cycle_mult=0.5)
    assert lr(6) == pytest.approx(0.001)
    for _ in range(2):
        with pytest.raises(ScheduleEnded, match="step 7"):
            lr(7)


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("RexScheduler", {"total_steps": 0}, "total_steps: expected more than 0"),
        ("LinearDecayScheduler", {"total_steps": 9, "warmup_steps": 9}, "below total_steps = 9"),
        ("CosineWithWarmupScheduler", {"total_steps": 9, "min_lr": -1.0}, "min_lr: .*at least 0"),
        (
            "WSDScheduler",
            {"total_steps": 9, "warmup_steps": 4, "stable_steps": 5},
            "stable_steps: ",
        ),
        ("TrapezoidalScheduler", {"total_steps": 9, "warmup_steps": 5, "decay_steps": 5}, "got 10"),
        ("FlatCosineScheduler", {"total_steps": 9, "flat_fraction": 1.0}, "less than 1"),
        ("SlantedTriangularScheduler", {"total_steps": 9, "cut_frac": 0.0}, "between 0 and 1"),
        ("InverseSqrtScheduler", {"warmup_steps": 0}, "warmup_steps: expected more than 0"),
        ("HyperbolicLRScheduler", {"total_steps": 9, "upper_bound": 8}, "at least total_steps = 9"),
        ("CosineAnnealingWarmupRestarts", {"first_cycle_steps": 9, "min_lr": 1.0}, "max_lr: "),
        ("WarmupScheduler", {"base_scheduler": "cosine", "warmup_steps": 1}, "got cosine"),
        (
            "SequentialComposer",
            {"schedulers": [part("IdentityScheduler")], "milestones": [1]},
            "one less",
        ),
        ("RexScheduler", {"total_steps": 9, "last_epoch": 3}, "last_epoch: expected -1"),
    ],
)
def test_refusals(name, arguments, message):
    with pytest.raises(ConfigError, match=message):
        ps(name, **arguments)
