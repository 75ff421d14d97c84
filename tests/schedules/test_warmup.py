"""Every shape of warmup, from 0, from an explicit start, and behind another part."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from lrrun.errors import ConfigError
from lrrun.schedules import schedule


def warm(length: int, **arguments: Any) -> list[float]:
    lr = schedule("constant", lr=1.0, steps=100, warmup={"for": length, **arguments})
    return [float(value) for value in lr(np.arange(length + 1))]


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ({"shape": "linear"}, [0.25, 0.5, 0.75, 1]),
        ({"shape": "cosine"}, [0.14644661, 0.5, 0.85355339, 1]),
        ({"shape": "1-sqrt"}, [1 - math.sqrt(0.75), 1 - math.sqrt(0.5), 0.5, 1]),
        ({"shape": "polynomial"}, [1 / 16, 1 / 4, 9 / 16, 1]),
        ({"shape": "polynomial", "power": 1}, [0.25, 0.5, 0.75, 1]),
        ({"shape": "log"}, [math.log(n) / math.log(5) for n in (2, 3, 4, 5)]),
        ({"shape": "untuned-adam", "beta2": 0.5}, [0.25, 0.5, 0.75, 1]),
        ({"shape": "untuned-adam", "beta2": 0.0}, [0.5, 1, 1, 1]),
    ],
)
def test_from_nothing_no_step_is_wasted_at_0(shape: dict[str, Any], expected: list[float]) -> None:
    assert warm(3, **shape) == pytest.approx(expected, abs=1e-8)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ({"shape": "linear"}, [0.2, 0.4, 0.6, 0.8, 1]),
        ({"shape": "constant"}, [0.2, 0.2, 0.2, 0.2, 1]),
        ({"shape": "exponential"}, [0.2, 0.2**0.75, 0.2**0.5, 0.2**0.25, 1]),
        ({"shape": "cosine"}, [0.2, 0.31715729, 0.6, 0.88284271, 1]),
        ({"shape": "log"}, [0.2 + 0.8 * math.log(n) / math.log(5) for n in (1, 2, 3, 4, 5)]),
    ],
)
def test_an_explicit_start_is_the_lr_of_step_0(
    shape: dict[str, Any], expected: list[float]
) -> None:
    assert warm(4, start="20%", **shape) == pytest.approx(expected, abs=1e-8)


def test_start_0_is_hugging_faces_warmup() -> None:
    assert warm(4, start=0) == [0, 0.25, 0.5, 0.75, 1]


def test_behind_another_part_it_begins_where_that_ended() -> None:
    parts = [{"name": "linear", "for": 10, "final": "50%"}, {"name": "warmup", "for": 4}, "cosine"]
    lr = schedule(parts, lr=1.0, steps=100)
    assert lr([10, 11, 12, 13, 14]).tolist() == pytest.approx([0.6, 0.7, 0.8, 0.9, 1.0])


def test_the_schedules_own_start_begins_its_warmup() -> None:
    lr = schedule("cosine", lr=1.0, steps=100, warmup=4, start="20%")
    assert lr([0, 2, 4]).tolist() == pytest.approx([0.2, 0.6, 1.0])


@pytest.mark.parametrize(
    ("warmup", "said"),
    [
        (100, "the other parts take 100 steps, the run has 100"),
        ("5 epochs", "the steps in an epoch are not known"),
        ({"shape": "cosine"}, "warmup: its length is missing"),
        ({"for": 5, "shape": "exponential"}, "expected a start above 0"),
        ({"for": 5, "shape": "constant"}, "expected a start above 0"),
        ({"for": 5, "shape": "untuned-adam"}, "expected Adam's beta2 in [0, 1), such as 0.999"),
        ({"for": 5, "shape": "untuned-adam", "beta2": 0.9}, "takes 19 steps, this one has 5"),
        ({"for": 5, "beta2": 0.9}, "belongs to shape: untuned-adam, not to linear"),
        ({"for": 5, "shape": "sin"}, "expected linear or constant or cosine"),
        ({"for": 5, "shape": "polynomial", "power": -1}, "expected a number above 0, got -1"),
    ],
)
def test_refusals(warmup: object, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        schedule("cosine", lr=1.0, steps=100, warmup=warmup)
    assert said in str(caught.value)
    assert "warmup" in str(caught.value)
