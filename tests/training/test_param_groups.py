"""Layer-wise and width-based LRs: which parameters share one, and what it is."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import torch
from torch import nn

from lrrun.config.base import DataFacts
from lrrun.config.models import Cnn, CustomModel, Gpt, Mlp, Model, ResNet
from lrrun.config.optimizers import OptimizerSpec
from lrrun.errors import ConfigError
from lrrun.training.layers import layers_of
from lrrun.training.models import build
from lrrun.training.mup import base_model, lr_multipliers
from lrrun.training.optimizers import build_optimizer
from lrrun.training.param_groups import param_groups

HERE = Path()
TABLE = DataFacts(100, 20, "classification", (6,), 3)
IMAGES = DataFacts(100, 20, "classification", (3, 16, 16), 10)
TEXT = DataFacts(100, 20, "language", (8,), 65, 8)
GPT = Gpt(layers=2, width=256, heads=4)


def adamw(**section: object) -> OptimizerSpec:
    return OptimizerSpec.model_validate({"name": "adamw", "lr": 0.1, **section})


def factors(spec: OptimizerSpec, section: Model, facts: DataFacts) -> dict[str, float]:
    """Parameter name → its LR as a fraction of the base LR."""
    base = base_model(spec, section, facts, HERE)
    groups = param_groups(spec, build(section, facts, HERE), base)
    return {name: group.lr_factor for group in groups for name in group.parameters}


def bare(model: nn.Module) -> dict[str, int]:
    """The layer of each module that holds parameters."""
    return {name.rpartition(".")[0]: layer for name, layer in layers_of(model).items()}


def test_layers_are_numbered_modules_with_a_stem_below_and_a_head_above() -> None:
    assert bare(build(Mlp(hidden=(5, 4)), TABLE, HERE)) == {"body.0": 0, "body.2": 1, "head": 2}
    assert bare(build(Cnn(channels=(2, 3)), IMAGES, HERE)) == {"body.0": 0, "body.3": 1, "head": 2}
    resnet = bare(build(ResNet(depth=14, width=2), IMAGES, HERE))
    assert resnet["conv"] == resnet["norm"] == 0
    assert [resnet[f"body.{k}.conv2"] for k in range(6)] == [1, 2, 3, 4, 5, 6]
    assert resnet["head"] == 7
    gpt = bare(build(GPT, TEXT, HERE))
    assert gpt["token"] == gpt["position"] == 0
    assert gpt["blocks.0.norm1"] == gpt["blocks.0.attention.qkv"] == gpt["blocks.0.down"] == 1
    assert (gpt["blocks.1.up"], gpt["norm"]) == (2, 3)


def test_without_numbers_a_layer_is_the_first_part_of_a_name() -> None:
    class Named(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc1 = nn.Linear(2, 2)
            self.pair = nn.ModuleDict({"a": nn.Linear(2, 2), "b": nn.Linear(2, 2)})
            self.fc3 = nn.Linear(2, 2)

    assert bare(Named()) == {"fc1": 0, "pair.a": 1, "pair.b": 1, "fc3": 2}


def test_each_layer_has_a_fraction_of_the_lr_of_the_layer_above() -> None:
    model = build(Mlp(hidden=(5, 4, 3)), TABLE, HERE)
    optimizer, groups = build_optimizer(adamw(layer_decay=0.75), model, HERE)
    assert [group.name for group in groups] == ["layer00", "layer01", "layer02", "layer03"]
    assert list(groups[0].parameters) == ["body.0.weight", "body.0.bias"]
    lrs = [group["lr"] for group in optimizer.param_groups]
    assert lrs == pytest.approx([0.1 * 0.421875, 0.1 * 0.5625, 0.1 * 0.75, 0.1], rel=1e-15)
    assert lrs[-1] == 0.1  # the head keeps the LR, to the bit


def test_frozen_layers_still_count() -> None:
    model = build(Mlp(hidden=(5, 4)), TABLE, HERE)
    model.get_submodule("body.2").requires_grad_(False)
    groups = param_groups(adamw(layer_decay=0.5), model)
    assert {group.name: group.lr_factor for group in groups} == {"layer00": 0.25, "layer02": 1.0}


def test_a_deep_model_has_names_of_one_length() -> None:
    model = nn.Sequential(*(nn.Linear(1, 1, bias=False) for _ in range(101)))
    names = [group.name for group in param_groups(adamw(layer_decay=1), model)]
    assert names == [f"layer{k:03}" for k in range(101)]


def test_the_multipliers_of_a_wider_gpt_by_arithmetic() -> None:
    """256 instead of 64: every matrix inside the blocks sums over four times as many numbers."""
    found = factors(adamw(mup={"base": {"width": 64}}), GPT, TEXT)
    matrices = ("attention.qkv", "attention.out", "up", "down")
    hidden = {f"blocks.{k}.{name}.weight" for k in (0, 1) for name in matrices}
    assert {name for name, factor in found.items() if factor != 1} == hidden
    assert {found[name] for name in hidden} == {64 / 256}


@pytest.mark.parametrize(
    ("section", "base", "facts", "expected"),
    [
        (
            Mlp(hidden=(128, 32)),
            {"hidden": [16, 16]},
            TABLE,
            {"body.2.weight": 16 / 128, "head.weight": 16 / 32},
        ),
        (
            Cnn(channels=(8, 32)),
            {"channels": [4, 8]},
            IMAGES,
            {"body.3.weight": 4 / 8, "head.weight": 8 / 32},
        ),
        (Mlp(hidden=(8,)), {"hidden": [32]}, TABLE, {"head.weight": 4.0}),  # narrower: larger
        (Mlp(hidden=(8,)), {"hidden": [8]}, TABLE, {}),
    ],
)
def test_the_lr_goes_with_the_fan_in(
    section: Model, base: dict[str, object], facts: DataFacts, expected: dict[str, float]
) -> None:
    found = factors(adamw(mup={"base": base}), section, facts)
    assert {name: factor for name, factor in found.items() if factor != 1} == expected


def test_a_wider_resnet_keeps_the_lr_of_stem_and_norms() -> None:
    found = factors(adamw(mup={"base": {"width": 4}}), ResNet(depth=8, width=16), IMAGES)
    changed = {name for name, factor in found.items() if factor != 1}
    convolutions = {f"body.{k}.conv{c}.weight" for k in range(3) for c in (1, 2)}
    assert changed == {*convolutions, "head.weight"}
    assert {found[name] for name in changed} == {0.25}


class Mixed(nn.Module):
    """Parameters of modules that are neither linear nor convolutions, `width` wide."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.position = nn.Parameter(torch.zeros(1, 5, width))
        self.table = nn.Embedding(width, width)
        self.attention = nn.MultiheadAttention(width, 1)
        self.norm = nn.LayerNorm([width, width])
        self.up = nn.ConvTranspose2d(width, 3, 2)
        self.depthwise = nn.ConvTranspose1d(width, width, 3, groups=width)
        self.recurrent = nn.LSTM(7, width, bias=False)


