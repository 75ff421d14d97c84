"""The optimizer section: held equal to torch.optim's signatures, and refused where it is wrong."""

import inspect

import pytest
import torch
from pydantic import ValidationError

from lrrun.config.base import Section
from lrrun.config.models import Gpt
from lrrun.config.optimizers import OPTIMIZERS, Mup, OptimizerSpec
from lrrun.errors import ConfigError

TORCH = {
    name: each
    for name, each in vars(torch.optim).items()
    if inspect.isclass(each) and issubclass(each, torch.optim.Optimizer)
}


class Config(Section):
    optimizer: OptimizerSpec


def read(**section):
    return Config.model_validate({"optimizer": section}).optimizer


def refusals(**section):
    with pytest.raises(ValidationError) as caught:
        read(**section)
    return {each["loc"][1:]: each["msg"] for each in caught.value.errors()}


def test_every_class_that_steps_without_a_closure_is_in_the_table():
    closureless = {
        name
        for name, each in TORCH.items()
        if name != "Optimizer"
        and inspect.signature(each.step).parameters["closure"].default is None
    }
    assert {each.torch_name for each in OPTIMIZERS.values()} == closureless
    assert set(TORCH) - closureless == {"Optimizer", "LBFGS"}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_table_has_the_arguments_and_defaults_of_torch(name):
    optimizer = OPTIMIZERS[name]
    signature = inspect.signature(TORCH[optimizer.torch_name])
    expected = {
        key: each.default
        for key, each in signature.parameters.items()
        if key not in ("params", "lr")
    }
    assert dict(optimizer.defaults) == expected


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_default_is_of_its_own_kind(name):
    optimizer = OPTIMIZERS[name]
    for key, default in optimizer.defaults.items():
        assert optimizer.kind(key).read(default) == default


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_what_the_table_takes_torch_takes(name):
    """The defaults, written as a config writes them, make the optimizer."""
    defaults = {
        key: list(each) if isinstance(each, tuple) else each
        for key, each in OPTIMIZERS[name].defaults.items()
    }
    spec = read(name=name, lr=0.1, **defaults)
    weight = torch.nn.Parameter(torch.zeros(2, 2))
    made = TORCH[OPTIMIZERS[name].torch_name]([weight], lr=spec.lr, **spec.arguments)
    assert made.param_groups[0]["lr"] == 0.1


@pytest.mark.parametrize(
    "written",
    ["adamw", "AdamW", "torch.optim.AdamW", "torch.optim:AdamW", "torch.optim.adamw:AdamW"],
)
def test_torch_spellings_mean_the_same_optimizer(written):
    assert read(name=written, lr=1e-3).name == "adamw"


def test_arguments_are_as_torch_takes_them():
    spec = read(name="adamw", lr=1, betas=[0.9, 0.95], weight_decay=0)
    assert spec.lr == 1.0
    assert spec.arguments == {"betas": (0.9, 0.95), "weight_decay": 0.0}
    assert spec.argument("eps") == 1e-8
    assert spec.argument("momentum") is None


def test_a_dumped_section_reads_back_as_itself():
    spec = read(
        name="sgd",
        lr=0.1,
        momentum=0.9,
        layer_decay=0.5,
        groups=[{"match": "head.*", "lr_factor": "10%", "weight_decay": 0.5, "scheduler": "wsd"}],
    )
    assert Config.model_validate({"optimizer": spec.model_dump(mode="json")}).optimizer == spec
    assert spec.groups[0].lr_factor == 0.1
    assert spec.groups[0].arguments == {"weight_decay": 0.5}


@pytest.mark.parametrize(
    ("section", "beta2", "momentum_key"),
    [
        ({"name": "sgd"}, None, "momentum"),
        ({"name": "adam"}, 0.999, "betas"),
        ({"name": "adamw", "betas": [0.9, 0.95]}, 0.95, "betas"),
        ({"name": "muon"}, None, "momentum"),
        ({"name": "adagrad"}, None, None),
        ({"name": "my.code:Lion", "betas": [0.9, 0.99]}, 0.99, "betas"),
    ],
)
def test_lint_is_told_of_beta2_and_momentum(section, beta2, momentum_key):
    spec = read(**section, lr=0.1)
    assert (spec.beta2, spec.momentum_key) == (beta2, momentum_key)


def test_all_findings_come_at_once_each_at_its_key():
    found = refusals(
        name="sgd",
        lr=-0.1,
        momentm=0.9,
        nesterov="yes",
        weight_decay=-1,
        groups=[{"match": [], "lr_factor": "much", "dampening": "no"}, {"match": "a", "lr": 1.0}],
    )
    assert set(found) == {
        ("lr",),
        ("momentm",),
        ("nesterov",),
        ("weight_decay",),
        ("groups", 0, "match"),
        ("groups", 0, "lr_factor"),
        ("groups", 0, "dampening"),
        ("groups", 1, "lr"),
    }
    assert "did you mean momentum?" in found[("momentm",)]
    assert "dampening" in found[("momentm",)]  # the list of what sgd takes
    assert found[("nesterov",)] == "expected true or false, got 'yes'"
    assert "lr_factor" in found[("groups", 1, "lr")]


