"""mmengine's schedulers: begin and end, its clocks, its lists, its plateau, refusals."""

import json

import numpy as np
import pytest

from lrrun.errors import ConfigError
from lrrun.schedules import schedule
from lrrun.schedules.base import ScheduleEnded


def mmengine(name, steps=100, lr=1.0, steps_per_epoch=1, **arguments):
    name = f"mmengine.{name}"
    return schedule(name, lr=lr, steps=steps, steps_per_epoch=steps_per_epoch, **arguments)


def part(name, **arguments):
    return {"name": f"mmengine.{name}", **arguments}


def test_a_line_arrives_one_before_its_end():
    lr = mmengine("LinearLR", start_factor=0.5, begin=2, end=7)
    assert lr(np.array([0, 1, 2, 4, 6, 50])) == pytest.approx([1, 1, 0.5, 0.75, 1, 1])


def test_a_constant_comes_back_one_before_its_end():
    lr = mmengine("ConstantLR", factor=0.25, end=5)
    assert lr(np.arange(6)) == pytest.approx([0.25] * 4 + [1.0] * 2)


def test_a_start_factor_of_0_has_no_second_value():
    lr = mmengine("LinearLR", start_factor=0.0, end=5)
    assert lr(0) == 0.0
    with pytest.raises(ScheduleEnded, match=r"step 1 .*division by zero"):
        lr(1)


def test_steps_milestones_and_exponentials_count_from_begin():
    assert mmengine("StepLR", step_size=3, gamma=0.5, begin=2)(np.array([4, 5, 8])).tolist() == [
        1,
        0.5,
        0.25,
    ]
    twice = mmengine("MultiStepLR", milestones=[3, 3, 5], gamma=0.5, begin=1)
    assert twice(np.array([3, 4, 6])).tolist() == [1.0, 0.25, 0.125]
    assert mmengine("ExponentialLR", gamma=0.5, end=3)(np.arange(5)).tolist() == [
        1,
        0.5,
        0.25,
        0.25,
        0.25,
    ]


def test_poly_reaches_eta_min_one_before_its_end():
    lr = mmengine("PolyLR", power=2.0, eta_min=0.2, end=11)
    assert lr(np.array([0, 5, 10, 50])) == pytest.approx([1.0, 0.4, 0.2, 0.2])


def test_cosine_rises_after_t_max():
    lr = mmengine("CosineAnnealingLR", T_max=10, eta_min_ratio=0.1)
    assert lr(np.array([0, 5, 10, 15, 20])) == pytest.approx([1.0, 0.55, 0.1, 0.55, 1.0])


def test_restarts_have_their_own_lengths_and_heights():
    arguments = {"periods": [4, 8], "restart_weights": [1.0, 0.5], "eta_min": 0.0}
    lr = mmengine("CosineRestartLR", **arguments)
    last = 0.25 * (1 + np.cos(np.pi * 7 / 8))
    assert lr(np.array([0, 2, 4, 8, 11, 50])) == pytest.approx([1.0, 0.5, 0.5, 0.25, last, last])


def test_one_cycle_brings_its_own_lr_and_ends():
    lr = mmengine(
        "OneCycleLR", eta_max=0.5, total_steps=20, pct_start=0.3, anneal_strategy="linear"
    )
    assert lr(np.array([0, 5, 19])) == pytest.approx([0.02, 0.5, 0.02 / 1e4])
    assert lr(20) < 0
    with pytest.raises(ScheduleEnded, match="step 21"):
        lr(21)


def test_three_ways_to_say_what_the_clock_counts():
    arguments = {"steps_per_epoch": 5, "gamma": 0.5}
    by_epoch = mmengine("StepLR", step_size=1, **arguments)
    by_update = mmengine("StepLR", step_size=1, by_epoch=False, **arguments)
    converted = mmengine("StepLR", step_size=1, convert_to_iter_based=True, **arguments)
    steps = np.array([1, 4, 5, 10])
    assert by_epoch(steps).tolist() == [1.0, 1.0, 0.5, 0.25]
    assert by_update(steps).tolist() == [0.5**1, 0.5**4, 0.5**5, 0.5**10]
    assert converted(steps).tolist() == by_epoch(steps).tolist()