def test_parameters_of_other_modules_are_told_by_the_dims_that_change() -> None:
    found = lr_multipliers(Mixed(32), Mixed(8))
    assert {name: each for name, each in found.items() if each != 1} == {
        "attention.in_proj_weight": 0.25,
        "attention.out_proj.weight": 0.25,
        "up.weight": 0.25,  # it sums over its first dim, the channels that come in
        "recurrent.weight_hh_l0": 0.25,
    }


def test_groups_by_layer_width_and_weight_decay_multiply() -> None:
    spec = adamw(
        layer_decay=0.5,
        mup={"base": {"hidden": [4, 4]}},
        decay_norms_and_biases=False,
        groups=[{"match": "head.*", "lr_factor": "10%", "betas": [0.8, 0.9]}],
    )
    section = Mlp(hidden=(8, 8))
    base = base_model(spec, section, TABLE, HERE)
    groups = param_groups(spec, build(section, TABLE, HERE), base)
    assert {group.name: (group.label, list(group.parameters)) for group in groups} == {
        "layer00": ("default", ["body.0.weight"]),
        "layer00_no_decay": ("default", ["body.0.bias"]),
        "layer01_no_decay": ("default", ["body.2.bias"]),
        "layer01_mup_x0.5": ("default", ["body.2.weight"]),
        "head_layer02_no_decay": ("head", ["head.bias"]),
        "head_layer02_mup_x0.5": ("head", ["head.weight"]),
    }
    # 0.5 a layer below the head, 4 / 8 where the fan-in has doubled, 0.1 of the group
    assert [group.lr_factor for group in groups] == [0.25, 0.25, 0.5, 0.25, 0.1, 0.05]
    assert groups[4].arguments == {"betas": (0.8, 0.9), "weight_decay": 0.0}


def test_the_base_model_draws_no_random_number_and_takes_no_memory() -> None:
    spec = adamw(mup={"base": {"width": 64}})
    torch.manual_seed(3)
    plain = build(GPT, TEXT, HERE)
    after = torch.get_rng_state()
    torch.manual_seed(3)
    model = build(GPT, TEXT, HERE)
    base = base_model(spec, GPT, TEXT, HERE)
    assert torch.equal(torch.get_rng_state(), after)
    for name, parameter in plain.named_parameters():
        assert torch.equal(parameter, model.get_parameter(name))
    assert base is not None
    assert {parameter.device.type for parameter in base.parameters()} == {"meta"}
    assert base_model(adamw(), GPT, TEXT, HERE) is None


