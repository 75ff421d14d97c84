"""What a scheduler section asks for by name: constancy, waves, feedback, a horizon of its own.

Lint judges the computed LRs; this says which of their properties were asked for, and which argument
of which part is to be changed for another curve.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from lrrun.schedules.catalogue import Section
from lrrun.schedules.placement import PartSpec

CONSTANT = frozenset(
    {
        "constant",
        "torch.ConstantLR",
        "mmengine.ConstantLR",
        "transformers.constant",
        "transformers.constant_with_warmup",
        "transformers.get_constant_schedule",
        "transformers.get_constant_schedule_with_warmup",
        "optax.constant_schedule",
        "optax.warmup_constant_schedule",
        "pytorch_scheduler.IdentityScheduler",
    }
)
WARMUPS = frozenset({"warmup", "torch.LinearLR", "mmengine.LinearLR"})
ENDLESS_WAVES = frozenset({"cyclic", "torch.CyclicLR"})
AVERAGING = frozenset({"swa", "torch.SWALR"})
"""They end on the constant LR at which weights are averaged, however high that is."""
RESTARTS = frozenset(
    {
        "cosine-restarts",
        "wsd-s",
        "torch.CosineAnnealingWarmRestarts",
        "keras.CosineDecayRestarts",
        "transformers.cosine_with_restarts",
        "transformers.get_cosine_with_hard_restarts_schedule_with_warmup",
        "optax.sgdr_schedule",
        "mmengine.CosineRestartLR",
        "pytorch_scheduler.CosineAnnealingWarmupRestarts",
    }
)
WRITTEN_OUT = frozenset(
    {
        "multistep",
        "keras.PiecewiseConstantDecay",
        "optax.piecewise_constant_schedule",
        "optax.piecewise_interpolate_schedule",
    }
)
"""Every level of theirs stands in the config, the higher ones too."""

_HORIZONS = (
    "T_max",
    "total_iters",
    "total_steps",
    "num_training_steps",
    "t_initial",
    "decay_steps",
    "transition_steps",
)
_RATES = frozenset(
    {
        "keras.ExponentialDecay",
        "keras.InverseTimeDecay",
        "optax.exponential_decay",
        "optax.warmup_exponential_decay_schedule",
    }
)
"""Their decay_steps or transition_steps say how fast, not how long."""
_STUCK = {
    "torch.LinearLR": "total_iters",
    "torch.ConstantLR": "total_iters",
    "optax.linear_schedule": "transition_steps",
    "optax.polynomial_schedule": "transition_steps",
    "optax.warmup_constant_schedule": "warmup_steps",
}
"""Schedules that a length of 0 leaves at their start for ever, where a reader expects the end."""


def inside(spec: PartSpec) -> Iterator[PartSpec]:
    """The part itself, and all the parts that stand in its arguments."""
    yield spec
    for value in spec.arguments.values():
        sections = [value] if isinstance(value, Section) else value
        if isinstance(sections, list):
            for section in sections:
                if isinstance(section, Section):
                    for part in section:
                        yield from inside(part)


def argument(spec: PartSpec, name: str) -> Any:
    """An argument of a part as written, else its default; None where it has no such parameter."""
    kwargs = spec.arguments.get("scheduler_specific_kwargs")
    if isinstance(kwargs, dict) and name in kwargs:
        return kwargs[name]
    if name not in spec.entry.parameters:
        return None
    parameter = spec.entry.parameters[name]
    return spec.arguments.get(name, None if parameter.required else parameter.default)


def constancy(parts: Iterable[PartSpec]) -> bool:
    """Is one LR, after a warmup or not, what the section asks for?"""
    leaves = [leaf for part in parts for leaf in inside(part) if _is_leaf(leaf)]
    names = {argument(leaf, "sched") or leaf.entry.name for leaf in leaves}
    return bool(names & CONSTANT) and names <= CONSTANT | WARMUPS


def rises(spec: PartSpec) -> bool:
    """Does the part, or one in it, say that its LR rises again after a fall?"""
    return any(_waves(part) for part in inside(spec))


def any_end(spec: PartSpec) -> bool:
    """May the part end at any height: waves without an end, averaging, feedback?"""
    names = {part.entry.name for part in inside(spec)}
    return not names.isdisjoint(ENDLESS_WAVES | AVERAGING) or patience(spec) is not None


def patience(spec: PartSpec) -> tuple[PartSpec, str, int] | None:
    """The part in `spec` that listens to a metric, its parameter and how many looks it waits."""
    for part in inside(spec):
        for name in ("patience", "patience_t"):
            if isinstance(value := argument(part, name), int):
                return part, name, value
        if argument(part, "sched") == "plateau":
            return part, "patience_epochs", argument(part, "patience_epochs")
    return None


def horizon(spec: PartSpec) -> tuple[PartSpec, str] | None:
    """Where another library's schedule is told how long it takes: a part and its parameter.

    Of a composition, it is the last schedule in it that gets to the end.
    """
    *_, last = inside(spec)
    if last.entry.clock is None or last.entry.name in _RATES | CONSTANT:
        return None
    named = (name for name in _HORIZONS if argument(last, name) is not None)
    return next(((last, name) for name in named), None)


def stuck(spec: PartSpec) -> tuple[PartSpec, str] | None:
    """The part in `spec` that a length of 0 keeps at its start, and that length's parameter."""
    for part in inside(spec):
        name = _STUCK.get(part.entry.name)
        if name is not None and argument(part, name) == 0:
            return part, name
    return None


def _is_leaf(spec: PartSpec) -> bool:
    return len(list(inside(spec))) == 1


def _waves(spec: PartSpec) -> bool:
    cycles, limit = argument(spec, "num_cycles"), argument(spec, "cycle_limit")
    return (
        spec.entry.name in RESTARTS | ENDLESS_WAVES | AVERAGING | WRITTEN_OUT
        or (isinstance(cycles, (int, float)) and cycles > 0.5)
        or (isinstance(limit, int) and limit != 1)
        or argument(spec, "cycle") is True
        or argument(spec, "noise_range_t") is not None
        or argument(spec, "noise") is not None
    )