def test_a_list_goes_on_from_what_its_schedulers_left():
    warm = part("LinearLR", start_factor=0.5, end=3)
    lr = mmengine("list", schedulers=[warm, part("ExponentialLR", gamma=0.1, begin=3)])
    assert lr(np.arange(6)) == pytest.approx([0.5, 0.75, 1.0, 1.0, 0.1, 0.01])


def test_a_list_may_mix_its_clocks():
    warm = part("LinearLR", start_factor=0.5, end=3, by_epoch=False)
    lr = mmengine(
        "list", steps_per_epoch=4, schedulers=[warm, part("StepLR", step_size=1, gamma=0.1)]
    )
    assert lr(np.array([0, 1, 2, 3, 4, 8])) == pytest.approx([0.5, 0.75, 1.0, 1.0, 0.1, 0.01])


def cuts(lr, metrics, every=1):
    """The evaluations, from 0, that changed the LR."""
    return [
        k for k, value in enumerate(metrics) if lr.observe((k + 1) * every, {"val_loss": value})
    ]


def test_plateau_cuts_after_more_than_patience():
    lr = mmengine("ReduceOnPlateauLR", factor=0.5, patience=1, min_value=0.3)
    assert cuts(lr, [1.0] * 8) == [2, 4]
    assert lr(np.array([2, 3, 5, 50])) == pytest.approx([1.0, 0.5, 0.3, 0.3])


def test_plateau_takes_nothing_above_1e9_for_good():
    assert cuts(mmengine("ReduceOnPlateauLR", patience=0), [2e9]) == [0]


def test_plateau_listens_between_begin_and_end():
    lr = mmengine("ReduceOnPlateauLR", steps_per_epoch=4, patience=0, begin=3, end=5)
    assert cuts(lr, [1.0] * 8, every=4) == [3]


def test_plateau_in_a_list_cuts_what_the_others_left():
    warm = part("LinearLR", start_factor=0.5, end=3)
    plateau = part("ReduceOnPlateauLR", factor=0.5, patience=0, begin=4)
    lr, again = (mmengine("list", schedulers=[warm, plateau]) for _ in range(2))
    assert cuts(lr, [1.0] * 6) == [4, 5]
    assert lr(np.arange(8)) == pytest.approx([0.5, 0.75, 1.0, 1.0, 1.0, 0.5, 0.25, 0.25])
    again.restore(json.loads(json.dumps(lr.state())))
    assert again(np.arange(8)).tolist() == lr(np.arange(8)).tolist()


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("LinearLR", {"start_factor": 1.5}, "start_factor: expected a factor from 0 to 1"),
        ("LinearLR", {"begin": 5, "end": 5}, "end: expected more than begin = 5"),
        ("CosineRestartLR", {"periods": [4], "restart_weights": [1.0]}, "eta_min: .*got neither"),
        ("CosineAnnealingLR", {"eta_min": 0.0, "eta_min_ratio": 0.1}, "eta_min: .*got both"),
        ("CosineRestartLR", {"periods": [4, 4], "eta_min": 0.0}, "restart_weights: .*1 for 2"),
        ("OneCycleLR", {"eta_max": 1.0, "total_steps": 0}, "total_steps: expected more than 0"),
        ("OneCycleLR", {"eta_max": 1.0, "pct_start": 1}, "pct_start: expected a float"),
        ("ReduceOnPlateauLR", {"factor": 1.0}, "factor: expected less than 1"),
        ("ReduceOnPlateauLR", {"by_epoch": False}, "by_epoch: expected true"),
        ("StepLR", {"step_size": 1, "by_epoch": False, "convert_to_iter_based": True}, "by_epoch"),
        ("list", {"schedulers": ["cosine"]}, "expected a schedule of mmengine, got cosine"),
        (
            "list",
            {"schedulers": [part("list", schedulers=[part("ConstantLR")])]},
            "got mmengine.list",
        ),
        (
            "list",
            {"schedulers": [part("LinearLR", start_factor=2.0)]},
            r"schedulers\[0\].start_factor",
        ),
    ],
)
def test_refusals(name, arguments, message):
    with pytest.raises(ConfigError, match=message):
        mmengine(name, **arguments)


def test_epochs_need_their_length():
    with pytest.raises(ConfigError, match="steps-per-epoch"):
        mmengine("LinearLR", steps_per_epoch=None, convert_to_iter_based=True)
