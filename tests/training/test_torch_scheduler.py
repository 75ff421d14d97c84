"""lrrun.torch_scheduler in plain loops, beside torch's own, stopped and resumed at every step."""

from __future__ import annotations

import copy
import io
import pickle
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch
from torch.optim.lr_scheduler import LRScheduler, OneCycleLR, StepLR

import lrrun
from lrrun.errors import ConfigError, UsageError
from lrrun.schedules import schedule

PLATEAU = [
    {"name": "warmup", "for": 3},
    {"name": "plateau", "for": 9, "patience": 0, "factor": 0.5},
    {"name": "linear"},
]
METRICS = [3.0, 2.0, 2.5, 2.5, 1.0, 1.0, 0.5, 0.7, 0.7, 0.9, 0.1]
"""One evaluation every second step."""


def sgd(*lrs: float, **more: Any) -> torch.optim.SGD:
    groups = [{"params": [torch.nn.Parameter(torch.ones(2))], "lr": lr} for lr in lrs]
    return torch.optim.SGD(groups, lr=1.0, **more)


def lrs(optimizer: torch.optim.Optimizer) -> list[float]:
    return [float(group["lr"]) for group in optimizer.param_groups]


def followed(optimizer: torch.optim.Optimizer, scheduler: Any, steps: int) -> list[list[float]]:
    """The LRs of every update in a plain loop."""
    used = []
    for step in range(steps):
        used.append(lrs(optimizer))
        optimizer.step()
        scheduler.step()
        if step % 2 and scheduler.schedules[0].state():
            scheduler.observe(METRICS[step // 2])
    return used


@pytest.mark.parametrize(
    "spec", [{"name": "cosine", "warmup": 3, "final": "1%"}, "wsd", "one-cycle"]
)
def test_every_group_follows_the_schedule_from_its_own_base(spec: Any) -> None:
    optimizer = sgd(0.1, 0.02)
    scheduler = lrrun.torch_scheduler(optimizer, spec, steps=30)
    assert isinstance(scheduler, LRScheduler)
    used = np.array(followed(optimizer, scheduler, 30))
    for group, base in enumerate((0.1, 0.02)):
        assert used[:, group].tolist() == schedule(spec, lr=base, steps=30)(np.arange(30)).tolist()
    assert scheduler.get_last_lr() == lrs(optimizer)


def test_it_gives_what_torch_gives_under_torchs_name() -> None:
    ours, theirs = sgd(0.1), sgd(0.1)
    mine = lrrun.torch_scheduler(ours, "StepLR", steps=20, step_size=6, gamma=0.5, interval="step")
    for scheduler in (mine, StepLR(theirs, step_size=6, gamma=0.5)):
        for _ in range(13):
            scheduler.optimizer.step()
            scheduler.step()
    assert lrs(ours) == pytest.approx(lrs(theirs), rel=1e-12)
    assert mine.last_epoch == 13


@pytest.mark.parametrize("spec", ["cosine", PLATEAU], ids=["closed form", "plateau"])
def test_stopped_at_any_step_it_goes_on_as_if_it_never_had(spec: Any) -> None:
    """The optimizer and the scheduler are restored in either order."""
    steps = 22
    optimizer = sgd(0.1, 0.4)
    scheduler = lrrun.torch_scheduler(optimizer, spec, steps=steps)
    saved = []
    whole = []
    for step in range(steps):
        saved.append(pickle.dumps((optimizer.state_dict(), scheduler.state_dict())))
        whole.append(lrs(optimizer))
        optimizer.step()
        scheduler.step()
        if step % 2:
            scheduler.observe({"val_loss": METRICS[step // 2]})
    for stop, state in enumerate(saved):
        of_optimizer, of_scheduler = pickle.loads(state)
        again = sgd(0.1, 0.4)
        resumed = lrrun.torch_scheduler(again, spec, steps=steps)
        restore = [
            lambda a=again, s=of_optimizer: a.load_state_dict(s),
            lambda r=resumed, s=of_scheduler: r.load_state_dict(s),
        ]
        for each in restore if stop % 2 else restore[::-1]:
            each()
        for step in range(stop, steps):
            assert lrs(again) == whole[step], (stop, step)
            again.step()
            resumed.step()
            if step % 2:
                resumed.observe(METRICS[step // 2])


def test_the_state_is_one_integer_and_survives_a_weights_only_file() -> None:
    optimizer = sgd(0.1)
    scheduler = lrrun.torch_scheduler(optimizer, "cosine", steps=10, warmup=2)
    optimizer.step()
    scheduler.step()
    file = io.BytesIO()
    torch.save(scheduler.state_dict(), file)
    file.seek(0)
    assert (
        torch.load(file, weights_only=True) == {"step": 1} == copy.deepcopy(scheduler.state_dict())
    )


def test_a_metric_may_come_with_the_step() -> None:
    optimizer = sgd(1.0)
    scheduler = lrrun.torch_scheduler(
        optimizer, "plateau", steps=10, patience=0, factor=0.5, metric="loss"
    )
    used = []
    for loss in (2.0, 1.0, torch.tensor(1.5), {"loss": 1.2}):
        used.append(lrs(optimizer)[0])
        optimizer.step()
        scheduler.step(loss)
    assert [*used, lrs(optimizer)[0]] == [1.0, 1.0, 1.0, 0.5, 0.25]
    with pytest.raises(KeyError, match="loss"):
        scheduler.observe({"accuracy": 1.0})


def test_the_momentum_is_driven_as_torch_drives_it() -> None:
    ours, theirs = sgd(0.1, momentum=0.9), sgd(0.1, momentum=0.9)
    mine = lrrun.torch_scheduler(ours, "OneCycleLR", steps=20, max_lr=0.5, total_steps=20)
    reference = OneCycleLR(theirs, max_lr=0.5, total_steps=20)
    for _ in range(19):
        for scheduler in (mine, reference):
            scheduler.optimizer.step()
            scheduler.step()
        for key in ("lr", "momentum"):
            assert ours.param_groups[0][key] == pytest.approx(theirs.param_groups[0][key], rel=1e-9)


def test_beta1_is_driven_where_there_is_no_momentum() -> None:
    adam = torch.optim.AdamW([torch.nn.Parameter(torch.ones(1))], lr=0.1)
    spec = {"name": "one-cycle", "momentum": [0.85, 0.95]}
    lrrun.torch_scheduler(adam, spec, steps=10)
    assert adam.param_groups[0]["betas"] == (0.95, 0.999)
    adagrad = torch.optim.Adagrad([torch.nn.Parameter(torch.ones(1))], lr=0.1)
    with pytest.raises(UsageError, match="Adagrad has none"):
        lrrun.torch_scheduler(adagrad, spec, steps=10)


def test_an_lr_that_is_a_tensor_stays_the_same_tensor() -> None:
    lr = torch.tensor(0.1)
    adam = torch.optim.AdamW([torch.nn.Parameter(torch.ones(1))], lr=lr)
    scheduler = lrrun.torch_scheduler(adam, "linear", steps=4)
    held = adam.param_groups[0]["lr"]
    adam.step()
    scheduler.step()
    assert adam.param_groups[0]["lr"] is held
    assert float(held) == pytest.approx(0.075)
    assert adam.param_groups[0]["initial_lr"] == pytest.approx(0.1)


def test_a_wrong_spec_is_refused_before_any_step() -> None:
    with pytest.raises(ConfigError, match="did you mean"):
        lrrun.torch_scheduler(sgd(0.1), "cosin", steps=10)
    with pytest.raises(TypeError, match="by name or as a mapping"):
        lrrun.torch_scheduler(sgd(0.1), ["cosine"], steps=10, final="1%")


def test_importing_lrrun_does_not_load_torch() -> None:
    code = "import sys, lrrun; assert 'torch' not in sys.modules and 'numpy' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        lrrun.nothing  # noqa: B018
