from __future__ import annotations

import io
import math
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from lrrun.errors import NoAnswer, UsageError
from lrrun.records import Trial
from lrrun.render.plots import Curve, line_plot
from lrrun.render.sweeps import save_sweep_figure, sweep_report

LRS = [1e-3, 1e-2, 1e-1, 1.0, 10.0]


def trials(lost_from: float = 1.0, schedules=("cosine", "wsd"), seeds: int = 2) -> list[Trial]:
    """Losses (log10 LR + 1)², more for later schedules and seeds; diverged from an LR on."""
    return [
        Trial(
            {"optimizer.lr": lr, "scheduler": name},
            seed,
            "diverged" if lr >= lost_from else "completed",
            0.1 * k + 0.01 * seed + (math.log10(lr) + 1) ** 2,
            10,
            lr >= lost_from,
        )
        for k, name in enumerate(schedules)
        for lr in LRS
        for seed in range(seeds)
    ]


def printed(these: list[Trial], encoding: str = "utf-8", width: int = 100, **options) -> str:
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    sweep_report(Console(file=stream, width=width, color_system=None), these, **options)
    stream.flush()
    return stream.buffer.getvalue().decode()


def test_the_report_says_it_all() -> None:
    out = printed(trials(), initial_loss=5.0, loss_name="val_loss")
    head, cosine, wsd = (out.splitlines()[row] for row in (0, 2, 3))
    assert head.split() == [
        *("curve", "LRs", "seeds", "best", "LR", "loss", "+/-", "95%", "basin", "decades"),
        *("sensitivity", "diverges", "at"),
    ]
    assert cosine.split()[:5] == ["cosine", "5", "2", "0.1", "0.005"]
    assert wsd.split()[-1] == "1"
    assert "val_loss (mean over seeds); ░ from here on some seed diverges" in out
    assert "Best: cosine at optimizer.lr 0.1" in out
    assert "best val_loss of k of these trials, at random (median)" in out
    assert "With 10 trials each, drawn from those made" in out


def test_the_diverged_region_is_shaded_to_its_right_edge() -> None:
    rows = [
        row.partition("┤")[2] or row.partition("│")[2] for row in printed(trials()).splitlines()
    ]
    shaded = [row for row in rows if "░" in row]
    assert len(shaded) == 10
    width = max(len(row) for row in shaded)
    begin = (math.log10(math.sqrt(0.1)) + 3) / 4 * (width - 1)
    assert {abs(row.index("░") - begin) <= 1 for row in shaded} == {True}
    assert all(row.endswith("░") and len(row) == width for row in shaded)
    assert "░" not in printed(trials(lost_from=math.inf))


def test_ascii_streams_get_ascii() -> None:
    out = printed(trials(), encoding="ascii")
    assert "; : from here on" in out


def test_curves_lie_over_the_shading() -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    console = Console(file=stream, width=60, color_system=None)
    x = np.array([1.0, 100.0])
    curves = [Curve("a", x, np.array([1.0, 1.0])), Curve("b", x, np.array([0.0, 0.0]))]
    text = line_plot(curves, console, log_x=True, height=3, shaded=[(10.0, 100.0)]).plain
    rows = [row.partition("┤")[2] or row.partition("│")[2] for row in text.splitlines()[1:4]]
    assert set(rows[0]) == {"1"} and set(rows[2]) == {"2"}
    assert rows[1].lstrip() == "░" * len(rows[1].lstrip())
    assert len(rows[1].lstrip()) == pytest.approx(len(rows[0]) / 2, abs=1)


@pytest.mark.parametrize(
    "these",
    [
        trials(schedules=("cosine",), seeds=1),
        trials(lost_from=0.0),
        [Trial({"optimizer.lr": 0.1}, 0, "completed", 1.0, 10, False)],
        [Trial({"optimizer.lr": 0.1}, 0, "completed", math.nan, 10, False)],
        [Trial({"optimizer.lr": lr}, 0, "completed", 0.0, 10, False) for lr in (0.1, 1.0)],
        [*trials(), Trial({"optimizer.lr": 9, "scheduler": "wsd"}, 0, "failed", 1.0, 3, False)],
    ],
    ids=["one-curve", "all-diverged", "one-trial", "nan", "zero", "failed"],
)
def test_every_sweep_has_a_report_and_a_picture(these: list[Trial], tmp_path: Path) -> None:
    assert printed(these)
    assert printed(these, plots=False)
    save_sweep_figure(tmp_path / "sweep.svg", these)
    assert (tmp_path / "sweep.svg").read_text().startswith("<?xml")


def test_a_sweep_without_lrs_still_has_budgets() -> None:
    these = [
        Trial({"scheduler": name}, seed, "completed", 1.0 + seed + k, 10, False)
        for k, name in enumerate(("cosine", "wsd"))
        for seed in range(3)
    ]
    out = printed(these, width=120)
    assert "note: the sweep does not vary optimizer.lr (its axes: scheduler)" in out
    assert (
        "With 3 trials each, drawn from those made, the best loss is 1 for cosine, 2 for wsd" in out
    )


def test_nothing_finished_is_refused(tmp_path: Path) -> None:
    running = [Trial({"optimizer.lr": 0.1}, 0, "running", math.nan, 3, False)]
    for attempt in (printed, lambda these: save_sweep_figure(tmp_path / "a.png", these)):
        with pytest.raises(NoAnswer, match="no trial is finished yet"):
            attempt(running)
    assert not list(tmp_path.iterdir())


def test_pictures_are_what_their_names_say(tmp_path: Path) -> None:
    save_sweep_figure(tmp_path / "a.png", trials(), initial_loss=5.0, loss_name="val_loss")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(UsageError, match=r"ends in \.png or \.svg"):
        save_sweep_figure(tmp_path / "a.gif", trials())


def test_labels_are_data(tmp_path: Path) -> None:
    these = trials(schedules=("$x_$[red]a\x1b[2J", "b"))
    assert r"$x_$[red]a\x1b[2J" in printed(these, width=140)
    save_sweep_figure(tmp_path / "a.png", these)


def test_where_all_diverged_there_is_nothing_to_draw() -> None:
    out = printed(
        [Trial({"optimizer.lr": lr}, 0, "diverged", math.inf, 4, True) for lr in (1.0, 2.0)]
    )
    assert "A seed diverged at every LR that was tried" in out
    assert "basin: LRs whose loss" not in out
    assert "mean over seeds" not in out


def test_an_interval_below_zero_does_not_stretch_a_log_axis(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The seeds that were seen say how far down it goes."""
    pytest.importorskip("matplotlib")
    losses = {1e-3: (5.0, 5.1), 1e-1: (0.1935, 0.2265)}  # 0.21 +- 0.2097
    these = [
        Trial({"optimizer.lr": lr}, seed, "completed", loss, 10, False)
        for lr, pair in losses.items()
        for seed, loss in enumerate(pair)
    ]
    drawn = []
    monkeypatch.setattr("lrrun.render.sweeps.save", lambda figure, file: drawn.append(figure))
    save_sweep_figure(tmp_path / "a.png", these)
    (left, right) = drawn[0].axes
    assert left.get_yscale() == "log"
    assert 0.1 < left.get_ylim()[0] < 0.19
    assert all(float(tick).is_integer() for tick in right.get_xticks())
