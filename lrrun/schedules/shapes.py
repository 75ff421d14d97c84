"""The decays that know their length: from where the part starts to a final value, each once."""

from __future__ import annotations

import numpy as np

from lrrun.schedules.base import Array, BadArgument, Curve, Span
from lrrun.schedules.catalogue import register
from lrrun.schedules.falls import End, Fall, between, lowest, positive, share
from lrrun.schedules.falls import cosine as half_wave
from lrrun.units import Fraction, Height, Length


@register("constant")
def constant(span: Span, *, factor: Fraction | None = None) -> Curve:
    """One LR throughout.

    lr(s) = start, or factor · base where a factor is given.
    """
    if factor is not None and factor < 0:
        raise BadArgument("factor", f"expected a factor of at least 0, got {factor:g}")
    value = span.start if factor is None else factor * span.base
    return lambda s: np.full_like(s, value)


@register("cosine")
def cosine(span: Span, *, final: Height = Height(0.0), end: End = "exclusive") -> Curve:
    """Half a cosine wave from the start down to `final`.

    lr(s) = final + (start - final) · (1 + cos(π s/D)) / 2, with D the part's length in steps.

    Source: Loshchilov & Hutter, SGDR, 2017, https://arxiv.org/abs/1608.03983.
    """
    return _decay(span, final, half_wave, end)


@register("linear")
def linear(span: Span, *, final: Height = Height(0.0), end: End = "exclusive") -> Curve:
    """A straight line from the start to `final`.

    lr(s) = start + (final - start) · s/D, with D the part's length in steps.

    Source: Bergsma et al., Straight to Zero, 2025, https://arxiv.org/abs/2502.15938.
    """
    return _decay(span, final, lambda x: 1.0 - x, end)


@register("polynomial")
def polynomial(
    span: Span, *, power: float = 1.0, final: Height = Height(0.0), end: End = "exclusive"
) -> Curve:
    """A power of the share that is left, from the start to `final`.

    lr(s) = final + (start - final) · (1 - s/D)^power, with D the part's length in steps. The decay
    (1 - t/T)^(1/n) is power 1/n; a power of 1 is linear.

    Source: Liu, Rabinovich & Berg, ParseNet, 2015, https://arxiv.org/abs/1506.04579.
    """
    positive("power", power)
    return _decay(span, final, lambda x: (1.0 - x) ** power, end)


@register("k-decay")
def k_decay(
    span: Span, *, k: float = 2.0, final: Height = Height(0.0), end: End = "exclusive"
) -> Curve:
    """A cosine whose fall is put off: the higher k, the later.

    lr(s) = final + (start - final) · (1 + cos(π (s/D)^k)) / 2; k = 1 is cosine.

    Source: Zhang & Li, k-decay, 2020, https://arxiv.org/abs/2004.05909.
    """
    positive("k", k)
    return _decay(span, final, lambda x: half_wave(x**k), end)


@register("tanh")
def tanh(
    span: Span,
    *,
    lower: float = -7.0,
    upper: float = 3.0,
    final: Height = Height(0.0),
    end: End = "exclusive",
) -> Curve:
    """Hyperbolic tangent decay: flat, a steep fall, flat.

    lr(s) = final + (start - final) · (1 - tanh(lower · (1 - s/D) + upper · s/D)) / 2. It begins a
    little below the start and ends a little above `final`: by 0.25% of the way with upper = 3.

    Source: Hsueh, Li & Wu, 2019, https://arxiv.org/abs/1806.01593.
    """
    if not lower < upper:
        raise BadArgument("lower", f"expected less than upper = {upper:g}, got {lower:g}")
    return _decay(span, final, lambda x: 0.5 * (1.0 - np.tanh(lower * (1.0 - x) + upper * x)), end)


