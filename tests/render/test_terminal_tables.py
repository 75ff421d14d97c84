from __future__ import annotations

import io

import pytest
from rich.console import Console
from rich.text import Text

from lrrun.render.tables import Column, print_components, print_table
from lrrun.render.terminal import has_color, make_console, printable, supports_unicode


def printed(columns: list[Column], width: int = 100) -> str:
    stream = io.StringIO()
    print_table(make_console(stream, width), columns)
    return "\n".join(line.rstrip() for line in stream.getvalue().splitlines())


def test_a_table_by_eye() -> None:
    columns = [Column("run", ["a", "long-name"]), Column("val\nbest", ["0.5", "10.25"], "right")]
    assert printed(columns) == (
        "             val\nrun         best\n────────────────\na            0.5\nlong-name  10.25"
    )


def test_columns_that_say_nothing_are_left_out() -> None:
    assert "empty" not in printed([Column("run", ["a"]), Column("empty", ["-"])])


@pytest.mark.parametrize("color", [None, "truecolor"])
def test_a_long_table_looks_like_a_short_one(monkeypatch: pytest.MonkeyPatch, color) -> None:
    def text(folded_rows: int) -> str:
        monkeypatch.setattr("lrrun.render.tables._FOLDED_ROWS", folded_rows)
        out = Console(file=io.StringIO(), width=60, color_system=color, force_terminal=bool(color))
        print_table(out, columns)
        colored = ["\x1b[31mfailed" in out.file.getvalue(), "\x1b[36mc" in out.file.getvalue()]
        assert colored == [bool(color)] * 2
        return Text.from_ansi(out.file.getvalue()).plain

    columns = [
        Column("run", ["[b]é漢\x1b", "b" * 9, "c"], style="cyan"),
        Column("val\nbest", ["0.5", "-", "10.25"], "right"),
        Column("status", ["completed", "failed", "failed"], colors={"failed": "red"}),
        Column("dropped", ["x" * 50] * 3, keep=1),
    ]
    assert text(folded_rows=2) == text(folded_rows=3)
    assert r"[b]é漢\x1b    0.5  completed" in text(folded_rows=2)


def test_what_is_left_out_for_width_is_named() -> None:
    columns = [
        Column("run", ["x" * 20]),
        Column("less", ["y" * 15], keep=1),
        Column("more", ["z" * 10], keep=5),
    ]
    text = printed(columns, width=36)
    assert "x" * 20 in text and "z" * 10 in text and "y" not in text.splitlines()[2]
    assert "(left out for width: less;" in text
    assert "left out" not in printed(columns, width=80)


def test_cells_are_data() -> None:
    text = printed([Column("run", ["[red]x[/red]", "a\x1b[2Jb\u202ec", ":smile:"])])
    assert "[red]x[/red]" in text and r"a\x1b[2Jb\u202ec" in text and ":smile:" in text


def test_components() -> None:
    stream = io.StringIO()
    kinds = {"scheduler": [("cosine", "final", "half a cosine")], "model": []}
    print_components(make_console(stream, 80), kinds)
    assert "cosine     final       half a cosine" in stream.getvalue()


def test_plain_unless_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    monkeypatch.delenv("COLUMNS", raising=False)
    console = make_console(io.StringIO())
    assert (has_color(console), console.width) == (False, 100)
    monkeypatch.setenv("COLUMNS", "61")
    assert make_console(io.StringIO()).width == 61


@pytest.mark.parametrize("forbidden", [False, True])
def test_no_color_is_honoured(monkeypatch: pytest.MonkeyPatch, forbidden: bool) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    if forbidden:
        monkeypatch.setenv("NO_COLOR", "1")
    assert has_color(make_console(io.StringIO())) is not forbidden


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_no_stream_is_too_narrow_for_a_name(encoding: str) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    console = make_console(stream, 80)
    print_table(console, [Column("run", [printable("é→\udcff")]), Column("b", ["1"])])
    stream.flush()
    text = stream.buffer.getvalue().decode(encoding)
    assert supports_unicode(console) is (encoding == "utf-8")
    assert ("é→" in text) is (encoding == "utf-8")
    assert r"\udcff" in text
