"""docs/json.md: every key that it promises is there."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Lrrun = Callable[..., Any]

PAGE = (Path(__file__).parent.parent / "docs" / "json.md").read_text("utf-8")
CONFIG = """\
name: one
model: {name: mlp, hidden: [4]}
dataset: {name: digits, batch_size: 256}
optimizer: {name: sgd, lr: 0.05}
train: {steps: 6, device: cpu}
"""


def promised(command: str) -> tuple[set[str], set[str]]:
    """The keys in the row of `command`, without what stands in brackets; and those after `with`."""
    (row,) = re.findall(rf"^\| (?:`\w+`, )?`{command}`.*? \| (.*) \|$", PAGE, flags=re.MULTILINE)
    bare = re.sub(r"\([^)]*\)|, each with .*|each `key`.*", "", row)
    usual, _, other = bare.partition("; ")
    return set(re.findall(r"`(\w+)`", usual)), set(re.findall(r"`(\w+)`", other))


def record() -> set[str]:
    text = re.sub(r"\([^)]*\)", "", PAGE.partition("A *record* is")[2].partition("Its `name`")[0])
    return set(re.findall(r"`(\w+)`", text))


@pytest.fixture
def config(empty_folder: Path) -> str:
    (empty_folder / "c.yaml").write_text(CONFIG)
    return "c.yaml"


def read(lrrun: Lrrun, *words: str) -> Any:
    done = lrrun(*words, "--json")
    assert done.code in (0, 2), done.err
    return json.loads(done.out)


def test_before_training(lrrun: Lrrun, config: str) -> None:
    usual, other = promised("check")
    good = read(lrrun, "check", config)
    assert usual | other - {"problems"} == set(good)
    numbers = re.search(r"`numbers` \(([^)]*)\)", PAGE)
    assert numbers and set(re.findall(r"`(\w+)`", numbers[1])) == set(good["numbers"])
    assert good["numbers"]["total_steps"] == 6
    assert set(read(lrrun, "check", config, "train.steps=0")) == usual | {"problems"}
    usual, other = promised("schedule")
    assert usual == set(read(lrrun, "schedule", "cosine")[0])
    assert other == set(read(lrrun, "schedule", "cosine", "--export", "python")[0])
    assert promised("components")[0] == set(read(lrrun, "components")["model"][0])
    explained = read(lrrun, "components", "wsd")
    assert promised("components")[1] == set(explained)


def test_of_runs(lrrun: Lrrun, config: str) -> None:
    (trained,) = read(lrrun, "train", config)
    assert record() <= set(trained)
    assert record() <= set(read(lrrun, "resume", "one-1"))
    assert record() | promised("show RUN")[0] <= set(read(lrrun, "show", "one-1"))
    assert promised("verify")[0] == set(read(lrrun, "verify", "one-1"))
    assert record() <= set(read(lrrun, "fork", "one-1", "--at", "3", "optimizer.lr=0.1"))
    assert promised("compare")[0] - {"key", "values"} <= set(
        read(lrrun, "compare", "one-1", "one-2")
    )
    assert {"kind", "name", "status", "created", "best"} <= set(read(lrrun, "list")[0])


def test_of_searches_and_sweeps(lrrun: Lrrun, config: str) -> None:
    words = ("find", config, "--quick", "--steps", "60", "--from", "1e-3", "--to", "100")
    found = read(lrrun, *words, "train.steps=60")
    assert promised("find")[0] <= set(found)
    usual, other = promised("sweep")
    axes = ("sweep", config, "optimizer.lr=0.1,0.2")
    assert other <= set(read(lrrun, *axes, "--dry-run"))
    assert usual <= set(read(lrrun, *axes))
    assert usual <= set(read(lrrun, "show", "one-sweep-1"))
