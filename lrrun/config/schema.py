"""The JSON Schema of a config, for editors: what can be written where, and what it means."""

from __future__ import annotations

import types
import typing
from typing import Any, Literal

from pydantic import BaseModel

from lrrun.config.checkpoint import Checkpoint
from lrrun.config.datasets import DATASETS
from lrrun.config.models import MODELS
from lrrun.config.optimizers import OptimizerSpec
from lrrun.config.reading import CO_SCHEDULED
from lrrun.config.sweep import Sweep
from lrrun.config.train import Train
from lrrun.registry import IMPORT_PATH
from lrrun.schedules.catalogue import CATALOGUE, Entry, Parameter, Section
from lrrun.units import Fraction, Height, Length

LENGTH = {
    "type": ["string", "integer"],
    "description": "a length: 500 steps, 10 epochs, 5%, 300M tokens, or a number of steps",
}
HEIGHT = {
    "type": ["number", "string"],
    "description": "a learning rate, or a percent of the group's base LR",
}
FRACTION = {"type": ["number", "string"], "description": "a fraction: 0.1 or 10%"}
_PLAIN = {bool: "boolean", int: "integer", float: "number", str: "string"}


def json_schema() -> dict[str, Any]:
    """The whole schema, JSON Schema 2020-12, as plain data."""
    definitions: dict[str, Any] = {}
    part = {"$ref": "#/$defs/part"}
    scheduler = {"oneOf": [part, {"type": "array", "items": part}]}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "lrrun experiment",
        "type": "object",
        "additionalProperties": False,
        "required": ["model", "dataset", "optimizer", "train"],
        "properties": {
            "name": {"type": "string", "description": "the beginning of the run folder's name"},
            "seed": {"type": "integer", "minimum": 0},
            "seeds": {"type": "array", "items": {"type": "integer", "minimum": 0}},
            "model": _named(MODELS, definitions),
            "dataset": _named(DATASETS, definitions),
            "optimizer": _optimizer(scheduler, definitions),
            "scheduler": scheduler,
            "co_schedules": {
                "type": "object",
                "additionalProperties": False,
                "properties": dict.fromkeys(CO_SCHEDULED, scheduler),
            },
            "train": _section(Train, definitions),
            "checkpoint": _section(Checkpoint, definitions),
            "sweep": _section(Sweep, definitions),
            "folder": {"type": "string", "description": "where relative paths start"},
        },
        "$defs": {**definitions, "part": _part()},
    }


def _section(section: type[BaseModel], definitions: dict[str, Any]) -> dict[str, Any]:
    """A section's schema; its nested definitions go to the common place."""
    schema = section.model_json_schema(ref_template="#/$defs/{model}")
    definitions.update(schema.pop("$defs", {}))
    return schema


def _optimizer(scheduler: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """The optimizer section, whose groups may have schedules of their own."""
    schema = _section(OptimizerSpec, definitions)
    definitions["GroupSpec"]["properties"]["scheduler"].update(scheduler)
    return schema


def _named(sections: typing.Iterable[type[BaseModel]], definitions: dict[str, Any]) -> Any:
    """One of several declarations, told apart by name; a bare name; or an import path."""
    choices = [_section(each, definitions) for each in sections]
    for choice in choices:
        choice["required"] = sorted({*choice.get("required", ()), "name"})
    names = [each.model_fields["name"].default for each in sections]
    custom = {
        "type": "object",
        "required": ["name"],
        "properties": {"name": {"type": "string", "pattern": f"^{IMPORT_PATH.pattern}$"}},
    }
    return {"oneOf": [{"enum": names}, *choices, custom]}


def _part() -> dict[str, Any]:
    """A schedule by name, or a mapping whose other keys depend on the name."""
    envelope = {
        "for": LENGTH,
        "until": LENGTH,
        "start": HEIGHT,
        "warmup": {"oneOf": [LENGTH, {"type": "object"}]},
        "cooldown": {"oneOf": [LENGTH, {"type": "object"}]},
    }
    return {
        "oneOf": [
            {"type": "string"},
            {
                "type": "object",
                "properties": {"name": {"anyOf": [{"enum": list(CATALOGUE)}, {"type": "string"}]}},
                "allOf": [_entry(entry, envelope) for entry in CATALOGUE.values()],
            },
        ]
    }


def json_schema_of(entry: Entry) -> dict[str, Any]:
    """What one schedule takes beside what every part takes: its own keys."""
    then: dict[str, Any] = _entry(entry, {})["then"]
    return then


def _entry(entry: Entry, envelope: dict[str, Any]) -> dict[str, Any]:
    """What a part may say once its name is known."""
    clock = {"interval": {"enum": ["step", "epoch"]}} if entry.clock else {}
    own = {name: _parameter(each) for name, each in entry.parameters.items()}
    then = {
        "description": entry.summary,
        "properties": {"name": {}, **envelope, **clock, **own},
        "required": [name for name, each in entry.parameters.items() if each.required],
        "additionalProperties": False,
    }
    return {
        "if": {"properties": {"name": {"const": entry.name}}, "required": ["name"]},
        "then": then,
    }


def _parameter(parameter: Parameter) -> dict[str, Any]:
    schema = _kind(parameter.kind)
    if parameter.required:
        return schema
    default = parameter.default
    return {**schema, "default": str(default) if isinstance(default, (Length, Height)) else default}


def _kind(kind: Any) -> dict[str, Any]:
    """The schema of one annotated type of a schedule's parameter."""
    units: dict[Any, dict[str, Any]] = {
        Length: LENGTH,
        Height: HEIGHT,
        Fraction: FRACTION,
        Section: {"$ref": "#/$defs/part"},
    }
    if kind in units:
        return dict(units[kind])
    origin, options = typing.get_origin(kind), typing.get_args(kind)
    if origin is Literal:
        return {"enum": list(options)}
    if origin in (typing.Union, types.UnionType):
        return {"anyOf": [_kind(each) for each in options]}
    if origin in (list, tuple):
        return {"type": "array", "items": _kind(options[0])}
    if kind is type(None):
        return {"type": "null"}
    return {"type": _PLAIN[kind]} if kind in _PLAIN else {}
