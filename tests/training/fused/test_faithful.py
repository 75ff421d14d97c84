"""Somebody's own model is fused only where the stack computes what its modules do."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lrrun.config.train import Train
from lrrun.training.chance import chance
from lrrun.training.fused.faithful import check_faithful
from lrrun.training.fused.refusal import NotFusable
from lrrun.training.fused.stack import FusedModel
from lrrun.training.tasks import task_for
from lrrun.training.trainee import Trainee

CPU = torch.device("cpu")


class Counting(nn.Linear):
    """Another function after many calls."""

    def __init__(self):
        super().__init__(6, 3)
        self.calls = 0

    def forward(self, x):
        self.calls += 1
        return super().forward(x) if self.calls < 1000 else super().forward(-x)


class Hidden(nn.Linear):
    """Counts its training passes where no attribute tells."""

    def __init__(self):
        super().__init__(6, 3)
        self.register_buffer("seen", torch.zeros(()))
        self.calls = []

    @property
    def odd(self):
        """Is this an odd call? Counts it."""
        self.calls.append(None)
        return len(self.calls) % 2


class InTheLoss(Hidden):
    def forward(self, x):
        return super().forward(x) + x[:, :3] * self.odd


class InTheGradient(Hidden):
    def forward(self, x):
        return super().forward(x) + (self.weight - self.weight.detach()).sum() * x[:, :3] * self.odd


class InABuffer(Hidden):
    def forward(self, x):
        self.seen += 1.0 + self.odd
        return super().forward(x)


class InEvaluation(Hidden):
    def forward(self, x):
        return super().forward(x if self.training or self.odd else -x)


class InAFreeTensor(nn.Linear):
    """Keeps an average that torch does not know of."""

    def __init__(self):
        super().__init__(6, 3)
        self.average = torch.zeros(())

    def forward(self, x):
        self.average = 0.5 * self.average + 0.5 * x.abs().mean()
        return super().forward(x) * self.average


class Drawing(nn.Linear):
    """Stochastic depth by Python's generator."""

    def __init__(self):
        super().__init__(6, 3)

    def forward(self, x):
        return super().forward(x) * (2.0 if random.random() < 0.5 else 1.0)


class DrawingByNumpy(Drawing):
    def forward(self, x):
        return nn.Linear.forward(self, x) * float(np.random.rand())


class DroppingAndCounting(Hidden):
    def forward(self, x):
        return super().forward(F.dropout(x, 0.5, self.training)) * (1.0 + self.odd)


class Caching(nn.Linear):
    """Keeps what it made at the first call."""

    def __init__(self):
        super().__init__(6, 3)
        self.rows = 0
        self.table = None

    def forward(self, x):
        if self.rows != len(x):
            self.rows, self.table = len(x), torch.linspace(0, 1, 3, dtype=x.dtype)
        return super().forward(x) + self.table


def normed():
    """Batch normalization, and a head that begins at 0: all classes are tied."""
    head = nn.Linear(5, 3)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    return nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.ReLU(), head)


def dropping():
    return nn.Sequential(nn.Linear(6, 5), nn.Dropout(0.5), nn.ReLU(), nn.Linear(5, 3))


def assembled(make, dtype=torch.float64, shared=True, precision="fp32"):
    """A stack of two, the trainee of its last replica, and a batch."""
    torch.manual_seed(0)
    models, task = [make().to(dtype) for _ in range(2)], task_for("classification")
    stack = FusedModel(models, task, shared_data=shared, precision=precision)
    optimizer = torch.optim.SGD(models[-1].parameters(), lr=0.1)
    settings = Train(steps=2, precision=precision)
    trainee = Trainee.of(models[-1], optimizer, {}, {}, task, CPU, settings)
    shape = (8,) if shared else (2, 8)
    x, y = torch.randn(*shape, 6, dtype=dtype), torch.randint(0, 3, shape)
    stack.probe(x, y, len(x))
    return stack, trainee, x, y


@pytest.mark.parametrize("shared", [True, False], ids=["shared", "own"])
@pytest.mark.parametrize("make", [normed, dropping, Caching])
def test_a_faithful_model_is_taken_and_left_as_it_was(make, shared):
    stack, trainee, x, y = assembled(make, shared=shared)
    trainee.model.eval()
    before = [stack.state_dict(0), stack.state_dict(1)]
    draws = chance(CPU)["torch"]
    check_faithful(stack, trainee, x, y)
    assert torch.equal(chance(CPU)["torch"], draws)
    assert not trainee.model.training
    assert all(each.grad is None for each in trainee.model.parameters())
    own = trainee.model.state_dict()
    for name, value in before[1].items():
        assert torch.equal(own[name], value)
        for k in range(2):
            assert torch.equal(stack.state_dict(k)[name], before[k][name])


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_rounding_is_no_difference(precision):
    stack, trainee, x, y = assembled(normed, torch.float32, precision=precision)
    check_faithful(stack, trainee, x, y)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (Counting, "model's calls changes from one forward pass to the next"),
        (lambda: nn.Sequential(nn.Linear(6, 6), Counting()), r"model's 1\.calls changes"),
        (InTheLoss, "training loss changes"),
        (InTheGradient, "gradient changes"),
        (InABuffer, "buffer update changes"),
        (InEvaluation, "evaluation changes"),
        (InAFreeTensor, "training loss changes"),
        (Drawing, "Python's or numpy's random numbers"),
        (DrawingByNumpy, "Python's or numpy's random numbers"),
        (DroppingAndCounting, "evaluation changes"),
    ],
)
def test_what_a_trace_would_freeze_is_named(make, reason):
    stack, trainee, x, y = assembled(make)
    with pytest.raises(NotFusable, match=reason):
        check_faithful(stack, trainee, x, y)


def test_a_model_whose_loss_is_not_finite_is_taken():
    stack, trainee, x, y = assembled(normed)
    check_faithful(stack, trainee, x * float("inf"), y)
