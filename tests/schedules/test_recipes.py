"""Published recipes give the LRs that their papers' sentences give, exactly and by share.

tests/golden/recipes.csv was computed by hand, from the sentences and never by lrrun. `at` is the
training done before the update. How each number came about:

transformer   d^-½ · min(n^-½, n · 4000^-1.5), d = 512, n = step + 1: n = 1, 4000, 16000, 100000
bert          1e-4 · n/10^4 up to 10^4; 1e-4 · (10^6 - n)/(10^6 - 10^4) after
t5            1/√max(n, 10^4)
gpt-3         6e-5 at 375M; half way of the cosine from there to 260B it is (100% + 10%)/2
chinchilla, llama-1, llama-2
              the peak at the warmup's end (1500 · 1.5M; 2000 · 4M tokens), (100% + 10%)/2 half way
              from there to the end, and 10% there; a quarter of the way is 10% + 90% · (1 + √½)/2
llama-3       half the peak half way up; 8e-5; (8e-5 + 8e-7)/2 600k steps later; 8e-7 1.2M later
deepseek-llm  3.2e-4 times 1, 31.6%, 10% before 80%, 90%, 100% of 2T tokens
deepseek-v2   2.4e-4 times 1, 0.316, 0.316² before 60%, 90%, 100% of 8.1T tokens
deepseek-v3   2.2e-4; a quarter and a half of the way through 4.3T after 10T; 2.2e-5; 7.3e-6
minicpm       1e-2, and half of it with every 20B tokens after 1T
olmo-2        3e-4; half of the cosine from 8.39B to 5T: 55%; at 4T, with x = 3991.611/4991.611 of
              it, 3e-5 + 2.7e-4 · (1 + cos πx)/2; half of that 25B tokens later
kimi-k2       2e-4; (2e-4 + 2e-5)/2 at 10T + 2.75T; 2e-5 at 15.5T; (2e-5 + 7e-6)/2 230B later
power         min(2e-2, 1024 · 4.6 · n^-0.51)
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lrrun.errors import ConfigError
from lrrun.schedules import Schedule, build, parse, schedule
from lrrun.schedules.recipes import GPT_3
from lrrun.schedules.recipes_open import DEEPSEEK_V3
from lrrun.units import Length, Units

GOLDEN = Path(__file__).parent.parent / "golden" / "recipes.csv"
ROWS = [
    (row["recipe"], row["at"], float(row["lr"]))
    for row in csv.DictReader(GOLDEN.read_text("utf-8").splitlines())
]
SCALABLE = [row for row in ROWS if row[0] != "transformer"]
"""With a d_model the transformer's peak depends on the number of steps."""

PUBLISHED: dict[str, tuple[float, str, float]] = {
    "transformer": (1.0, "100_000 steps", 25_000),
    "bert": (1e-4, "1_000_000 steps", 128_000),
    "t5": (1e-2, "524288 steps", 65_536),
    "gpt-3": (6e-5, "300B tokens", 3.2e6),
    "chinchilla": (1e-4, "1.4T tokens", 1.5e6),
    "llama-1": (1.5e-4, "1.4T tokens", 4e6),
    "llama-2": (1.5e-4, "2T tokens", 4e6),
    "llama-3": (8e-5, "1_208_002 steps", 2**24),
    "deepseek-llm": (3.2e-4, "2T tokens", 4608 * 4096),
    "deepseek-v2": (2.4e-4, "8.1T tokens", 9216 * 4096),
    "deepseek-v3": (2.2e-4, "14.8T tokens", 15360 * 4096),
    "minicpm": (1e-2, "1.1T tokens", 3.93e6),
    "olmo-2": (3e-4, "4.05T tokens", 2**22),
    "kimi-k2": (2e-4, "15.96T tokens", 2**26),
    "power": (2e-2, "1.25T tokens", 1024 * 4096),
}
"""The peak, the length and the tokens a step of the published runs."""


def published_run(recipe: str, longer: float = 1.0, scale: float = 1.0) -> Units:
    _, total, batch = PUBLISHED[recipe]
    length = Length.parse(total)
    steps = length.value / (1.0 if length.unit == "steps" else batch)
    in_epoch = round(1000 * batch)
    return Units(round(steps * longer * scale), 1000, round(in_epoch / 4096), in_epoch, scale)


def made(recipe: str, units: Units, **arguments: Any) -> Schedule:
    if recipe == "transformer":
        arguments = {"d_model": 512, **arguments}
    return build(parse({"name": recipe, **arguments}), PUBLISHED[recipe][0], units)


def test_the_golden_file_covers_every_recipe() -> None:
    assert {recipe for recipe, _, _ in ROWS} == set(PUBLISHED)


@pytest.mark.parametrize(("recipe", "at", "lr"), ROWS)
def test_in_exact_lengths_a_recipe_gives_the_published_lr(recipe: str, at: str, lr: float) -> None:
    units = published_run(recipe)
    curve = made(recipe, units, exact=True)
    assert curve(units.steps(Length.parse(at))) == pytest.approx(lr, rel=1e-3, abs=0)


