"""pydantic's findings in our words: what was expected, what was got, the nearest match."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from lrrun.config.fields import DEVICE
from lrrun.errors import KeyPath, Problem
from lrrun.registry import nearest, unknown_argument

Details = Mapping[str, Any]

_PATTERNS = {DEVICE: "auto, cpu, cuda, cuda:1 or mps"}
"""What a person should write where a text must match a pattern."""

_EXPECTED: dict[str, Callable[[Details], str]] = {
    "float_type": lambda c: "a number",
    "float_parsing": lambda c: "a number",
    "finite_number": lambda c: "a finite number",
    "int_type": lambda c: "a whole number",
    "int_from_float": lambda c: "a whole number",
    "bool_type": lambda c: "true or false",
    "string_type": lambda c: "a text",
    "list_type": lambda c: "a list",
    "tuple_type": lambda c: "a list",
    "dict_type": lambda c: "a mapping",
    "model_type": lambda c: "a mapping",
    "model_attributes_type": lambda c: "a mapping",
    "greater_than": lambda c: f"more than {c['gt']:g}",
    "greater_than_equal": lambda c: f"at least {c['ge']:g}",
    "less_than": lambda c: f"less than {c['lt']:g}",
    "less_than_equal": lambda c: f"at most {c['le']:,}",
    "too_short": lambda c: f"at least {c['min_length']} item",
    "too_long": lambda c: f"at most {c['max_length']} items",
    "string_too_short": lambda c: f"at least {c['min_length']} character",
    "string_pattern_mismatch": lambda c: _PATTERNS.get(c["pattern"], f"a text like {c['pattern']}"),
    "literal_error": lambda c: str(c["expected"]).replace("'", ""),
    "enum": lambda c: str(c["expected"]).replace("'", ""),
}


def problems_of(error: ValidationError, section: type[BaseModel], at: KeyPath) -> list[Problem]:
    """Every finding of a failed validation of `section`, which stands at `at` in the config."""
    found = []
    for detail in error.errors(include_url=False):
        path = (*at, *(each for each in detail["loc"] if _is_key(each)))
        problem = Problem(path, _message(detail, section))
        if problem not in found:
            found.append(problem)
    return found


def _is_key(loc: str | int) -> bool:
    """Tags that pydantic puts into `loc` for unions (`list[str]`, `function-plain`) are no keys."""
    return isinstance(loc, int) or not any(mark in loc for mark in "[]()-")


def _message(detail: Mapping[str, Any], section: type[BaseModel]) -> str:
    kind, context, got = detail["type"], detail.get("ctx", {}), detail["input"]
    if kind == "extra_forbidden":
        return unknown_argument(str(detail["loc"][-1]), _keys_at(section, detail["loc"][:-1]))
    if kind == "missing":
        return "is missing"
    if kind == "value_error":
        return str(context.get("error", detail["msg"]))
    if kind in _EXPECTED:
        expected = _EXPECTED[kind](context)
        hint = ""
        if kind == "literal_error" and isinstance(got, str):
            options = [each.strip() for each in expected.replace(" or ", ",").split(",")]
            match = nearest(got, options)
            hint = f"; did you mean {match}?" if match else ""
        elif isinstance(got, str) and "number" in expected:
            hint = _no_number(got)
        return f"expected {expected}, got {_shown(got)}{hint}"
    return str(detail["msg"])


def _no_number(text: str) -> str:
    """Why a text that looks like a number is none.

    >>> _no_number("0.1,0.2"), _no_number("1e\u22123")
    ('; several values are for lrrun sweep', "; '\u2212' is not a character of a number")
    """
    if re.fullmatch(r"[-+.\de]+(,|\.\.)[-+.\de,:%a-z]+", text.replace(" ", "")):
        return "; several values are for lrrun sweep"
    foreign = next((each for each in text if not each.isascii()), None)
    return f"; {foreign!r} is not a character of a number" if foreign else ""


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _keys_at(section: type[BaseModel], loc: tuple[str | int, ...]) -> list[str]:
    """The keys that the (nested) section at `loc` takes."""
    for key in loc:
        if isinstance(key, str) and key in section.model_fields:
            inner = _model_in(section.model_fields[key].annotation)
            if inner is None:
                return []
            section = inner
    return list(section.model_fields)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The model class inside `Model`, `Model | None` or `list[Model]`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for each in getattr(annotation, "__args__", ()):
        found = _model_in(each)
        if found is not None:
            return found
    return None
