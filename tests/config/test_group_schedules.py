"""Schedules of param groups: read with the config, planned one by one, refused at their key."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lrrun.config.check import check_if_known
from lrrun.config.dump import to_yaml
from lrrun.config.experiment import Experiment
from lrrun.config.overrides import apply_overrides
from lrrun.config.plans import plan_schedules
from lrrun.config.reading import experiment_from_text, read_experiment
from lrrun.config.yaml_text import parse_document
from lrrun.errors import ConfigError
from lrrun.schedules import build, parse, schedule
from lrrun.units import Units

TEXT = """\
model: {name: mlp, hidden: [16]}
dataset: {name: digits, batch_size: 64}
optimizer:
  name: adamw
  lr: 0.1
  groups:
    - match: "head.*"
      lr_factor: 10%
      scheduler: {name: linear, warmup: 4 steps}
    - {match: "*.bias", scheduler: [{name: constant, for: 5}, {name: cosine, final: 1e-3}]}
scheduler: {name: cosine, final: 10%}
train: {steps: 20}
"""
STEPS = np.arange(20)
UNITS = Units(20)


def read(*overrides: str) -> Experiment:
    return read_experiment(apply_overrides(parse_document(TEXT, Path("c.yaml")), overrides))


def refusal(*overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        check_if_known(read(*overrides))
    return str(caught.value)


def test_each_group_has_its_own_schedule_and_its_pieces_share_it() -> None:
    lrs = {"default": 0.1, "head_layer01": 0.01, "head_no_decay": 0.02, "bias": 0.1}
    labels = {"default": "default", "head_layer01": "head", "head_no_decay": "head", "bias": "bias"}
    planned = plan_schedules(read(), UNITS, lrs, labels)
    alone = {
        "default": schedule("cosine", lr=0.1, steps=20, final="10%"),
        "head_layer01": schedule("linear", lr=0.01, steps=20, warmup="4 steps"),
        "head_no_decay": schedule("linear", lr=0.02, steps=20, warmup="4 steps"),
        "bias": schedule(
            [{"name": "constant", "for": 5}, {"name": "cosine", "final": 1e-3}], lr=0.1, steps=20
        ),
    }
    assert list(planned) == list(alone)
    for name, lr in alone.items():
        np.testing.assert_array_equal(planned[name](STEPS), lr(STEPS))
    assert planned["head_layer01"](4) == 0.01  # the peak after a warmup of 4
    assert planned["bias"](20) == 1e-3


def test_a_percent_is_of_the_groups_lr_and_a_bare_floor_is_not() -> None:
    lrs = {"default": 0.1, "head": 0.05}
    same = dict.fromkeys(lrs, "default")
    percent = plan_schedules(read(), UNITS, lrs, same)
    assert [lr(20) for lr in percent.values()] == pytest.approx([0.01, 0.005], rel=1e-12)
    bare = plan_schedules(read("scheduler.final=1e-4"), UNITS, lrs, same)
    assert [lr(20) for lr in bare.values()] == pytest.approx([1e-4, 1e-4], rel=1e-12)


def test_the_resolved_config_keeps_the_groups_schedules() -> None:
    experiment = read()
    again = experiment_from_text(to_yaml(experiment.resolved()))
    assert again.resolved() == experiment.resolved()
    assert again.group_parts == experiment.group_parts
    assert list(again.group_parts) == ["head", "bias"]


def test_a_group_without_a_schedule_follows_the_runs() -> None:
    experiment = read("optimizer.groups[0].scheduler=null", "optimizer.groups[1].scheduler=null")
    assert experiment.group_parts == {}
    planned = plan_schedules(experiment, UNITS, {"default": 0.1, "head": 0.01})
    np.testing.assert_allclose(planned["head"](STEPS), planned["default"](STEPS) / 10, rtol=1e-12)


@pytest.mark.parametrize(
    ("override", "key", "message"),
    [
        ("scheduler.name=linaer", "scheduler.name", "did you mean linear?"),
        ("scheduler.gamma=1", "scheduler.gamma", "linear: unknown key"),
        ("scheduler.warmup=0.1", "scheduler.warmup.for", "write 10% (of the run)"),
        ("scheduler.warmup=30 steps", "scheduler.warmup", "30 steps, the run has 20"),
        ("scheduler.warmup=2M tokens", "scheduler.warmup.for", "this dataset has no tokens"),
        ("scheduler={name: plateau, metric: val_mae}", "scheduler.metric", "unknown metric"),
        ("scheduler=3", "scheduler", "expected a schedule's name or a mapping, got 3"),
    ],
)
def test_a_schedule_is_refused_at_its_group(override: str, key: str, message: str) -> None:
    assert (problem := refusal(f"optimizer.groups[0].{override}")).count("\n") == 0, problem
    assert f": optimizer.groups[0].{key}: " in problem
    assert message in problem


def test_a_wrong_schedule_has_the_line_of_its_group_and_comes_with_all_others() -> None:
    text = TEXT.replace("linear, warmup: 4 steps", "linaer").replace("lr: 0.1", "lr: abc")
    with pytest.raises(ConfigError) as caught:
        read_experiment(parse_document(text, Path("c.yaml")))
    places = [str(each).split(": ")[:2] for each in caught.value.problems]
    assert places == [
        ["c.yaml:5", "optimizer.lr"],
        ["c.yaml:9", "optimizer.groups[0].scheduler.name"],
    ]


def test_a_base_of_mup_that_the_model_cannot_have_is_refused_at_its_key() -> None:
    found = refusal("optimizer={name: adamw, lr: 0.1, mup: {base: {width: 4}}}")
    assert ": optimizer.mup.base.width: unknown key" in found
    assert "it takes name, hidden, dropout" in found


CYCLE = "{name: OneCycleLR, max_lr: 0.5, total_steps: 20, cycle_momentum: false}"
SEVERAL = "{name: OneCycleLR, max_lr: [0.1, 0.5], total_steps: 20, cycle_momentum: false}"
BARE = ["optimizer={name: adamw}", "optimizer.lr=0.1"]


def test_a_groups_own_lr_is_said_once() -> None:
    """A schedule that brings its LR ignores base LRs, so nothing may multiply them."""
    own = refusal(f"optimizer.groups[0].scheduler={CYCLE}")
    assert "optimizer.groups[0].lr_factor: the schedule brings its own LR (max_lr)" in own
    fits = [f"optimizer.groups[0].scheduler={CYCLE}", "optimizer.groups[0].lr_factor=1"]
    planned = plan_schedules(read(*fits), UNITS, {"default": 0.1, "head": 0.1})
    assert planned["head"](5) == 0.5  # pct_start · 20 - 1: the top of the cycle
    assert planned["default"](0) == 0.1

    run = [*BARE, "optimizer.layer_decay=0.5", "optimizer.mup={base: {hidden: [4]}}"]
    multiplied = refusal(*run, "optimizer.lr=0.5", f"scheduler={CYCLE}").split("\n")
    assert [line.split(": ")[-2] for line in multiplied] == [
        "optimizer.layer_decay",
        "optimizer.mup",
    ]
    group = "optimizer={name: adamw, groups: [{match: '*', scheduler: cosine}]}"
    assert "groups[0].scheduler: there is no base LR" in refusal(group, f"scheduler={SEVERAL}")


def test_the_momentum_is_driven_for_all_groups_or_for_none() -> None:
    cycle = CYCLE.replace(", cycle_momentum: false", "")
    factor = "optimizer.groups[0].lr_factor=1"
    own = refusal(f"optimizer.groups[0].scheduler={cycle}", factor)
    assert "optimizer.groups[0].scheduler: it drives the momentum" in own
    run = refusal(f"scheduler={cycle}", "optimizer.lr=0.5", factor, "optimizer.groups[1].name=b")
    assert ": scheduler: it drives the momentum" in run
    everywhere = ["optimizer={name: adamw, groups: [{match: '*'}]}", f"scheduler={cycle}"]
    assert check_if_known(read(*everywhere)) is not None


@pytest.mark.parametrize(
    ("name", "argument", "values"),
    [
        ("OneCycleLR", {"total_steps": 20}, ("max_lr", [0.1, 0.5])),
        ("CyclicLR", {"base_lr": 0.01}, ("max_lr", [0.1, 0.5])),
        ("SWALR", {}, ("swa_lr", [0.1, 0.5])),
        ("ReduceLROnPlateau", {}, ("min_lr", [0.1, 0.5])),
        ("LambdaLR", {}, ("lr_lambda", ["0.5", "0.1"])),
    ],
)
def test_a_list_of_one_value_per_group_has_as_many_as_there_are_groups(
    name: str, argument: dict[str, object], values: tuple[str, list[object]]
) -> None:
    key, both = values
    parts = parse({"name": name, "interval": "step", **argument, key: both})
    for group in (0, 1):
        assert build(parts, 0.1, UNITS, group, 2)(0) == build(parts, 0.1, UNITS, group)(0)
    for groups in (1, 3):
        with pytest.raises(ConfigError, match=rf"{key}: .* group \({groups}\), got 2$"):
            build(parts, 0.1, UNITS, 0, groups)
    with pytest.raises(ConfigError, match=r"group \(3\), got 2$"):
        build(parts, 0.1, UNITS, 2)


def test_check_does_not_know_how_many_groups_the_model_makes() -> None:
    group = "optimizer={name: adamw, groups: [{match: '*'}, {match: a}, {match: b}]}"
    experiment = read(group, f"scheduler={SEVERAL}")
    assert check_if_known(experiment) is not None
    lrs = {"x": 1.0, "y": 1.0}
    assert [lr(5) for lr in plan_schedules(experiment, UNITS, lrs, lrs).values()] == [0.1, 0.5]
    with pytest.raises(ConfigError, match=r"^command line: .*: scheduler.max_lr: .*\(1\), got 2$"):
        plan_schedules(experiment, UNITS, {"x": 1.0}, {"x": "x"})