OWN = """
import torch

class Noisy(torch.nn.Linear):
    def __init__(self, width):
        super().__init__(width, 3)
        self.noise = torch.rand(3, device="cpu")
"""


def test_somebodys_own_model_draws_nothing_for_its_base_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own_models_for_mup.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(tmp_path))
    section = CustomModel.model_validate({"name": "own_models_for_mup:Noisy", "width": 8})
    before = torch.get_rng_state()
    base = base_model(adamw(mup={"base": {"width": 2}}), section, TABLE, HERE)
    assert torch.equal(torch.get_rng_state(), before)
    assert base is not None
    assert lr_multipliers(build(section, TABLE, HERE), base) == {"weight": 0.25, "bias": 1.0}


@pytest.mark.parametrize(
    ("section", "base", "message"),
    [
        (Mlp(hidden=(8, 8)), {"hidden": [4]}, "other parameters: body.2.weight"),
        (Mlp(hidden=(8,)), {"hidden": [4, 4]}, "other parameters: body.2.weight"),
    ],
)
def test_a_base_that_is_another_model_is_refused(
    section: Model, base: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        factors(adamw(mup={"base": base}), section, TABLE)
    assert str(caught.value).startswith("optimizer.mup.base: the base is to differ in widths alone")
    assert message in str(caught.value)


def test_a_base_that_cannot_be_made_says_so_at_its_key() -> None:
    spec = adamw(mup={"base": {"channels": [4, 4, 4, 4, 4]}})
    with pytest.raises(ConfigError, match=r"^optimizer.mup.base: the base model: 5 convolutions"):
        base_model(spec, Cnn(), IMAGES, HERE)


def test_mup_and_its_base_model_come_together() -> None:
    model = build(Mlp(hidden=(4,)), TABLE, HERE)
    with pytest.raises(ValueError, match="mup needs it"):
        param_groups(adamw(mup={"base": {"hidden": [2]}}), model)


CONFIG = """\
name: groups
model: {name: mlp, hidden: [32]}
dataset: {name: digits, batch_size: 64}
optimizer:
  name: adamw
  lr: 0.02
  layer_decay: 0.5
  mup: {base: {hidden: [8]}}
  groups:
    - {match: head.bias, name: bias, scheduler: {name: constant, factor: 10%}}
scheduler: {name: linear}
train: {steps: 4}
"""


def test_a_run_logs_the_lr_of_each_group(lrrun, empty_folder: Path) -> None:
    """Half the LR below the head, 8/32 of it at the head, falling to 0; the bias has 10% always."""
    Path("groups.yaml").write_text(CONFIG)
    result = lrrun("train", "groups.yaml", "--device", "cpu")
    assert result.code == 0, result.err
    with Path("runs/groups-1/steps.csv").open() as file:
        rows = [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]
    assert len(rows) == 4
    for step, row in enumerate(rows):
        left = (4 - step) / 4
        assert row["lr/layer00"] == pytest.approx(0.01 * left, rel=1e-12)
        assert row["lr/layer01_mup_x0.25"] == pytest.approx(0.005 * left, rel=1e-12)
        assert row["lr/bias_layer01"] == pytest.approx(0.002, rel=1e-12)

    again = lrrun("train", "runs/groups-1/config.yaml", "--device", "cpu")
    assert again.code == 0, again.err
    written = [Path(f"runs/groups-{k}/steps.csv").read_bytes() for k in (1, 2)]
    assert written[0] == written[1]


def test_the_first_loss_is_the_same_with_and_without_mup(lrrun, empty_folder: Path) -> None:
    Path("groups.yaml").write_text(CONFIG)
    for override in ("train.steps=2", "optimizer={name: adamw, lr: 0.02}"):
        assert lrrun("train", "groups.yaml", override, "--device", "cpu").code == 0
    losses = []
    for k in (1, 2):
        with Path(f"runs/groups-{k}/steps.csv").open() as file:
            losses.append([row["loss"] for row in csv.DictReader(file)])
    assert losses[0][0] == losses[1][0]
    assert losses[0][1] != losses[1][1]


def test_a_list_of_one_value_per_group_is_refused_before_anything_is_written(
    lrrun, empty_folder: Path
) -> None:
    text = CONFIG.replace("{name: linear}", "{name: SWALR, swa_lr: [0.1, 0.2]}")
    Path("groups.yaml").write_text(text)
    assert lrrun("check", "groups.yaml").code == 0  # the groups show once the model is built
    result = lrrun("train", "groups.yaml", "--device", "cpu")
    assert result.code == 2
    expected = "groups.yaml:11: scheduler.swa_lr: expected one value per param group (3), got 2"
    assert expected in result.err
    assert not Path("runs").exists() or not list(Path("runs").glob("groups*"))
