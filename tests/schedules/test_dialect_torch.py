"""The torch dialect against torch itself, stepping a real optimizer."""

import math
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lrrun.errors import LrrunError
from lrrun.schedules import build, parse
from lrrun.units import Units

BASES = (0.1, 0.003)
CLOSE = {"rtol": 1e-10, "atol": 1e-13}
COMPOSITIONS = ("SequentialLR", "ChainedScheduler")


def torch_class(name):
    return (
        torch.optim.swa_utils.SWALR if name == "SWALR" else getattr(torch.optim.lr_scheduler, name)
    )


def torch_scheduler(optimizer, spec):
    """torch's own object for one of our specs."""
    spec = dict(spec)
    name = spec.pop("name")
    for key, variable in (("lr_lambda", "epoch"), ("scale_fn", "x")):
        if key in spec:
            spec[key] = torch_function(spec[key], variable)
    if name in COMPOSITIONS:
        spec["schedulers"] = [torch_scheduler(optimizer, each) for each in spec["schedulers"]]
    if name == "ChainedScheduler":
        return torch.optim.lr_scheduler.ChainedScheduler(**spec)
    return torch_class(name)(optimizer, **spec)


def torch_function(text, variable):
    if isinstance(text, list):
        return [torch_function(each, variable) for each in text]
    return eval(f"lambda {variable}: {text}", {"math": math})


def torch_values(spec, steps, bases=BASES):
    """(LRs [n, g], momenta [n, g]) that torch uses, as far as it gets before it raises."""
    groups = [{"params": [torch.zeros(1)], "lr": lr} for lr in bases]
    optimizer = torch.optim.SGD(groups, lr=0.1, momentum=0.5)
    lrs, momenta = [], []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            scheduler = torch_scheduler(optimizer, spec)
            optimizer.step()
            for _ in range(steps):
                lrs.append([group["lr"] for group in optimizer.param_groups])
                momenta.append([group["momentum"] for group in optimizer.param_groups])
                scheduler.step()
        except (ValueError, ZeroDivisionError, NotImplementedError, OverflowError):
            pass
    return np.array(lrs), np.array(momenta)


def our_schedules(spec, steps, bases=BASES):
    parts = parse(spec)
    units = Units(total_steps=steps, steps_per_epoch=1)
    return [build(parts, lr, units, group) for group, lr in enumerate(bases)]


def assert_same(spec, steps):
    lrs, momenta = torch_values(spec, steps)
    if len(lrs) == 0:
        with pytest.raises(LrrunError):
            [ours(0) for ours in our_schedules(spec, steps)]
        return
    for group, ours in enumerate(our_schedules(spec, steps)):
        at = np.arange(len(lrs))
        np.testing.assert_allclose(ours(at), lrs[:, group], **CLOSE)
        momentum = ours.momentum(at)
        if momentum is None:
            assert np.all(momenta[:, group] == 0.5)
        else:
            np.testing.assert_allclose(momentum, momenta[:, group], **CLOSE)
    if len(lrs) < steps:
        with pytest.raises(LrrunError):
            [ours(len(lrs)) for ours in our_schedules(spec, steps)]


small = st.integers(0, 30)
length = st.integers(1, 60)
factor = st.sampled_from([1.0, 0.5, 0.1, 0.01, 1 / 3]) | st.floats(0.001, 1.0)
gamma = st.sampled_from([0.1, 0.5, 0.97, 1.0]) | st.floats(0.0, 1.02)
lr = st.sampled_from([0.0, 0.1, 0.001]) | st.floats(1e-6, 1.0)
per_group = lr | st.lists(lr, min_size=2, max_size=2)
function = st.sampled_from(
    [
        "0.95 ** epoch",
        "0.9",
        "epoch % 7 / 7",
        "min(1.0, (epoch + 1) / 10)",
        "1.0 if epoch < 5 else 0.5 ** (epoch // 10)",
        "0.5 * (1 + math.cos(math.pi * epoch / 50))",
        "1 / (12 - epoch)",
    ]
)
functions = function | st.lists(function, min_size=2, max_size=2)
momentum = st.floats(0.0, 0.99) | st.lists(st.floats(0.0, 0.99), min_size=2, max_size=2)
anneal = st.sampled_from(["cos", "linear"])


def spec_of(name, required=None, **optional):
    fixed = {"name": st.just(name), **(required or {})}
    return st.fixed_dictionaries(fixed, optional=optional)


SINGLE = {
    "LambdaLR": spec_of("LambdaLR", {"lr_lambda": functions}),
    "MultiplicativeLR": spec_of("MultiplicativeLR", {"lr_lambda": functions}),
    "StepLR": spec_of("StepLR", {"step_size": small}, gamma=gamma),
    "MultiStepLR": spec_of(
        "MultiStepLR", {"milestones": st.lists(st.integers(-2, 60), max_size=5)}, gamma=gamma
    ),
    "ConstantLR": spec_of("ConstantLR", factor=factor | st.just(0.0), total_iters=small),
    "LinearLR": spec_of(
        "LinearLR", start_factor=factor, end_factor=factor | st.just(0.0), total_iters=small
    ),
    "ExponentialLR": spec_of("ExponentialLR", {"gamma": gamma}),
    "PolynomialLR": spec_of(
        "PolynomialLR", total_iters=small, power=st.sampled_from([0, 0.5, 0.9, 1.0, 2.0, 3, -1.0])
    ),
    "CosineAnnealingLR": spec_of("CosineAnnealingLR", {"T_max": small}, eta_min=lr),
    "CosineAnnealingWarmRestarts": spec_of(
        "CosineAnnealingWarmRestarts", {"T_0": length}, T_mult=st.integers(1, 4), eta_min=lr
    ),
    "CyclicLR": spec_of(
        "CyclicLR",
        {"base_lr": per_group, "max_lr": per_group},
        step_size_up=length,
        step_size_down=small,
        mode=st.sampled_from(["triangular", "triangular2", "exp_range"]),
        gamma=gamma,
        scale_fn=st.sampled_from(["0.9 ** x", "1 / (x + 1)", "1.0"]),
        scale_mode=st.sampled_from(["cycle", "iterations"]),
        cycle_momentum=st.booleans(),
        base_momentum=momentum,
        max_momentum=momentum,
    ),
    "OneCycleLR": spec_of(
        "OneCycleLR",
        {"max_lr": per_group, "total_steps": st.integers(1, 100)},
        pct_start=st.sampled_from([0.0, 0.1, 0.3, 0.5, 0.75, 1.0]) | st.floats(0.0, 1.0),
        anneal_strategy=anneal,
        cycle_momentum=st.booleans(),
        base_momentum=momentum,
        max_momentum=momentum,
        div_factor=st.floats(1.0, 100.0),
        final_div_factor=st.floats(1.0, 1e5),
        three_phase=st.booleans(),
    ),
    "SWALR": spec_of("SWALR", {"swa_lr": per_group}, anneal_epochs=small, anneal_strategy=anneal),
}