@pytest.mark.parametrize(
    ("section", "key"),
    [
        ({"name": "sgd", "lr": 0}, "lr"),
        ({"name": "sgd", "lr": "abc"}, "lr"),
        ({"name": "sgd", "lr": float("nan")}, "lr"),
        ({"name": "sgd", "lr": float("inf")}, "lr"),
        ({"name": "sgd", "lr": True}, "lr"),
        ({"name": "sgd", "momentum": 1}, "momentum"),
        ({"name": "sgd", "momentum": True}, "momentum"),
        ({"name": "sgd", "betas": [0.9, 0.99]}, "betas"),
        ({"name": "adam", "betas": [0.9, 1.0]}, "betas"),
        ({"name": "adam", "betas": [0.9]}, "betas"),
        ({"name": "adam", "betas": 0.9}, "betas"),
        ({"name": "adam", "eps": -1e-8}, "eps"),
        ({"name": "adam", "eps": float("nan")}, "eps"),
        ({"name": "adam", "differentiable": True}, "differentiable"),
        ({"name": "adam", "fused": 1}, "fused"),
        ({"name": "adam", "fused": True, "foreach": True}, "fused"),
        ({"name": "adafactor", "eps": 1e-3}, "eps"),
        ({"name": "adafactor", "beta2_decay": 0.8}, "beta2_decay"),
        ({"name": "rprop", "etas": [1.2, 0.5]}, "etas"),
        ({"name": "rprop", "step_sizes": [50, 1e-6]}, "step_sizes"),
        ({"name": "rprop", "decay_norms_and_biases": False}, "decay_norms_and_biases"),
        ({"name": "muon", "ns_steps": 5.0}, "ns_steps"),
        ({"name": "muon", "adjust_lr_fn": "origin"}, "adjust_lr_fn"),
        ({"name": "sgd", "nesterov": True}, "nesterov"),
        ({"name": "sgd", "nesterov": True, "momentum": 0.9, "dampening": 0.1}, "dampening"),
        ({"name": "adam", "layer_decay": 0}, "layer_decay"),
        ({"name": "adam", "layer_decay": 1.1}, "layer_decay"),
        ({"name": "sgd", "mup": {"base": {"width": 64}}}, "mup"),
        ({"name": "my.code:Lion", "mup": {"base": {"width": 64}}}, "mup"),
        ({"name": "adm"}, "name"),
        ({"name": "lbfgs"}, "name"),
        ({"name": "torch.optim:LBFGS"}, "name"),
        ({"name": 3}, "name"),
        ({}, "name"),
    ],
)
def test_a_wrong_value_is_refused_at_its_key(section, key):
    assert list(refusals(**{"lr": 0.1, **section})) == [(key,)]


def test_unknown_names_come_with_the_nearest():
    assert "did you mean rmsprop?" in refusals(name="rmsprp", lr=0.1)[("name",)]
    assert "closure" in refusals(name="LBFGS", lr=0.1)[("name",)]


def test_a_group_may_not_make_nesterov_meaningless():
    section = {"name": "sgd", "lr": 0.1, "nesterov": True, "momentum": 0.9}
    found = refusals(**section, groups=[{"match": "a", "momentum": 0}])
    assert list(found) == [("groups", 0, "nesterov")]


def test_two_groups_need_two_names():
    found = refusals(name="sgd", lr=0.1, groups=[{"match": "a.*"}, {"match": "a.*.b", "name": "a"}])
    assert list(found) == [("groups", 1, "name")]
    reserved = [{"match": "a", "name": "no_decay"}, {"match": "b", "name": "default"}]
    assert len(refusals(name="sgd", lr=0.1, groups=reserved)) == 2


def test_a_group_has_no_name_of_a_piece():
    pieces = ("head_no_decay", "layer03", "head_layer12", "mup_x0.25")
    for name in pieces:
        found = refusals(name="sgd", lr=0.1, groups=[{"match": "a", "name": name}])
        assert list(found) == [("groups", 0, "name")]
    spec = read(name="sgd", lr=0.1, groups=[{"match": "layer10.*"}, {"match": "layer1.*"}])
    assert [group.label(k) for k, group in enumerate(spec.groups, 1)] == ["group1", "layer1"]


def test_mup_needs_an_optimizer_like_adam_and_says_what_sgd_would_need():
    base = {"base": {"width": 64}}
    assert "grows with fan-out" in refusals(name="sgd", lr=0.1, mup=base)[("mup",)]
    assert list(refusals(name="adam", lr=0.1, mup={"base": {}})) == [("mup", "base")]
    assert list(refusals(name="adam", lr=0.1, mup={"bas": {}})) == [("mup", "base"), ("mup", "bas")]
    assert read(name="my.code:Lion", lr=0.1, betas=[0.9, 0.99], mup=base).mup.base == {"width": 64}


@pytest.mark.parametrize(
    ("base", "key", "message"),
    [
        ({"width": 30}, "heads", "expected a divisor of the width 30, got 4"),
        ({"widht": 64}, "widht", "did you mean width?"),
        ({"width": "wide"}, "width", "expected a whole number"),
        ({"name": "mlp"}, "name", "the base is the same model"),
    ],
)
def test_the_base_of_mup_is_a_model_section(base, key, message):
    with pytest.raises(ConfigError) as caught:
        Mup(base=base).base_section(Gpt(width=256, heads=4))
    (problem,) = caught.value.problems
    assert problem.path == ("optimizer", "mup", "base", key)
    assert message in problem.message


def test_somebodys_own_optimizer_takes_any_arguments():
    spec = read(name="my.code:Lion", lr=0.1, anything=[1, 2], groups=[{"match": "a", "b": 3}])
    assert spec.is_custom
    assert spec.arguments == {"anything": [1, 2]}
    assert spec.groups[0].arguments == {"b": 3}


def test_the_schema_knows_each_optimizers_own_arguments():
    schema = OptimizerSpec.model_json_schema()
    (sgd,) = [
        each["then"]["properties"]
        for each in schema["allOf"]
        if each["if"]["properties"]["name"]["const"] == "sgd"
    ]
    assert set(sgd) == set(OPTIMIZERS["sgd"].defaults)
    assert sgd["momentum"] == {"type": "number", "default": 0.0}
