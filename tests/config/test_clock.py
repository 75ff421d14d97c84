"""Horizons, ramps of the batch size, and lengths measured through a ramp."""

from __future__ import annotations

from typing import Any

import pytest

from lrrun.config.base import DataFacts
from lrrun.config.check import check
from lrrun.config.clock import Clock
from lrrun.config.plans import plan_co_schedules, plan_schedules
from lrrun.config.reading import experiment_from_text
from lrrun.errors import ConfigError

FACTS = DataFacts(1000, 100, "language", (16,), 256, tokens_per_row=16)
TEXT = """\
model: {name: gpt, layers: 1, heads: 2, width: 16}
dataset: {name: text, path: x.txt, context: 16, batch_size: 40}
optimizer: {name: adamw, lr: 0.1, weight_decay: 0.2}
scheduler: {name: constant}
train: {epochs: 4}
"""
RAMP = (
    "co_schedules.batch_size=[{name: constant, factor: 10%, for: 25%}, {name: constant, factor: 1}]"
)


def clock(*overrides: str) -> Clock:
    return check(experiment_from_text(TEXT, overrides), FACTS)


def test_a_ramp_counts_in_rows_seen() -> None:
    """4 epochs of 1,000 rows: a quarter of them by 4 (250 updates), the rest by 40 (75)."""
    ramped = clock(RAMP)
    counts = [ramped.batches.at(step)[2] for step in range(ramped.units.total_steps)]
    assert counts == [4] * 250 + [40] * 75
    assert ramped.batches.epoch_end(0) == 250
    assert ramped.batches.epoch_end(250) == 275


@pytest.mark.parametrize(
    ("length", "steps"),
    [("1 epoch", 250), ("2 epochs", 275), ("16k tokens", 250), ("500 samples", 125), ("10%", 32.5)],
)
def test_lengths_are_measured_through_the_ramp(length: str, steps: float) -> None:
    from lrrun.units import Length

    assert clock(RAMP).units.exact_steps(Length.parse(length)) == steps


def test_parts_in_epochs_begin_where_the_epochs_do() -> None:
    """Epoch 1 takes 250 updates, the later ones 25 each; the last part is measured from the end."""
    parts = "scheduler=[{name: constant, for: 1 epoch}, {name: constant, factor: 50%, for: rest}, "
    parts += "{name: constant, factor: 10%, for: 1 epoch}]"
    experiment = experiment_from_text(TEXT, [RAMP, parts])
    lr = plan_schedules(experiment, check(experiment, FACTS).units, {"default": 0.1})["default"]
    assert [lr(249), lr(250), lr(299), lr(300)] == pytest.approx([0.1, 0.05, 0.05, 0.01])


def test_a_horizon_in_steps_keeps_its_steps() -> None:
    ramped = clock(RAMP, "train.steps=100")
    assert ramped.units.total_steps == 100


def test_what_counts_epochs_in_steps_is_refused_under_a_ramp() -> None:
    with pytest.raises(ConfigError, match="counts epochs, and the steps in an epoch are not known"):
        clock(RAMP, "scheduler={name: StepLR, step_size: 1}")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("co_schedules.batch_size={name: linear, start: 1%, final: 3000}", "asks for"),
        ("co_schedules.batchsize=constant", "did you mean batch_size?"),
        ("co_schedules.momentum={name: cosin}", "did you mean cosine?"),
        ("co_schedules=[1]", "expected a mapping"),
    ],
)
def test_co_schedules_that_make_no_sense(override: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        clock(override)
    assert message in str(caught.value)


def test_momentum_and_weight_decay_start_from_the_optimizers_own() -> None:
    text: list[Any] = [
        "co_schedules.weight_decay={name: linear, final: 50%}",
        "co_schedules.momentum={name: linear, start: 0.5, final: 0.9}",
    ]
    experiment = experiment_from_text(TEXT, text)
    planned = plan_co_schedules(experiment, check(experiment, FACTS).units)
    assert planned["weight_decay"](0) == 0.2
    assert planned["weight_decay"](100) == pytest.approx(0.1)
    assert planned["momentum"]([0, 50, 100]).tolist() == pytest.approx([0.5, 0.7, 0.9])
    with pytest.raises(ConfigError, match=r"optimizer.momentum is not set"):
        clock("optimizer={name: sgd, lr: 0.1}", "co_schedules.momentum={name: constant}")
