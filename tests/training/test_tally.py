"""What is summed up between two rows, and the speed of what ran here."""

from __future__ import annotations

import pytest

from lrrun.records import StepRecord
from lrrun.training.tally import Tally


def tally_of(state: dict | None, updates: int) -> Tally:
    tally = Tally() if state is None else Tally.of(state)
    for step in range(updates):
        tally.add(StepRecord(step, (0.1,), float(step)), samples=64)
    tally.training_seconds += updates / 10
    return tally


def test_the_speed_is_that_of_all_updates() -> None:
    row = tally_of(None, updates=20).record(1, 20, 1280, {})
    assert row.samples_per_second == pytest.approx(640)


def test_after_a_resume_the_speed_is_that_of_what_ran_since() -> None:
    state = tally_of(None, updates=30).state()
    row = tally_of(state, updates=5).record(1, 35, 2240, {})
    assert row.samples_per_second == pytest.approx(640)
    assert row.train_loss == pytest.approx((sum(range(30)) + sum(range(5))) / 35)
    assert tally_of(state, updates=0).record(1, 30, 1920, {}).samples_per_second == 0.0


def test_what_is_saved_again_counts_all_samples() -> None:
    state = tally_of(None, updates=30).state()
    again = tally_of(state, updates=5).state()
    assert again["samples"] == 35 * 64
    assert sorted(again) == sorted(state)
