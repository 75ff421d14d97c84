"""Which layer a parameter belongs to, told from the names of the model's parameters."""

from __future__ import annotations

from itertools import groupby

from torch import nn


def layers_of(model: nn.Module) -> dict[str, int]:
    """Parameter name → the number of its layer, from 0, in the order of the model.

    A layer is a numbered module: the name up to its first number, as in `blocks.3`. What stands
    without a number before, between or after them is a layer too: embeddings and other stems come
    first, the head with the norm before it last. In a model without numbers a layer is what has
    the first part of its name in common. A model's order is that in which it names its modules.

    So `lr · d^(L - l)` is, for a transformer, the rule of Bao et al., BEiT, 2022,
    https://arxiv.org/abs/2106.08254, after Howard & Ruder, ULMFiT, 2018,
    https://arxiv.org/abs/1801.06146, whose d is 1/2.6.

    >>> layers_of(nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2, bias=False)))
    {'0.weight': 0, '0.bias': 0, '2.weight': 1}
    """
    keys = {name: _numbered(name) for name, _ in model.named_parameters()}
    if not any(keys.values()):
        keys = {name: name.partition(".")[0] for name in keys}
    runs = groupby(keys, key=keys.__getitem__)
    return {name: number for number, (_, run) in enumerate(runs) for name in run}


def _numbered(name: str) -> str:
    """The name up to its first number; empty where it has none."""
    parts = name.split(".")
    number = next((k for k, part in enumerate(parts) if part.isdigit()), None)
    return "" if number is None else ".".join(parts[: number + 1])
