"""The short form of benchmarks/reliability/fuzz.py, and specs drawn by hypothesis."""

from __future__ import annotations

import importlib.util
import math
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lrrun.errors import LrrunError
from lrrun.schedules import build, parse
from lrrun.schedules.catalogue import CATALOGUE
from lrrun.units import Units

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "reliability" / "fuzz.py"


@pytest.fixture(scope="module")
def fuzz() -> ModuleType:
    spec = importlib.util.spec_from_file_location("fuzz_of_lrrun", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_broken_configs_end_as_our_own_errors(fuzz: ModuleType, tmp_path: Path) -> None:
    ends = fuzz.fuzz_configs(1500, 1, tmp_path)
    assert ends["accepted"] > 10  # the fuzz reaches past the first check
    assert ends["ConfigError"] > 500
    assert set(ends) <= {"accepted", "ConfigError", "UsageError", "UnusableFile"}


def test_broken_run_folders_end_as_our_own_errors(fuzz: ModuleType, tmp_path: Path) -> None:
    ends = fuzz.fuzz_runs(250, 1, tmp_path)
    assert ends["read"] > 10
    assert set(ends) <= {"read", "UnusableFile"}


values = st.one_of(
    st.integers(-3, 2000),
    st.floats(-2, 10),
    st.sampled_from(
        ["5%", "150%", "10 epochs", "2 steps", "1M tokens", "rest", "cosine", "-1", ""]
    ),
    st.booleans(),
    st.none(),
    st.lists(st.one_of(st.integers(0, 50), st.sampled_from(["10%", "50%"])), max_size=3),
    st.just(math.inf),
)


@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_any_arguments_give_a_schedule_or_a_message(data: Any) -> None:
    """Over the whole catalogue, other libraries' names included: no other exception, no nan."""
    entry = CATALOGUE[data.draw(st.sampled_from(sorted(CATALOGUE)))]
    names = st.sampled_from([*entry.parameters, "warmup", "start", "cooldown"])
    spec = {"name": entry.name, **data.draw(st.dictionaries(names, values, max_size=4))}
    units = Units(data.draw(st.sampled_from([1, 2, 30, 200])), 10)
    try:
        lr = build(parse(spec), 0.1, units)(np.arange(units.total_steps))
    except LrrunError as error:
        assert str(error).strip()
    else:
        assert lr.shape == (units.total_steps,)
