"""The torch dialect's names, parameters, clocks and refusals."""

import inspect

import pytest
import torch

from lrrun.errors import ConfigError
from lrrun.schedules import CATALOGUE, build, parse, schedule
from lrrun.units import Units


def torch_class(name):
    if name == "SWALR":
        return torch.optim.swa_utils.SWALR
    return getattr(torch.optim.lr_scheduler, name)


def test_every_scheduler_of_torch_is_in_the_catalogue():
    names = {*torch.optim.lr_scheduler.__all__, "SWALR"} - {"LRScheduler"}  # their base class
    assert {f"torch.{name}" for name in names} <= set(CATALOGUE)


@pytest.mark.parametrize("name", [name for name in CATALOGUE if name.startswith("torch.")])
def test_parameters_and_defaults_are_torchs(name):
    theirs = inspect.signature(torch_class(name.removeprefix("torch."))).parameters
    ours = CATALOGUE[name].parameters
    assert [key for key in ours if key != "metric"] == [k for k in theirs if k != "optimizer"]
    for key, parameter in ours.items():
        if key != "metric":
            assert parameter.default == theirs[key].default


def test_names_and_clocks():
    spec = {"name": "torch.optim.lr_scheduler.StepLR", "step_size": 2, "gamma": 0.5}
    by_epoch = schedule(spec, lr=1.0, steps=40, steps_per_epoch=10)
    assert [by_epoch(step) for step in (0, 19, 20, 39)] == [1.0, 1.0, 0.5, 0.5]
    by_step = schedule(spec, lr=1.0, steps=40, interval="step")
    assert [by_step(step) for step in (1, 2, 4)] == [1.0, 0.5, 0.25]
    one_cycle = schedule("OneCycleLR", lr=1.0, steps=40, max_lr=1.0, total_steps=40)
    assert one_cycle(11) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"name": "LinearLR", "start_factor": 0.0}, "warmup, start: 0"),
        ({"name": "StepLR", "step_size": 3, "last_epoch": 4}, "counts steps itself"),
        ({"name": "OneCycleLR", "max_lr": 0.1}, "write total_steps: 100"),
        ({"name": "ReduceLROnPlateau", "factor": 1.0}, "less than 1"),
        ({"name": "StepLR", "step_sise": 3}, "did you mean step_size"),
        ({"name": "LambdaLR", "lr_lambda": "os.system('x')"}, "arithmetic expression"),
        ({"name": "OneCycleLR", "max_lr": [0.1], "total_steps": 10}, "per param group"),
        (
            {"name": "SequentialLR", "schedulers": ["ReduceLROnPlateau"], "milestones": []},
            "a list of parts takes it anywhere",
        ),
        ({"name": "SequentialLR", "schedulers": ["cosine"], "milestones": []}, "list of parts"),
        ({"name": "SequentialLR", "schedulers": ["LinearLR"], "milestones": [3]}, "one milestone"),
        (
            {"name": "ChainedScheduler", "schedulers": [{"name": "LinearLR", "end_factor": 2.0}]},
            r"schedulers\[0\].end_factor: expected a factor from 0 to 1",
        ),
    ],
)
def test_refusals_say_what_to_do(spec, said):
    with pytest.raises(ConfigError, match=said):
        build(parse(spec), 0.1, Units(total_steps=100, steps_per_epoch=1), group=1)
