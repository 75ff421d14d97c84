"""From a config's scheduler section to placed parts, and what is refused on the way."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lrrun.errors import ConfigError
from lrrun.schedules import schedule


def placed(spec: object, steps: int = 1000, **units: Any) -> list[tuple[str, int, int]]:
    parts = schedule(spec, lr=1.0, steps=steps, **units).parts
    return [(part.name, part.begin, part.steps) for part in parts]


def refusal(spec: object, steps: int = 1000, **units: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        schedule(spec, lr=1.0, steps=steps, **units)
    return str(caught.value)


def test_warmup_and_cooldown_stand_around_anything() -> None:
    spec = {"name": "step", "every": 100, "warmup": "5%", "cooldown": 200}
    assert placed(spec) == [("warmup", 0, 50), ("step", 50, 750), ("cooldown", 800, 200)]


def test_a_warmup_of_nothing_is_left_out() -> None:
    assert placed({"name": "cosine", "warmup": 0}) == [("cosine", 0, 1000)]
    assert schedule("cosine", lr=1.0, steps=10, warmup=0)(0) == 1.0


def test_units_are_resolved_into_steps() -> None:
    units = {"steps_per_epoch": 50, "tokens_per_epoch": 50_000, "samples_per_epoch": 3200}
    parts = [
        {"name": "warmup", "for": "2 epochs"},
        {"name": "constant", "for": "100k tokens"},
        {"name": "constant", "for": "6400 samples"},
        {"name": "linear", "until": "60%"},
        {"name": "cosine", "for": "rest"},
        {"name": "cooldown", "for": "5%"},
    ]
    begins = [begin for _, begin, _ in placed(parts, **units)]
    assert begins == [0, 100, 200, 300, 600, 950]


def test_the_last_part_takes_the_rest_and_a_short_schedule_holds() -> None:
    assert placed([{"name": "linear", "for": 400}, "cosine"])[-1] == ("cosine", 400, 600)
    lr = schedule([{"name": "linear", "for": 400, "final": "50%"}], lr=1.0, steps=1000)
    assert lr([400, 999, 5000]).tolist() == [0.5, 0.5, 0.5]


def test_a_part_starts_from_where_the_one_before_it_ended_unless_it_says_otherwise() -> None:
    step = {"name": "step", "every": 10, "factor": 0.1, "for": 30}
    lr = schedule([step, "cosine"], lr=1.0, steps=60)
    assert lr([29, 30, 45]).tolist() == pytest.approx([0.01, 0.001, 0.0005])
    again = schedule([step, {"name": "cosine", "start": "100%"}], lr=1.0, steps=60)
    assert again([29, 30, 45]).tolist() == pytest.approx([0.01, 1.0, 0.5])


def test_deepseek_v3_in_the_form_of_the_design() -> None:
    parts = [
        {"name": "warmup", "for": 20},
        {"name": "constant", "until": "67.57%"},
        {"name": "cosine", "until": "96.62%", "final": "10%"},
        {"name": "constant", "until": "98.87%", "factor": "10%"},
        {"name": "constant", "for": "rest", "factor": "3.318%"},
    ]
    lr = schedule(parts, lr=2.2e-4, steps=10_000)
    expected = [2.2e-4, 2.2e-4, 1.21e-4, 2.2e-5, 2.2e-5, 7.3e-6]
    assert lr([20, 6756, 8210, 9662, 9886, 9999]).tolist() == pytest.approx(expected, rel=1e-3)


def test_scalars_are_floats_and_arrays_arrays() -> None:
    lr = schedule("cosine", lr=1.0, steps=10)
    assert type(lr(3)) is float
    assert type(lr(np.int64(3))) is float
    assert lr([3]).shape == (1,)
    assert lr(np.arange(0)).shape == (0,)
    with pytest.raises(ValueError, match="expected steps from 0 on, got -1"):
        lr(-1)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ([{"name": "cosine"}, {"name": "linear"}], "[0]: its length is missing: write for: 500"),
        (
            [{"name": "cosine", "for": "rest"}, {"name": "linear", "for": "rest"}],
            "[1]: a second part that takes the rest of the run",
        ),
        ([{"name": "cosine", "for": "rest"}, "linear"], "[1]: a second part that takes the rest"),
        (
            [{"name": "cosine", "for": 600}, {"name": "linear", "for": "50%"}],
            "[1]: the parts take 1100 steps, the run has 1000",
        ),
        (
            [{"name": "cosine", "until": 600}, {"name": "linear", "until": "50%"}],
            "[1].until: ends at step 500, before it begins at step 600",
        ),
        (
            [{"name": "cosine", "for": "rest"}, {"name": "linear", "until": 900}],
            "[1].until: a part behind the one that takes the rest needs `for`",
        ),
        ({"name": "cosine", "for": 5, "until": 9}, "give `for` or `until`, not both"),
        ({"name": "cosine", "warmup": 1000}, "warmup: no step is left: the other parts take 1000"),
        ({"name": "cosine", "warmup": 0.1}, "write 10% (of the run) or 0.1 epochs"),
        ({"name": "cosine", "warmup": "3M tokens"}, "the steps in an epoch are not known here"),
        ({"name": "cosin"}, "name: unknown scheduler 'cosin'; did you mean cosine?"),
        ({"name": "cosine", "finale": 0}, "finale: cosine: unknown key; did you mean final?"),
        ({"name": "step"}, "every is missing: step needs it"),
        ({"name": "cosine", "for": 0}, "expected at least 1 step of training"),
        ([], "expected at least one part, got an empty list"),
        (3, "expected a schedule's name or a mapping, got 3"),
        ({}, "name: expected a schedule's name, got nothing"),
    ],
)
def test_refusals(spec: object, said: str) -> None:
    assert said in refusal(spec)


def test_token_units_need_a_dataset_with_tokens() -> None:
    said = refusal({"name": "cosine", "warmup": "3M tokens"}, steps_per_epoch=10)
    assert "warmup.for: 3M tokens: this dataset has no tokens" in said


def test_all_problems_come_at_once() -> None:
    said = refusal([{"name": "cosin"}, {"name": "step", "every": "soon"}, {"name": "rex", "x": 1}])
    assert len(said.splitlines()) == 3


def test_a_run_without_steps_is_refused() -> None:
    assert "got 0 for the whole schedule" in refusal("cosine", steps=0)
