"""What every one of our own schedules promises, over generated arguments; none can be left out."""

from __future__ import annotations

import json
import types
import typing
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from lrrun.errors import ConfigError
from lrrun.schedules import CATALOGUE, Schedule, schedule
from lrrun.schedules.catalogue import Entry, Section
from lrrun.units import Fraction, Height, Length

OWN = sorted(name for name, entry in CATALOGUE.items() if entry.clock is None and "." not in name)
REACTIVE = {"plateau", "greedy"}

percents = st.integers(1, 100).map(lambda n: f"{n}%")
lengths = st.one_of(st.integers(1, 60), st.integers(5, 50).map(lambda n: f"{n}%"))
fractions = st.floats(0.05, 0.95)
rest_or_more = st.integers(100, 300).map(lambda n: f"{n}%")

KINDS: dict[Any, st.SearchStrategy[Any]] = {
    Length: lengths,
    Height: percents,
    Fraction: fractions,
    int: st.integers(1, 6),
    float: st.floats(0.1, 3.0),
    bool: st.booleans(),
}


def simple_specs() -> st.SearchStrategy[dict[str, Any]]:
    """Schedules to put into others, a plateau among them."""
    return st.one_of(
        st.fixed_dictionaries(
            {"name": st.sampled_from(["cosine", "linear", "rex"]), "final": percents}
        ),
        st.fixed_dictionaries({"name": st.just("step"), "every": lengths, "factor": fractions}),
        st.fixed_dictionaries(
            {"name": st.just("plateau"), "patience": st.integers(0, 2), "factor": fractions}
        ),
    )


def one_of_three() -> st.SearchStrategy[dict[str, Any]]:
    return st.one_of(
        st.fixed_dictionaries({"factor": fractions, "every": lengths, "staircase": st.booleans()}),
        st.fixed_dictionaries({"alpha": fractions}),
        st.fixed_dictionaries({"final": percents}),
    )


BY_NAME: dict[str, st.SearchStrategy[dict[str, Any]]] = {
    "exponential": one_of_three(),
    "multistep": st.fixed_dictionaries(
        {
            "at": st.lists(st.integers(2, 99), max_size=4).map(
                lambda xs: [f"{x}%" for x in sorted(xs)]
            )
        },
        optional={"factor": fractions},
    ),
    "hyperbolic": st.fixed_dictionaries({"bound": rest_or_more}, optional={"final": percents}),
    "exp-hyperbolic": st.fixed_dictionaries({"bound": rest_or_more}, optional={"final": percents}),
    "lambda": st.sampled_from(["1 / (1 + step)", "0.9 ** step", "1 if step < 9 else 0.1"]).map(
        lambda text: {"factor": text}
    ),
    "cosine-restarts": st.one_of(
        st.fixed_dictionaries({"cycle": lengths}, optional={"cycle_warmup": st.integers(0, 3)}),
        st.fixed_dictionaries({"cycles": st.integers(1, 5)}),
    ).flatmap(
        lambda one: st.fixed_dictionaries(
            {key: st.just(value) for key, value in one.items()},
            optional={"growth": st.floats(1.0, 2.5), "peak_decay": fractions, "final": percents},
        )
    ),
    "cyclic": st.one_of(
        st.fixed_dictionaries(
            {"up": lengths, "mode": st.sampled_from(["triangular", "triangular2"])},
            optional={"down": lengths, "low": percents},
        ),
        st.fixed_dictionaries({"up": lengths, "mode": st.just("exp-range"), "factor": fractions}),
    ),
    "one-cycle": st.fixed_dictionaries(
        {"phases": st.sampled_from([2, 3]), "rise": st.floats(0.05, 0.4)},
        optional={"shape": st.sampled_from(["cosine", "linear"]), "final": percents},
    ),
    "warmup": st.sampled_from(["linear", "cosine", "1-sqrt", "log", "polynomial"]).map(
        lambda shape: {"shape": shape}
    ),
    "sequence": st.lists(simple_specs(), min_size=1, max_size=3).map(
        lambda parts: {"of": [{**part, "for": 5} for part in parts[:-1]] + parts[-1:]}
    ),
    "planned": st.fixed_dictionaries({"of": simple_specs(), "run": st.integers(20, 200)}),
}


