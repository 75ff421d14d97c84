"""The stacked optimizer: torch's own state, groups, clipping, numbers that move, refusals."""

import copy

import pytest
import torch
from torch import nn

from lrrun.training.fused.optimizers import FusedOptimizer
from lrrun.training.fused.refusal import NotFusable
from lrrun.training.fused.stack import FusedModel
from lrrun.training.tasks import task_for

TASK = task_for("classification")
COUNT = 3


def modules():
    torch.manual_seed(0)
    return [nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3)).double() for _ in range(3)]


def stacked(models, optimizers):
    stack = FusedModel(models, TASK, shared_data=True)
    return stack, FusedOptimizer(stack, optimizers)


def batches(count, start=0):
    for step in range(start, start + count):
        generator = torch.Generator().manual_seed(step)
        x = torch.randn(8, 6, generator=generator, dtype=torch.float64)
        yield x, torch.randint(0, 3, (8,), generator=generator)


def train_alone(model, optimizer, data, before=lambda: None):
    for x, y in data:
        optimizer.zero_grad()
        TASK.loss(model(x), y).backward()
        before()
        optimizer.step()


def assert_same_weights(stack, k, model):
    for name, value in model.state_dict().items():
        torch.testing.assert_close(stack.state_dict(k)[name], value, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (torch.optim.SGD, {"lr": 0.1, "momentum": 0.9, "dampening": 0.5}),
        (torch.optim.AdamW, {"lr": 0.01, "amsgrad": True}),
        (torch.optim.NAdam, {"lr": 0.01}),
        (torch.optim.RMSprop, {"lr": 0.01, "momentum": 0.5, "centered": True}),
        (torch.optim.Adagrad, {"lr": 0.1, "initial_accumulator_value": 0.1}),
        (torch.optim.ASGD, {"lr": 0.1}),
        (torch.optim.Rprop, {"lr": 0.01}),
    ],
    ids=lambda each: getattr(each, "__name__", ""),
)
def test_a_run_changes_between_alone_and_stacked(kind, options):
    """Alone, then stacked with fresh ones, then alone again: as if alone all the time."""
    models = modules()
    optimizers = [kind(each.parameters(), **options) for each in models]
    reference = copy.deepcopy(models[1])
    own = kind(reference.parameters(), **options)
    train_alone(reference, own, batches(9))
    train_alone(models[1], optimizers[1], batches(3))
    stack, optimizer = stacked(models, optimizers)
    optimizer.load(1, copy.deepcopy(optimizers[1].state_dict()))
    for each in batches(3, 3):
        stack.gradients([each], 8)
        optimizer.step()
    models[1].load_state_dict(stack.state_dict(1))
    optimizers[1].load_state_dict(optimizer.state_dict(1))
    train_alone(models[1], optimizers[1], batches(3, 6))
    for one, other in zip(models[1].parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)


def test_before_the_first_update_there_is_no_state():
    models = modules()
    optimizers = [torch.optim.Adam(each.parameters()) for each in models]
    _, optimizer = stacked(models, optimizers)
    assert optimizer.state_dict(0) == optimizers[0].state_dict()


def test_groups_have_numbers_of_their_own():
    models = modules()

    def made(model, k):
        weights = [each for each in model.parameters() if each.ndim > 1]
        biases = [each for each in model.parameters() if each.ndim == 1]
        groups = [
            {"params": biases, "weight_decay": 0.0, "momentum": 0.5},
            {"params": weights, "weight_decay": 0.1 * k},
        ]
        return torch.optim.SGD(groups, lr=0.1, momentum=0.9)

    own = [made(each, k) for k, each in enumerate(models)]
    stack, optimizer = stacked(models, own)
    lrs_GK = torch.tensor([[0.1, 0.2, 0.3], [0.01, 0.0, 0.05]], dtype=torch.float64)
    for each in batches(5):
        stack.gradients([each], 8)
        for group, lrs_K in enumerate(lrs_GK):
            optimizer.set(group, "lr", lrs_K)
        optimizer.step()
    for k, model in enumerate(models):
        for group, lr in zip(own[k].param_groups, lrs_GK[:, k].tolist(), strict=True):
            group["lr"] = lr
        train_alone(model, own[k], batches(5))
        assert_same_weights(stack, k, model)
        assert optimizer.state_dict(k)["param_groups"] == own[k].state_dict()["param_groups"]


def test_momentum_and_weight_decay_may_move():
    models = modules()
    own = [torch.optim.AdamW(each.parameters(), lr=0.01) for each in models]
    stack, optimizer = stacked(models, own)
    values = torch.rand(5, 2, COUNT, dtype=torch.float64, generator=torch.Generator())
    for each, (beta1_K, decay_K) in zip(batches(5), values, strict=True):
        stack.gradients([each], 8)
        optimizer.set(0, "beta1", beta1_K)
        optimizer.set(0, "weight_decay", decay_K)
        optimizer.step()
    for k, model in enumerate(models):
        for each, (beta1_K, decay_K) in zip(batches(5), values, strict=True):
            (group,) = own[k].param_groups
            group["betas"] = (beta1_K[k].item(), group["betas"][1])
            group["weight_decay"] = decay_K[k].item()
            train_alone(model, own[k], [each])
        assert_same_weights(stack, k, model)
        assert optimizer.state_dict(k)["param_groups"] == own[k].state_dict()["param_groups"]


def test_norms_and_clipping_are_torchs():
    models = modules()
    own = [torch.optim.SGD(each.parameters(), lr=0.1) for each in models]
    stack, optimizer = stacked(models, own)
    limits = (0.1, float("inf"), 1e3)
    (batch,) = batches(1)
    stack.gradients([batch], 8)
    before = optimizer.norms()
    found = optimizer.clip(torch.tensor(limits, dtype=torch.float64))
    for k, (model, limit) in enumerate(zip(models, limits, strict=True)):
        TASK.loss(model(batch[0]), batch[1]).backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), limit)
        torch.testing.assert_close(found[k], norm)
        torch.testing.assert_close(before[k], norm)
        for stacked_grad, parameter in zip(stack.grads, model.parameters(), strict=True):
            torch.testing.assert_close(stacked_grad[k], parameter.grad)


def test_replicas_that_sit_out_count_no_steps():
    models = modules()
    own = [torch.optim.AdamW(each.parameters(), lr=0.01) for each in models]
    stack, optimizer = stacked(models, own)
    plans = [[True, True, False], [True, False, True], [False, True, True]]
    for each, active in zip(batches(3), plans, strict=True):
        stack.gradients([each], 8)
        optimizer.step(torch.tensor(active))
    for k, model in enumerate(models):
        mine = [each for each, active in zip(batches(3), plans, strict=True) if active[k]]
        train_alone(model, own[k], mine)
        assert_same_weights(stack, k, model)
        assert optimizer.state_dict(k)["state"][0]["step"] == 2


@pytest.mark.parametrize("kind", [torch.optim.LBFGS, torch.optim.Adafactor])
def test_an_optimizer_without_a_rule_is_named(kind):
    models = modules()
    with pytest.raises(NotFusable, match=kind.__name__):
        stacked(models, [kind(each.parameters()) for each in models])


def test_switches_must_agree():
    models = modules()
    own = [torch.optim.Adam(each.parameters(), amsgrad=k == 1) for k, each in enumerate(models)]
    with pytest.raises(NotFusable, match="amsgrad"):
        stacked(models, own)
