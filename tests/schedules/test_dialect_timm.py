"""timm's schedulers: values worked out by hand, its traps, its noise, its factory, refusals."""

import math
import subprocess
import sys

import numpy as np
import pytest

from lrrun.errors import ConfigError
from lrrun.schedules import schedule
from lrrun.schedules.base import ScheduleEnded


def timm(name, steps=100, lr=1.0, steps_per_epoch=1, **arguments):
    return schedule(
        f"timm.{name}", lr=lr, steps=steps, steps_per_epoch=steps_per_epoch, **arguments
    )


def test_without_prefix_the_warmup_hides_the_beginning_of_the_cosine():
    hidden = timm("CosineLRScheduler", t_initial=10, warmup_t=5)
    assert hidden(np.array([0, 4, 5, 10])) == pytest.approx([0.0, 0.8, 0.5, 0.0])
    prefixed = timm("CosineLRScheduler", t_initial=10, warmup_t=5, warmup_prefix=True)
    assert prefixed(np.array([4, 5, 10, 15])) == pytest.approx([0.8, 1.0, 0.5, 0.0])


def test_cycles_lengthen_shrink_and_end():
    arguments = {"t_initial": 10, "cycle_mul": 2.0, "cycle_decay": 0.5, "cycle_limit": 2}
    lr = timm("CosineLRScheduler", **arguments, lr_min=0.1)
    assert lr(np.array([0, 5, 10, 20, 30, 90])) == pytest.approx([1.0, 0.55, 0.5, 0.3, 0.1, 0.1])


def test_k_decay_bends_the_cosine():
    lr = timm("CosineLRScheduler", t_initial=10, k_decay=2.0)
    assert lr(5) == pytest.approx((1 + math.cos(math.pi / 4)) / 2)


def test_cycles_that_shrink_to_nothing_come_to_an_end():
    lr = timm("CosineLRScheduler", t_initial=10, cycle_mul=0.5, cycle_limit=9)
    with pytest.raises(ScheduleEnded, match="timm"):
        lr(20)


def test_tanh_starts_at_the_constructor_s_lr_and_warms_up_to_itself():
    assert timm("TanhLRScheduler", t_initial=10, lb=-1.0, ub=1.0)(0) == 1.0
    lr = timm("TanhLRScheduler", t_initial=10, lb=-1.0, ub=1.0, warmup_t=5)
    assert lr(np.array([0, 4, 5, 10])) == pytest.approx([0.0, 0.4, 0.5, 0.0])


def test_poly():
    lr = timm("PolyLRScheduler", t_initial=10, power=2.0, lr_min=0.2)
    assert lr(np.array([0, 5, 10])) == pytest.approx([1.0, 0.4, 0.2])


def test_step_takes_fractions_of_an_epoch():
    lr = timm("StepLRScheduler", decay_t=2.5, decay_rate=0.5)
    assert lr(np.array([2, 3, 4, 5])).tolist() == [1.0, 0.5, 0.5, 0.25]


def test_a_milestone_acts_an_epoch_early():
    lr = timm("MultiStepLRScheduler", decay_t=[3, 6], decay_rate=0.1)
    assert lr(np.array([1, 2, 4, 5])) == pytest.approx([1.0, 0.1, 0.1, 0.01])


@pytest.mark.parametrize(
    ("decay_fn", "middle"),
    [
        ("linear", 0.5),
        ("1-sqrt", 1 - math.sqrt(0.5)),
        ("cosine", 0.5),
        ("power", 1 - 0.5**0.5),
        ("exp", (0.1**0.5 - 0.1) / 0.9),
        ("(1 - frac) ** 3", 0.125),
    ],
)
def test_wsd_decays_in_many_shapes(decay_fn, middle):
    lr = timm("WSDLRScheduler", t_initial=10, decay_t=4, warmup_t=2, decay_fn=decay_fn)
    assert lr(np.array([1, 2, 8, 10, 12])) == pytest.approx([0.5, 1.0, 1.0, middle, 0.0])


def test_a_stable_phase_may_decay_down_to_the_floor():
    arguments = {"t_initial": 100, "decay_t": 10, "stable_timescale": 1.0, "lr_min": 0.25}
    assert timm("WSDLRScheduler", **arguments, stable_fn="rsqrt")(3) == 0.5
    assert timm("WSDLRScheduler", **arguments, stable_fn="power", stable_power=1.0)(9) == 0.25


def test_the_clock_counts_epochs_unless_t_in_epochs_is_false():
    by_epoch = timm("StepLRScheduler", steps_per_epoch=10, decay_t=1, decay_rate=0.5)
    assert [by_epoch(9), by_epoch(10)] == [1.0, 0.5]
    by_update = timm(
        "StepLRScheduler", steps_per_epoch=10, decay_t=1, decay_rate=0.5, t_in_epochs=False
    )
    assert [by_update(1), by_update(2)] == [0.5, 0.25]


