"""`key=value` on the command line: sets any key of a config, typed as YAML would type it."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable
from typing import Any

from lrrun.config.yaml_text import Document, parse_value
from lrrun.errors import ConfigError, KeyPath, Problem, dotted

_KEY = re.compile(r"[A-Za-z_][\w-]*(?:\[\d+\])*(?:\.[\w-]+(?:\[\d+\])*)*")
_NAMED = ("model", "dataset", "optimizer", "scheduler")
"""Sections for which a bare name stands for a mapping."""

_EITHER: tuple[frozenset[KeyPath], ...] = (
    frozenset({("train", "epochs"), ("train", "steps"), ("train", "tokens")}),
    frozenset({("seed",), ("seeds",)}),
)
"""Keys that say the same thing: setting one takes the place of the others in the file."""


def apply_overrides(document: Document, overrides: Iterable[str]) -> Document:
    """A new document in which every `key=value` of `overrides` is set, later ones winning.

    Raises ConfigError for a text without `=`, a malformed key, or a key inside something that is
    neither a mapping nor a list; whether the key exists is the schema's business.
    """
    data = copy.deepcopy(document.data)
    given: set[KeyPath] = set()
    places = dict(document.places)
    problems = []
    for text in overrides:
        where = f"command line: {text}"
        try:
            path, value = parse_override(text)
            data = _set(data, path, value)
            given.add(path)
        except ConfigError as error:
            problems += [Problem(each.path, each.message, where) for each in error.problems]
            continue
        for known in [place for place in places if place[: len(path)] == path]:
            del places[known]
        for length in range(1, len(path) + 1):  # the sections that were made on the way as well
            places.setdefault(path[:length], where)
    if problems:
        raise ConfigError(problems)
    for either in _EITHER:
        if either & given:
            _remove(data, either - given)
    return Document(data, places, document.file)


def _remove(data: Any, paths: Iterable[KeyPath]) -> None:
    for *around, key in paths:
        inside = data
        for each in around:
            inside = inside.get(each) if isinstance(inside, dict) else None
        if isinstance(inside, dict):
            inside.pop(key, None)


def parse_override(text: str) -> tuple[KeyPath, Any]:
    """The key path and the value of one override.

    >>> parse_override("optimizer.lr=1e-3")
    (('optimizer', 'lr'), 0.001)
    >>> parse_override("scheduler[0].for=10 epochs")
    (('scheduler', 0, 'for'), '10 epochs')
    """
    key, equals, value = text.partition("=")
    if not equals or not _KEY.fullmatch(key.strip()):
        raise ConfigError([Problem((), "expected key=value, such as optimizer.lr=0.01")])
    keys = re.findall(r"[^.\[\]]+", key.strip())
    path = tuple(int(each) if each.isdigit() else each for each in keys)
    try:
        return path, parse_value(value)
    except ConfigError as error:
        raise ConfigError(
            Problem((*path, *each.path), each.message) for each in error.problems
        ) from None


def _set(data: Any, path: KeyPath, value: Any, around: KeyPath = ()) -> Any:
    """`data`, which stands at `around`, with `path` inside it set to `value`.

    Mappings are made on the way where nothing stands.
    """
    if not path:
        return value
    key, rest = path[0], path[1:]
    here = (*around, key)
    if isinstance(key, int):
        if not isinstance(data, list) or key >= len(data):
            size = f"a list of {len(data)}" if isinstance(data, list) else "no list"
            text = f"there is no item {key}: {dotted(around)} is {size}"
            raise ConfigError([Problem((*around, *path), text)])
        data[key] = _set(data[key], rest, value, here)
        return data
    if data is None:
        data = {}
    if not isinstance(data, dict):
        text = f"no key can be set inside {dotted(around)}, which is {data!r}"
        raise ConfigError([Problem((*around, *path), text)])
    inner = data.get(key)
    if rest and key in _NAMED and isinstance(inner, str):
        inner = {"name": inner}
    data[key] = _set(inner, rest, value, here)
    return data
