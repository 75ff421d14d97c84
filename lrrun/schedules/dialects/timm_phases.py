"""timm's schedulers without cycles: StepLRScheduler, MultiStepLRScheduler and WSDLRScheduler."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np

from lrrun.registry import nearest
from lrrun.schedules.base import Array, BadArgument, Curve, Span
from lrrun.schedules.catalogue import register
from lrrun.schedules.dialects.timm_parts import Noise, Warmup, above, at_least, scheduled
from lrrun.schedules.expression import expression


@register("timm.StepLRScheduler", holds=False, clock="epoch")
def step_lr_scheduler(
    span: Span,
    *,
    decay_t: int | float,
    decay_rate: float = 1.0,
    warmup_t: int | float = 0,
    warmup_lr_init: float = 0.0,
    warmup_prefix: bool = True,
    t_in_epochs: bool = True,
    noise_range_t: list[int | float] | int | float | None = None,
    noise_pct: float = 0.67,
    noise_std: float = 1.0,
    noise_seed: int | None = 42,
) -> Curve:
    """The LR times `decay_rate` every `decay_t` epochs, which may be a fraction, with a warmup.

    lr(t) = base · decay_rate^⌊u / decay_t⌋, u = t - warmup_t, or t with warmup_prefix false.
    """
    if decay_t == 0:
        raise BadArgument("decay_t", "expected epochs between decays, got 0: timm divides by it")
    rate = np.float64(decay_rate)
    warmup = Warmup(warmup_t, warmup_lr_init, warmup_prefix)
    noise = Noise(noise_range_t, noise_pct, noise_std, noise_seed)
    return scheduled(
        span, lambda u: span.start * rate ** (u // decay_t), warmup, noise, t_in_epochs
    )


@register("timm.MultiStepLRScheduler", holds=False, clock="epoch")
def multi_step_lr_scheduler(
    span: Span,
    *,
    decay_t: list[int | float],
    decay_rate: float = 1.0,
    warmup_t: int | float = 0,
    warmup_lr_init: float = 0.0,
    warmup_prefix: bool = True,
    t_in_epochs: bool = True,
    noise_range_t: list[int | float] | int | float | None = None,
    noise_pct: float = 0.67,
    noise_std: float = 1.0,
    noise_seed: int | None = 42,
) -> Curve:
    """The LR times `decay_rate` at every milestone, with a warmup.

    lr(t) = base · decay_rate^(number of milestones at or below u + 1), u = t - warmup_t, or t with
    warmup_prefix false. Trap: milestone m acts at u = m - 1, one epoch sooner than torch's.
    """
    if decay_t != sorted(decay_t):
        text = f"expected milestones in rising order, which timm takes for granted, got {decay_t}"
        raise BadArgument("decay_t", text)
    milestones, rate = np.array(decay_t, dtype=np.float64), np.float64(decay_rate)

    def after(u: Array) -> Array:
        passed = np.searchsorted(milestones, u + 1, side="right")
        return np.asarray(span.start * rate ** passed.astype(np.float64))

    warmup = Warmup(warmup_t, warmup_lr_init, warmup_prefix)
    noise = Noise(noise_range_t, noise_pct, noise_std, noise_seed)
    return scheduled(span, after, warmup, noise, t_in_epochs)


@register("timm.WSDLRScheduler", holds=False, clock="epoch")
def wsd_lr_scheduler(
    span: Span,
    *,
    t_initial: int | float,
    decay_t: int | float,
    lr_min: float = 0.0,
    stable_fn: Literal["constant", "rsqrt", "power"] = "constant",
    stable_timescale: float | None = None,
    stable_power: float = 0.5,
    decay_fn: Any = "1-sqrt",
    decay_power: float = 0.5,
    decay_ratio: float = 0.1,
    warmup_t: int | float = 0,
    warmup_lr_init: float = 0.0,
    t_in_epochs: bool = True,
    noise_range_t: list[int | float] | int | float | None = None,
    noise_pct: float = 0.67,
    noise_std: float = 1.0,
    noise_seed: int | None = 42,
) -> Curve:
    """Warmup, a stable phase that may itself decay, and a decay over the last `decay_t` epochs.

    u = t - warmup_t: stable(u) = max(base · (1 + u / τ)^-p, lr_min), τ = stable_timescale (else
    warmup_t), p = 0 (constant), 1/2 (rsqrt) or stable_power (power); then lr_min + (stable -
    lr_min) · g(x), x the share of the decay that is done, g linear 1 - x, 1-sqrt 1 - √x,
    cosine, power 1 - x^decay_power, exp (r^x - r) / (1 - r) with r = decay_ratio, or an expression
    of `frac`. t_initial excludes the warmup.

    Source: Hägele et al., Scaling laws beyond fixed training durations, 2024,
    https://arxiv.org/abs/2405.18392; Zhai et al., Scaling vision transformers, 2021,
    https://arxiv.org/abs/2106.04560.
    """
    above("t_initial", t_initial)
    if not 0 < decay_t <= t_initial:
        text = f"expected more than 0 and at most t_initial = {t_initial:g}, got {decay_t:g}"
        raise BadArgument("decay_t", text)
    at_least("lr_min", lr_min, 0)
    if not 0 < decay_ratio < 1:
        raise BadArgument("decay_ratio", f"expected between 0 and 1, got {decay_ratio:g}")
    above("decay_power", decay_power)
    above("stable_power", stable_power)
    timescale = warmup_t if stable_timescale is None else stable_timescale
    if stable_fn != "constant" and timescale <= 0:
        text = f"stable_fn {stable_fn} needs more than 0 (by default warmup_t), got {timescale:g}"
        raise BadArgument("stable_timescale", text)
    power = {"constant": 0.0, "rsqrt": 0.5, "power": stable_power}[stable_fn]
    decay = _decay(decay_fn, decay_power, decay_ratio)

    def after(u: Array) -> Array:
        slow = (1.0 + u / timescale) ** -power if power else np.ones_like(u)
        stable = np.maximum(span.start * slow, lr_min)
        begun = u - (t_initial - decay_t)
        done = np.where(begun > 0, np.minimum(begun / decay_t, 1.0), 1.0)  # never an x of 0 or less
        return np.where(begun > 0, lr_min + (stable - lr_min) * decay(done), stable)

    warmup = Warmup(warmup_t, warmup_lr_init, prefix=True)
    noise = Noise(noise_range_t, noise_pct, noise_std, noise_seed)
    return scheduled(span, after, warmup, noise, t_in_epochs)


def _decay(written: Any, power: float, ratio: float) -> Callable[[Array], Array]:
    """g(x), the height of the decay at the share x of it; raises BadArgument."""
    shapes: dict[str, Callable[[Array], Array]] = {
        "linear": lambda x: 1.0 - x,
        "1-sqrt": lambda x: 1.0 - np.sqrt(x),
        "cosine": lambda x: 0.5 * (1.0 + np.cos(np.pi * x)),
        "power": lambda x: np.asarray(1.0 - x**power),
        "exp": lambda x: (ratio**x - ratio) / (1.0 - ratio),
    }
    if isinstance(written, str) and written in shapes:
        return shapes[written]
    known = f"expected {', '.join(shapes)} or an expression of frac, got {written!r}"
    if isinstance(written, str) and written.isidentifier():
        match = nearest(written, shapes)
        raise BadArgument("decay_fn", known + (f"; did you mean {match}?" if match else ""))
    try:
        f = expression(written, "frac")
    except ValueError as error:
        raise BadArgument("decay_fn", f"{known}: {error}") from None

    def shape(x: Array) -> Array:
        distinct, where = np.unique(x, return_inverse=True)
        return np.array([f(each) for each in distinct])[where].reshape(x.shape)

    return shape
