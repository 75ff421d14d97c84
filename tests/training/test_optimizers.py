"""Optimizers and their param groups."""

import copy
import inspect
from pathlib import Path

import pytest
import torch
from torch import nn

from lrrun.config.base import DataFacts
from lrrun.config.models import Gpt, Mlp
from lrrun.config.optimizers import OPTIMIZERS, OptimizerSpec
from lrrun.errors import ConfigError
from lrrun.training.bare_optimizer import bare, bare_step, make
from lrrun.training.models import build
from lrrun.training.optimizers import build_optimizer

HERE = Path()
TABLE = DataFacts(100, 20, "classification", (6,), 3)
TEXT = DataFacts(100, 20, "language", (8,), 256, 8)


@pytest.fixture
def mlp():
    torch.manual_seed(0)
    return build(Mlp(hidden=(5, 4)), TABLE, HERE)


def spec(name="sgd", lr=0.5, **arguments):
    return OptimizerSpec(name=name, lr=lr, **arguments)


def grouped(optimizer, model):
    """Group name → names of its parameters."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    return {
        group["name"]: {names[id(parameter)] for parameter in group["params"]}
        for group in optimizer.param_groups
    }


def named(groups):
    return [group.name for group in groups]


def refusal(model, **section):
    with pytest.raises(ConfigError) as caught:
        build_optimizer(spec(**section), model, HERE)
    (problem,) = caught.value.problems
    return str(problem)


DENSE = sorted(set(OPTIMIZERS) - {"sparseadam", "muon"})


def assert_steps_as_torch(name, model, x):
    """Two updates through build_optimizer, and two through torch's own class: equal bits."""
    twin, start = copy.deepcopy(model), copy.deepcopy(model)
    ours, groups = build_optimizer(spec(name, 0.01), model, HERE)
    cls = getattr(torch.optim, OPTIMIZERS[name].torch_name)
    kernel = {"fused": True} if "fused" in inspect.signature(cls).parameters else {}
    theirs = cls(twin.parameters(), lr=0.01, **kernel)
    for net, step in ((model, bare_step(ours)), (twin, theirs.step)):
        for _ in range(2):
            net.zero_grad()
            net(x).square().mean().backward()
            step()
    assert named(groups) == ["default"]
    torch.testing.assert_close(
        bare(ours.state_dict)()["state"], theirs.state_dict()["state"], rtol=0, atol=0
    )
    for first, mine, other in zip(
        start.parameters(), model.parameters(), twin.parameters(), strict=True
    ):
        assert torch.equal(mine, other)
        assert not torch.equal(mine, first)


def test_the_fused_kernel_is_chosen_where_the_config_leaves_the_choice_open(mlp):
    def fused(precision="fp32", model=mlp, **arguments):
        section = OptimizerSpec(name="sgd", lr=0.1, **arguments)
        optimizer, _ = build_optimizer(section, model, HERE, precision=precision)
        return optimizer.defaults["fused"]

    assert fused()
    assert not fused(fused=False)
    assert not fused(foreach=True)
    assert not fused(precision="fp16")
    assert not fused(model=torch.nn.Embedding(3, 2, sparse=True))


def test_a_step_without_torchs_wrapper_is_the_same_and_hooks_are_heard(mlp):
    optimizer, _ = build_optimizer(spec("sgd", 0.1), mlp, HERE)
    before = [each.clone() for each in mlp.parameters()]
    for each in mlp.parameters():
        each.grad = torch.ones_like(each)
    assert bare_step(optimizer) != optimizer.step
    bare_step(optimizer)()
    for old, new in zip(before, mlp.parameters(), strict=True):
        torch.testing.assert_close(new, old - 0.1)
    heard = []
    optimizer.register_step_post_hook(lambda *_: heard.append(True))
    bare_step(optimizer)()
    assert heard == [True]


def test_a_step_through_which_gradients_flow_keeps_its_wrapper(mlp):
    optimizer = make(torch.optim.SGD, [{"params": [*mlp.parameters()]}], differentiable=True)
    assert bare_step(optimizer) == optimizer.step


