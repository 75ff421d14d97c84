"""Lint tells of every flaw that the computed LRs show, and of nothing that was asked for."""

from __future__ import annotations

from typing import Any

import pytest

from lrrun.schedules import build, parse
from lrrun.schedules.lint import IMPORTANCE, Finding, lint
from lrrun.units import Units

RUN = Units(300, 10)
"""30 epochs of 10 steps."""


def findings(spec: Any, units: Units = RUN, lr: float = 0.1, **facts: Any) -> list[Finding]:
    parts = parse(spec)
    return lint(build(parts, lr, units), parts, units, **facts)


def codes(spec: Any, units: Units = RUN, lr: float = 0.1, **facts: Any) -> list[str]:
    return [finding.code for finding in findings(spec, units, lr, **facts)]


def only(spec: Any, units: Units = RUN, lr: float = 0.1, **facts: Any) -> Finding:
    (finding,) = findings(spec, units, lr, **facts)
    return finding


def test_zero_at_the_first_update_is_told_with_the_warmup_that_wastes_none() -> None:
    finding = only(
        {"name": "transformers.linear", "num_warmup_steps": 30, "num_training_steps": 300}
    )
    assert finding.code == "zero-lr"
    assert "first update is 0" in finding.message and "warmup: 5%" in finding.message
    assert codes({"name": "linear", "warmup": 30}) == []
    assert codes({"name": "linear", "warmup": {"for": 30, "start": 0}}) == ["zero-lr"]


def test_zero_updates_are_counted_and_placed() -> None:
    finding = only({"name": "linear", "end": "inclusive"})
    assert "0 at 1 update (step 299)" in finding.message
    slow = {"name": "timm.CosineLRScheduler", "t_initial": 30, "warmup_t": 3}
    assert "0 at 10 of 300 updates (step 0-9)" in only(slow).message
    assert "begin above 0" in only(slow).message
    on_and_off = "0 if step % 100 == 50 else 1 - step / 400"
    found = findings({"name": "lambda", "factor": on_and_off})
    assert "0 at 3 of 300 updates (step 50, 150, 250)" in found[0].message


def test_a_constant_asked_for_by_name_is_not_told_that_it_never_decays() -> None:
    for spec in (
        "constant",
        {"warmup": "5%"},
        [{"name": "constant", "for": "50%"}, {"name": "constant", "factor": 1}],
        {"name": "ConstantLR", "total_iters": 3},
        {"name": "transformers.constant_with_warmup", "num_warmup_steps": 0},
        {
            "name": "SequentialLR",
            "schedulers": [{"name": "LinearLR"}, {"name": "ConstantLR", "factor": 1.0}],
            "milestones": [5],
        },
        {"name": "timm.create_scheduler_v2", "sched": "constant", "num_epochs": 30},
        "plateau",
    ):
        assert codes(spec) == [], spec


def test_what_never_decays_though_it_should_is_told() -> None:
    late = {"name": "MultiStepLR", "milestones": [40, 50]}
    assert codes([{"name": "constant", "for": "50%"}, late]) == ["never-decays"]
    assert "add cooldown: 20%" in only({"name": "LinearLR"}).message


@pytest.mark.parametrize(
    "spec",
    [
        {"name": "CosineAnnealingLR", "T_max": 20, "eta_min": 0.001},
        {
            "name": "transformers.get_cosine_with_min_lr_schedule_with_warmup",
            "num_warmup_steps": 0,
            "num_training_steps": 200,
            "min_lr": 1e-3,
        },
        {"name": "lambda", "factor": "0.55 + 0.45 * math.cos(math.pi * step / 200)"},
    ],
)
def test_what_climbs_back_after_its_end_is_told(spec: dict[str, Any]) -> None:
    finding = only(spec)
    assert finding.code == "climbs-back"
    assert "at step 2" in finding.message and "of 300 and climbs back to 0.0" in finding.message


def test_climbing_back_is_blamed_on_the_argument_that_says_how_long() -> None:
    finding = only({"name": "CosineAnnealingLR", "T_max": 20, "eta_min": 0.001})
    assert finding.path == ("scheduler", "T_max")
    assert "T_max is 20 and there are 30 epochs" in finding.message
    inner = {"name": "CosineAnnealingLR", "T_max": 10, "eta_min": 0.001}
    whole = {
        "name": "SequentialLR",
        "schedulers": [{"name": "LinearLR"}, inner],
        "milestones": [5],
    }
    finding = only(whole)
    assert finding.path == ("scheduler", "schedulers", 1, "T_max")
    assert "its stretch of the run has another length" in finding.message


