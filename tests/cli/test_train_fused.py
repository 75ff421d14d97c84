"""`lrrun train --fuse`: several seeds as one stacked model, and what is said about it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

CONFIG = """\
name: group
seeds: [3, 4, 5]
model: {name: mlp, hidden: [8]}
dataset: {name: digits, batch_size: 64}
optimizer: {name: sgd, lr: 0.05}
scheduler: cosine
train: {epochs: 2, device: cpu}
"""

Lrrun = Callable[..., Any]


@pytest.fixture
def config(empty_folder: Path) -> Path:
    file = empty_folder / "c.yaml"
    file.write_text(CONFIG)
    return file


def info(number: int) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(Path(f"runs/group-{number}/run.json").read_text())
    return loaded


def test_seeds_are_trained_as_one_when_that_is_asked_for(lrrun: Lrrun, config: Path) -> None:
    done = lrrun("train", config, "--fuse")
    assert (done.code, done.err) == (0, "")
    assert done.out.count("3 runs are trained as one") == 1
    assert [line.split()[1] for line in done.out.splitlines() if line.startswith("epoch")] == [
        "1",
        "2",
    ]
    assert "val_loss" in done.out and "group-3: completed: all 46 steps done" in done.out
    assert [info(k)["engine"]["fused"] for k in (1, 2, 3)] == [3, 3, 3]
    assert [info(k)["seed"] for k in (1, 2, 3)] == [3, 4, 5]
    assert info(1)["command"].startswith("lrrun train")
    for verb in ("show", "verify", "resume"):
        assert lrrun(verb, "group-2").code == 0
    assert lrrun("compare", "group-1", "group-2").code == 0


def test_without_it_they_are_trained_in_turn(lrrun: Lrrun, config: Path) -> None:
    assert lrrun("train", config, "train.epochs=1", "--json").code == 0
    assert ["engine" in info(k) for k in (1, 2, 3)] == [False] * 3


def test_json_lists_every_run(lrrun: Lrrun, config: Path) -> None:
    done = lrrun("train", config, "--fuse", "--smoke", "--json")
    runs = json.loads(done.out)
    assert [(run["seed"], run["status"], run["smoke"]) for run in runs] == [
        (seed, "completed", True) for seed in (3, 4, 5)
    ]


def test_a_key_that_forbids_it_is_named(lrrun: Lrrun, config: Path) -> None:
    done = lrrun("train", config, "--fuse", "train.on_divergence=rewind", "train.epochs=1")
    assert done.code == 0
    assert "lrrun: the seeds are trained one by one: train.on_divergence" in done.err
    assert "engine" not in info(1)


def test_divergence_is_exit_code_4(lrrun: Lrrun, config: Path) -> None:
    done = lrrun("train", config, "--fuse", "optimizer.lr=1e9")
    assert done.code == 4
    assert "group-1: diverged: the smoothed loss rose" in done.out


def test_a_group_that_cannot_begin_says_why_as_one_run_does(lrrun: Lrrun, config: Path) -> None:
    dataset = "dataset={name: csv, path: none.csv, target: y, task: regression}"
    done = lrrun("train", config, "--fuse", dataset)
    assert done.code == 3
    assert done.err.count("none.csv") == 1
    assert not Path("runs").exists()
