"""`components NAME`: every thing that a config can name can be explained."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from lrrun.config.catalogue import catalogue
from lrrun.config.explained import SECTIONS, explain
from lrrun.config.train import Train
from lrrun.errors import UsageError
from lrrun.schedules.catalogue import CATALOGUE

NAMES = [row[0] for rows in catalogue(dialects=True).values() for row in rows]


@pytest.mark.parametrize("name", [*NAMES, *SECTIONS])
def test_everything_is_explained(name: str) -> None:
    found = explain(name)
    assert found.text and all(found.text)
    assert all(key.kind and key.default for key in found.keys)
    assert not any("{'" in key.default for key in found.keys)


def test_the_keys_are_those_that_are_declared() -> None:
    assert [key.name for key in explain("wsd").keys] == list(CATALOGUE["wsd"].parameters)
    top = [key.name for key in explain("train").keys if "." not in key.name]
    assert top == list(Train.model_fields)


def test_keys_of_a_mapping_stand_below_it_with_their_meaning() -> None:
    keys = {key.name: key for key in explain("train").keys}
    assert keys["early_stopping.patience"].default == "5"
    assert keys["headroom.every"].default == "50 steps"
    assert "passes over the training data" in keys["epochs"].meaning
    assert keys["precision"].kind == "fp32, bf16, fp16"
    assert keys["evaluate"].kind == "length"


def test_a_name_may_be_said_as_a_config_may_say_it() -> None:
    assert explain("StepLR").name == "torch.StepLR"
    assert explain("AdamW").name == "adamw"
    with pytest.raises(UsageError, match="did you mean cosine"):
        explain("cosin")


def test_it_is_printed_and_its_example_builds(lrrun: Callable[..., Any]) -> None:
    out = lrrun("components", "wsd").out
    assert "Warmup-stable-decay" in out
    assert "scheduler: {name: wsd, warmup: 5%, cooldown: 20%}" in out
    assert json.loads(lrrun("components", "csv", "--json").out)["kind"] == "dataset"
    assert lrrun("components", "nothing-like-it").code == 2


def test_kinds_are_listed_in_the_singular_and_the_plural(lrrun: Callable[..., Any]) -> None:
    (one,) = json.loads(lrrun("components", "schedulers", "--json").out).values()
    (same,) = json.loads(lrrun("components", "scheduler", "--json").out).values()
    assert one == same
    names = [row["name"] for row in one]
    assert names[:3] == ["constant", "cosine", "linear"]
    assert set(names) == {name for name in CATALOGUE if "." not in name}
