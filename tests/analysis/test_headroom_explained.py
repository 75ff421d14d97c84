from __future__ import annotations

import numpy as np
import pytest

from lrrun.analysis.headroom import explain_headroom


def said(*values: float) -> str:
    return "".join(explain_headroom(np.array(values)))


def test_a_low_lr_is_told_by_how_much() -> None:
    assert said(0.01, 0.01, 0.01, 0.01, 0.3) == (
        "the LR was below 5% of the critical LR in 80% of 5 measurements (median 1%): it could "
        "probably be about 10 times higher"
    )
    assert "median 0.12%" in said(0.0012) and "about 80 times higher" in said(0.0012)
    assert "many times higher" in said(0.0, 0.0)


@pytest.mark.parametrize("values", [(0.1,), (0.05, 0.3, 2.0), (0.2, np.inf, 0.1)])
def test_a_usual_lr_is_left_alone(values: tuple[float, ...]) -> None:
    assert "neither timid nor past the edge" in said(*values)


def test_an_lr_past_the_edge() -> None:
    text = said(0.5, 2.0, np.inf, 3.0)
    assert text.startswith("75% of 4 measurements found the LR past the critical one")


def test_nothing_measured_nothing_said() -> None:
    assert said() == said(np.nan) == ""