def arguments(entry: Entry) -> st.SearchStrategy[dict[str, Any]]:
    """Arguments of a schedule, from its own declaration unless BY_NAME says more."""
    if entry.name in BY_NAME:
        return BY_NAME[entry.name]
    required, optional = {}, {}
    for name, parameter in entry.parameters.items():
        kind = values(name, parameter.kind)
        if kind is not None:
            (required if parameter.required else optional)[name] = kind
    return st.fixed_dictionaries(required, optional=optional)


def values(name: str, kind: Any) -> st.SearchStrategy[Any] | None:
    """Values of one parameter; None leaves it at its default."""
    if name == "shape" and kind is str:
        return st.sampled_from(
            ["linear", "cosine", "1-sqrt", "exponential", "power", "1-power", "(1 - x)**3"]
        )
    if kind == list[Section]:
        return st.lists(simple_specs(), min_size=1, max_size=3)
    origin = typing.get_origin(kind)
    if origin is Literal:
        return st.sampled_from(typing.get_args(kind))
    if origin in (typing.Union, types.UnionType):
        return values(name, typing.get_args(kind)[0])
    return KINDS.get(kind)


def made(data: st.DataObject, name: str, **more: Any) -> tuple[Callable[[], Schedule], int]:
    """(a maker of one schedule with drawn arguments, its steps); what makes no sense is redrawn."""
    steps = data.draw(st.integers(40, 200), "steps")
    lr = data.draw(st.sampled_from([3e-5, 0.1, 1.0, 7.0]), "lr")
    spec = {"name": name, **data.draw(arguments(CATALOGUE[name]), "arguments"), **more}
    if "timescale" in CATALOGUE[name].parameters and "warmup" not in spec:
        spec.setdefault("warmup", 4)

    def make() -> Schedule:
        return schedule(spec, lr=lr, steps=steps)

    try:
        make()
    except ConfigError:
        assume(False)
    return make, steps


properties = settings(
    max_examples=10,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow],
)
every_name = pytest.mark.parametrize("name", OWN)


@every_name
@properties
@given(data=st.data())
def test_within_the_horizon_it_is_finite_not_negative_and_the_same_by_steps_and_by_array(
    name: str, data: st.DataObject
) -> None:
    make, steps = made(data, name)
    lr = make()
    curve = lr(np.arange(steps))
    assert curve.shape == (steps,) and curve.dtype == np.float64
    assert np.isfinite(curve).all()
    assert (curve >= 0).all()
    scalars = [lr(step) for step in range(steps)]
    assert all(type(value) is float for value in scalars)
    assert np.array_equal(curve, scalars)


@every_name
@properties
@given(data=st.data())
def test_past_its_end_it_holds_its_last_value(name: str, data: st.DataObject) -> None:
    make, steps = made(data, name)
    lr = make()
    assert lr(steps + 1) == lr(steps) == lr(10 * steps)


ELSEWHERE = {
    "constant": "begins at factor · base",
    "cyclic": "begins at low",
    "slanted-triangular": "begins at top/ratio",
    "tri-stage": "has a warmup of its own",
    "greedy": "has a warmup of its own",
    "transformer": "has a warmup of its own, and peaks at its last step",
    "cosine-restarts": "cycle_warmup begins at final",
    "tanh": "begins a little below",
    "chebyshev": "begins a little below",
    "warmup": "is one",
}
"""Schedules whose first step is not at the LR that they start from, and why."""


@pytest.mark.parametrize("name", [name for name in OWN if name not in ELSEWHERE])
@properties
@given(data=st.data(), length=st.integers(1, 15))
def test_the_first_step_after_a_warmup_is_at_the_peak(
    name: str, data: st.DataObject, length: int
) -> None:
    make, _ = made(data, name, warmup=length)
    lr = make()
    assert lr(length) == pytest.approx(lr.base, rel=1e-12, abs=0)
    assert lr(length - 1) == pytest.approx(lr.base * length / (length + 1), rel=1e-12, abs=0)