@register("flat-cosine")
def flat_cosine(
    span: Span,
    *,
    flat: Fraction = Fraction(0.75),
    final: Height = Height(0.0),
    end: End = "exclusive",
) -> Curve:
    """Constant for a share of the part, then half a cosine wave to `final`.

    lr(s) = start for s < F = round(flat · D), then a cosine over the D - F steps that are left.

    Source: fastai, Learner.fit_flat_cos.
    """
    if not 0 <= flat < 1:
        raise BadArgument("flat", f"expected a share of the part in [0, 1), got {flat:g}")
    held = min(round(flat * span.steps), span.steps - 1)
    low = lowest(span, final)

    def curve(s: Array) -> Array:
        x = share(np.maximum(s - held, 0.0), span.steps - held, end)
        return between(span.start, low, half_wave(x))

    return curve


@register("rex")
def rex(span: Span, *, final: Height = Height(0.0), end: End = "exclusive") -> Curve:
    """REX: between linear and a late fall.

    lr(s) = final + (start - final) · (1 - x) / (1 - x/2), x = s/D.

    Source: Chen, Wolfe & Kyrillidis, 2022, https://arxiv.org/abs/2107.04197.
    """
    return _decay(span, final, lambda x: (1.0 - x) / (1.0 - 0.5 * x), end)


@register("chebyshev")
def chebyshev(span: Span, *, final: Height = Height(0.0)) -> Curve:
    """The Chebyshev nodes in falling order: a cosine moved by half a step.

    lr(s) = final + (start - final) · (1 + cos(π (2s + 1) / 2D)) / 2. It begins a little below the
    start and its last step is a little above `final`, which no step has.

    Source: pytorch_scheduler, ChebyshevScheduler.
    """
    low, last = lowest(span, final), span.steps - 1
    return lambda s: between(
        span.start, low, half_wave((2.0 * np.minimum(s, last) + 1.0) / (2.0 * span.steps))
    )


@register("hyperbolic")
def hyperbolic(span: Span, *, bound: Length, final: Height = Height(0.0)) -> Curve:
    """HyperbolicLR: an early slope that hardly depends on how long the run is.

    lr(s) = start + (start - final) · (f(s) - f(0)), f(s) = √((D - s)/U · (2 - (D + s)/U)), with D
    the part's length and U = `bound` ≥ D the longest run that is thought of. It ends above `final`;
    U = D is a straight line to it.

    Source: Kim, 2024, https://arxiv.org/abs/2407.15200.
    """
    low, drop = lowest(span, final), _hyperbola(span, bound)
    return lambda s: between(span.start, low, 1.0 - drop(s))


@register("exp-hyperbolic")
def exp_hyperbolic(
    span: Span, *, bound: Length, final: Height = Height(0.01, relative=True)
) -> Curve:
    """ExpHyperbolicLR: hyperbolic in the logarithm of the LR.

    lr(s) = start · (final/start)^(f(0) - f(s)) with the f of hyperbolic; `final` is above 0.

    Source: Kim, 2024, https://arxiv.org/abs/2407.15200.
    """
    low, drop = lowest(span, final), _hyperbola(span, bound)
    return geometric(span.start, low, drop)


def geometric(start: float, final: float, progress: Fall) -> Curve:
    """start^(1-x) · final^x, x = progress(s); raises BadArgument unless both are above 0."""
    if start == 0 and final == 0:  # every percent of a base LR of 0
        return np.zeros_like
    if not final > 0:
        raise BadArgument(
            "final", f"expected above 0, got {final:g}: an exponential never gets to 0"
        )
    if not start > 0:
        text = f"the part begins at an LR of {start:g}, and an exponential cannot leave 0"
        raise BadArgument("start", text)

    def curve(s: Array) -> Array:
        x = progress(s)
        values: Array = start ** (1.0 - x) * final**x
        return values

    return curve


def _decay(span: Span, final: Height, fall: Fall, end: End) -> Curve:
    low = lowest(span, final)
    return lambda s: between(span.start, low, fall(share(s, span.steps, end)))


def _hyperbola(span: Span, bound: Length) -> Fall:
    """f(0) - f(s): from 0 to 1, or to less than 1 where the bound is above the part's length."""
    n = span.steps
    u = span.resolve("bound", bound)
    if u < n:
        raise BadArgument("bound", f"expected at least the part's {n} steps, got {bound} = {u}")

    def f(s: Array | float) -> Array:
        return np.sqrt((n - s) / u * (2.0 - (n + s) / u))

    return lambda s: f(0.0) - f(s)
