"""The transformers dialect; values of the library itself are among the oracles."""

import numpy as np
import pytest

from lrrun.errors import ConfigError, LrrunError
from lrrun.schedules import CATALOGUE, schedule

NAMES = {
    "linear": "get_linear_schedule_with_warmup",
    "cosine": "get_cosine_schedule_with_warmup",
    "cosine_with_restarts": "get_cosine_with_hard_restarts_schedule_with_warmup",
    "polynomial": "get_polynomial_decay_schedule_with_warmup",
    "constant": "get_constant_schedule",
    "constant_with_warmup": "get_constant_schedule_with_warmup",
    "inverse_sqrt": "get_inverse_sqrt_schedule",
    "reduce_lr_on_plateau": "get_reduce_on_plateau_schedule",
    "cosine_with_min_lr": "get_cosine_with_min_lr_schedule_with_warmup",
    "cosine_warmup_with_min_lr": "get_cosine_with_min_lr_schedule_with_warmup_lr_rate",
    "warmup_stable_decay": "get_wsd_schedule",
    "greedy": "get_greedy_schedule",
}
STEPS = np.arange(130)


def lrs(name, **arguments):
    return schedule(f"transformers.{name}", lr=0.01, steps=100, **arguments)(STEPS)


@pytest.mark.parametrize(("name", "function"), NAMES.items())
def test_a_name_of_get_scheduler_and_its_function_are_one_schedule(name, function):
    needed = {
        "num_warmup_steps": 10,
        "num_training_steps": 100,
        "num_decay_steps": 30,
        "min_lr_rate": 0.1,
    }
    by_name, by_function = (
        {k: v for k, v in needed.items() if k in CATALOGUE[f"transformers.{each}"].parameters}
        for each in (name, function)
    )
    np.testing.assert_array_equal(lrs(name, **by_name), lrs(function, **by_function))
    assert CATALOGUE[f"transformers.{name}"].summary


def test_specific_arguments_may_stand_inside_or_beside():
    general = {"num_warmup_steps": 10, "num_training_steps": 100}
    beside = lrs("polynomial", **general, power=2, lr_end=1e-4)
    inside = lrs("polynomial", **general, scheduler_specific_kwargs={"power": 2, "lr_end": 1e-4})
    np.testing.assert_array_equal(beside, inside)
    assert beside[-1] == pytest.approx(1e-4)


def test_linear_by_hand():
    curve = lrs("linear", num_warmup_steps=10, num_training_steps=100)
    assert curve[[0, 5, 10, 55, 100, 120]] == pytest.approx([0, 0.005, 0.01, 0.005, 0, 0])


def test_warmup_stable_decay_by_hand():
    general = {"num_warmup_steps": 10, "num_training_steps": 100}
    curve = lrs("warmup_stable_decay", **general, num_decay_steps=40, decay_type="1-sqrt")
    assert curve[[0, 10, 60, 70, 100]] == pytest.approx([0, 0.01, 0.01, 0.005, 0])


def test_adafactor_by_hand():
    assert lrs("AdafactorSchedule")[[0, 99]] == pytest.approx([0.01, 0.01])
    warm = schedule("transformers.AdafactorSchedule", lr=1.0, steps=10**6, warmup_init=True)
    assert warm([0, 9999, 999_999]) == pytest.approx([1e-6, 1e-2, 1e-3])


def test_polynomial_whose_warmup_is_the_run_fails_where_the_library_does():
    curve = schedule(
        "transformers.polynomial", lr=0.01, steps=60, num_warmup_steps=60, num_training_steps=60
    )
    assert curve(59) == pytest.approx(0.01 * 59 / 60)
    with pytest.raises(LrrunError, match="step 60"):
        curve(60)


@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        ("linear", {"num_warmup_steps": 0}, "write num_training_steps: 100"),
        ("linear", {"num_training_steps": 9}, "num_warmup_steps: missing"),
        ("cosine_with_min_lr", {}, "min_lr or min_lr_rate, got neither"),
        ("cosine_with_min_lr", {"min_lr": 0.0, "min_lr_rate": 0.1}, "got both"),
        ("polynomial", {"lr_end": 1.0}, "less than the LR it decays from"),
        ("polynomial", {"powr": 2}, "did you mean power"),
        ("polynomial", {"scheduler_specific_kwargs": {"powr": 2}}, "did you mean power"),
        ("polynomial", {"power": 2, "scheduler_specific_kwargs": {"power": 2}}, "once"),
        ("polynomial", {"scheduler_specific_kwargs": {"power": "a"}}, "power: expected a number"),
        ("warmup_stable_decay", {}, "num_decay_steps: missing"),
        ("AdafactorSchedule", {"scale_parameter": True}, "optimizer's to do"),
    ],
)
def test_refusals_say_what_to_do(name, arguments, said):
    general = {"num_warmup_steps": 10, "num_training_steps": 100}
    given = {**general, **arguments} if name not in ("linear", "AdafactorSchedule") else arguments
    with pytest.raises(ConfigError, match=said):
        lrs(name, **given)
