"""timm's create_scheduler_v2: the arguments of its training script, as one of its schedulers."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, Literal

import numpy as np

from lrrun.schedules.base import BadArgument, Curve, Span
from lrrun.schedules.catalogue import CATALOGUE, register

_WRITTEN_AS = {
    "t_initial": "num_epochs",
    "decay_t": "decay_epochs",
    "warmup_t": "warmup_epochs",
    "warmup_lr_init": "warmup_lr",
    "lr_min": "min_lr",
    "patience_t": "patience_epochs",
    "stable_timescale": "stable_timescale",
    "noise_range_t": "noise",
    "power": "decay_rate",
}
"""A scheduler's argument → what create_scheduler_v2 calls it."""


@register("timm.create_scheduler_v2", holds=False, clock="epoch")
def create_scheduler_v2(
    span: Span,
    *,
    sched: Literal[
        "cosine", "tanh", "step", "constant", "multistep", "plateau", "poly", "wsd", "rsqrt", "none"
    ] = "cosine",
    num_epochs: int = 300,
    decay_epochs: float | None = None,
    decay_milestones: list[int | float] = [90, 180, 270],  # noqa: B006  (timm's default; only read)
    cooldown_epochs: int = 0,
    patience_epochs: int = 10,
    decay_rate: float = 0.1,
    min_lr: float = 0.0,
    warmup_lr: float = 1e-5,
    warmup_epochs: int | float = 0,
    warmup_prefix: bool = False,
    noise: float | list[float] | None = None,
    noise_pct: float = 0.67,
    noise_std: float = 1.0,
    noise_seed: int = 42,
    cycle_mul: float = 1.0,
    cycle_decay: float = 0.1,
    cycle_limit: int = 1,
    k_decay: float = 1.0,
    decay_fn: str | None = None,
    stable_timescale: float | None = None,
    plateau_mode: Literal["min", "max"] = "max",
    step_on_epochs: bool = True,
    updates_per_epoch: int = 0,
) -> Curve:
    """The scheduler factory of timm: what its training script makes of its arguments.

    Times are in epochs; with step_on_epochs false they are multiplied by updates_per_epoch and the
    LR changes every update. `noise` is in shares of num_epochs; wsd and rsqrt fit into num_epochs
    with their warmup, and take a decay_epochs below 1 as a share; poly takes decay_rate as its
    power. cooldown_epochs lengthens timm's training and changes no LR.

    Source: timm/scheduler/scheduler_factory.py.
    """
    asked = SimpleNamespace(**{name: each for name, each in locals().items() if name != "span"})
    if not step_on_epochs and updates_per_epoch <= 0:
        text = f"expected the updates in an epoch, got {updates_per_epoch}: step_on_epochs is false"
        raise BadArgument("updates_per_epoch", text)
    if sched == "none":
        return lambda t: np.full_like(t, span.start)
    tick = 1 if step_on_epochs else updates_per_epoch
    try:
        name, own = _own(asked, tick)
        return CATALOGUE[f"timm.{name}"].build(span, **_shared(asked, tick, name), **own)
    except BadArgument as error:
        raise BadArgument(_WRITTEN_AS.get(error.name, error.name), str(error)) from None


def _shared(asked: SimpleNamespace, tick: int, name: str) -> dict[str, Any]:
    """The arguments that all of timm's schedulers take, `tick` steps of their clock an epoch."""
    total = asked.num_epochs * tick
    noisy = None
    if asked.noise is not None:
        shares = asked.noise if isinstance(asked.noise, list) else [asked.noise]
        edges = [share * total for share in shares]
        noisy = edges[0] if len(edges) == 1 else edges
    shared = {
        "warmup_t": asked.warmup_epochs * tick,
        "warmup_lr_init": asked.warmup_lr,
        "noise_range_t": noisy,
        "noise_pct": asked.noise_pct,
        "noise_std": asked.noise_std,
        "noise_seed": asked.noise_seed,
    }
    if name != "PlateauLRScheduler":
        shared["t_in_epochs"] = asked.step_on_epochs
    if name not in ("PlateauLRScheduler", "WSDLRScheduler"):
        shared["warmup_prefix"] = asked.warmup_prefix
    return shared


def _own(asked: SimpleNamespace, tick: int) -> tuple[str, dict[str, Any]]:
    """The scheduler that `sched` names, and the arguments that it takes besides the shared ones."""
    cycles = {
        "t_initial": asked.num_epochs * tick,
        "lr_min": asked.min_lr,
        "cycle_mul": asked.cycle_mul,
        "cycle_decay": asked.cycle_decay,
        "cycle_limit": asked.cycle_limit,
    }
    rate = asked.decay_rate
    if asked.sched == "cosine":
        return "CosineLRScheduler", {**cycles, "k_decay": asked.k_decay}
    if asked.sched == "tanh":
        return "TanhLRScheduler", cycles
    if asked.sched == "poly":
        return "PolyLRScheduler", {**cycles, "k_decay": asked.k_decay, "power": rate}
    if asked.sched == "step":
        every = 90 if asked.decay_epochs is None else asked.decay_epochs
        return "StepLRScheduler", {"decay_t": every * tick, "decay_rate": rate}
    if asked.sched == "constant":
        return "StepLRScheduler", {"decay_t": 1, "decay_rate": 1.0}
    if asked.sched == "multistep":
        milestones = [each * tick for each in asked.decay_milestones]
        return "MultiStepLRScheduler", {"decay_t": milestones, "decay_rate": rate}
    if asked.sched == "plateau":
        return "PlateauLRScheduler", _plateau(asked)
    return "WSDLRScheduler", _wsd(asked, tick)


def _plateau(asked: SimpleNamespace) -> dict[str, Any]:
    if not asked.step_on_epochs:
        raise BadArgument("step_on_epochs", "expected true: a plateau can only count epochs")
    return {
        "decay_rate": asked.decay_rate,
        "patience_t": asked.patience_epochs,
        "lr_min": asked.min_lr,
        "mode": asked.plateau_mode,
    }


def _wsd(asked: SimpleNamespace, tick: int) -> dict[str, Any]:
    """Warmup is always in front of this one: what is left of num_epochs is its length."""
    warmup = 0 if asked.warmup_prefix else asked.warmup_epochs * tick
    length = asked.num_epochs * tick - warmup
    decay_epochs = 0.2 if asked.decay_epochs is None else asked.decay_epochs
    decay = round(decay_epochs * (length if 0 < decay_epochs < 1 else tick))
    if not 0 < decay <= length:
        text = f"expected more than 0 and at most the {length:g} that the warmup leaves"
        raise BadArgument("decay_epochs", f"{text}, got {decay_epochs:g} = {decay}")
    scale = asked.stable_timescale
    return {
        "t_initial": length,
        "decay_t": decay,
        "lr_min": asked.min_lr,
        "stable_fn": "rsqrt" if asked.sched == "rsqrt" else "constant",
        "stable_timescale": None if scale is None else scale * tick,
        "decay_fn": asked.decay_fn or ("linear" if asked.sched == "rsqrt" else "1-sqrt"),
    }