@pytest.mark.parametrize(
    "spec",
    [
        {"name": "cosine-restarts", "cycles": 3},
        {"name": "wsd-s", "periods": 3},
        {"name": "cyclic", "up": 35},
        {"name": "CosineAnnealingWarmRestarts", "T_0": 10},
        {
            "name": "transformers.get_cosine_schedule_with_warmup",
            "num_cycles": 1.5,
            "num_warmup_steps": 0,
            "num_training_steps": 301,
        },
        {
            "name": "keras.CosineDecayRestarts",
            "initial_learning_rate": 0.1,
            "first_decay_steps": 43,
        },
        [{"name": "multistep", "at": ["50%", "80%"], "factor": [0.2, 2.0]}],
        {"name": "product", "of": ["linear", {"name": "cyclic", "up": 35}]},
    ],
)
def test_waves_that_were_asked_for_are_not_told_back(spec: Any) -> None:
    assert codes(spec) == []


def test_more_than_tenfold_between_neighbours_is_told_and_tenfold_is_not() -> None:
    assert codes({"name": "step", "every": "50%", "factor": 0.1}) == []
    assert codes({"name": "StepLR", "step_size": 10}, lr=0.3) == []
    finding = only({"name": "step", "every": "50%", "factor": 0.05})
    assert finding.code == "jump"
    assert "from 0.1 to 0.005 at step 150" in finding.message
    up = [{"name": "linear", "for": "50%", "final": "2%"}, {"name": "linear", "start": "100%"}]
    assert "put a warmup between" in only(up).message
    twice = {"name": "multistep", "at": [100, 200], "factor": [0.09, 0.05]}
    assert "at step 100, and at 1 more" in only(twice).message


def test_the_steep_end_of_a_decay_and_the_first_rung_of_a_warmup_are_no_jumps() -> None:
    assert codes({"name": "polynomial", "power": 5}, Units(20)) == []
    assert codes({"name": "linear", "final": "0.1%", "end": "inclusive"}, Units(60)) == []
    timm = {"name": "timm.CosineLRScheduler", "t_initial": 30, "warmup_t": 5}
    assert codes({**timm, "warmup_lr_init": 1e-6}) == []
    again = [{"name": "cosine", "for": "50%"}, {"name": "warmup", "for": "5%"}, "cosine"]
    assert codes(again) == []
    low = {"name": "cosine", "warmup": {"for": 30, "shape": "constant", "start": "1%"}}
    assert codes(low) == ["jump"]


def test_a_length_that_rounds_to_no_step_is_told() -> None:
    finding = only({"name": "cosine", "warmup": "0.1%"})
    assert (finding.code, finding.path) == ("vanished", ("scheduler", "warmup", "for"))
    assert "0.1% of this run is 0.3 steps" in finding.message
    assert codes({"name": "wsd", "cooldown": "0.1%"})[-1] == "vanished"
    assert codes([{"name": "constant", "until": "0.1%"}, "cosine"]) == ["vanished"]
    inner = {"name": "product", "of": [{"name": "cosine", "warmup": "0.1%"}, "linear"]}
    assert only(inner).path == ("scheduler", "of", 0, "warmup", "for")
    assert codes({"name": "cosine", "warmup": 0}) == []


def test_a_cooldown_shorter_than_its_warmup_is_told() -> None:
    finding = only({"name": "wsd", "warmup": "10%", "cooldown": "5%"})
    assert finding.code == "short-cooldown"
    assert "15 steps, fewer than the 30 of the warmup" in finding.message
    assert codes({"name": "wsd", "warmup": "10%", "cooldown": "10%"}) == []
    assert codes({"name": "inverse-sqrt", "warmup": "10%", "cooldown": "5%"}) == ["short-cooldown"]
    assert codes({"name": "multistep", "at": ["75%"], "warmup": "20%"}) == []


@pytest.mark.parametrize(
    ("warmup", "steps", "beta2", "told"),
    [
        (99, 1001, 0.99, True),
        (100, 1001, 0.99, False),
        (99, 1000, 0.99, False),
        (999, 10_001, 0.999, True),
        (1000, 10_001, 0.999, False),
        (0, 10_001, 0.999, False),
        (99, 1001, None, False),
    ],
)
def test_a_warmup_must_last_as_long_as_adam_looks_back(
    warmup: int, steps: int, beta2: float | None, told: bool
) -> None:
    spec = {"name": "cosine", "warmup": warmup}
    assert codes(spec, Units(steps), beta2=beta2) == (["short-warmup"] if told else [])


