from __future__ import annotations

import io

import numpy as np
import pytest
from rich.console import Console

from lrrun.render.axes import Axis
from lrrun.render.plots import Curve, line_plot


def console(width: int = 60, color: bool = False, encoding: str = "utf-8") -> Console:
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    system = "standard" if color else None
    return Console(file=stream, width=width, force_terminal=color, color_system=system)


def canvas(text: str, height: int) -> list[str]:
    """The rows between title and x axis, without the margin."""
    return [row.split("┤")[-1].split("│")[-1] for row in text.splitlines()[1 : height + 1]]


X = np.arange(200.0)


def test_a_falling_line_by_hand() -> None:
    curves = [Curve("a", X, 199 - X), Curve("b", X, 0 * X)]
    text = line_plot(curves, console(), height=5, title="falling").plain
    rows = canvas(text, 5)
    assert text.startswith("falling\n")
    assert [row.index("1") for row in rows] == sorted(row.index("1") for row in rows)
    assert rows[0].startswith("1") and rows[4].startswith("2222")
    assert rows[4].endswith("1")  # the first curve lies on top
    assert "1 a  2 b" in text
    assert text.splitlines()[1].strip().startswith("199┤")


def test_a_band_fills_what_the_lines_leave_empty() -> None:
    """Five rows for 0 to 4: the mean at 2, the band from 1 to 3, for the left half of the axis."""
    left = X[:101]
    flat = Curve("mean", left, 0 * left + 2, band=(0 * left + 1, 0 * left + 3))
    curves = [flat, Curve("ends", X, 4 * X / 199)]
    rows = canvas(line_plot(curves, console(), height=5).plain, 5)
    assert [row[1:4] for row in rows] == ["   ", "░░░", "111", "░░░", "222"]
    assert all("░" not in row[28:] for row in rows)
    below = Curve("mean", left, 0 * left + 2, band=(0 * left - 1, 0 * left + 3))
    logged = line_plot([below, Curve("ends", X, 0.1 + X)], console(), height=5, log_y=True).plain
    assert canvas(logged, 5)[4].startswith("2░")  # what a log axis cannot show lies below it


@pytest.mark.parametrize("color", [False, True])
@pytest.mark.parametrize("curves", [1, 2, 12])
@pytest.mark.parametrize("width", [30, 60, 200])
def test_the_size_is_as_asked(color: bool, curves: int, width: int) -> None:
    data = [Curve(f"run-{k}", X, np.sin(X / 9) + k) for k in range(curves)]
    text = line_plot(data, console(width, color), height=7).plain
    lines = text.splitlines()
    assert max(len(line) for line in lines) <= min(width, 100)
    assert sum("│" in line or "┤" in line for line in lines) == 7
    assert all(f"run-{k}" in text for k in range(curves)) == (curves > 1)


def test_colours_only_where_they_reach_the_reader() -> None:
    curves = [Curve("a", X, X), Curve("b", X, -X)]
    colored, plain = console(color=True), console()
    assert any(0x2800 <= ord(c) < 0x2900 for c in line_plot(curves, colored).plain)
    text = line_plot(curves, plain)
    assert not any(0x2800 <= ord(c) < 0x2900 for c in text.plain)
    plain.print(text)
    plain.file.flush()
    assert b"\x1b" not in plain.file.buffer.getvalue()


def test_ascii_streams_get_ascii() -> None:
    ascii_console = console(encoding="ascii")
    ascii_console.print(line_plot([Curve("a", X, X)], ascii_console, title="lr"))
    ascii_console.file.flush()


def test_a_gap_stays_a_gap_and_a_spike_a_spike() -> None:
    y = np.ones(10_000)
    y[4_000:6_000] = np.nan
    y[8_000] = 5.0
    curves = [Curve("a", np.arange(10_000.0), y), Curve("b", np.array([0.0]), np.array([0.0]))]
    rows = canvas(line_plot(curves, console(111), height=6, width=100).plain, 6)
    level = rows[4] + rows[5]
    width = len(rows[4])
    assert width and "1" in rows[0][int(0.75 * 90) : int(0.85 * 90)]
    middle = [row[int(0.42 * 90) : int(0.58 * 90)] for row in rows]
    assert "".join(middle).strip() == "" and "1" in level


def test_values_above_the_top_are_cut_and_it_is_said() -> None:
    y = np.array([1.0, 2.0, 1e9])
    text = line_plot([Curve("a", np.arange(3.0), y)], console(), title="loss", top=10.0).plain
    assert text.splitlines()[0] == "loss, cut at 10"
    assert text.splitlines()[1].strip().startswith("10┤")


@pytest.mark.parametrize(
    "y", [[], [np.nan], [0.0], [3.0], [-1.0, -1.0], [np.inf, 1.0], [1e-300, 1e300], [0.0, -5.0]]
)
@pytest.mark.parametrize("log_y", [False, True])
def test_odd_curves_are_drawn_without_a_warning(y: list[float], log_y: bool) -> None:
    curve = Curve("a", np.arange(float(len(y))), np.array(y))
    assert line_plot([curve], console(), log_y=log_y, height=4).plain


def test_labels_are_data() -> None:
    curves = [Curve("[red]a\x1b[2J", X, X), Curve("b", X, X)]
    out = console()
    out.print(line_plot(curves, out, title="[bold]t"))
    out.file.flush()
    printed = out.file.buffer.getvalue().decode()
    assert r"[red]a\x1b[2J" in printed and printed.startswith("[bold]t")


def test_log_axis() -> None:
    axis = Axis.around([np.array([1e-4, 1.0, 0.0, np.nan])], log=True)
    np.testing.assert_allclose(axis.at(np.array([1e-4, 1e-2, 1.0])), [0, 0.5, 1])
    assert np.isnan(axis.at(np.array([0.0]))[0])
    assert axis.ticks(5) == pytest.approx([1e-4, 1e-3, 1e-2, 1e-1, 1])
    assert Axis(0.03, 0.2, log=True).ticks(5) == pytest.approx([0.05, 0.1, 0.2])


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [(0, 690, [0, 200, 400, 600]), (0.0, 0.05, [0, 0.02, 0.04]), (-1, 1, [-1, -0.5, 0, 0.5, 1])],
)
def test_round_ticks(low: float, high: float, ticks: list[float]) -> None:
    assert Axis(low, high).ticks(4) == pytest.approx(ticks)


def test_an_axis_begins_at_zero_where_it_is_close() -> None:
    assert Axis(23, 690).from_zero() == Axis(0, 690)
    assert Axis(500, 690).from_zero() == Axis(500, 690)
    assert Axis(-5, 690).from_zero() == Axis(-5, 690)


def test_steps_are_labelled_by_whole_numbers() -> None:
    steps = np.arange(3.0)
    assert Axis.along([steps]).ticks(8) == [0, 1, 2]
    assert Axis.along([steps / 2]).ticks(4) == [0, 0.5, 1]
    assert Axis.along([np.zeros(1)]) == Axis(0, 1, whole=True)
    assert Axis.along([np.array([1e-3, 1.0])], log=True) == Axis(1e-3, 1.0, log=True)
