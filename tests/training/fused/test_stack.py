"""The stacked model: state, evaluation, accumulation, dropout, moving averages, refusals."""

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from lrrun.config.base import DataFacts
from lrrun.config.models import Gpt, Mlp, ResNet
from lrrun.training.fused.ema import FusedEma
from lrrun.training.fused.optimizers import FusedOptimizer, _IdleRows
from lrrun.training.fused.refusal import NotFusable
from lrrun.training.fused.stack import FusedModel
from lrrun.training.models import build
from lrrun.training.tasks import task_for

HERE = Path()
TABLE = DataFacts(64, 16, "classification", (6,), 3)
IMAGES = DataFacts(64, 16, "classification", (2, 8, 8), 3)
TEXT = DataFacts(64, 16, "language", (8,), 11, 8)
TASK = task_for("classification")


def modules(spec, facts, count=3):
    found = []
    for seed in range(count):
        torch.manual_seed(seed)
        found.append(build(spec, facts, HERE).double())
    return found


def batch(facts, rows=8):
    x = torch.randn(rows, *facts.inputs, dtype=torch.float64)
    return x, torch.randint(0, facts.outputs, (rows,))


def stacked_sgd(models, lr=0.1, **options):
    stack = FusedModel(models, TASK, shared_data=True)
    optimizers = [torch.optim.SGD(each.parameters(), lr=lr, **options) for each in models]
    return stack, FusedOptimizer(stack, optimizers)


@pytest.mark.parametrize(
    ("spec", "facts"),
    [(Mlp(hidden=(4,)), TABLE), (ResNet(depth=8, width=2), IMAGES), (Gpt(layers=1, width=4), TEXT)],
    ids=["mlp", "resnet", "gpt"],
)
def test_a_replicas_state_is_its_own_modules(spec, facts):
    models = modules(spec, facts)
    stack = FusedModel(models, task_for(facts.task), shared_data=True)
    for k, model in enumerate(models):
        state, own = stack.state_dict(k), model.state_dict()
        assert list(state) == list(own)
        assert all(torch.equal(state[name], own[name]) for name in own)
        assert all(torch.equal(stack.parameters(k)[n], p) for n, p in model.named_parameters())
    before = stack.state_dict(1)
    stack.load(0, before)
    assert all(torch.equal(stack.state_dict(0)[name], before[name]) for name in before)
    for value in before.values():
        value.zero_()
    assert any(each.any() for each in stack.state_dict(1).values())


def test_evaluation_is_each_modules_own_in_eval_mode():
    models = modules(ResNet(depth=8, width=2), IMAGES)
    stack = FusedModel(models, TASK, shared_data=True)
    stack.gradients([batch(IMAGES)], 8)
    x, y = batch(IMAGES, 13)
    sums = stack.evaluate(x, y)
    assert sums.dtype == torch.float64
    for k, model in enumerate(models):
        model.load_state_dict(stack.state_dict(k))
        model.eval()
        torch.testing.assert_close(sums[k], TASK.evaluate_batch(model(x), y))


def test_chunks_of_an_update_add_up_as_in_a_solo_run():
    models = modules(ResNet(depth=8, width=2), IMAGES, 2)
    stack = FusedModel(models, TASK, shared_data=True)
    first, second = batch(IMAGES, 8), batch(IMAGES, 5)
    losses = stack.gradients([first, second], 13)
    for k, model in enumerate(models):
        total = 0.0
        for x, y in (first, second):
            loss = TASK.loss(model(x), y) * (len(x) / 13)
            loss.backward()
            total += loss.item()
        assert losses[k].item() == pytest.approx(total, rel=1e-12)
        for stacked, parameter in zip(stack.grads, model.parameters(), strict=True):
            torch.testing.assert_close(stacked[k], parameter.grad)
        for name, value in model.named_buffers():
            torch.testing.assert_close(stack.state_dict(k)[name], value)


def test_a_forward_pass_can_be_undone_for_some():
    stack = FusedModel(modules(ResNet(depth=8, width=2), IMAGES, 2), TASK, shared_data=True)
    before = [stack.state_dict(k) for k in range(2)]
    stack.gradients([batch(IMAGES)], 8)
    stack.undo_forward(torch.tensor([True, False]))
    name = "norm.running_mean"
    assert not torch.equal(stack.state_dict(0)[name], before[0][name])
    assert torch.equal(stack.state_dict(1)[name], before[1][name])


