"""Snippets are run and held against the schedule at every step, whatever it is made of."""

from __future__ import annotations

import importlib.util
import os
from typing import Any

import numpy as np
import pytest
import torch

from lrrun.errors import ConfigError, UsageError
from lrrun.render.gallery import example
from lrrun.schedules import CATALOGUE, build, parse
from lrrun.schedules.catalogue import register
from lrrun.schedules.export import TARGETS, export
from lrrun.schedules.inline import read_inline
from lrrun.units import Units

STEPS = 230
UNITS = Units(STEPS, steps_per_epoch=10)
LR = 0.3
LISTENING = ("plateau", "greedy")

OWN = [example(entry) for name, entry in CATALOGUE.items() if "." not in name]
VARIANTS = [
    read_inline(text)
    for text in (
        "cosine warmup=7 cooldown=10% final=5%",
        "cosine end=inclusive",
        "flat-cosine flat=40%",
        "step every=1 factor=0.99",
        "exponential factor=0.97 every=7 staircase=true",
        "multistep at=[3,20,21,60,150] factor=0.5",
        "cosine-restarts cycle=9 growth=1.3 peak_decay=0.9 cycle_warmup=3",
        "cosine-restarts cycles=40",
        "one-cycle phases=3 shape=linear",
        "cyclic up=7 down=3",
        "cyclic up=7 mode=exp-range factor=0.99",
        "wsd stable=inverse-sqrt warmup=10% cooldown=20%",
        "wsd-s periods=11",
        "warmup shape=log for=60",
        "warmup shape=exponential start=1% for=200",
        "tri-stage hold=20% warmup=20%",
    )
]
DIALECTS: list[dict[str, Any]] = [
    {"name": "torch.StepLR", "step_size": 3},
    {"name": "torch.CosineAnnealingLR", "T_max": 7},
    {"name": "torch.CosineAnnealingWarmRestarts", "T_0": 5, "T_mult": 2},
    {"name": "torch.CyclicLR", "base_lr": 0.01, "max_lr": 0.2, "step_size_up": 9},
    {"name": "torch.OneCycleLR", "max_lr": 0.5, "total_steps": STEPS},
    {"name": "torch.LambdaLR", "lr_lambda": "0.9 ** epoch"},
    {
        "name": "torch.ChainedScheduler",
        "schedulers": [{"name": "torch.ConstantLR"}, {"name": "torch.ExponentialLR", "gamma": 0.9}],
    },
    {"name": "transformers.cosine", "num_warmup_steps": 20, "num_training_steps": 200},
    {"name": "keras.CosineDecay", "initial_learning_rate": 0.2, "decay_steps": 100},
    {"name": "timm.CosineLRScheduler", "t_initial": 20, "warmup_t": 3},
    {"name": "optax.sgdr_schedule", "cosine_kwargs": [
        {"init_value": 0.0, "peak_value": 0.1, "decay_steps": 60, "warmup_steps": 10},
        {"init_value": 0.0, "peak_value": 0.05, "decay_steps": 90, "warmup_steps": 10},
    ]},
    {"name": "pytorch_scheduler.RexScheduler", "total_steps": 200},
    {"name": "mmengine.PolyLR", "power": 0.9, "end": 20},
]  # fmt: skip
CLOSED = [each for each in OWN if each["name"] not in LISTENING] + VARIANTS + DIALECTS


def snippet(spec: object, target: str, units: Units = UNITS, lr: float = LR) -> str:
    return export(parse(spec, path=()), lr, units, target, str(spec))


def values(spec: object, count: int = STEPS) -> np.ndarray:
    return build(parse(spec, path=()), LR, UNITS)(np.arange(count))


def run(code: str) -> dict[str, Any]:
    names: dict[str, Any] = {}
    exec(compile(code, "snippet", "exec"), names)
    return names


def name_of(spec: Any) -> str:
    return str(spec["name"])


@pytest.mark.parametrize("spec", CLOSED, ids=name_of)
def test_the_python_snippet_gives_the_schedules_values(spec: Any) -> None:
    code = snippet(spec, "python")
    assert "lrrun" not in code and "import numpy" not in code
    lr = run(code)["lr"]
    got = [lr(step) for step in range(STEPS)]
    np.testing.assert_allclose(got, values(spec), rtol=1e-12, atol=0)
    if CATALOGUE[spec["name"]].clock is None:
        assert lr(STEPS + 50) == pytest.approx(values(spec, STEPS + 1)[-1], rel=1e-12)


