"""The JSON Schema accepts what the reader accepts, and refuses what it refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lrrun.config.base import Section
from lrrun.config.optimizers import OptimizerSpec
from lrrun.config.schema import json_schema
from lrrun.config.train import Train
from lrrun.config.yaml_text import read_document
from lrrun.schedules.catalogue import CATALOGUE

jsonschema = pytest.importorskip("jsonschema")

CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.yaml"))


@pytest.fixture(scope="module")
def validator() -> Any:
    schema = json.loads(json.dumps(json_schema()))
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


@pytest.mark.parametrize("file", CONFIGS, ids=lambda file: file.stem)
def test_every_shipped_config_is_valid(file: Path, validator: Any) -> None:
    assert [error.message for error in validator.iter_errors(read_document(file).data)] == []


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("trian",), {}),
        (("model",), {"name": "mlp", "hiden": [1]}),
        (("scheduler",), {"name": "cosine", "gamma": 0.1}),
        (("dataset",), {"name": "digits", "batch_size": 0}),
        (("train",), {"epochs": "ten"}),
    ],
)
def test_mistakes_are_marked(path: tuple[str], value: Any, validator: Any) -> None:
    data = read_document(CONFIGS[0]).data
    data[path[0]] = value
    assert list(validator.iter_errors(data))


def test_every_schedule_is_in_the_schema() -> None:
    text = json.dumps(json_schema())
    assert all(json.dumps(name) in text for name in CATALOGUE)


def test_the_command_prints_it_or_writes_it(lrrun: Callable[..., Any]) -> None:
    printed = json.loads(lrrun("schema").out)
    assert lrrun("schema", "-o", "lrrun.schema.json").code == 0
    assert json.loads(Path("lrrun.schema.json").read_text()) == printed


class _Parent(Section):
    first: int = 1
    """What the parent says."""
    second: int = 2
    """Of the
    second."""


class _Child(_Parent):
    first: int = 3
    """What the child says."""
    silent: int = 4


def test_keys_are_described_by_the_docstrings_of_their_fields() -> None:
    keys = _Child.model_json_schema()["properties"]
    described = {name: key.get("description") for name, key in keys.items()}
    assert described == {
        "first": "What the child says.",
        "second": "Of the\nsecond.",
        "silent": None,
    }
    for section in (Train, OptimizerSpec):
        assert all(
            "description" in key for key in section.model_json_schema()["properties"].values()
        )


def test_defaults_are_as_a_config_writes_them() -> None:
    headroom = json_schema()["$defs"]["Headroom"]["properties"]["every"]
    assert headroom["default"] == "50 steps"
