"""Keras' schedules and callbacks: values worked out by hand, traps, refusals."""

import math

import numpy as np
import pytest

from lrrun.errors import ConfigError
from lrrun.schedules import schedule
from lrrun.schedules.base import ScheduleEnded


def keras(name, steps=100, lr=0.1, steps_per_epoch=1, **arguments):
    return schedule(
        f"keras.{name}", lr=lr, steps=steps, steps_per_epoch=steps_per_epoch, **arguments
    )


def test_exponential_decay_is_continuous_unless_staircase():
    arguments = {"initial_learning_rate": 0.1, "decay_steps": 10, "decay_rate": 0.5}
    assert keras("ExponentialDecay", **arguments)(5) == pytest.approx(0.1 * 0.5**0.5)
    stairs = keras("ExponentialDecay", **arguments, staircase=True)
    assert [stairs(9), stairs(10)] == pytest.approx([0.1, 0.05])


def test_inverse_time_decay():
    lr = keras("InverseTimeDecay", initial_learning_rate=0.3, decay_steps=10, decay_rate=2.0)
    assert [lr(0), lr(5), lr(10)] == pytest.approx([0.3, 0.15, 0.1])


def test_a_boundary_still_has_the_value_before_it():
    lr = keras("PiecewiseConstantDecay", boundaries=[3, 6], values=[1.0, 0.5, 0.25])
    assert lr(np.array([0, 3, 4, 6, 7])).tolist() == [1.0, 1.0, 0.5, 0.5, 0.25]


def test_polynomial_decay_holds_its_end_or_starts_again():
    arguments = {"initial_learning_rate": 1.0, "decay_steps": 4, "end_learning_rate": 0.0}
    assert keras("PolynomialDecay", **arguments)(np.arange(6)).tolist() == [
        1,
        0.75,
        0.5,
        0.25,
        0,
        0,
    ]
    again = keras("PolynomialDecay", **arguments, cycle=True)
    assert [again(4), again(5), again(8)] == pytest.approx([0.0, 3 / 8, 0.0])


def test_cosine_decay_counts_decay_steps_from_the_end_of_the_warmup():
    arguments = {"initial_learning_rate": 0.0, "decay_steps": 10, "alpha": 0.1}
    lr = keras("CosineDecay", **arguments, warmup_target=1.0, warmup_steps=5)
    assert [lr(0), lr(2), lr(5), lr(10), lr(15), lr(99)] == pytest.approx(
        [0, 0.4, 1, 0.55, 0.1, 0.1]
    )
    unused = keras("CosineDecay", **{**arguments, "initial_learning_rate": 1.0}, warmup_steps=5)
    assert unused(0) == 1.0


def test_restarts_lengthen_and_shrink_over_a_floor_that_stays():
    arguments = {"initial_learning_rate": 1.0, "first_decay_steps": 10, "alpha": 0.2}
    lr = keras("CosineDecayRestarts", **arguments, t_mul=2.0, m_mul=0.5)
    assert [lr(0), lr(10), lr(20), lr(30)] == pytest.approx([1.0, 0.6, 0.4, 0.4])


def test_a_restart_that_rounding_would_miss_is_not_missed():
    """log 243 / log 3 is 4.999999999999999: Keras' float32 floor makes it the fifth restart."""
    lr = keras(
        "CosineDecayRestarts", 200, initial_learning_rate=1.0, first_decay_steps=1, t_mul=3.0
    )
    assert math.log(243) / math.log(3) < 5
    assert lr(121) == 1.0


def test_cycles_that_shrink_come_to_an_end():
    lr = keras("CosineDecayRestarts", initial_learning_rate=1.0, first_decay_steps=10, t_mul=0.5)
    assert lr(19) >= 0
    with pytest.raises(ScheduleEnded, match=r"step 20 .* keras gives"):
        lr(20)


def test_a_whole_number_makes_keras_count_in_whole_numbers():
    lr = keras("ExponentialDecay", initial_learning_rate=1, decay_steps=10, decay_rate=0.9)
    assert lr(np.arange(3)).tolist() == [1.0, 0.0, 0.0]


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("CosineDecay", {"initial_learning_rate": 0.1, "decay_steps": 0}, "decay_steps: .*than 0"),
        ("PiecewiseConstantDecay", {"boundaries": [1], "values": [1.0]}, "one value more"),
        ("PiecewiseConstantDecay", {"boundaries": [], "values": [1.0]}, "at least 1 boundary"),
        ("ReduceLROnPlateau", {"factor": 1.0}, "factor: expected a factor below 1"),
        ("ReduceLROnPlateau", {"monitor": "val_fid"}, "monitor: .*add mode: min or max"),
        ("LearningRateScheduler", {"schedule": "open('x')"}, "schedule: .*open is not known"),
        ("LinearDecay", {}, "PolynomialDecay with power 1 is a line"),
    ],
)
def test_refusals(name, arguments, message):
    with pytest.raises(ConfigError, match=message):
        keras(name, **arguments)


def test_the_callback_feeds_the_lr_back_in_float32():
    lr = keras("LearningRateScheduler", 4, schedule="lr * 0.5 if epoch == 2 else lr")
    first = float(np.float32(0.1))
    assert lr(np.arange(4)).tolist() == [first, first, first / 2, first / 2]


def test_the_callback_counts_epochs_and_may_ignore_the_lr():
    lr = keras("LearningRateScheduler", 10, steps_per_epoch=5, schedule="1.0 / (1 + epoch)")
    assert [lr(0), lr(4), lr(5)] == [1.0, 1.0, 0.5]


def cuts(lr, metrics, name="val_loss"):
    """The evaluations, from 0, that changed the LR."""
    return [k for k, value in enumerate(metrics) if lr.observe(k + 1, {name: value})]


def test_plateau_cuts_at_the_patience_th_bad_epoch():
    lr = keras("ReduceLROnPlateau", factor=0.5, patience=3)
    assert cuts(lr, [1.0] * 7) == [3, 6]
    assert lr(np.array([3, 4, 7])) == pytest.approx([0.1, 0.05, 0.025])


def test_plateau_knows_the_direction_of_keras_metrics():
    rising = [0.1 * k for k in range(8)]
    up = keras("ReduceLROnPlateau", monitor="val_accuracy", patience=2)
    assert cuts(up, rising, "val_accuracy") == []
    assert cuts(keras("ReduceLROnPlateau", patience=2), rising) != []


def test_plateau_compares_in_float32():
    """0.3 - 0.2999 is a hair above 1e-4 in float64 and equal to it in float32: not better."""
    lr = keras("ReduceLROnPlateau", patience=1, min_delta=1e-4)
    assert 0.2998999999999 + 1e-4 < 0.3
    assert cuts(lr, [0.3, 0.2998999999999]) == [1]


def test_plateau_stops_at_min_lr():
    lr = keras("ReduceLROnPlateau", factor=0.1, patience=1, min_lr=0.02)
    assert cuts(lr, [1.0] * 5) == [1]
    assert lr(50) == pytest.approx(0.02)