@pytest.mark.parametrize(
    "spec",
    [
        {"name": "plateau", "patience": 30},
        {"name": "ReduceLROnPlateau", "patience": 30},
        {"name": "keras.ReduceLROnPlateau", "patience": 30},
        {"name": "timm.PlateauLRScheduler", "patience_t": 30},
        {"name": "optax.contrib.reduce_on_plateau", "patience": 30},
    ],
)
def test_a_patience_longer_than_the_run_is_told(spec: dict[str, Any]) -> None:
    finding = only(spec, evaluations=30)
    assert finding.code == "patience"
    assert "never cut" in finding.message and finding.path[-1].startswith("patience")  # type: ignore[union-attr]
    assert codes(spec, evaluations=31) == codes(spec) == []


def test_a_plateau_counts_the_evaluations_of_its_own_part() -> None:
    parts = [{"name": "linear", "final": "50%", "for": "50%"}, {"name": "plateau", "patience": 20}]
    assert codes(parts, evaluations=30) == ["patience"]
    assert codes(parts, evaluations=60) == []


@pytest.mark.parametrize(
    ("spec", "key"),
    [
        ({"name": "LinearLR", "start_factor": 1.0, "end_factor": 0.1}, "total_iters"),
        (
            {
                "name": "keras.CosineDecay",
                "initial_learning_rate": 0.1,
                "decay_steps": 100,
                "alpha": 0.1,
            },
            "decay_steps",
        ),
        ({"name": "timm.CosineLRScheduler", "t_initial": 20, "lr_min": 0.001}, "t_initial"),
    ],
)
def test_a_decay_that_is_over_long_before_the_run_is_told(spec: Any, key: str) -> None:
    finding = only(spec)
    assert (finding.code, finding.path) == ("ends-early", ("scheduler", key))
    assert "make them agree" in finding.message


def test_a_decay_in_stairs_has_no_horizon_to_miss() -> None:
    rate = {"initial_learning_rate": 0.1, "decay_rate": 0.3, "decay_steps": 100, "staircase": True}
    assert codes({"name": "keras.ExponentialDecay", **rate}) == []
    stairs = {"name": "MultiStepLR", "milestones": [5, 10, 15]}
    assert codes(stairs) == []
    warm = {"name": "SequentialLR", "schedulers": [{"name": "LinearLR"}, stairs], "milestones": [5]}
    assert codes(warm) == []
    assert codes({"name": "swa", "anneal": "20%", "final": "60%"}) == []


def test_a_run_that_ends_high_up_is_told() -> None:
    finding = only({"name": "CosineAnnealingLR", "T_max": 100})
    assert finding.code == "ends-high"
    assert "T_max is 100 and there are 30 epochs" in finding.message
    assert codes({"name": "CosineAnnealingLR", "T_max": 45}) == []
    assert codes({"name": "ExponentialLR", "gamma": 0.999}) == ["ends-high"]
    assert codes({"name": "cosine-restarts", "cycle": 140}) == ["ends-high"]


def test_a_warmup_of_length_0_that_never_leaves_its_start_is_told() -> None:
    finding = only({"name": "LinearLR", "total_iters": 0})
    assert (finding.code, finding.path) == ("stuck", ("scheduler", "total_iters"))
    assert "at most 0.03333, the base LR is 0.1" in finding.message
    chain = [{"name": "LinearLR", "total_iters": 0}, {"name": "CosineAnnealingLR", "T_max": 30}]
    assert codes({"name": "ChainedScheduler", "schedulers": chain}) == ["stuck"]


def test_a_schedule_that_ends_before_the_run_is_told_with_the_step() -> None:
    finding = only({"name": "OneCycleLR", "max_lr": 0.1, "total_steps": 200})
    assert finding.code == "no-lr"
    assert "no LR at step 201 of 300" in finding.message


def test_an_lr_below_0_is_told_first() -> None:
    cosine = {"name": "CosineAnnealingLR", "T_max": 40, "eta_min": 0.01}
    chain = {
        "name": "ChainedScheduler",
        "schedulers": [{"name": "ExponentialLR", "gamma": 0.98}, cosine],
        "interval": "step",
    }
    assert codes(chain, Units(100), lr=0.3)[0] == "negative-lr"


def test_param_groups_that_differ_are_named_and_frozen_ones_left_out() -> None:
    spec = {"name": "linear", "final": 0.01}
    parts = parse(spec)
    groups = {"head": build(parts, 0.1, RUN), "norms": build(parts, 0.015, RUN, 1)}
    (finding,) = lint(groups, parts, RUN)
    assert finding.code == "ends-high"
    assert finding.message.startswith("param group norms: ")
    assert lint({"frozen": build(parse("linear"), 0.0, RUN)}, parse("linear"), RUN) == []


def test_the_worst_is_told_first() -> None:
    spec = {"name": "CosineAnnealingLR", "T_max": 20, "warmup": "0.1%"}
    found = codes(spec)
    assert found == ["zero-lr", "climbs-back", "vanished"]
    assert found == sorted(found, key=IMPORTANCE.index)