def composed(inner):
    chained = spec_of("ChainedScheduler", {"schedulers": st.lists(inner, min_size=1, max_size=3)})
    sequential = st.lists(inner, min_size=1, max_size=4).flatmap(
        lambda parts: spec_of(
            "SequentialLR",
            {
                "schedulers": st.just(parts),
                "milestones": st.lists(
                    st.integers(0, 60), min_size=len(parts) - 1, max_size=len(parts) - 1
                ).map(sorted),
            },
        )
    )
    return chained | sequential


single = st.one_of(*SINGLE.values())


@pytest.mark.parametrize("name", SINGLE)
def test_any_arguments(name):
    @settings(max_examples=10, deadline=None, derandomize=True, database=None)
    @given(SINGLE[name])
    def same(spec):
        assert_same(spec, 130)

    same()


@settings(max_examples=25, deadline=None, derandomize=True, database=None)
@given(composed(single))
def test_any_composition(spec):
    assert_same(spec, 130)


@settings(max_examples=15, deadline=None, derandomize=True, database=None)
@given(composed(composed(single) | single))
def test_any_composition_of_compositions(spec):
    assert_same(spec, 100)


THOUSAND_STEPS = [
    {"name": "StepLR", "step_size": 10, "gamma": 0.9},
    {"name": "MultiStepLR", "milestones": [0, 300, 300, 800]},
    {"name": "ConstantLR", "factor": 0.25, "total_iters": 700},
    {"name": "LinearLR", "start_factor": 1.0, "end_factor": 0.0, "total_iters": 999},
    {"name": "ExponentialLR", "gamma": 0.999},
    {"name": "PolynomialLR", "total_iters": 900, "power": 0.9},
    {"name": "CosineAnnealingLR", "T_max": 50, "eta_min": 1e-6},
    {"name": "CosineAnnealingLR", "T_max": 900},
    {"name": "CosineAnnealingWarmRestarts", "T_0": 7, "T_mult": 3, "eta_min": 1e-4},
    {"name": "CyclicLR", "base_lr": 0.01, "max_lr": 0.1, "step_size_up": 37},
    {"name": "OneCycleLR", "max_lr": [0.1, 0.3], "total_steps": 1000, "three_phase": True},
    {"name": "OneCycleLR", "max_lr": 0.1, "epochs": 25, "steps_per_epoch": 40},
    {"name": "SWALR", "swa_lr": [0.05, 0.5], "anneal_epochs": 600},
    {"name": "MultiplicativeLR", "lr_lambda": "0.95 + 0.05 * math.cos(epoch)"},
    {
        "name": "SequentialLR",
        "schedulers": [
            {"name": "LinearLR", "start_factor": 0.1, "total_iters": 50},
            {"name": "CosineAnnealingLR", "T_max": 950, "eta_min": 1e-4},
        ],
        "milestones": [50],
    },
    {
        "name": "ChainedScheduler",
        "schedulers": [
            {"name": "ExponentialLR", "gamma": 0.98},
            {"name": "CosineAnnealingLR", "T_max": 40, "eta_min": 0.01},
        ],
    },
]


@pytest.mark.parametrize("spec", THOUSAND_STEPS, ids=lambda spec: spec["name"])
def test_a_thousand_steps(spec):
    assert_same(spec, 1000)


@pytest.mark.parametrize(
    "arguments",
    [
        {"mode": "min", "factor": 0.1, "patience": 5},
        {"mode": "max", "patience": 1, "threshold": 0.01, "threshold_mode": "abs", "cooldown": 3},
        {"patience": 0, "factor": 0.9, "min_lr": [0.02, 0.001], "eps": 1e-4},
    ],
)
def test_plateau_with_the_metrics_torch_sees(arguments):
    rng = np.random.default_rng(0)
    metrics = np.exp(-np.arange(300) / 40) + rng.normal(0, 0.05, 300)
    metrics[[7, 8]] = np.nan
    groups = [{"params": [torch.zeros(1)], "lr": lr} for lr in BASES]
    optimizer = torch.optim.SGD(groups)
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, **arguments)
    ours = our_schedules({"name": "ReduceLROnPlateau", **arguments}, 300)
    for step, metric in enumerate(metrics):
        lrs = [group["lr"] for group in optimizer.param_groups]
        assert [each(step) for each in ours] == pytest.approx(lrs, rel=1e-12)
        theirs.step(metric)
        for each in ours:
            each.observe(step + 1, {"val_loss": metric})
    assert ours[0](300) < BASES[0] / 2