class Dropped(nn.Module):
    """Gives its dropped-out input, so that masks can be seen in the gradient of the weight."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1000))

    def forward(self, x):
        y = F.dropout(x, 0.3, self.training) * self.weight
        return torch.stack([y.sum(1), -y.sum(1)], 1)


def test_dropout_has_a_mask_for_each_replica_at_every_step():
    torch.manual_seed(0)
    stack = FusedModel([Dropped() for _ in range(3)], TASK, shared_data=True)
    x, y = torch.ones(1, 1000) * 1e-4, torch.zeros(1, dtype=torch.int64)
    masks = []
    for _ in range(2):
        stack.gradients([(x, y)], 1)
        masks.append(stack.grads[0] != 0)
    rates = torch.stack(masks).double().mean(-1)
    assert (rates - 0.7).abs().max() < 0.08  # 5 standard deviations
    rows = torch.cat(masks)
    assert len({tuple(row.tolist()) for row in rows}) == 6


def test_probing_changes_neither_state_nor_random_numbers():
    models = modules(ResNet(depth=8, width=2), IMAGES, 2)
    stack = FusedModel(models, TASK, shared_data=True)
    before, chance = stack.state_dict(0), torch.get_rng_state()
    stack.probe(*batch_without_chance(), 4)
    assert torch.equal(torch.get_rng_state(), chance)
    assert all(torch.equal(stack.state_dict(0)[name], before[name]) for name in before)


def batch_without_chance():
    return torch.ones(4, 2, 8, 8, dtype=torch.float64), torch.zeros(4, dtype=torch.int64)


@pytest.mark.parametrize("counted", [True, False], ids=["some rows", "all rows"])
def test_a_broken_replica_that_is_frozen_touches_no_other(monkeypatch, counted):
    if not counted:  # as on a device where nobody knows how many replicas are idle
        monkeypatch.setattr(_IdleRows, "_count", lambda self: None)
    data = [batch(TABLE) for _ in range(4)]
    runs = []
    for broken in (False, True):
        stack, optimizer = stacked_sgd(modules(Mlp(hidden=(4,)), TABLE), momentum=0.9)
        active = None
        for step, each in enumerate(data):
            if broken and step == 1:
                stack.parameters(1)["head.weight"].fill_(float("nan"))
                frozen = stack.state_dict(1), optimizer.state_dict(1)
            stack.gradients([each], 8)
            if broken and step == 1:
                active = torch.isfinite(optimizer.sums())
                assert active.tolist() == [True, False, True]
            optimizer.step(active)
        runs.append((stack, optimizer))
    for k in (0, 2):
        for name, value in runs[0][0].state_dict(k).items():
            assert torch.equal(runs[1][0].state_dict(k)[name], value)
        for index, kept in runs[0][1].state_dict(k)["state"].items():
            other = runs[1][1].state_dict(k)["state"][index]
            assert torch.equal(other["momentum_buffer"], kept["momentum_buffer"])
    for name, value in frozen[0].items():
        assert torch.equal(runs[1][0].state_dict(1)[name].isnan(), value.isnan())
        assert torch.equal(runs[1][0].state_dict(1)[name].nan_to_num(), value.nan_to_num())
    for index, kept in frozen[1]["state"].items():
        now = runs[1][1].state_dict(1)["state"][index]["momentum_buffer"]
        assert torch.equal(now, kept["momentum_buffer"])


def test_moving_averages_are_torchs_own():
    models = modules(Mlp(hidden=(4,)), TABLE)
    stack, optimizer = stacked_sgd(models)
    decays = (0.5, 0.9, 0.99)
    ema = FusedEma(stack, decays)
    averaged = [
        AveragedModel(each, multi_avg_fn=get_ema_multi_avg_fn(decay))
        for each, decay in zip(models, decays, strict=True)
    ]
    for _ in range(4):
        stack.gradients([batch(TABLE)], 8)
        optimizer.step()
        ema.update()
        for k, each in enumerate(averaged):
            models[k].load_state_dict(stack.state_dict(k))
            each.update_parameters(models[k])
    x, y = batch(TABLE)
    for k, each in enumerate(averaged):
        found = ema.state_dict(k)
        assert list(found) == list(each.state_dict())
        for name, value in each.state_dict().items():
            torch.testing.assert_close(found[name], value)
        own = TASK.evaluate_batch(each.module.eval()(x), y)
        torch.testing.assert_close(stack.evaluate(x, y, ema)[k], own)
        ema.load(k, each.state_dict())
    before = ema.state_dict(1)
    ema.update(torch.tensor([True, False, True]))
    assert all(torch.equal(ema.state_dict(1)[name], before[name]) for name in before)


class Branches(nn.Linear):
    def forward(self, x):
        return super().forward(x) if x.sum() > 0 else super().forward(-x)


class Reads(nn.Linear):
    def forward(self, x):
        y = super().forward(x)
        return y * float(y.abs().max())


class WritesShared(nn.Linear):
    def forward(self, x):
        return super().forward(x.clone().mul_(self.weight.mean()))


class Unused(nn.Linear):
    def __init__(self, *sizes):
        super().__init__(*sizes)
        self.extra = nn.Parameter(torch.zeros(1))


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (Branches, "value of a tensor is read"),
        (Reads, "value of a tensor is read"),
        (WritesShared, "changed in place"),
        (Unused, "loss does not depend on every parameter"),
    ],
)
def test_what_cannot_be_stacked_is_named(kind, reason):
    stack = FusedModel([kind(6, 3) for _ in range(2)], TASK, shared_data=True)
    with pytest.raises(NotFusable, match=reason):
        stack.probe(torch.ones(4, 6), torch.zeros(4, dtype=torch.int64), 4)


def test_modules_of_two_shapes_are_not_stacked():
    with pytest.raises(NotFusable, match="differ in name, shape or dtype"):
        FusedModel([nn.Linear(6, 3), nn.Linear(6, 4)], TASK, shared_data=True)


def test_fp16_is_not_stacked():
    with pytest.raises(NotFusable, match="fp16"):
        FusedModel([nn.Linear(6, 3)], TASK, shared_data=True, precision="fp16")


def test_half_precision_follows_autocast():
    models = [each.float() for each in modules(Mlp(hidden=(4,)), TABLE, 2)]
    stack = FusedModel(models, TASK, shared_data=True, precision="bf16")
    x, y = (torch.randn(8, 6), torch.randint(0, 3, (8,)))
    losses = stack.gradients([(x, y)], 8)
    for k, model in enumerate(models):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = TASK.loss(model(x), y)
        loss.backward()
        assert losses[k].item() == pytest.approx(loss.item(), rel=1e-2)
        assert stack.grads[0].dtype == torch.float32
        torch.testing.assert_close(
            stack.grads[0][k], next(model.parameters()).grad, rtol=0.1, atol=1e-2
        )
