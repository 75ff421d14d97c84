"""YAML text → plain data, with the line of every key.

A subset of YAML 1.2, read from PyYAML's safe event stream: numbers and booleans as YAML 1.2 has
them (`1e-3` is a number, `on` is text), repeated keys refused, no tags, aliases only as far as they
stay small. Every refusal is a ConfigError that names `file:line`.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from lrrun.errors import ConfigError, KeyPath, Problem

MAX_BYTES = 1 << 20
MAX_DEPTH = 50
MAX_NODES = 100_000

_SMALL = 16_384
"""Characters of a text that is worth remembering, and takes little memory."""

_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_WORDS: dict[str, Any] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf"), float("inf")),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), float("-inf")),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan")),
}

_OR_QUOTES = "or does a text need quotes?"
_SAID = {
    r"mapping values are not allowed": f"unexpected ':'; is the indentation right, {_OR_QUOTES}",
    r"expected <block end>, but found '?<": (
        f"is the indentation that of the lines above, {_OR_QUOTES}"
    ),
    r"expected <block end>, but found (.+)": rf"unexpected \1; is it one too many, {_OR_QUOTES}",
    r"expected ',' or '(.)', but got '<stream end>'": (
        r"the text ends where ',' or '\1' was expected; close the bracket"
    ),
    r"expected ',' or '(.)', but got (.+)": rf"expected ',' or '\1', got \2; {_OR_QUOTES[3:]}",
    r"expected the node content, but found '<stream end>'": (
        "the text ends where a value was expected"
    ),
    r"expected the node content, but found (.+)": r"expected a value, got \1",
    r"expected '<document start>', but found '<stream|expected alphabetic or numeric": (
        "a text that begins with '%', '&' or '*' needs quotes"
    ),
    r"expected '<document start>', but found (.+)": (
        r"expected nothing more, got \1; is it one too many?"
    ),
    r"found character (.+) that cannot start any token": r"a text that begins with \1 needs quotes",
    r"could not find expected ':'": "expected key: value; is a ':' missing?",
}
"""What PyYAML says of a syntax error, and what a person should do about it."""


@dataclass(frozen=True)
class Document:
    """Plain data (dict, list, str, int, float, bool, None) and where each of its keys stands."""

    data: Any
    places: dict[KeyPath, str] = field(default_factory=dict)
    file: Path | None = None

    def where(self, path: KeyPath) -> str:
        """`file:line` of a key, or of the nearest key around it that exists."""
        for length in range(len(path), -1, -1):
            if path[:length] in self.places:
                return self.places[path[:length]]
        return str(self.file) if self.file else ""

    def locate(self, problems: Iterable[Problem]) -> list[Problem]:
        """Every problem once, with its `file:line`, in the order in which the file has them."""
        order = {path: k for k, path in enumerate(self.places)}

        def position(problem: Problem) -> int:
            around = (problem.path[:n] for n in range(len(problem.path), -1, -1))
            return next((order[path] for path in around if path in order), -1)

        found = [
            problem if problem.where else replace(problem, where=self.where(problem.path))
            for problem in dict.fromkeys(problems)
        ]
        return sorted(found, key=position)

    @property
    def folder(self) -> Path:
        """Where the config file lies: relative paths and import paths start here."""
        return self.file.parent if self.file else Path()


def read_document(file: Path) -> Document:
    """Read a config file; raises ConfigError (missing, not a file, not UTF-8, not our YAML)."""
    return parse_document(_text_of(file), file)


def parse_document(text: str, file: Path | None = None) -> Document:
    """Read YAML text; `file` is only named in messages."""
    return _Composer(text, str(file) if file else "").document(file)


def parse_value(text: str) -> Any:
    """The value of `key=value` on the command line: a YAML scalar, list or mapping.

    >>> parse_value("1e-3"), parse_value("[1, 2]"), parse_value("cosine")
    (0.001, [1, 2], 'cosine')
    """
    return parse_document(text).data


def _text_of(file: Path) -> str:
    try:
        mode = file.stat().st_mode
        if stat.S_ISDIR(mode):
            raise _refusal(file, "is a folder; a config is a YAML file")
        if not stat.S_ISREG(mode):
            raise _refusal(file, "is not a regular file")
        with file.open("rb") as stream:
            raw = stream.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise _refusal(file, "no such file") from None
    except (OSError, ValueError) as error:
        raise _refusal(file, getattr(error, "strerror", None) or str(error)) from None
    if len(raw) > MAX_BYTES:
        raise _refusal(file, f"larger than {MAX_BYTES >> 20} MiB; a config is a small text")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _refusal(file, f"not UTF-8 at byte {error.start}") from None


def _refusal(file: Path, message: str) -> ConfigError:
    return ConfigError([Problem((), message, str(file))])


class _Composer:
    """Builds the data from PyYAML's events, which never construct an object."""

    def __init__(self, text: str, file: str) -> None:
        self.file = file
        self.places: dict[KeyPath, str] = {}
        self.anchors: dict[str, tuple[Any, int]] = {}
        self.nodes = 0
        self.events: Iterator[Any] = self._guarded(text)

    def document(self, file: Path | None) -> Document:
        next(self.events)  # the stream's start
        if isinstance(next(self.events), yaml.StreamEndEvent):
            return Document(None, {(): self.file}, file)
        data = self.node(next(self.events), (), 0)
        next(self.events)  # the document's end
        extra = next(self.events)
        if not isinstance(extra, yaml.StreamEndEvent):
            raise self.refuse(extra, "a second document starts here; one experiment a file")
        return Document(data, self.places, file)

    def node(self, event: Any, path: KeyPath, depth: int) -> Any:
        """The data of one node; notes the line of `path`."""
        self.places.setdefault(path, self.place(event))
        self.count(event, 1)
        if depth > MAX_DEPTH:
            raise self.refuse(event, f"nested more than {MAX_DEPTH} deep")
        if isinstance(event, yaml.AliasEvent):
            return self.alias(event)
        if event.tag is not None and event.tag != "!":
            raise self.refuse(event, f"tags are not supported, got {event.tag}")
        before = self.nodes
        if isinstance(event, yaml.MappingStartEvent):
            data: Any = self.mapping(path, depth)
        elif isinstance(event, yaml.SequenceStartEvent):
            data = self.sequence(path, depth)
        else:
            data = self.scalar(event)
        if event.anchor:
            self.anchors[event.anchor] = (data, self.nodes - before + 1)
        return data

    def alias(self, event: Any) -> Any:
        if event.anchor not in self.anchors:
            raise self.refuse(event, f"*{event.anchor} has no &{event.anchor} before it")
        data, size = self.anchors[event.anchor]
        self.count(event, size)
        return data

    def mapping(self, path: KeyPath, depth: int) -> dict[str, Any]:
        data: dict[str, Any] = {}
        while not isinstance(event := next(self.events), yaml.MappingEndEvent):
            if not isinstance(event, yaml.ScalarEvent):
                raise self.refuse(event, "expected a key, got a list, a mapping or an alias")
            key = event.value
            here = (*path, key)
            if key == "<<" and event.style is None:
                raise self.refuse(event, "merge keys (<<) are not supported; write the keys out")
            if key in data:
                where = f"repeats the key of {self.places[here]}" if self.file else "stands twice"
                raise self.refuse(event, where, here)
            self.places[here] = self.place(event)
            data[key] = self.node(next(self.events), here, depth + 1)
            if data[key] is None and ":" in key and event.style is None:
                raise self.refuse(
                    event, f"expected key: value, got {key}; is a space missing?", path
                )
        return data

    def sequence(self, path: KeyPath, depth: int) -> list[Any]:
        data: list[Any] = []
        while not isinstance(event := next(self.events), yaml.SequenceEndEvent):
            data.append(self.node(event, (*path, len(data)), depth + 1))
        return data

    def scalar(self, event: Any) -> Any:
        text = event.value
        if event.style is not None:
            return text
        if text in _WORDS:
            return _WORDS[text]
        if _INT.fullmatch(text):
            if len(text) > 19:
                raise self.refuse(event, f"a whole number of {len(text)} digits is too large")
            return int(text, 0) if text[:2] in ("0o", "0x") else int(text)
        return float(text) if FLOAT.fullmatch(text) else text

    def count(self, event: Any, nodes: int) -> None:
        self.nodes += nodes
        if self.nodes > MAX_NODES:
            raise self.refuse(event, f"more than {MAX_NODES:,} values, aliases written out")

    def place(self, event: Any) -> str:
        return f"{self.file}:{event.start_mark.line + 1}" if self.file else ""

    def refuse(self, event: Any, message: str, path: KeyPath = ()) -> ConfigError:
        return ConfigError([Problem(path, message, self.place(event))])

    def _guarded(self, text: str) -> Iterator[Any]:
        """PyYAML's events, its own errors turned into ours."""
        try:
            yield from _small(text) if len(text) <= _SMALL else _events(text)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            line = mark.line + 1 if mark else 1
            where = f"{self.file}:{line}" if self.file else ""
            raise ConfigError([Problem((), _in_words(error, text, line), where)]) from None
        except (yaml.YAMLError, ValueError, IndexError, OverflowError) as error:
            reason = getattr(error, "reason", None) or str(error)
            raise ConfigError([Problem((), f"not YAML: {reason}", self.file)]) from None


def _events(text: str) -> Iterator[Any]:
    return iter(yaml.parse(text, Loader=yaml.SafeLoader))


@lru_cache(maxsize=256)  # the runs of a sweep have their file and most of their values in common
def _small(text: str) -> tuple[Any, ...]:
    return tuple(_events(text))


def _in_words(error: yaml.MarkedYAMLError, text: str, line: int) -> str:
    """What a person should do about a syntax error."""
    problem = error.problem or "cannot be read"
    lines = text.splitlines()
    written = lines[line - 1] if line <= len(lines) else ""
    if "\\t" in problem or "\t" in written[: len(written) - len(written.lstrip())]:
        return "tab character; indent with spaces"
    if "quoted scalar" in (error.context or ""):
        opened = error.context_mark.line + 1 if error.context_mark else line
        return f"the quote opened in line {opened} never closes"
    for found, words in _SAID.items():
        match = re.search(found, problem)
        if match:
            return match.expand(words)
    return f"not YAML: {problem}"
