"""Pictures that can be read: labels apart, curves told apart, names beside many curves."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from lrrun.render.figures import add_legend, new_figure, save, style

ENDS = [(2e-3, 2e-2), (3e-4, 4e-4), (0.15, 1.3), (2.05, 2.95), (1e-5, 6e-4), (1e-4, 10.0)]


@pytest.mark.parametrize("ends", ENDS, ids=str)
def test_labels_of_a_log_axis_are_several_and_do_not_touch(
    tmp_path: Path, ends: tuple[float, float]
) -> None:
    pytest.importorskip("matplotlib")
    figure, panels = new_figure(tmp_path / "a.png", panels=3)
    axes = panels[0]
    axes.plot(ends, ends)
    axes.set(xscale="log", yscale="log")
    save(figure, tmp_path / "a.png")
    figure.draw_without_rendering()  # in its own dots, no longer in the file's

    for axis in (axes.xaxis, axes.yaxis):
        low, high = axis.get_view_interval()
        labels = [*axis.get_ticklabels(), *axis.get_ticklabels(minor=True)]
        ticks = [*axis.get_ticklocs(), *axis.get_ticklocs(minor=True)]
        shown = [
            text.get_window_extent()
            for tick, text in zip(ticks, labels, strict=True)
            if text.get_text() and low <= tick <= high
        ]
        assert len(shown) > 2
        assert not any(a.overlaps(b) for a, b in itertools.combinations(shown, 2))


def test_no_two_of_forty_curves_look_the_same() -> None:
    assert len({tuple(style(k).values()) for k in range(40)}) == 40


@pytest.mark.parametrize(("curves", "inside"), [(2, True), (6, True), (7, False), (30, False)])
def test_a_legend_of_many_names_stands_beside_the_panels(
    tmp_path: Path, curves: int, inside: bool
) -> None:
    pytest.importorskip("matplotlib")
    figure, panels = new_figure(tmp_path / "a.png", panels=2)
    for axes in panels:
        for k in range(curves):
            axes.plot([0, 1], [k, k], label=f"${k}$ and a name", **style(k))
        add_legend(axes)
    save(figure, tmp_path / "a.png")
    figure.draw_without_rendering()
    assert [axes.get_legend() is not None for axes in panels] == [inside, inside]
    assert len(figure.legends) == (0 if inside else 1)
    for legend in figure.legends:
        box = legend.get_window_extent()
        assert figure.bbox.y0 <= box.y0 and box.y1 <= figure.bbox.y1
        assert not any(axes.get_window_extent().overlaps(box) for axes in panels)
        assert legend.get_texts()[0].get_text() == "$0$ and a name"
        assert not legend.get_texts()[0].get_parse_math()
