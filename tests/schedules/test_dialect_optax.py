"""optax' schedules: values worked out by hand, float32 where optax has it, traps, refusals."""

import numpy as np
import pytest

from lrrun.errors import ConfigError
from lrrun.schedules import schedule
from lrrun.schedules.base import ScheduleEnded

COSINE = {"init_value": 0.0, "peak_value": 1.0, "warmup_steps": 2, "decay_steps": 6}


def optax(name, steps=100, lr=0.1, **arguments):
    return schedule(f"optax.{name}", lr=lr, steps=steps, **arguments)


def test_linear_schedule_waits_falls_and_holds():
    lr = optax(
        "linear_schedule", init_value=1.0, end_value=0.5, transition_steps=4, transition_begin=2
    )
    assert lr(np.array([0, 2, 4, 6, 50])).tolist() == [1.0, 1.0, 0.75, 0.5, 0.5]


def test_a_transition_of_0_steps_never_leaves_the_start():
    assert optax("linear_schedule", init_value=0.1, end_value=0.2, transition_steps=0)(50) == 0.1
    assert (
        optax("warmup_constant_schedule", init_value=0.01, peak_value=1.0, warmup_steps=0)(9)
        == 0.01
    )


def test_a_count_is_divided_in_float32():
    """1e-7 + 0.1 · 1/1000 as optax has it: 0.00010010600, recorded from optax 0.2.8."""
    lr = optax("linear_schedule", init_value=1e-7, end_value=0.1, transition_steps=1000)
    assert lr(1) == pytest.approx(0.00010010600090026855, rel=1e-9)


def test_polynomial_schedule():
    lr = optax("polynomial_schedule", init_value=1.0, end_value=0.0, power=2, transition_steps=4)
    assert lr(np.arange(5)).tolist() == [1.0, 0.5625, 0.25, 0.0625, 0.0]


def test_piecewise_constant_takes_boundaries_as_json_or_yaml_writes_them():
    for scales in ({"3": 0.5, "6": 0.1}, {6: 0.1, 3: 0.5}):
        lr = optax("piecewise_constant_schedule", init_value=1.0, boundaries_and_scales=scales)
        assert lr(np.array([2, 3, 5, 6])) == pytest.approx([1.0, 0.5, 0.5, 0.05])


def test_piecewise_interpolate_runs_between_the_values():
    arguments = {"init_value": 1.0, "boundaries_and_scales": {4: 3.0, 8: 0.0}}
    lines = optax("piecewise_interpolate_schedule", interpolate_type="linear", **arguments)
    assert lines(np.array([0, 2, 4, 6, 8, 20])).tolist() == [1.0, 2.0, 3.0, 1.5, 0.0, 0.0]
    waves = optax("piecewise_interpolate_schedule", interpolate_type="cosine", **arguments)
    assert waves(1) == pytest.approx(2 - np.cos(np.pi / 4), rel=1e-6)


def test_exponential_decay_has_a_floor():
    arguments = {"init_value": 1.0, "transition_steps": 2, "decay_rate": 0.5}
    assert optax("exponential_decay", **arguments)(1) == pytest.approx(0.5**0.5, rel=1e-6)
    lr = optax("exponential_decay", **arguments, staircase=True, transition_begin=1, end_value=0.25)
    assert lr(np.array([0, 1, 2, 3, 5, 9])).tolist() == [1.0, 1.0, 1.0, 0.5, 0.25, 0.25]


def test_onecycle_goes_through_its_corners():
    arguments = {
        "transition_steps": 10,
        "peak_value": 1.0,
        "div_factor": 4.0,
        "final_div_factor": 2.0,
    }
    lines = optax("linear_onecycle_schedule", **arguments, pct_start=0.2, pct_final=0.6)
    assert lines(np.array([0, 2, 6, 10, 99])) == pytest.approx([0.25, 1.0, 0.25, 0.125, 0.125])
    waves = optax("cosine_onecycle_schedule", **arguments, pct_start=0.2)
    assert waves(np.array([0, 2, 10])) == pytest.approx([0.25, 1.0, 0.125])


def test_decay_steps_includes_the_warmup():
    lr = optax("warmup_cosine_decay_schedule", **COSINE, end_value=0.2)
    assert lr(np.array([0, 1, 2, 4, 6, 9])) == pytest.approx([0.0, 0.5, 1.0, 0.6, 0.2, 0.2])


