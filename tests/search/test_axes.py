"""The grammar of axes: what it takes, and what it says to everything else."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lrrun.errors import ConfigError
from lrrun.search.axes import overrides, parse_axis, read_axis


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("optimizer.lr=1e-3..1:log:4", (1e-3, 1e-2, 1e-1, 1.0)),
        ("optimizer.lr=0.1..0.9:lin:5", (0.1, 0.3, 0.5, 0.7, 0.9)),
        ("optimizer.lr=0.1..0.9:5", (0.1, 0.3, 0.5, 0.7, 0.9)),
        ("seed=0..4", (0, 1, 2, 3, 4)),
        ("train.epochs=10..40:4", (10, 20, 30, 40)),
        ("dataset.batch_size=32..256:log:4", (32, 64, 128, 256)),
        ("scheduler.warmup=1%..8%:log:4", ("1%", "2%", "4%", "8%")),
        ("scheduler=cosine,wsd", ("cosine", "wsd")),
        (
            "scheduler=[cosine, {name: wsd, cooldown: 20%}]",
            ("cosine", {"name": "wsd", "cooldown": "20%"}),
        ),
        (
            "scheduler=cosine,{name: wsd, cooldown: 20%}",
            ("cosine", {"name": "wsd", "cooldown": "20%"}),
        ),
        ("optimizer.momentum=0,0.5..0.9:lin:3", (0, 0.5, 0.7, 0.9)),
        ("model.hidden=[[64], [128, 128]]", ([64], [128, 128])),
        ("dataset.path=../a.csv,../b.csv", ("../a.csv", "../b.csv")),
        ("model.hidden=[64],[128, 128]", ([64], [128, 128])),
        ("model.name=nets:one,nets:two", ("nets:one", "nets:two")),
        ("train.clip_norm=null,1.0", (None, 1.0)),
        ("optimizer.lr=0.1", (0.1,)),
    ],
)
def test_an_axis_is_read(text: str, values: tuple[Any, ...]) -> None:
    found = parse_axis(text).values()
    assert found == values
    assert [type(each) for each in found] == [type(each) for each in values]


def test_a_log_range_is_numpys_to_four_digits_with_its_own_ends() -> None:
    found = parse_axis("optimizer.lr=3e-5..0.7:log:17").values()
    assert (found[0], found[-1]) == (3e-5, 0.7)
    np.testing.assert_allclose(found, np.geomspace(3e-5, 0.7, 17), rtol=5e-4)


def test_values_that_four_digits_cannot_tell_apart_keep_all_of_theirs() -> None:
    found = parse_axis("optimizer.lr=1.0..1.0001:log:5").values()
    assert len(set(found)) == 5


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("optimizer.lr=1..0.1:log:5", "an empty range, 1 is more than 0.1; write 0.1..1:log:5"),
        ("optimizer.lr=0..1:log:5", "0 has no logarithm; write 0,0.0001..1:log:5"),
        ("optimizer.lr=-1..1:log:5", "-1 has no logarithm"),
        ("optimizer.lr=1..2:log:0", "an empty range, 0 values"),
        ("optimizer.lr=1..2:log:1", "1 values; expected 2 to 10,000"),
        ("optimizer.lr=a..2:log:3", "'a' is not a number"),
        ("optimizer.lr=1..:log:3", "'' is not a number"),
        ("optimizer.lr=1..2:lg:3", "did you mean log?"),
        ("optimizer.lr=1..2:log:x", "expected a whole number of values, got 'x'"),
        ("optimizer.lr=0.1..0.3", "how many values? write 0.1..0.3:lin:5"),
        ("optimizer.lr=1..1", "a range of one value; write 1"),
        ("optimizer.lr=-.inf..1:lin:3", "not finite"),
        ("optimizer.lr=", "no values"),
        ("optimizer.lr=[]", "an empty list"),
        ("optimizer.lr=0.1,1e-1", "0.1 stands twice"),
        ("optimizer.lr=1,1.0", "1.0 stands twice"),
        ("optimizer.lr=.nan,1", "expected finite numbers"),
        ("optimizer.lr=[1, 2", "optimizer.lr: the text ends where ',' or ']' was expected"),
        ("optimizer.lr=,", "optimizer.lr: expected a value beside every comma; write key=value,"),
        ("optimizer.lr=1,,2", "expected a value beside every comma"),
        ("optimizer.lr=,1", "expected a value beside every comma"),
        ("optimizer.lr=[1],,[2]", "expected a value beside every comma"),
        ("optimizer.lr={", "optimizer.lr: the text ends where a value was expected"),
        ("optimizer.lr={a: 1", "the text ends where ',' or '}' was expected"),
        ("optimizer.lr=[1]]", "expected nothing more, got ']'"),
        ("optimizer.lr=1 # c", "expected values with commas between them; write key=value,"),
        ("optimizer.lr=1..2:log:", "expected key: value, got 1..2:log; is a space missing?"),
        ("optimizer.lr=1..2:", "1..2:: expected a whole number of values, got ''"),
        ("optimizer.lr=1e-3...1:log:3", "three dots; write 1e-3..1 or 1e-3..0.1"),
        ("optimizer.lr=1..8%:log:4", "one end in percent; write both so"),
        ("optimizer={name: a, name: b},{name: c}", "optimizer.name: stands twice"),
        ("optimizer.lr=log:1e-3,1", "a range has its ends first; write 1e-3..1:log:7"),
        ("optimizer.lr=log:1e-3..1:5", "write 1e-3..1:log:5"),
        ("optimizer.lr=lin: 0.1, 0.9, 3", "write 0.1..0.9:lin:3"),
        ("optimizer.lr=loguniform(1e-4, 1)", "write 1e-4..1:log:7"),
        ("optimizer.lr=uniform(0.1,0.9)", "write 0.1..0.9:lin:7"),
        ("seed=0..20000", "20,001 values; at most 10,000"),
        ("optimizer.lr", "expected key=value"),
        ("=1,2", "expected key=value"),
    ],
)
def test_anything_else_is_refused_with_the_way_out(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as raised:
        parse_axis(text)
    assert message in str(raised.value)
    assert str(raised.value).startswith("command line: ")
    assert "YAML" not in str(raised.value)


def test_the_form_that_is_named_instead_is_taken() -> None:
    with pytest.raises(ConfigError) as raised:
        parse_axis("optimizer.lr=log:1e-3,1,4")
    told = str(raised.value).rpartition("write ")[2]
    assert parse_axis(f"optimizer.lr={told}").values() == (1e-3, 1e-2, 1e-1, 1.0)


def test_a_value_that_begins_alike_is_a_value() -> None:
    assert parse_axis("scheduler=linear,log").values() == ("linear", "log")
    assert parse_axis("name=log:a,b").values() == ("log:a", "b")


def test_a_span_without_a_count_can_be_drawn_from_but_not_counted() -> None:
    axis = parse_axis("optimizer.lr=1e-4..1:log")
    with pytest.raises(ConfigError, match="how many values"):
        axis.values()
    assert axis.span is not None
    assert axis.span.at(0.5) == pytest.approx(1e-2)
    assert parse_axis("seed=0..4").span.at(0.99) == 4  # type: ignore[union-attr]
    assert parse_axis("a=10%..20%:lin").span.at(0.5) == "15%"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "text",
    [
        "optimizer.lr=0.123456789..1:log:3",
        "scheduler=cosine,{name: wsd, cooldown: 20%}",
        "seed=0..4",
        "scheduler.warmup=1%..8%:log:4",
        "optimizer.lr=1e-4..1:log",
    ],
)
def test_what_sweep_yaml_keeps_is_read_back_the_same(text: str) -> None:
    axis = parse_axis(text)
    assert read_axis(axis.key, axis.as_data()) == axis


def test_values_are_set_as_the_command_line_would() -> None:
    values = {"optimizer.lr": 1e-05, "scheduler": {"name": "wsd"}, "name": "1e3", "clip": None}
    assert overrides(values) == [
        "optimizer.lr=1e-05",
        'scheduler={"name": "wsd"}',
        'name="1e3"',
        "clip=null",
    ]


def test_a_key_wins_over_the_section_it_is_in_whatever_the_order() -> None:
    section = {"name": "sgd", "lr": 0.5}
    for values in (
        {"optimizer.lr": 0.1, "optimizer": section},
        {"optimizer": section, "optimizer.lr": 0.1},
    ):
        assert overrides(values)[-1] == "optimizer.lr=0.1"
