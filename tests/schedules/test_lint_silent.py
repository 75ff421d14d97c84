"""Lint says nothing of sound schedules: our own names, published recipes, the shipped configs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lrrun.config.check import check_if_known
from lrrun.config.plans import plan_schedules
from lrrun.config.reading import load_experiment
from lrrun.schedules import CATALOGUE, build, parse
from lrrun.schedules.asked import AVERAGING, CONSTANT, ENDLESS_WAVES, RESTARTS, WARMUPS, WRITTEN_OUT
from lrrun.schedules.lint import lint
from lrrun.units import Units

ARGUMENTS: dict[str, dict[str, Any]] = {
    "cosine-restarts": {"cycles": 4},
    "cyclic": {"up": "5%"},
    "exp-hyperbolic": {"bound": "150%"},
    "exponential": {"final": "1%"},
    "hyperbolic": {"bound": "120%"},
    "infinite": {"cooldown": "30%", "anneal": "10%"},
    "inverse-sqrt": {"timescale": "2%"},
    "inverse-time": {"rate": 10.0, "every": "20%"},
    "lambda": {"factor": "1 / (1 + step / 20)"},
    "maximum": {"of": ["cosine", {"name": "constant", "factor": 0.1}]},
    "minimum": {"of": ["cosine", "rex"]},
    "multistep": {"at": ["50%", "75%"]},
    "natural-exponential": {"rate": 1.0, "every": "20%"},
    "power-law": {"timescale": "2%"},
    "planned": {"of": "cosine", "run": "100%"},
    "product": {"of": ["cosine", "linear"]},
    "sequence": {"of": [{"name": "step", "every": "20%", "for": "50%"}, "cosine"]},
    "step": {"every": "30%"},
    "swa": {"anneal": "20%", "final": "5%"},
    "wsd-s": {"periods": 3},
}
OWN = sorted(name for name, entry in CATALOGUE.items() if entry.clock is None and "." not in name)
RIGHTLY_TOLD = {
    "warmup": ["never-decays"],  # a whole run that only rises
}


@pytest.mark.parametrize("name", OWN)
@pytest.mark.parametrize("warmup", [None, "5%"])
@pytest.mark.parametrize("steps", [100, 690, 9000])
def test_nothing_is_told_of_our_own_schedules(name: str, warmup: str | None, steps: int) -> None:
    spec = {"name": name, **ARGUMENTS.get(name, {})}
    if warmup and name == "slanted-triangular":
        return  # it begins at 1/32 of where the warmup ended: told, and rightly
    if warmup and name != "greedy":  # greedy's warmup counts evaluations
        spec["warmup"] = warmup
    units = Units(steps, steps // 20)
    parts = parse(spec)
    found = lint(build(parts, 0.1, units), parts, units, beta2=0.999, evaluations=20)
    assert [finding.code for finding in found] == RIGHTLY_TOLD.get(name, [])


CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.yaml"))


@pytest.mark.parametrize("file", CONFIGS, ids=lambda file: file.stem)
def test_nothing_is_told_of_the_shipped_configs(file: Path) -> None:
    experiment = load_experiment(file)
    clock = check_if_known(experiment)
    assert clock is not None
    units, evaluate = clock.units, experiment.train.evaluate
    every = units.steps(evaluate) if evaluate else units.steps_per_epoch or units.total_steps
    schedules = plan_schedules(experiment, units, {"default": experiment.base_lr})
    facts: dict[str, Any] = {"evaluations": units.total_steps // every}
    assert lint(schedules, experiment.parts, units, beta2=experiment.optimizer.beta2, **facts) == []


def test_the_names_that_are_asked_for_are_in_the_catalogue() -> None:
    names = CONSTANT | WARMUPS | ENDLESS_WAVES | AVERAGING | RESTARTS | WRITTEN_OUT
    assert names <= set(CATALOGUE)


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_the_shortest_runs_can_be_linted(steps: int) -> None:
    for name in ("cosine", "linear", "rex", "constant", "llama-3"):
        parts = parse(name)
        assert lint(build(parts, 0.1, Units(steps)), parts, Units(steps)) == []