@pytest.mark.parametrize("spec", CLOSED, ids=name_of)
def test_the_torch_snippet_makes_an_optimizer_follow_it(spec: Any) -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=LR)
    scheduler = run(snippet(spec, "torch"))["make_scheduler"](optimizer)
    used = []
    for _ in range(STEPS):
        used.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    np.testing.assert_allclose(used, values(spec), rtol=1e-12, atol=0)


@pytest.mark.parametrize("target", ["keras", "optax"])
@pytest.mark.parametrize("spec", CLOSED, ids=name_of)
def test_other_libraries_snippets_compile(spec: Any, target: str) -> None:
    code = snippet(spec, target)
    assert "lrrun" not in code
    compile(code, target, "exec")


@pytest.mark.skipif(not importlib.util.find_spec("optax"), reason="optax is not installed")
def test_the_optax_snippets_run_traced() -> None:
    import jax

    for spec in CLOSED:
        lr = jax.jit(run(snippet(spec, "optax"))["lr"])
        got = [float(lr(step)) for step in range(0, STEPS, 7)]
        np.testing.assert_allclose(
            got, values(spec)[::7], rtol=5e-6, atol=5e-6 * LR, err_msg=str(spec)
        )


@pytest.mark.skipif(not importlib.util.find_spec("keras"), reason="keras is not installed")
def test_the_keras_snippets_run() -> None:
    os.environ.setdefault("KERAS_BACKEND", "torch")
    for spec in CLOSED:
        schedule = run(snippet(spec, "keras"))["Schedule"]()
        got = [float(schedule(step)) for step in range(0, STEPS, 7)]
        np.testing.assert_allclose(
            got, values(spec)[::7], rtol=5e-6, atol=5e-6 * LR, err_msg=str(spec)
        )


def test_a_snippet_is_what_a_person_would_have_written() -> None:
    code = export(
        parse(read_inline("wsd warmup=5% final=1%")), 0.1, Units(1000), "torch", "wsd warmup=5%"
    )
    assert (
        code
        == '''\
# wsd warmup=5%: 1000 steps, base LR 0.1
import math

from torch.optim.lr_scheduler import LambdaLR


def lr(step):
    """The learning rate of update `step`, counted from 0."""
    step = min(step, 1000)
    if step < 50:
        return 0.1 * (step + 1) / 51
    if step < 900:
        return 0.1
    g = 1 - math.sqrt((step - 900) / 100)
    return 0.1 * g + 0.001 * (1 - g)


def make_scheduler(optimizer):
    """For an optimizer with lr=0.1: step() it after every optimizer.step()."""
    return LambdaLR(optimizer, lambda step: lr(step) / 0.1)
'''
    )


@pytest.mark.parametrize("text", ["cosine warmup=5% final=1%", "linear warmup=9", "step every=30"])
@pytest.mark.parametrize("target", TARGETS)
def test_common_schedules_are_short(text: str, target: str) -> None:
    assert len(snippet(read_inline(text), target).splitlines()) <= 20


def test_cycles_become_one_formula_over_a_table() -> None:
    code = snippet(read_inline("cosine-restarts cycles=20 growth=1.1"), "python")
    assert code.count("math.cos") <= 2
    assert "STARTS = [" in code


def test_a_curve_that_only_numbers_can_follow_is_a_table_of_its_values() -> None:
    @register("only-numbers")
    def only_numbers(span: Any) -> Any:
        """Values from a list."""
        lrs = [span.base / (1 + k) for k in range(8)]
        return lambda s: np.array([lrs[int(each) // 30] for each in s])

    try:
        code = snippet("only-numbers", "python")
        lr = run(code)["lr"]
        assert [lr(step) for step in (0, 29, 30, 229)] == [0.3, 0.3, 0.15, 0.3 / 8]
        assert "k = step // 30" in code
    finally:
        del CATALOGUE["only-numbers"]


def test_what_no_function_of_the_step_can_do_is_refused() -> None:
    for spec in ("plateau", "greedy", {"name": "product", "of": ["cosine", "plateau"]}):
        with pytest.raises(UsageError, match=r"listens to a metric.*torch_scheduler"):
            snippet(spec, "python")
    with pytest.raises(UsageError, match=r"too long for a snippet.*--csv"):
        snippet(read_inline("lambda factor=0.9999**step"), "python", Units(30_000))
    with pytest.raises(UsageError, match="did you mean torch"):
        snippet("cosine", "torhc")
    with pytest.raises(UsageError, match="base LR, which is 0"):
        snippet("cosine", "torch", lr=0.0)
    with pytest.raises(ConfigError):
        snippet(read_inline("cosine warmup=300"), "python")


def test_a_driven_momentum_is_said_to_be_left_alone() -> None:
    code = snippet({"name": "one-cycle", "momentum": [0.8, 0.9]}, "python")
    assert "momentum" in code.splitlines()[1]
