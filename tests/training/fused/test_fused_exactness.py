"""A replica follows its solo run: same data, same start, same learning rates."""

from functools import cache
from pathlib import Path

import pytest
import torch

from lrrun.config.base import DataFacts
from lrrun.config.models import Cnn, Gpt, Mlp, ResNet
from lrrun.config.optimizers import OptimizerSpec
from lrrun.training.fused.optimizers import FusedOptimizer
from lrrun.training.fused.stack import FusedModel
from lrrun.training.models import build
from lrrun.training.optimizers import build_optimizer
from lrrun.training.tasks import task_for

HERE = Path()
TABLE = DataFacts(64, 16, "classification", (6,), 3)
NUMBERS = DataFacts(64, 16, "regression", (6,), 2)
IMAGES = DataFacts(64, 16, "classification", (2, 8, 8), 3)
TEXT = DataFacts(64, 16, "language", (8,), 11, 8)
MODELS = {
    "mlp": (Mlp(hidden=(8, 7)), TABLE),
    "regression": (Mlp(hidden=(8,)), NUMBERS),
    "cnn": (Cnn(channels=(3, 4)), IMAGES),
    "resnet": (ResNet(depth=8, width=2), IMAGES),
    "gpt": (Gpt(layers=2, width=8, heads=2), TEXT),
}
LRS = (0.01, 0.003, 0.0005)
EXACT = 1e-10
"""Relative, in float64: the bound that the documentation promises for 200 steps."""


def schedule(base, step):
    """An LR that changes at every step, and rises first."""
    return base * min(1.0, (step + 1) / 10) * (1 - step / 400)


@cache
def data(facts, batch, step, dtype):
    generator = torch.Generator().manual_seed(step)
    if facts.task == "language":
        tokens = torch.randint(0, facts.outputs, (batch, 9), generator=generator)
        return tokens[:, :-1], tokens[:, 1:]
    x = torch.randn(batch, *facts.inputs, generator=generator, dtype=dtype)
    if facts.task == "regression":
        return x, torch.randn(batch, facts.outputs, generator=generator, dtype=dtype)
    return x, torch.randint(0, facts.outputs, (batch,), generator=generator)


def built(name, seed, dtype=torch.float64):
    spec, facts = MODELS[name]
    torch.manual_seed(seed)
    return build(spec, facts, HERE).to(dtype)


def section(k, name, **arguments):
    """The optimizer of replica k; a value that is a list has one entry a replica."""
    own = {key: each[k] if isinstance(each, list) else each for key, each in arguments.items()}
    return OptimizerSpec(name=name, lr=LRS[k], **own)


def solo(model_name, k, steps, optimizer, dtype=torch.float64, order=None):
    """Losses, module and optimizer of replica k trained alone; `order` permutes a batch's rows."""
    _, facts = MODELS[model_name]
    model, task = built(model_name, k, dtype), task_for(facts.task)
    own, _ = build_optimizer(section(k, **optimizer), model, HERE)
    losses = []
    for step in range(steps):
        x, y = data(facts, 8, step, dtype)
        if order is not None:
            x, y = x[order], y[order]
        for group in own.param_groups:
            group["lr"] = schedule(LRS[k], step)
        own.zero_grad()
        loss = task.loss(model(x), y)
        loss.backward()
        own.step()
        losses.append(loss.item())
    return torch.tensor(losses, dtype=torch.float64), model, own


def fused(model_name, steps, optimizer, dtype=torch.float64, shared=True):
    """The same of all replicas at once."""
    _, facts = MODELS[model_name]
    modules = [built(model_name, k, dtype) for k in range(len(LRS))]
    stack = FusedModel(modules, task_for(facts.task), shared_data=shared)
    optimizers = [
        build_optimizer(section(k, **optimizer), each, HERE)[0] for k, each in enumerate(modules)
    ]
    stacked = FusedOptimizer(stack, optimizers)
    losses = []
    for step in range(steps):
        batch = data(facts, 8, step, dtype)
        if not shared:
            batch = tuple(torch.stack([each] * len(LRS)) for each in batch)
        losses.append(stack.gradients([batch], 8))
        lrs_K = torch.tensor([schedule(base, step) for base in LRS], dtype=torch.float64)
        stacked.set_lrs(lrs_K.expand(len(stacked.groups), -1))
        stacked.step()
    return torch.stack(losses).double(), stack, stacked


def distance(found, expected):
    """The largest relative difference of two states."""
    worst = 0.0
    for key, value in expected.items():
        a, b = found[key].double(), value.double()
        assert a.shape == b.shape and found[key].dtype == value.dtype
        worst = max(worst, ((a - b).norm() / b.norm().clamp(min=1e-30)).item())
    return worst


