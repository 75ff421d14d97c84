"""Published recipes by name: the transformer, its first heirs, and the power scheduler.

By name alone every length is the paper's share of its own run; `exact: true` takes the paper's
tokens and steps. The peak is the param group's base LR; each recipe says the published one. Where
a paper counts a warmup in steps and the rest in tokens, its first batch size makes one of the two.
"""

from __future__ import annotations

from functools import partial

from lrrun.schedules.base import BadArgument, Curve, Part, Span
from lrrun.schedules.catalogue import register
from lrrun.schedules.decays import inverse_sqrt, power_law
from lrrun.schedules.falls import positive
from lrrun.schedules.phases import TENTH, Phase, Recipe, in_steps
from lrrun.schedules.shapes import constant, cosine, linear
from lrrun.schedules.warmup import warmup as rise
from lrrun.units import Height, Length


@register("transformer")
def transformer(
    span: Span,
    *,
    warmup: Length | None = None,
    d_model: int | None = None,
    exact: bool = False,
) -> Curve:
    """Attention is all you need: up for W steps, then the inverse square root. Noam.

    lr = base · min(n/W, √(W/n)), n = s + 1. W = `warmup` is 4% of the run, 4000 of the base model's
    100k steps, and 4000 steps where `exact`. With `d_model` it is the paper's absolute
    lr = base · d_model^-½ · min(n^-½, n · W^-1.5) with a base LR of 1, which peaks at 7.0e-4 for
    d_model = 512 and W = 4000.

    Source: Vaswani et al., 2017, section 5.3, https://arxiv.org/abs/1706.03762.
    """
    if d_model is not None and d_model < 1:
        raise BadArgument("d_model", f"expected at least 1, got {d_model}")
    if warmup is not None and exact:
        raise BadArgument("exact", "means 4000 steps of warmup; give warmup or exact, not both")
    if exact:
        warmup = Length(4000, "steps")
    w = max(1, round(0.04 * span.steps)) if warmup is None else span.resolve("warmup", warmup, 1)
    if w > span.steps:
        raise BadArgument("warmup", f"expected at most the part's {span.steps} steps, got {w}")
    top = span.base if d_model is None else span.base * float(d_model * w) ** -0.5
    up = partial(rise, peak=Height(top))
    fall = partial(inverse_sqrt, timescale=Length(w, "steps"))
    parts = [Part("warmup", up, 0, w - 1)] if w > 1 else []
    parts.append(Part("inverse-sqrt", fall, w - 1, span.steps - w + 1, Height(top)))
    return in_steps(parts, span)


BERT = Recipe(
    "1M steps", 1, (Phase(rise, until="10_000 steps"), Phase(linear, until="1_000_000 steps"))
)


@register("bert")
def bert(span: Span, *, exact: bool = False) -> Curve:
    """BERT: up over 1% of the run, then a straight line to 0.

    10,000 of 1,000,000 steps of warmup, then linear decay. Peak 1e-4.

    Source: Devlin et al., 2018, appendix A.2, https://arxiv.org/abs/1810.04805.
    """
    return BERT.curve(span, exact)


T5 = Recipe("524288 steps", 1, (Phase(constant, until="10_000 steps"), Phase(inverse_sqrt)))


@register("t5")
def t5(span: Span, *, exact: bool = False) -> Curve:
    """T5: constant for 1.9% of the run, then the inverse square root, without a horizon.

    lr = 1/√max(n, k) with k = 10^4 steps of 2^19 of pre-training, so that the peak is 1e-2, the
    base LR to give.

    Source: Raffel et al., 2019, section 3.1.2, https://arxiv.org/abs/1910.10683.
    """
    return T5.curve(span, exact)


GPT_3 = Recipe(
    "300B tokens",
    3.2e6,
    (
        Phase(rise, until="375M tokens"),
        Phase(partial(cosine, final=TENTH), until="260B tokens"),
        Phase(constant),
    ),
    ramp=(("0 tokens", 32_000), ("12B tokens", 3_200_000)),
)


@register("gpt-3")
def gpt_3(span: Span, *, exact: bool = False) -> Curve:
    """GPT-3: a short warmup, a cosine to 10% by 87% of the run, and on at 10%.

    Warmup over 375M tokens, cosine to 10% of the peak at 260B tokens, 10% up to 300B. Peak 0.6e-4
    for 175B parameters, whose batch grew from 32k to 3.2M tokens over the first 12B tokens.

    Source: Brown et al., 2020, appendix B, https://arxiv.org/abs/2005.14165.
    """
    return GPT_3.curve(span, exact)


CHINCHILLA = Recipe(
    "1.4T tokens",
    1.5e6,
    (Phase(rise, until="1500 steps"), Phase(partial(cosine, final=TENTH), until="1.4T tokens")),
    ramp=(("0 tokens", 1_500_000), ("700B tokens", 3_000_000)),
)


@register("chinchilla")
def chinchilla(span: Span, *, exact: bool = False) -> Curve:
    """Chinchilla: a cosine to a tenth, exactly as long as the run.

    Over 1.4T tokens, after the 1500 steps of warmup that it has from Gopher (of 1.5M tokens: 0.16%
    of the run). A cosine that is planned more than 25% longer than the run costs loss. Peak 1e-4
    for 70B parameters; the batch was doubled midway.

    Source: Hoffmann et al., 2022, section 4.1 and appendix B, https://arxiv.org/abs/2203.15556;
    warmup: Rae et al., Gopher, 2021, https://arxiv.org/abs/2112.11446.
    """
    return CHINCHILLA.curve(span, exact)


@register("power")
def power(span: Span, *, exponent: float = 0.51, exact: bool = False) -> Curve:
    """The power scheduler: min(peak, a power law of the tokens seen), without a horizon.

    lr = min(base, β · a · n^-exponent) of n tokens, with a = 4.6 and β sequences a step: constant
    up to the n where the two meet, then base · (meeting point / n)^exponent. By name alone they
    meet at 2.7% of the run, as they would for a peak of 2e-2 and 1024 sequences a step in 1.25T
    tokens, figures assumed here; `exact` takes the base LR, the batch and the tokens of the run at
    hand. The paper adds a warmup in front (`warmup:`) and an exponential cooldown behind
    (`cooldown: {for: 20%, shape: exponential}`).

    Source: Shen et al., Power Scheduler, 2024, https://arxiv.org/abs/2408.13359.
    """
    positive("exponent", exponent)
    meeting = _power_meets(span, exponent) if exact else 0.02732 * span.steps
    steps = min(max(1, round(meeting)), span.steps)
    parts = [Part("constant", constant, 0, steps)]
    if steps < span.steps:
        fall = partial(power_law, exponent=exponent)  # its timescale: the steps before it
        parts.append(Part("power-law", fall, steps, span.steps - steps))
    return in_steps(parts, span)


def _power_meets(span: Span, exponent: float) -> float:
    """The step at which β · a · n^-exponent comes down to the base LR; the run's end for none."""
    units = span.units
    if not units.samples_per_epoch or not units.steps_per_epoch:
        raise BadArgument("exact", "the sequences in a step are not known here; leave it out")
    if span.base == 0:
        return float(span.steps)
    sequences = units.samples_per_epoch / units.steps_per_epoch
    tokens = (sequences * 4.6 / span.base) ** (1.0 / exponent)
    try:
        return units.exact_steps(Length(tokens, "tokens"), span.begin)
    except ValueError as error:
        raise BadArgument("exact", str(error)) from None
