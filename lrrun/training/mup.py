"""Width-based multipliers of the LR (muP): the model beside itself at the base widths.

Table 3 of Yang, Hu et al., Tensor Programs V, 2022, https://arxiv.org/abs/2203.03466: under Adam
the LR of hidden and output weights falls as 1 / fan_in, that of input weights, biases and norms
stays.
"""

from __future__ import annotations

import math
from pathlib import Path

from torch import nn

from lrrun.config.base import DataFacts
from lrrun.config.models import Model
from lrrun.config.optimizers import OptimizerSpec
from lrrun.config.optimizers.mup import BASE
from lrrun.errors import ConfigError, Problem
from lrrun.training.models import build_shapes

INPUTS = (nn.Embedding, nn.EmbeddingBag)
"""Modules whose weight is looked up: one row an input, whatever the width."""

NORMS = (nn.LayerNorm, nn.RMSNorm)
"""The norms whose parameters need not be vectors; those of all others are."""

TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
"""Convolutions whose weight has its inputs first."""

WEIGHTED_SUMS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, *TRANSPOSED)
"""Modules whose weight is an input, a hidden or an output weight, as its widths say."""

Held = tuple[nn.Module, nn.Parameter]
"""A parameter and the module that holds it."""


def base_model(
    spec: OptimizerSpec, model: Model, facts: DataFacts, folder: Path
) -> nn.Module | None:
    """The model at the base widths that `spec` gives: shapes alone. None where it gives none.

    Raises ConfigError where it cannot be made.
    """
    if spec.mup is None:
        return None
    section = spec.mup.base_section(model)
    try:
        return build_shapes(section, facts, folder)
    except ConfigError as error:
        problems = [Problem(BASE, f"the base model: {each.message}") for each in error.problems]
        raise ConfigError(problems) from error


def lr_multipliers(model: nn.Module, base: nn.Module) -> dict[str, float]:
    """Parameter name → what its LR is multiplied by: base_fan_in / fan_in, or 1 for inputs.

    A linear layer of shape (out, in) has the fan-in `in`, a convolution in · kernel area, so that
    one whose input does not widen keeps its LR. Embeddings, norms and vectors keep theirs; so does
    an embedding whose weight is an output's too (tied; it counts where it stands first). Any other
    parameter is a hidden weight, with the product of all dims but the first as its fan-in, if more
    than one of its dims changes; otherwise an input.

    Raises ConfigError where `base` has other parameters: it is to differ in widths alone.
    """
    wide, narrow = _parameters(model), _parameters(base)
    differing = [
        *(name for name in wide if name not in narrow),
        *(name for name in narrow if name not in wide),
        *(name for name in wide if name in narrow and _dims(wide[name]) != _dims(narrow[name])),
    ]
    if differing:
        text = f"the base is to differ in widths alone, and it has other parameters: {differing[0]}"
        raise ConfigError([Problem(BASE, text)])
    return {name: _multiplier(wide[name], narrow[name]) for name in wide}


def _parameters(model: nn.Module) -> dict[str, Held]:
    """What each name holds; a tied parameter once, under its first name."""
    modules = dict(model.named_modules())
    return {
        name: (modules[name.rpartition(".")[0]], parameter)
        for name, parameter in model.named_parameters()
    }


def _dims(held: Held) -> int:
    return held[1].ndim


def _multiplier(wide: Held, narrow: Held) -> float:
    module, parameter = wide
    if parameter.ndim < 2 or isinstance(module, (*INPUTS, *NORMS)):
        return 1.0
    changed = sum(one != other for one, other in zip(parameter.shape, narrow[1].shape, strict=True))
    if changed > 1 or isinstance(module, WEIGHTED_SUMS):
        return _fan_in(narrow) / _fan_in(wide)
    return 1.0


def _fan_in(held: Held) -> int:
    """Numbers that one output of a weight sums over: (out, in, …), transposed (in, out, …)."""
    module, parameter = held
    if isinstance(module, TRANSPOSED):
        return parameter.shape[0] // module.groups * math.prod(parameter.shape[2:])
    return math.prod(parameter.shape[1:])