def assert_follows(model_name, steps, optimizer, **options):
    losses, stack, stacked = fused(model_name, steps, optimizer, **options)
    for k in (0, len(LRS) - 1):
        alone, model, own = solo(model_name, k, steps, optimizer)
        assert ((losses[:, k] - alone) / alone).abs().max() < EXACT
        assert distance(stack.state_dict(k), model.state_dict()) < EXACT
        assert list(stack.state_dict(k)) == list(model.state_dict())
        found, expected = stacked.state_dict(k), own.state_dict()
        assert found["state"].keys() == expected["state"].keys()
        for index, kept in expected["state"].items():
            assert found["state"][index].keys() == kept.keys()
            assert distance(found["state"][index], kept) < EXACT
        assert found["param_groups"] == expected["param_groups"]


OPTIMIZERS = {
    "sgd": {"name": "sgd"},
    "sgd-momentum": {"name": "sgd", "momentum": 0.9, "weight_decay": 0.01},
    "sgd-nesterov": {"name": "sgd", "momentum": [0.9, 0.5, 0.99], "nesterov": True},
    "sgd-dampening": {"name": "sgd", "momentum": [0.9, 0.0, 0.5], "dampening": [0.1, 0.5, 0.0]},
    "sgd-maximize": {"name": "sgd", "maximize": True, "weight_decay": [0.0, 0.1, 0.2]},
    "adam": {"name": "adam", "weight_decay": [0.0, 0.01, 0.1]},
    "adam-amsgrad": {"name": "adam", "amsgrad": True, "eps": [1e-8, 1e-3, 1e-5]},
    "adamw": {"name": "adamw"},
    "adamw-own": {
        "name": "adamw",
        "betas": [(0.9, 0.99), (0.8, 0.999), (0.0, 0.9)],
        "weight_decay": [0.1, 0.0, 0.3],
    },
    "nadam": {"name": "nadam"},
    "nadam-decoupled": {
        "name": "nadam",
        "momentum_decay": [0.004, 0.01, 0.0],
        "weight_decay": 0.1,
        "decoupled_weight_decay": True,
    },
    "radam": {"name": "radam"},
    "radam-own": {"name": "radam", "betas": [(0.9, 0.9), (0.9, 0.999), (0.5, 0.5)]},
    "rmsprop": {"name": "rmsprop", "alpha": [0.99, 0.9, 0.5]},
    "rmsprop-centered": {"name": "rmsprop", "centered": True, "momentum": [0.9, 0.0, 0.5]},
    "adagrad": {"name": "adagrad", "lr_decay": [0.0, 0.1, 0.01]},
    "adagrad-start": {"name": "adagrad", "initial_accumulator_value": [0.0, 0.1, 0.2]},
    "adamax": {"name": "adamax", "weight_decay": 0.01},
    "adadelta": {"name": "adadelta", "rho": [0.9, 0.5, 0.99], "eps": [1e-6, 1e-4, 1e-5]},
    "asgd": {"name": "asgd", "t0": [1e6, 20.0, 0.0], "lambd": [1e-4, 1e-3, 0.0]},
    "rprop": {"name": "rprop", "etas": [(0.5, 1.2), (0.4, 1.1), (0.5, 1.5)]},
}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_an_mlp_follows_its_solo_run_for_200_steps(optimizer):
    assert_follows("mlp", 200, OPTIMIZERS[optimizer])


@pytest.mark.parametrize("optimizer", ["sgd-momentum", "adamw"])
@pytest.mark.parametrize(
    ("model", "steps"), [("regression", 200), ("cnn", 40), ("resnet", 10), ("gpt", 15)]
)
def test_every_kind_of_model_follows_its_solo_run(model, steps, optimizer):
    assert_follows(model, steps, OPTIMIZERS[optimizer])


@pytest.mark.parametrize("model", ["mlp", "cnn", "resnet", "gpt"])
def test_data_of_ones_own_are_as_good_as_shared_data(model):
    assert_follows(model, 5, OPTIMIZERS["sgd-momentum"], shared=False)


@pytest.mark.parametrize("optimizer", ["sgd-momentum", "adamw"])
def test_float32_stays_within_what_another_order_of_rows_does(optimizer):
    """The order of a batch's rows changes nothing but the order of summation."""
    steps, dtype = 200, torch.float32
    _, stack, _ = fused("mlp", steps, OPTIMIZERS[optimizer], dtype=dtype)
    for k in range(len(LRS)):
        _, model, _ = solo("mlp", k, steps, OPTIMIZERS[optimizer], dtype)
        spreads = []
        for seed in range(3):
            order = torch.randperm(8, generator=torch.Generator().manual_seed(seed))
            _, other, _ = solo("mlp", k, steps, OPTIMIZERS[optimizer], dtype, order)
            spreads.append(distance(other.state_dict(), model.state_dict()))
        found = distance(stack.state_dict(k), model.state_dict())
        print(optimizer, k, found, spreads)
        assert found < 4 * max(spreads)