@pytest.mark.parametrize(("recipe", "at", "lr"), SCALABLE)
def test_by_share_a_recipe_gives_the_published_lr(recipe: str, at: str, lr: float) -> None:
    published = published_run(recipe)
    share = published.exact_steps(Length.parse(at)) / published.total_steps
    steps = 2_000_000
    curve = made(recipe, Units(steps))
    assert curve(round(share * steps)) == pytest.approx(lr, rel=3e-3, abs=0)


def test_the_transformer_peaks_at_the_base_lr_without_a_d_model() -> None:
    lr = schedule("transformer", lr=0.5, steps=1000)
    n = np.arange(1, 1001)
    assert lr(n - 1) == pytest.approx(0.5 * np.minimum(n / 40, np.sqrt(40 / n)), rel=1e-12)
    assert schedule("transformer", lr=0.5, steps=1000, warmup=1)(0) == 0.5


def test_llama_3_ends_on_a_line_to_0_over_its_last_40m_tokens() -> None:
    units = Units(1_208_010, 1000, None, 1000 * 4_000_000)
    lr = build(parse({"name": "llama-3", "exact": True}), 8e-5, units)
    last = [lr(1_208_000 + k) for k in range(11)]
    assert last == pytest.approx([8e-7 * (10 - k) / 10 for k in range(11)], rel=1e-9, abs=1e-20)


def test_olmo_2_goes_on_from_where_its_cosine_was_cut() -> None:
    lr = schedule("olmo-2", lr=1.0, steps=81_000)
    cut = 80_000
    assert lr(cut - 1) > lr(cut) > lr(cut + 1)
    assert lr(cut) == pytest.approx(0.18622, rel=1e-3)
    assert lr(81_000) == 0


@pytest.mark.parametrize("recipe", PUBLISHED)
def test_a_smoke_run_keeps_the_shape(recipe: str) -> None:
    whole, smoke = published_run(recipe), published_run(recipe, scale=2e-3)
    long, short = made(recipe, whole, exact=True), made(recipe, smoke, exact=True)
    if recipe in ("transformer", "power"):  # absolute formulas of steps and tokens
        assert np.isfinite(short(np.arange(smoke.total_steps))).all()
        return
    share = np.array([0.3, 0.5, 0.7, 0.85])
    at = (share * whole.total_steps).astype(int), (share * smoke.total_steps).astype(int)
    assert short(at[1]) == pytest.approx(long(at[0]), rel=0.03)


@pytest.mark.parametrize("recipe", PUBLISHED)
@pytest.mark.parametrize("steps", [1, 2, 3, 5, 30])
def test_a_recipe_fits_the_shortest_run(recipe: str, steps: int) -> None:
    lr = schedule(recipe, lr=1.0, steps=steps)(np.arange(steps))
    assert (lr > 0).all() and lr.max() <= 1


def test_a_longer_exact_run_goes_on_at_the_last_lr() -> None:
    lr = made("gpt-3", published_run("gpt-3", longer=2.0), exact=True)
    assert lr(180_000) == pytest.approx(6e-6)


def test_behind_a_warmup_of_the_config_a_recipe_starts_at_its_peak() -> None:
    lr = schedule("llama-2", lr=1.0, steps=1000, warmup=100)
    assert lr([0, 100, 103]) == pytest.approx([1 / 101, 1.0, 1.0])


@pytest.mark.parametrize(
    ("spec", "units", "message"),
    [
        ({"name": "gpt-3", "exact": True}, Units(10**5), "steps in an epoch are not known"),
        ({"name": "gpt-3", "exact": True}, Units(10**5, 1000, 10), "this dataset has no tokens"),
        ({"name": "bert", "exact": True}, Units(999_998), "train for 1M steps"),
        ({"name": "power", "exact": True}, Units(10**5, 1000, 10), "this dataset has no tokens"),
        ({"name": "power", "exact": True}, Units(10**5), "sequences in a step are not known"),
        ({"name": "transformer", "d_model": 0}, Units(100), "expected at least 1, got 0"),
        ({"name": "transformer", "warmup": 101}, Units(100), "at most the part's 100 steps"),
        ({"name": "transformer", "warmup": 9, "exact": True}, Units(10**5), "not both"),
    ],
)
def test_what_cannot_be_played_is_refused(spec: Any, units: Units, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build(parse(spec), 1.0, units)


def test_exact_tokens_are_counted_under_a_batch_that_grows() -> None:
    rows_a_step = np.repeat([8, 32], [500, 500])  # 20,000 rows of 55M tokens: 1.1T
    rows = np.concatenate([[0], np.cumsum(rows_a_step)])
    units = Units(1000, 100, 3200, 3200 * 55_000_000, rows_before=rows)
    lr = build(parse({"name": "minicpm", "exact": True}), 1.0, units)
    assert lr(24) < lr(25) == 1  # 11B tokens are 200 rows, 25 steps of 8
    assert lr(943) == 1 > lr(944)  # 1T are 18,182 rows: 500 steps of 8, 443 of 32


def test_the_ramps_of_the_batch_end_at_the_published_sizes() -> None:
    assert DEEPSEEK_V3.ramp[-1] == ("469B tokens", 62_914_560)
    assert GPT_3.ramp == (("0 tokens", 32_000), ("12B tokens", 3_200_000))
