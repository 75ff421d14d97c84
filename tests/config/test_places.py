"""A key in the wrong place is told its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lrrun.config.places import KEYS, place_of, unknown_top

CONFIG = "model: linear\ndataset: digits\noptimizer: {name: sgd, lr: 0.1}\ntrain: {epochs: 1}\n"


@pytest.mark.parametrize(
    ("key", "place"),
    [
        ("lr", "optimizer.lr"),
        ("learning_rate", "optimizer.lr"),
        ("betas", "optimizer.betas"),
        ("batch-size", "dataset.batch_size"),
        ("max_steps", "train.steps"),
        ("warmup", "scheduler.warmup"),
        ("seed", "seed"),
        ("qqqqqq", None),
    ],
)
def test_where_a_bare_key_belongs(key: str, place: str | None) -> None:
    assert place_of(key) == place


def test_what_stands_at_the_top_is_looked_for_first() -> None:
    assert "did you mean optimizer? (it takes" in unknown_top("optimiser")
    assert unknown_top("qqqqqq") == f"unknown key; it takes {', '.join(KEYS)}"


@pytest.mark.parametrize("verb", ["train", "check", "find", "sweep"])
def test_a_key_written_as_an_option_is_told_how_it_is_set(
    lrrun: Callable[..., Any], empty_folder: Path, verb: str
) -> None:
    Path("c.yaml").write_text(CONFIG)
    refused = lrrun(verb, "c.yaml", "--lr", "0.1")
    assert refused.code == 2
    assert "optimizer.lr=VALUE" in " ".join(refused.err.replace("│", " ").split())
    assert "VALUE" not in lrrun("list", "--lr", "0.1").err


def test_a_key_at_the_top_of_a_config_is_told_its_section(
    lrrun: Callable[..., Any], empty_folder: Path
) -> None:
    Path("c.yaml").write_text(CONFIG + "lr: 0.2\n")
    assert "c.yaml:5: lr: unknown key; did you mean optimizer.lr?" in lrrun("check", "c.yaml").err


def test_a_device_is_told_in_words(lrrun: Callable[..., Any], empty_folder: Path) -> None:
    Path("c.yaml").write_text(CONFIG)
    refused = lrrun("check", "c.yaml", "train.device=gpu")
    assert "expected auto, cpu, cuda, cuda:1 or mps, got 'gpu'" in refused.err