def test_somebodys_own_optimizer_is_left_as_it_is(mlp):
    class Counting(torch.optim.SGD):
        added = 0

        def add_param_group(self, param_group):
            self.added += 1
            super().add_param_group(param_group)

        def state_dict(self):
            return {**super().state_dict(), "added": self.added}

        def step(self, closure=None):
            self.added += 1

    optimizer = make(Counting, [{"params": list(mlp.parameters())}], lr=0.1)
    bare_step(optimizer)()
    assert bare(optimizer.state_dict)()["added"] == 2


@pytest.mark.parametrize("name", DENSE)
def test_every_optimizer_steps_as_torchs_own(name, mlp):
    assert_steps_as_torch(name, mlp, torch.randn(8, 6))


def test_muon_steps_matrices():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 5, bias=False), nn.ReLU(), nn.Linear(5, 3, bias=False))
    assert_steps_as_torch("muon", model, torch.randn(8, 6))


def test_sparseadam_steps_sparse_embeddings():
    torch.manual_seed(0)
    assert_steps_as_torch("sparseadam", nn.Embedding(4, 3, sparse=True), torch.tensor([0, 1, 2, 3]))


def test_muon_and_sparseadam_refuse_what_they_cannot_update(mlp):
    assert "3 of 6 parameters do not fit: body.0.bias (5,)" in refusal(mlp, name="muon")
    assert "6 of 6" in refusal(mlp, name="sparseadam")
    assert refusal(mlp, name="adam", capturable=True).startswith("optimizer.capturable: ")


def test_arguments_reach_the_optimizer(mlp):
    optimizer, _ = build_optimizer(spec("adamw", betas=[0.8, 0.9], weight_decay=0.3), mlp, HERE)
    (group,) = optimizer.param_groups
    assert group["betas"] == (0.8, 0.9)
    assert group["weight_decay"] == 0.3
    assert type(group["lr"]) is float


def test_the_lr_may_come_from_elsewhere(mlp):
    optimizer, _ = build_optimizer(spec(lr=None), mlp, HERE, base_lr=0.25)
    assert optimizer.param_groups[0]["lr"] == 0.25
    assert "optimizer.lr: is missing" in refusal(mlp, lr=None)


def test_the_first_pattern_that_matches_takes_a_parameter(mlp):
    groups = [
        {"match": ["body.0.*", "*.2.bias"], "name": "low", "lr_factor": "10%", "momentum": 0.5},
        {"match": "*.bias", "lr_factor": 2},
    ]
    optimizer, made = build_optimizer(spec(momentum=0.9, groups=groups), mlp, HERE)
    assert named(made) == ["default", "low", "bias"]
    assert grouped(optimizer, mlp) == {
        "default": {"body.2.weight", "head.weight"},
        "low": {"body.0.weight", "body.0.bias", "body.2.bias"},
        "bias": {"head.bias"},
    }
    assert [group["lr"] for group in optimizer.param_groups] == [0.5, 0.05, 1.0]
    assert [group["momentum"] for group in optimizer.param_groups] == [0.9, 0.5, 0.9]


def test_no_default_group_where_patterns_take_everything(mlp):
    _, groups = build_optimizer(spec(groups=[{"match": "*", "name": "all"}]), mlp, HERE)
    assert named(groups) == ["all"]


def test_norms_and_biases_are_not_decayed_when_asked(mlp):
    section = spec(
        "adamw",
        decay_norms_and_biases=False,
        weight_decay=0.1,
        groups=[{"match": "head.*", "lr_factor": 0.5, "weight_decay": 0.2}],
    )
    optimizer, groups = build_optimizer(section, mlp, HERE)
    assert named(groups) == ["default", "no_decay", "head", "head_no_decay"]
    assert [group.label for group in groups] == ["default", "default", "head", "head"]
    assert grouped(optimizer, mlp) == {
        "default": {"body.0.weight", "body.2.weight"},
        "no_decay": {"body.0.bias", "body.2.bias"},
        "head": {"head.weight"},
        "head_no_decay": {"head.bias"},
    }
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.1, 0.0, 0.2, 0.0]
    assert [group["lr"] for group in optimizer.param_groups] == [0.5, 0.5, 0.25, 0.25]