def test_noise_is_that_of_torch_s_generator():
    import torch

    lr = timm("StepLRScheduler", decay_t=100, noise_range_t=[3, 5], noise_pct=0.5, noise_seed=7)
    for t in (3, 4):
        generator = torch.Generator().manual_seed(7 + t)
        draws = iter(lambda g=generator: torch.randn(1, generator=g).item(), None)
        assert lr(t) == 1 + next(each for each in draws if abs(each) < 0.5)
    assert [lr(2), lr(5)] == [1.0, 1.0]


def test_torch_is_loaded_for_noise_alone():
    code = (
        "import sys; from lrrun.schedules import schedule\n"
        "a = dict(lr=1.0, steps=9, steps_per_epoch=1, t_initial=9)\n"
        "schedule('timm.CosineLRScheduler', **a)(5); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def cuts(lr, metrics):
    """The evaluations, from 0, that changed the LR."""
    return [k for k, value in enumerate(metrics) if lr.observe(k + 1, {"val_loss": value})]


def test_plateau_does_not_listen_during_its_warmup():
    lr = timm("PlateauLRScheduler", mode="min", patience_t=1, decay_rate=0.5, warmup_t=4)
    assert cuts(lr, [0.1, 0.1, 0.1, 0.1, 2.0, 2.0, 2.0, 1.0]) == [6]
    assert lr(np.array([0, 2, 4, 6, 7])) == pytest.approx([0.0, 0.5, 1.0, 1.0, 0.5])


def test_plateau_is_restored_from_its_state():
    arguments = {"mode": "min", "patience_t": 0, "warmup_t": 1, "decay_rate": 0.5}
    lr, again = (timm("PlateauLRScheduler", **arguments) for _ in range(2))
    assert cuts(lr, [1.0, 1.0, 1.0]) == [2]
    again.restore(lr.state())
    assert again(np.arange(9)).tolist() == lr(np.arange(9)).tolist()


def test_the_factory_fits_wsd_into_the_epochs():
    arguments = {"num_epochs": 12, "warmup_epochs": 2, "warmup_lr": 0.0, "decay_epochs": 0.4}
    lr = timm("create_scheduler_v2", sched="wsd", **arguments, decay_fn="linear")
    assert lr(np.array([1, 2, 8, 10, 12])) == pytest.approx([0.5, 1.0, 1.0, 0.5, 0.0])


def test_the_factory_counts_updates_where_asked():
    arguments = {"step_on_epochs": False, "updates_per_epoch": 10, "num_epochs": 2}
    lr = timm("create_scheduler_v2", steps_per_epoch=10, **arguments)
    assert lr(10) == pytest.approx(0.5)


@pytest.mark.parametrize("sched", ["none", "constant"])
def test_the_factory_has_two_constants(sched):
    lr = timm("create_scheduler_v2", sched=sched, warmup_epochs=2, warmup_lr=0.0)
    assert lr(1) == (1.0 if sched == "none" else 0.5)


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("CosineLRScheduler", {"t_initial": 0}, "t_initial: expected more than 0"),
        ("CosineLRScheduler", {"t_initial": 9, "lr_min": -1.0}, "lr_min: expected at least 0"),
        ("CosineLRScheduler", {"t_initial": 9, "noise_range_t": [3]}, r"\[first, end\]"),
        ("TanhLRScheduler", {"t_initial": 9, "lb": 3.0}, "ub: expected more than 3"),
        ("MultiStepLRScheduler", {"decay_t": [6, 3]}, "rising order"),
        ("WSDLRScheduler", {"t_initial": 9, "decay_t": 10}, "at most t_initial = 9"),
        ("WSDLRScheduler", {"t_initial": 9, "decay_t": 1, "decay_fn": "liner"}, "mean linear"),
        (
            "WSDLRScheduler",
            {"t_initial": 9, "decay_t": 1, "stable_fn": "rsqrt"},
            "stable_timescale",
        ),
        ("PlateauLRScheduler", {"decay_rate": 1.0}, "decay_rate: expected less than 1"),
        ("create_scheduler_v2", {"sched": "cosin"}, "sched: expected cosine"),
        ("create_scheduler_v2", {"step_on_epochs": False}, "updates_per_epoch"),
        ("create_scheduler_v2", {"num_epochs": 0}, "num_epochs: expected more than 0"),
        ("create_scheduler_v2", {"sched": "wsd", "decay_epochs": 400}, "decay_epochs: .*at most"),
    ],
)
def test_refusals(name, arguments, message):
    with pytest.raises(ConfigError, match=message):
        timm(name, **arguments)
