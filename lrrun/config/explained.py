"""One thing that a config can name, explained: what it is, and what each of its keys means."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from pydantic import BaseModel

from lrrun.config.checkpoint import Checkpoint
from lrrun.config.datasets import DATASETS
from lrrun.config.models import MODELS
from lrrun.config.optimizers import OPTIMIZERS, OptimizerSpec, canonical
from lrrun.config.schema import json_schema_of
from lrrun.config.sweep import Sweep
from lrrun.config.train import Train
from lrrun.errors import UsageError
from lrrun.registry import unknown
from lrrun.schedules.catalogue import CATALOGUE, Entry, find

SECTIONS: dict[str, type[BaseModel]] = {"train": Train, "checkpoint": Checkpoint, "sweep": Sweep}
"""Sections of a config without a `name`."""

KINDS: dict[str, str] = {
    "integer": "whole number",
    "number": "number",
    "boolean": "true or false",
    "string": "text",
    "null": "none",
    "object": "mapping",
}


@dataclass(frozen=True)
class Key:
    """A key: what may stand there, its default (`needed` without one), and what it means."""

    name: str
    kind: str
    default: str
    meaning: str


@dataclass(frozen=True)
class Explained:
    """A component or a section; `text` is its documentation, in paragraphs."""

    kind: str
    name: str
    text: tuple[str, ...]
    keys: tuple[Key, ...]


def explain(name: str) -> Explained:
    """What `name` is, be it a model, a dataset, an optimizer, a scheduler or a section.

    Raises UsageError, with the nearest name, where there is none.

    >>> [key.name for key in explain("cosine").keys]
    ['final', 'end']
    """
    for kind, declared in (("model", MODELS), ("dataset", DATASETS)):
        for section in declared:
            if section.model_fields["name"].default == name:
                return _section(kind, name, section)
    if name in SECTIONS:
        return _section("section", name, SECTIONS[name])
    if (entry := find(name)) is not None:
        return _schedule(entry)
    if (optimizer := canonical(name)) in OPTIMIZERS:
        return _optimizer(optimizer)
    names = [each.model_fields["name"].default for each in (*MODELS, *DATASETS)]
    known = [*SECTIONS, *names, *OPTIMIZERS, *CATALOGUE]
    raise UsageError(unknown("component", name, known))


def _section(kind: str, name: str, section: type[BaseModel]) -> Explained:
    return Explained(kind, name, _paragraphs(section), _keys(section.model_json_schema()))


def _optimizer(name: str) -> Explained:
    """Torch's own arguments, then what every optimizer takes here."""
    own = tuple(
        Key(key, "torch's argument", _default(value), "")
        for key, value in OPTIMIZERS[name].defaults.items()
    )
    text = f"torch.optim.{OPTIMIZERS[name].torch_name}, with torch's own arguments and defaults."
    return Explained("optimizer", name, (text,), (*_keys(OptimizerSpec.model_json_schema()), *own))


def _schedule(entry: Entry) -> Explained:
    schema = json_schema_of(entry)
    keys = tuple(
        Key(key, _kind(each, {}), _default_of(each, key in schema["required"]), "")
        for key, each in schema["properties"].items()
        if key in entry.parameters
    )
    return Explained("scheduler", entry.name, _paragraphs(entry.build), keys)


def _keys(schema: Mapping[str, Any]) -> tuple[Key, ...]:
    """The keys of a section's JSON Schema, its name left out; those of a mapping in it below it."""
    definitions = schema.get("$defs", {})
    found = []
    for key, each in schema["properties"].items():
        if key == "name":
            continue
        default = _default_of(each, key in schema.get("required", ()))
        meaning = " ".join(each.get("description", "").split())
        found.append(Key(key, _kind(each, definitions), default, meaning))
        inside = {"$defs": definitions, **_mapping_in(each, definitions)}
        if "properties" in inside:
            found += [replace(below, name=f"{key}.{below.name}") for below in _keys(inside)]
    return tuple(found)


def _mapping_in(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> Mapping[str, Any]:
    """The definition of a section that may stand there as a mapping of its own; none in lists."""
    for each in (schema, *schema.get("anyOf", ())):
        if "$ref" in each:
            found: Mapping[str, Any] = definitions.get(each["$ref"].rpartition("/")[2], {})
            return found
    return {}


def _paragraphs(documented: object) -> tuple[str, ...]:
    """A docstring's paragraphs, without its doctests."""
    whole = (inspect.getdoc(documented) or "").split("\n\n")
    return tuple(" ".join(each.split()) for each in whole if ">>>" not in each)


def _kind(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:
    """What a JSON Schema lets stand, in words."""
    if "enum" in schema or "const" in schema:
        return ", ".join(_default(each) for each in schema.get("enum", [schema.get("const")]))
    for several in ("anyOf", "oneOf"):
        if several in schema:
            kinds = [_kind(each, definitions) for each in schema[several]]
            return " or ".join(dict.fromkeys(each for each in kinds if each != "none"))
    if "$ref" in schema:
        return "schedule" if schema["$ref"].endswith("/part") else "mapping"
    said = str(schema.get("description", "")) if "properties" not in schema else ""
    if said.startswith(("a length", "a learning rate", "a fraction")):
        return said.partition(":")[0].removeprefix("a ")
    if schema.get("type") == "array":
        return f"list of {_kind(schema.get('items', {}), definitions)}"
    if isinstance(schema.get("type"), list):
        return "length" if "integer" in schema["type"] else "number or percent"
    return KINDS.get(str(schema.get("type")), "expression")


def _default_of(schema: Mapping[str, Any], needed: bool) -> str:
    if needed:
        return "needed"
    return "-" if schema.get("default") is None else _default(schema["default"])


def _default(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_default, value)) + "]"
    return "none" if value is None else str(value)
