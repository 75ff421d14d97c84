"""Width-based LR multipliers (muP): the base model that an optimizer's LR was chosen on."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, ValidationError

from lrrun.config.base import Section
from lrrun.config.messages import problems_of
from lrrun.config.models import Model
from lrrun.errors import ConfigError, Problem

BASE = ("optimizer", "mup", "base")
"""Where a config gives the base widths."""


class Mup(Section):
    """The LR of each weight follows its width, so that one found at the base widths carries over.

    The LR of hidden and output weights is times base_fan_in / fan_in, that of input weights,
    embeddings (also one that is tied to the output, as gpt's), biases and norms stays: the Adam
    column of Table 3 in Yang, Hu et al., Tensor Programs V, 2022,
    https://arxiv.org/abs/2203.03466. Initialization and forward pass stay the model's own.
    """

    base: Annotated[dict[str, Any], Field(min_length=1)]
    """Keys of the model section that set its widths, as they are in the base model."""

    def base_section(self, model: Model) -> Model:
        """The model section with the base's keys in place of its own.

        Raises ConfigError, at the base's key, where the model cannot have them.

        >>> from lrrun.config.models import Mlp
        >>> Mup(base={"hidden": [64]}).base_section(Mlp(hidden=(256,), dropout=0.1))
        Mlp(name='mlp', hidden=(64,), dropout=0.1)
        """
        if "name" in self.base:
            text = "the base is the same model, in other widths; leave its name out"
            raise ConfigError([Problem((*BASE, "name"), text)])
        kind = type(model)
        try:
            return kind.model_validate({**model.model_dump(), **self.base})
        except ValidationError as error:
            raise ConfigError(problems_of(error, kind, BASE)) from None