UNREACHED = {
    "tanh": "ends a little above",
    "chebyshev": "ends a little above",
    "hyperbolic": "ends above",
    "exp-hyperbolic": "ends above",
    "cosine-restarts": "the part's end cuts the last cycle",
}
"""Schedules that do not promise to get to their `final`, and why."""
REACHED = [n for n in OWN if "final" in CATALOGUE[n].parameters and n not in UNREACHED]


@pytest.mark.parametrize("name", REACHED)
@properties
@given(data=st.data(), final=percents)
def test_the_final_value_is_reached_just_past_the_end_or_by_the_last_step(
    name: str, data: st.DataObject, final: str
) -> None:
    more = {"final": final}
    if name == "exponential":  # final, factor and alpha exclude each other
        more |= {"factor": None, "alpha": None}
    inclusive = "end" in CATALOGUE[name].parameters and data.draw(st.booleans(), "inclusive")
    if inclusive:
        more["end"] = "inclusive"
    make, steps = made(data, name, **more)
    lr = make()
    assert lr(steps) == pytest.approx(float(final[:-1]) / 100 * lr.base, rel=1e-9, abs=0)
    if inclusive:
        assert lr(steps - 1) == lr(steps)


@every_name
@properties
@given(data=st.data())
def test_going_on_from_a_saved_state_equals_never_having_stopped(
    name: str, data: st.DataObject
) -> None:
    make, steps = made(data, name)
    evaluations = sorted(data.draw(st.sets(st.integers(1, steps), max_size=12), "evaluations"))
    losses = [data.draw(st.sampled_from([0.5, 1.0, 2.0]), "loss") for _ in evaluations]
    stop = data.draw(st.integers(0, len(evaluations)), "stop")
    whole, first = make(), make()
    for k, (step, loss) in enumerate(zip(evaluations, losses, strict=True)):
        whole.observe(step, {"val_loss": loss})
        if k < stop:
            first.observe(step, {"val_loss": loss})
    second = make()
    second.restore(json.loads(json.dumps(first.state(), allow_nan=False)))
    for step, loss in list(zip(evaluations, losses, strict=True))[stop:]:
        second.observe(step, {"val_loss": loss})
    everywhere = np.arange(steps + 5)
    assert np.array_equal(whole(everywhere), second(everywhere))
    assert whole.state() == second.state()


@every_name
@properties
@given(data=st.data())
def test_an_observation_leaves_earlier_steps_alone(name: str, data: st.DataObject) -> None:
    make, steps = made(data, name)
    lr = make()
    for step in range(5, steps + 1, 5):
        before = lr(np.arange(steps + 5))
        changed = lr.observe(step, {"val_loss": 1.0})
        after = lr(np.arange(steps + 5))
        assert np.array_equal(before[:step], after[:step])
        assert changed or np.array_equal(before, after)


@properties
@given(data=st.data(), parts=st.lists(simple_specs(), min_size=3, max_size=5))
def test_composition_associates(data: st.DataObject, parts: list[dict[str, Any]]) -> None:
    for part in parts[:-1]:
        part["for"] = data.draw(st.integers(1, 20), "for")
    cut = data.draw(st.integers(1, len(parts) - 1), "cut")
    inner = [{key: part[key] for key in part} for part in parts]
    front = {"name": "sequence", "of": inner[:cut], "for": sum(p["for"] for p in inner[:cut])}
    back = {"name": "sequence", "of": inner[cut:]}
    made = [
        schedule(spec, lr=0.3, steps=120)
        for spec in (inner, [front, *inner[cut:]], [*inner[:cut], back], [front, back])
    ]
    losses = data.draw(st.lists(st.sampled_from([0.5, 1.0]), min_size=24, max_size=24), "losses")
    for k, loss in enumerate(losses):
        changes = {lr.observe(5 * (k + 1), {"val_loss": loss}) for lr in made}
        assert len(changes) == 1
    curves = [lr(np.arange(125)) for lr in made]
    assert all(np.array_equal(curves[0], curve) for curve in curves[1:])
