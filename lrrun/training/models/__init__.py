"""The built-in models, and somebody's own: declaration and data facts in, torch module out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from lrrun.config.base import DataFacts
from lrrun.config.models import Cnn, CustomModel, Gpt, Linear, Mlp, Model, ResNet
from lrrun.errors import ConfigError
from lrrun.training.models.cnn import cnn
from lrrun.training.models.custom import custom
from lrrun.training.models.gpt import gpt
from lrrun.training.models.mlp import linear, mlp
from lrrun.training.models.resnet import resnet

__all__ = ["build", "build_shapes"]


def build(spec: Model, facts: DataFacts, folder: Path) -> nn.Module:
    """The model that `spec` declares, for data with these facts, with fresh weights on the CPU.

    Weights are drawn from torch's global generator: seed it before. Relative import paths start at
    `folder`. Raises ConfigError where the model cannot take the data, or where somebody's own
    model cannot be made.
    """
    problems = spec.problems(facts)
    if problems:
        raise ConfigError(problems)
    match spec:
        case Linear():
            return linear(spec, facts)
        case Mlp():
            return mlp(spec, facts)
        case Cnn():
            return cnn(spec, facts)
        case ResNet():
            return resnet(spec, facts)
        case Gpt():
            return gpt(spec, facts)
        case CustomModel():
            return custom(spec, folder)
    raise TypeError(f"no builder for the declaration {type(spec).__name__}")


def build_shapes(spec: Model, facts: DataFacts, folder: Path) -> nn.Module:
    """The model that `build` would make, on the meta device: parameters have shapes, no values.

    No memory is taken, and nothing is drawn from torch's generators. Raises what `build` raises.
    """
    with torch.random.fork_rng(devices=[]), torch.device("meta"), _NoNormals():
        return build(spec, facts, folder)


class _NoNormals(TorchFunctionMode):
    """Draws no normal numbers into tensors on the meta device, which hold none.

    Torch would do it through its compiler, which takes as long to load as torch itself.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        given = kwargs or {}
        if func in (nn.init.normal_, torch.Tensor.normal_):
            drawn = args[0] if args else given["tensor"]
            if drawn.is_meta:
                return drawn
        return func(*args, **given)
