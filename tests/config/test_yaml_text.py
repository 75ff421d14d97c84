"""YAML 1.2 as we read it: numbers, refusals with their line, and limits."""

from __future__ import annotations

import math
import os
from pathlib import Path

import pytest

from lrrun.config.dump import to_yaml
from lrrun.config.yaml_text import Document, parse_document, read_document
from lrrun.errors import ConfigError


def refusal(text: str, file: str = "c.yaml") -> str:
    with pytest.raises(ConfigError) as caught:
        parse_document(text, Path(file))
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("1E5", 1e5),
        ("1e+3", 1000.0),
        (".5", 0.5),
        ("1.", 1.0),
        ("-3", -3),
        ("0x1F", 31),
        ("0o17", 15),
        ("0777", 777),
        ("true", True),
        ("on", "on"),
        ("yes", "yes"),
        ("~", None),
        ("12:30:45", "12:30:45"),
        ("2026-01-01", "2026-01-01"),
        ('"1e-3"', "1e-3"),
        (".inf", math.inf),
        ("1_000", "1_000"),
        ("5%", "5%"),
    ],
)
def test_scalars_are_those_of_yaml_1_2(text: str, value: object) -> None:
    read = parse_document(f"a: {text}").data["a"]
    assert read == value
    assert type(read) is type(value)


def test_every_key_knows_its_line() -> None:
    document = parse_document("a: 1\nb:\n  - c: 2\n    d: 3\n", Path("x.yaml"))
    assert document.where(("b", 0, "d")) == "x.yaml:4"
    assert document.where(("b", 0, "nothing")) == "x.yaml:3"
    assert document.where(("a",)) == "x.yaml:1"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3\n", "c.yaml:3: a: repeats the key of c.yaml:1"),
        ("a:\n\tb: 1\n", "c.yaml:2: tab character; indent with spaces"),
        ('a: "open\nb: 1\n', "the quote opened in line 1 never closes"),
        ("a: !!python/object/apply:os.system [true]\n", "c.yaml:1: tags are not supported"),
        ("a: b: c\n", "c.yaml:1: unexpected ':'"),
        ("a: 1\n---\nb: 2\n", "c.yaml:2: a second document starts here"),
        ("a: &x {b: 1}\nc: {<<: *x}\n", "c.yaml:2: merge keys (<<) are not supported"),
        ("a: *x\n", "c.yaml:1: *x has no &x before it"),
        ("[" * 100_000, "c.yaml:1: nested more than 50 deep"),
        (f"a: {'9' * 5000}\n", "c.yaml:1: a whole number of 5000 digits is too large"),
        ("? [a, b]\n: 1\n", "c.yaml:1: expected a key"),
        ('a: "\\U00110000"\n', "c.yaml"),
        ("a: [1, 2\n", "c.yaml:2: the text ends where ',' or ']' was expected; close the bracket"),
        ("a: [1 2: 3 4: 5]\n", "c.yaml:1: expected ',' or ']', got ':'; does a text need quotes?"),
        ("a: [,]\n", "c.yaml:1: expected a value, got ','"),
        ("a: {b: {", "c.yaml:1: the text ends where a value was expected"),
        ("a: [1]]\n", "c.yaml:1: unexpected ']'; is it one too many, or does"),
        ("[1]]\n", "c.yaml:1: expected nothing more, got ']'; is it one too many?"),
        ("a: @b\n", "c.yaml:1: a text that begins with '@' needs quotes"),
        ("%a: 1\n", "c.yaml:1: a text that begins with '%', '&' or '*' needs quotes"),
        ("a:\n  b: 1\n c: 2\n", "c.yaml:3: is the indentation that of the lines above"),
        ("a: 1\nb\nc: 2\n", "c.yaml:3: expected key: value; is a ':' missing?"),
        ("a: {name:sgd}\n", "c.yaml:1: a: expected key: value, got name:sgd; is a space missing?"),
    ],
)
def test_what_is_refused_and_where(text: str, message: str) -> None:
    assert message in refusal(text)


def test_an_alias_is_read_but_a_bomb_is_refused() -> None:
    assert parse_document("a: &x [1, 2]\nb: *x\n").data == {"a": [1, 2], "b": [1, 2]}
    levels = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    levels += [f"a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * 10)}]" for k in range(1, 9)]
    assert "more than 100,000 values" in refusal("\n".join(levels))
    assert "has no &a before it" in refusal("a: &a [*a]\n")


def test_a_byte_order_mark_and_windows_line_ends_change_nothing(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_bytes(b"\xef\xbb\xbfa: 1\r\nb: [2]\r\n")
    assert read_document(file).data == {"a": 1, "b": [2]}


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    def message(file: Path) -> str:
        with pytest.raises(ConfigError) as caught:
            read_document(file)
        return str(caught.value)

    assert "no such file" in message(tmp_path / "missing.yaml")
    assert "is a folder" in message(tmp_path)
    pipe = tmp_path / "pipe.yaml"
    os.mkfifo(pipe)
    assert "not a regular file" in message(pipe)
    latin = tmp_path / "latin.yaml"
    latin.write_bytes("a: é".encode("latin-1"))
    assert "not UTF-8 at byte 3" in message(latin)
    large = tmp_path / "large.yaml"
    large.write_bytes(b"#" * ((1 << 20) + 1))
    assert "larger than 1 MiB" in message(large)


@pytest.mark.parametrize(
    "data",
    [
        {"lr": 1e-5, "big": 1e300, "whole": 1.0, "none": None, "yes": True},
        {"text": ["1e3", "on", "true", "null", "", "~", "a: b", "# no", "5%", "0x10", "-"]},
        {"lines": "one\ntwo", "unicode": "Größe", "control": "a\x07b", "quote": '"'},
        {"parts": [{"name": "step", "for": "5 epochs"}, {"name": "cosine"}]},
    ],
)
def test_what_is_dumped_reads_back_the_same(data: dict[str, object]) -> None:
    read: Document = parse_document(to_yaml(data))
    assert read.data == data