def test_norms_of_any_shape_count_as_norms():
    model = nn.Sequential(
        nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.LayerNorm([6, 6]), nn.Flatten(), nn.Linear(72, 1)
    )
    optimizer, _ = build_optimizer(spec(decay_norms_and_biases=False), model, HERE)
    assert grouped(optimizer, model)["default"] == {"0.weight", "4.weight"}


def test_tied_parameters_count_once():
    model = build(Gpt(layers=1, width=8, heads=2), TEXT, HERE)
    optimizer, _ = build_optimizer(spec(decay_norms_and_biases=False), model, HERE)
    held = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    assert len(held) == len({id(each) for each in held}) == len(list(model.parameters()))

    one, other = nn.Linear(3, 3), nn.Linear(3, 3)
    other.weight = one.weight
    optimizer, _ = build_optimizer(spec(), nn.Sequential(one, other), HERE)
    assert len(optimizer.param_groups[0]["params"]) == 3


def test_frozen_parameters_are_left_out(mlp):
    for parameter in mlp.body.parameters():
        parameter.requires_grad_(False)
    optimizer, _ = build_optimizer(spec(), mlp, HERE)
    assert grouped(optimizer, mlp) == {"default": {"head.weight", "head.bias"}}
    mlp.head.requires_grad_(False)
    assert "no parameters that can be trained" in refusal(mlp)


def test_a_pattern_without_a_parameter_is_refused(mlp):
    message = refusal(mlp, groups=[{"match": "haed.*"}])
    assert message.startswith("optimizer.groups[0].match: haed.* matches no parameter")
    assert "did you mean head.*?" in message
    groups = [{"match": "*", "name": "all"}, {"match": "head.*"}]
    assert "belongs to the groups before it" in refusal(mlp, groups=groups)


def test_a_group_survives_a_checkpoint(mlp, tmp_path):
    """Groups hold plain values, so that torch.load(weights_only=True) reads them."""
    section = spec("adamw", groups=[{"match": "head.*", "lr_factor": "10%"}])
    optimizer, _ = build_optimizer(section, mlp, HERE)
    torch.save(optimizer.state_dict(), tmp_path / "optimizer.pt")
    loaded = torch.load(tmp_path / "optimizer.pt", weights_only=True)
    assert [group["name"] for group in loaded["param_groups"]] == ["default", "head"]


OWN = """
import torch

class Signs(torch.optim.Optimizer):
    def __init__(self, weights, lr, scale=1.0):
        if scale < 0:
            raise ValueError("scale below 0")
        super().__init__(weights, {"lr": lr, "scale": scale})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for each in group["params"]:
                each -= group["lr"] * group["scale"] * each.grad.sign()

def text(params, lr):
    return "an optimizer"

LineSearch = torch.optim.LBFGS
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    (tmp_path / "own_optimizers_for_tests.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(tmp_path))
    return "own_optimizers_for_tests:"


def test_somebodys_own_optimizer_steps(mlp, own):
    optimizer, groups = build_optimizer(spec(own + "Signs", 0.5, scale=2.0), mlp, HERE)
    before = mlp.head.bias.detach().clone()
    mlp(torch.randn(4, 6)).sum().backward()
    optimizer.step()
    assert named(groups) == ["default"]
    torch.testing.assert_close(mlp.head.bias, before - 1.0)


@pytest.mark.parametrize(
    ("thing", "arguments", "message"),
    [
        ("Sign", {}, "optimizer.name: own_optimizers_for_tests has no 'Sign'; did you mean Signs?"),
        ("Signs", {"scal": 1}, "optimizer.scal: unknown key; did you mean scale?"),
        ("Signs", {"scale": -1}, "ValueError: scale below 0"),
        ("text", {}, "expected a torch.optim.Optimizer"),
        ("torch", {}, "expected a class or function"),
        ("LineSearch", {}, "needs a closure"),
    ],
)
def test_an_own_optimizer_that_fails_says_why(thing, arguments, message, mlp, own):
    assert message in refusal(mlp, name=own + thing, **arguments)
