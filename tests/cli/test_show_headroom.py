"""`lrrun show` explains what the headroom gauge measured."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

CONFIG = """\
name: gauged
model: {name: mlp, hidden: [8]}
dataset: {name: digits, batch_size: 64}
optimizer: {name: sgd, lr: 0.001}
scheduler: constant
train: {steps: 20, device: cpu, threads: 1}
"""


@pytest.fixture
def config(empty_folder: Path) -> Path:
    (empty_folder / "c.yaml").write_text(CONFIG)
    return empty_folder / "c.yaml"


def test_a_timid_lr_is_explained(lrrun: Callable, config: Path) -> None:
    assert lrrun("train", config, "train.headroom={every: 5 steps}").code == 0
    out = lrrun("show").out
    assert "note: the LR was below 5% of the critical LR in 100% of 4 measurements" in out
    assert "headroom: lr / critical lr" in out
    assert "headroom: lr / critical lr" not in lrrun("show", "--no-plots").out
    data = json.loads(lrrun("show", "--json").out)
    assert data["headroom"]["step"] == [0, 5, 10, 15]
    assert set(data["headroom"]) == {"step", "lr", "headroom", "update_ratio"}
    assert data["findings"][0].startswith("the LR was below 5%")


def test_a_run_that_was_not_gauged_says_nothing_of_it(lrrun: Callable, config: Path) -> None:
    assert lrrun("train", config).code == 0
    assert "critical" not in lrrun("show").out


def test_the_default_is_every_50_steps(lrrun: Callable, config: Path) -> None:
    assert lrrun("train", config, "train.headroom={}", "train.steps=60").code == 0
    table = Path("runs/gauged-1/headroom.csv").read_text().splitlines()
    assert [line.partition(",")[0] for line in table] == ["step", "0", "50"]


def test_a_wrong_setting_is_named(lrrun: Callable, config: Path) -> None:
    result = lrrun("check", config, "train.headroom={evry: 5 steps}")
    assert result.code == 2 and "did you mean every?" in result.err
