"""Which experiments may be stacked, and which key forbids it."""

from __future__ import annotations

import pytest

from lrrun.config.fusing import STACKED, Group, differing_key, groups, reason_alone
from lrrun.config.optimizers import OPTIMIZERS
from lrrun.config.reading import experiment_from_text

CONFIG = """\
name: f
model: {name: mlp, hidden: [8]}
dataset: {name: digits, batch_size: 64}
optimizer: {name: sgd, lr: 0.1, momentum: 0.9, groups: [{match: '*bias', weight_decay: 0.1}]}
scheduler: cosine
train: {epochs: 2, ema: 0.9}
"""


@pytest.mark.parametrize(
    "override",
    [
        "seed=7",
        'name="other"',
        "optimizer.lr=0.3",
        "optimizer.momentum=0",
        "optimizer.weight_decay=0.5",
        "optimizer.groups[0].weight_decay=0.2",
        "optimizer.groups[0].lr_factor=10%",
        "optimizer.groups[0].scheduler=linear",
        "scheduler=[{name: warmup, for: 5 steps}, {name: plateau}]",
        "co_schedules.momentum={name: linear, final: 50%}",
        "train.clip_norm=1.5",
        "train.ema=0.5",
        "train.divergence_factor=3",
        "train.spike_factor=3",
        "train.on_divergence=skip",
        "train.early_stopping={patience: 2}",
        "train.log_every=5",
        "checkpoint.every=5",
    ],
)
def test_what_is_read_per_step_or_per_replica_may_differ(override: str) -> None:
    one, other = (experiment_from_text(CONFIG, each) for each in ((), (override,)))
    assert one.resolved() != other.resolved()
    assert differing_key(one, other) is None
    assert groups([one, other]) == [Group((0, 1))]


@pytest.mark.parametrize(
    ("override", "key"),
    [
        ("model.hidden=[9]", "model.hidden"),
        ("model.dropout=0.1", "model.dropout"),
        ("dataset.batch_size=32", "dataset.batch_size"),
        ("train.epochs=3", "train.epochs"),
        ("train.scale=0.5", "train.scale"),
        ("train.evaluate=5 steps", "train.evaluate"),
        ("train.val_rows=5", "train.val_rows"),
        ("train.precision=bf16", "train.precision"),
        ("train.accumulate=2", "train.accumulate"),
        ("train.grad_norm=true", "train.grad_norm"),
        ("train.label_smoothing=0.1", "train.label_smoothing"),
        ("train.ema=null", "train.ema"),
        ("optimizer.nesterov=true", "optimizer.nesterov"),
        ("optimizer.name=adam", "optimizer.name"),
        ("optimizer.groups[0].match='*weight'", "optimizer.groups"),
        ("optimizer.decay_norms_and_biases=false", "optimizer.decay_norms_and_biases"),
        ("co_schedules.batch_size={name: constant, factor: 50%}", "co_schedules.batch_size"),
    ],
)
def test_what_changes_shapes_data_or_operations_may_not(override: str, key: str) -> None:
    without = ("optimizer.momentum=0.9",) if "adam" not in override else ()
    text = CONFIG if without else CONFIG.replace(", momentum: 0.9", "")
    one, other = (experiment_from_text(text, each) for each in ((), (override,)))
    found = differing_key(one, other)
    assert found is not None and found.startswith(key)
    assert groups([one, other]) == [Group((0,)), Group((1,))]


@pytest.mark.parametrize(
    ("override", "reason"),
    [
        ("optimizer={name: muon, lr: 0.1}", "optimizer.name: muon has no stacked form"),
        ("train.precision=fp16", "train.precision: fp16"),
        ("train.on_divergence=rewind", "train.on_divergence: "),
        ("train.headroom={every: 5 steps}", "train.headroom: "),
    ],
)
def test_some_are_always_alone_and_the_key_says_why(override: str, reason: str) -> None:
    experiment = experiment_from_text(CONFIG, [override])
    found = reason_alone(experiment)
    assert found is not None and found.startswith(reason)
    assert groups([experiment, experiment]) == [Group((0,), found), Group((1,), found)]


def test_groups_keep_the_order_in_which_they_came() -> None:
    wide, narrow = (experiment_from_text(CONFIG, [f"model.hidden=[{n}]"]) for n in (9, 8))
    assert groups([wide, narrow, wide, narrow]) == [Group((0, 2)), Group((1, 3))]
    assert groups([]) == []


def test_the_stacked_optimizers_are_those_that_have_a_rule() -> None:
    from lrrun.training.fused.rules import RULES

    assert sorted(STACKED) == sorted(
        name for name, each in OPTIMIZERS.items() if each.torch_name in {k.__name__ for k in RULES}
    )