def test_warmup_then_exponential():
    arguments = {"init_value": 0.0, "peak_value": 1.0, "warmup_steps": 4}
    lr = optax(
        "warmup_exponential_decay_schedule", **arguments, transition_steps=2, decay_rate=0.25
    )
    assert lr(np.array([2, 4, 6])) == pytest.approx([0.5, 1.0, 0.25])


def test_sgdr_starts_each_cycle_with_its_own_warmup():
    lr = optax("sgdr_schedule", cosine_kwargs=[COSINE, {**COSINE, "peak_value": 0.5}])
    assert lr(np.array([2, 5, 6, 8])) == pytest.approx([1.0, 0.14644661, 0.0, 0.5])


def test_join_schedules_counts_from_the_boundaries():
    parts = [
        {
            "name": "optax.linear_schedule",
            "init_value": 0.0,
            "end_value": 1.0,
            "transition_steps": 4,
        },
        {"name": "optax.constant_schedule", "value": 1.0},
        {
            "name": "optax.linear_schedule",
            "init_value": 1.0,
            "end_value": 0.0,
            "transition_steps": 4,
        },
    ]
    lr = optax("join_schedules", schedules=parts, boundaries=[4, 8])
    assert lr(np.array([0, 2, 4, 8, 10, 12])).tolist() == [0.0, 0.5, 1.0, 1.0, 0.5, 0.0]


def test_what_grows_past_all_numbers_has_an_end():
    lr = optax("exponential_decay", 200, init_value=1.0, transition_steps=1, decay_rate=1e10)
    assert lr(2) == pytest.approx(1e20, rel=1e-6)
    with pytest.raises(ScheduleEnded, match="optax gives inf"):
        lr(5)


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("cosine_decay_schedule", {"init_value": 0.1, "decay_steps": 0}, "decay_steps: .*than 0"),
        ("warmup_cosine_decay_schedule", {**COSINE, "decay_steps": 2}, "decay_steps: .*includes"),
        (
            "linear_onecycle_schedule",
            {"transition_steps": 0, "peak_value": 1.0},
            "transition_steps",
        ),
        (
            "piecewise_constant_schedule",
            {"init_value": 1.0, "boundaries_and_scales": {3: -1}},
            "at least 0",
        ),
        (
            "piecewise_constant_schedule",
            {"init_value": 1.0, "boundaries_and_scales": [3]},
            "mapping of step",
        ),
        ("sgdr_schedule", {"cosine_kwargs": []}, "at least one cycle"),
        (
            "sgdr_schedule",
            {"cosine_kwargs": [{"peak": 1.0}]},
            "cycle 0: peak: unknown key; .*peak_value",
        ),
        (
            "sgdr_schedule",
            {"cosine_kwargs": [COSINE, {**COSINE, "decay_steps": 1}]},
            "cycle 1: decay",
        ),
        (
            "join_schedules",
            {"schedules": ["linear"], "boundaries": []},
            "expected a schedule of optax",
        ),
        ("contrib.reduce_on_plateau", {"factor": 1.0}, "factor: expected a factor between 0 and 1"),
        ("contrib.reduce_on_plateau", {"rtol": 0.0}, "rtol or atol above 0"),
    ],
)
def test_refusals(name, arguments, message):
    with pytest.raises(ConfigError, match=message):
        optax(name, **arguments)


def fed(lr, metrics):
    """The LR of every update, the metric being seen before it."""
    used = []
    for step, value in enumerate(metrics):
        lr.observe(step, {"val_loss": value})
        used.append(lr(step))
    return used


def test_plateau_cuts_before_the_update_that_the_metric_belongs_to():
    lr = optax("contrib.reduce_on_plateau", factor=0.5, patience=2)
    assert fed(lr, [1.0] * 6) == pytest.approx([0.1, 0.1, 0.05, 0.05, 0.025, 0.025])


def test_plateau_has_a_floor_on_the_scale():
    lr = optax("contrib.reduce_on_plateau", lr=1.0, factor=0.1, patience=1, min_scale=0.05)
    assert fed(lr, [1.0] * 4) == pytest.approx([1.0, 0.1, 0.05, 0.05])


def test_plateau_may_take_the_mean_of_several_metrics():
    lr = optax("contrib.reduce_on_plateau", factor=0.5, patience=1, accumulation_size=2)
    assert fed(lr, [1.0, 3.0, 2.0, 2.0]) == pytest.approx([0.1, 0.1, 0.1, 0.05])
