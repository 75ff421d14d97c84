"""Published recipes by name: the schedules of open-weight language models.

Lengths, peaks and `exact` are as in recipes.py.
"""

from __future__ import annotations

from functools import partial

from lrrun.schedules.base import Curve, Span
from lrrun.schedules.catalogue import register
from lrrun.schedules.decays import exponential
from lrrun.schedules.phases import TENTH, Phase, Recipe
from lrrun.schedules.shapes import constant, cosine, linear
from lrrun.schedules.warmup import warmup as rise
from lrrun.units import Fraction, Height


def _level(share: float) -> partial[Curve]:
    """That share of the base LR throughout."""
    return partial(constant, factor=Fraction(share))


LLAMA_1, LLAMA_2 = (
    Recipe(
        total,
        4e6,
        (Phase(rise, until="2000 steps"), Phase(partial(cosine, final=TENTH), until=total)),
    )
    for total in ("1.4T tokens", "2T tokens")
)


@register("llama-1")
def llama_1(span: Span, *, exact: bool = False) -> Curve:
    """LLaMA: a warmup of 0.57% of the run, then a cosine to 10%.

    2000 steps of 4M tokens, then a cosine up to 1.4T tokens. Peak 1.5e-4 for 33B and 65B
    parameters, 3e-4 for the smaller.

    Source: Touvron et al., 2023, section 2.3, https://arxiv.org/abs/2302.13971.
    """
    return LLAMA_1.curve(span, exact)


@register("llama-2")
def llama_2(span: Span, *, exact: bool = False) -> Curve:
    """Llama 2: a warmup of 0.4% of the run, then a cosine to 10%.

    2000 steps of 4M tokens, then a cosine up to 2T tokens. Peak 1.5e-4 for 34B and 70B parameters,
    3e-4 for the smaller.

    Source: Touvron et al., 2023, section 2.2, https://arxiv.org/abs/2307.09288.
    """
    return LLAMA_2.curve(span, exact)


LLAMA_3 = Recipe(
    "1_208_002 steps",
    16_777_216,
    (
        Phase(rise, until="8000 steps"),
        Phase(partial(cosine, final=Height(0.01, relative=True)), lasts="1_200_000 steps"),
        Phase(linear, lasts="40M tokens"),
    ),
    ramp=(("0 tokens", 4_194_304), ("252M tokens", 8_388_608), ("2.87T tokens", 16_777_216)),
)


@register("llama-3")
def llama_3(span: Span, *, exact: bool = False) -> Curve:
    """Llama 3: a warmup of 0.66% of the run, a cosine to 1%, and a last moment of line to 0.

    8000 steps of warmup, a cosine over the 1,200,000 steps after it from 8e-5 to 8e-7, and a line
    to 0 over the final 40M tokens, which a scaled run is too short to show. Peak 8e-5 for 405B
    parameters; the batch went from 4M to 8M tokens at 252M and to 16M at 2.87T.

    Source: Grattafiori et al., 2024, section 3.4, https://arxiv.org/abs/2407.21783.
    """
    return LLAMA_3.curve(span, exact)


DEEPSEEK_LLM = Recipe(
    "2T tokens",
    4608 * 4096,
    (
        Phase(rise, until="2000 steps"),
        Phase(constant, until="1.6T tokens"),
        Phase(_level(0.316), until="1.8T tokens"),
        Phase(_level(0.1)),
    ),
)


@register("deepseek-llm")
def deepseek_llm(span: Span, *, exact: bool = False) -> Curve:
    """DeepSeek LLM: constant, then 31.6% of the peak from 80% of the run on and 10% from 90% on.

    2000 steps of warmup (1.9% of 2T tokens, at 4608 sequences of 4096), drops at 1.6T and 1.8T
    tokens. Peak 3.2e-4 for 67B parameters, 4.2e-4 for 7B.

    Source: DeepSeek-AI, 2024, section 2.3, https://arxiv.org/abs/2401.02954.
    """
    return DEEPSEEK_LLM.curve(span, exact)


DEEPSEEK_V2 = Recipe(
    "8.1T tokens",
    2304 * 4096,
    (
        Phase(rise, until="2000 steps"),
        Phase(constant, until="4.86T tokens"),
        Phase(_level(0.316), until="7.29T tokens"),
        Phase(_level(0.316**2)),
    ),
    ramp=(("0 tokens", 2304 * 4096), ("225B tokens", 9216 * 4096)),
)


