"""The range test: an ordinary run whose LR rises, and nothing of the config in its way."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lrrun.config.experiment import Experiment
from lrrun.config.reading import experiment_from_text
from lrrun.errors import UsageError
from lrrun.runlog.reader import Run
from lrrun.search.range_test import RangePlan, RangeTest, range_experiment, range_test

CONFIG = """
name: small
model: {name: mlp, hidden: [8]}
dataset: {name: synthetic-classification, rows: 200, batch_size: 20}
optimizer: {name: sgd, lr: 0.01, momentum: 0.9}
scheduler: {name: cosine, warmup: 10%}
train: {epochs: 5, device: cpu}
"""


def outcome_of(experiment: Experiment, plan: RangePlan, folder: Path) -> RangeTest:
    made = range_test(range_experiment(experiment, plan), plan, folder)
    assert made is not None
    return made


@pytest.mark.parametrize("shape", ["exponential", "linear"])
def test_the_lr_rises_as_planned_in_a_run_folder_of_its_own(shape: str, tmp_path: Path) -> None:
    plan = RangePlan(1e-6, 1e-1, 40, shape)  # type: ignore[arg-type]
    made = outcome_of(experiment_from_text(CONFIG), plan, tmp_path)
    run = Run.open(made.path)
    space = np.geomspace if shape == "exponential" else np.linspace
    assert run.name == "small-find-1"
    assert run.steps["lr"] == pytest.approx(space(1e-6, 1e-1, 40), rel=1e-12)
    assert made.curve.lr == pytest.approx(run.steps["lr"], rel=1e-12)
    assert made.curve.loss.tolist() == run.steps["loss"].tolist()
    assert made.steps == 40


def test_it_ends_when_the_loss_is_lost(tmp_path: Path) -> None:
    made = outcome_of(experiment_from_text(CONFIG), RangePlan(1e-4, 1e6, 100), tmp_path)
    assert made.steps < 100
    assert made.curve.diverged
    assert Run.open(made.path).status == "diverged"


def test_param_groups_keep_their_share_of_the_lr(tmp_path: Path) -> None:
    config = CONFIG.replace(
        "momentum: 0.9}", "momentum: 0.9, groups: [{match: '*bias', name: biases, lr_factor: 0.1}]}"
    )
    made = outcome_of(experiment_from_text(config), RangePlan(1e-6, 1e-1, 30), tmp_path)
    steps = Run.open(made.path).steps
    lrs = [steps[name] for name in steps if name.startswith("lr/")]
    assert lrs[0] == pytest.approx(10 * lrs[1]) or lrs[1] == pytest.approx(10 * lrs[0])
    assert made.curve.lr == pytest.approx(np.maximum(*lrs))


def test_what_would_bend_the_test_is_left_out() -> None:
    config = """
model: {name: mlp, hidden: [8]}
dataset: {name: synthetic-classification, rows: 200, batch_size: 20}
optimizer:
  {name: sgd, momentum: 0.9, weight_decay: 0.1, groups: [{match: "*bias", scheduler: cosine}]}
scheduler: {name: OneCycleLR, max_lr: 0.1, cycle_momentum: false, total_steps: 50}
co_schedules: {weight_decay: {name: linear}, batch_size: {name: linear, start: 10, final: 20}}
train:
  epochs: 5
  scale: 0.5
  on_divergence: rewind
  spike_factor: 3
  early_stopping: {patience: 1}
  headroom: {}
"""
    raised = range_experiment(experiment_from_text(config), RangePlan(steps=50))
    assert raised.optimizer.lr == 10.0
    assert not raised.co_schedules and not raised.group_parts
    train = raised.train
    assert (train.steps, train.epochs, train.scale) == (50, None, 1.0)
    assert (train.on_divergence, train.spike_factor, train.early_stopping) == ("stop", None, None)
    assert train.headroom is None


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        ({"low": 1.0, "high": 0.1}, "expected 0 < from < to"),
        ({"low": 0.0}, "expected 0 < from < to"),
        ({"high": float("inf")}, "expected 0 < from < to"),
        ({"steps": 5}, "at least 20"),
        ({"shape": "square"}, "exponential or linear"),
    ],
    ids=["reversed", "from zero", "to infinity", "too short", "another shape"],
)
def test_a_plan_that_cannot_be_carried_out_is_refused(plan: dict[str, float], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        RangePlan(**plan)  # type: ignore[arg-type]