@register("deepseek-v2")
def deepseek_v2(span: Span, *, exact: bool = False) -> Curve:
    """DeepSeek-V2: constant, times 0.316 at 60% of the run and once more at 90%.

    2000 steps of warmup (0.23% of 8.1T tokens, at the first 2304 sequences of 4096). Peak 2.4e-4;
    the batch grew to 9216 sequences over the first 225B tokens.

    Source: DeepSeek-AI, 2024, section 3.1.2, https://arxiv.org/abs/2405.04434.
    """
    return DEEPSEEK_V2.curve(span, exact)


DEEPSEEK_V3 = Recipe(
    "14.8T tokens",
    3072 * 4096,
    (
        Phase(rise, until="2000 steps"),
        Phase(constant, until="10T tokens"),
        Phase(partial(cosine, final=TENTH), lasts="4.3T tokens"),
        Phase(_level(0.1), lasts="333B tokens"),
        Phase(_level(7.3e-6 / 2.2e-4)),
    ),
    ramp=(("0 tokens", 3072 * 4096), ("469B tokens", 15360 * 4096)),
)


@register("deepseek-v3")
def deepseek_v3(span: Span, *, exact: bool = False) -> Curve:
    """DeepSeek-V3: constant for two thirds, a cosine to 10%, and two low levels at the end.

    2000 steps of warmup (0.17% of 14.8T tokens, at the first 3072 sequences of 4096), constant up
    to 10T tokens, a cosine from 2.2e-4 to 2.2e-5 over 4.3T, 2.2e-5 for 333B, 7.3e-6 for the last
    167B. Peak 2.2e-4; the batch grew to 15360 sequences over the first 469B tokens.

    Source: DeepSeek-AI, 2024, section 4.2, https://arxiv.org/abs/2412.19437.
    """
    return DEEPSEEK_V3.curve(span, exact)


MINICPM = Recipe(
    "1.1T tokens",
    3.93e6,
    (
        Phase(rise, until="11B tokens"),
        Phase(constant, until="1T tokens"),
        Phase(partial(exponential, final=Height(2.0**-5, relative=True)), until="1.1T tokens"),
    ),
)


@register("minicpm")
def minicpm(span: Span, *, exact: bool = False) -> Curve:
    """MiniCPM: warmup, stable, and an exponential decay over the last 9% of the run.

    Stable up to 1T tokens; then the LR halves every 5000 steps, which are 20B tokens. That decay
    goes on for 100B here, as a tenth of the tokens is what it takes (section 4), and ends at 1/32.
    The paper gives its warmup no length: 1% is ours. Peak 1e-2, under its muP.

    Source: Hu et al., 2024, sections 4 and 6, https://arxiv.org/abs/2404.06395.
    """
    return MINICPM.curve(span, exact)


OLMO_2 = Recipe(
    "4.05T tokens",
    1024 * 4096,
    (
        Phase(rise, until="8_388_608_000 tokens"),
        Phase(partial(cosine, final=TENTH), until="4T tokens", planned="5T tokens"),
        Phase(linear, lasts="50B tokens"),
    ),
)


@register("olmo-2")
def olmo_2(span: Span, *, exact: bool = False) -> Curve:
    """OLMo 2 7B: a cosine to 10% that is cut at four fifths, then a line to 0.

    2000 steps (8.39B tokens) of warmup, a cosine written for 5T tokens and cut at 4T, and a line
    to 0 over 50B. Peak 3e-4. The released run was cut a little before 4T, at 6.15e-5.

    Source: OLMo Team, 2025, table 3, https://arxiv.org/abs/2501.00656.
    """
    return OLMO_2.curve(span, exact)


KIMI_K2 = Recipe(
    "15.96T tokens",
    16384 * 4096,
    (
        Phase(rise, until="500 steps"),
        Phase(constant, until="10T tokens"),
        Phase(partial(cosine, final=TENTH), lasts="5.5T tokens"),
        Phase(partial(linear, final=Height(0.035, relative=True)), lasts="460B tokens"),
    ),
)


@register("kimi-k2")
def kimi_k2(span: Span, *, exact: bool = False) -> Curve:
    """Kimi K2: constant for 63% of the run, a cosine to 10%, and an annealing to 3.5%.

    500 steps of warmup of 67M tokens, constant for the first 10T tokens, a cosine from 2e-4 to 2e-5
    over 5.5T, and from 2e-5 to 7e-6 over 400B and 60B of longer sequences, along a line (the paper
    does not name the shape). Peak 2e-4.

    Source: Kimi Team, 2025, section 2.5, https://arxiv.org/abs/2507.20534.
    """
    return KIMI_K2.curve(span, exact)
