"""What a config may say of a model: one torch-free declaration each."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Field, ValidationInfo, field_validator

from lrrun.config.base import DataFacts, Section
from lrrun.errors import Problem
from lrrun.registry import IMPORT_PATH

Size = Annotated[int, Field(ge=1, le=1_000_000)]


def _not_empty(sizes: tuple[int, ...]) -> tuple[int, ...]:
    if not sizes:
        raise ValueError("expected at least one size, got none")
    return sizes


Sizes = Annotated[
    tuple[Size, ...],
    Field(strict=False, json_schema_extra={"minItems": 1}),
    AfterValidator(_not_empty),  # min_length would also count items that are wrong in themselves
]
"""One size a layer; YAML's lists are taken, their items are not coerced."""
Dropout = Annotated[float, Field(ge=0, lt=1)]

SMALLEST_IMAGE = 8
"""The least height and width, in pixels, that the convolutional models take."""


class Model(Section):
    """What all built-in models have: a name, and the datasets that they can learn from."""

    name: str

    @abstractmethod
    def problems(self, facts: DataFacts) -> list[Problem]:
        """Why this model cannot learn from a dataset with these facts; empty where it can."""

    def _refuses_tokens(self, facts: DataFacts) -> list[Problem]:
        if facts.task != "language":
            return []
        text = f"{self.name} does not read tokens, and this dataset is text; use gpt"
        return [Problem(("model", "name"), text)]

    def _needs_images(self, facts: DataFacts) -> list[Problem]:
        if facts.task == "language":
            return self._refuses_tokens(facts)
        if len(facts.inputs) != 3:
            text = (
                f"{self.name} needs images (channels, height, width), and this dataset's samples "
                f"have the shape {facts.inputs}; use linear or mlp"
            )
        elif min(facts.inputs[1:]) < SMALLEST_IMAGE:
            text = (
                f"{self.name} needs images of at least {SMALLEST_IMAGE}x{SMALLEST_IMAGE} pixels, "
                f"and this dataset's are {facts.inputs[1]}x{facts.inputs[2]}; use linear or mlp"
            )
        else:
            return []
        return [Problem(("model", "name"), text)]


class Linear(Model):
    """A linear model of the flattened sample: softmax or least-squares regression."""

    name: Literal["linear"] = "linear"

    def problems(self, facts: DataFacts) -> list[Problem]:
        """Takes samples of any shape, but no tokens."""
        return self._refuses_tokens(facts)


class Mlp(Model):
    """A multi-layer perceptron with ReLU on the flattened sample."""

    name: Literal["mlp"] = "mlp"
    hidden: Sizes = (128, 128)
    """The width of each hidden layer."""
    dropout: Dropout = 0.0
    """The share of hidden activations zeroed in training, after each hidden layer."""

    def problems(self, facts: DataFacts) -> list[Problem]:
        """Takes samples of any shape, but no tokens."""
        return self._refuses_tokens(facts)


class Cnn(Model):
    """A small convolutional network: 3x3 convolution, ReLU and 2x2 max-pooling, repeated."""

    name: Literal["cnn"] = "cnn"
    channels: Sizes = (16, 32)
    """The number of filters of each convolution; each halves the image's height and width."""
    dropout: Dropout = 0.0
    """The share of features zeroed in training, before the last layer."""

    def problems(self, facts: DataFacts) -> list[Problem]:
        """Takes images from 8x8 up that can be halved once for each convolution."""
        found = self._needs_images(facts)
        if found:
            return found
        height, width = facts.inputs[1:]
        most = min(height, width).bit_length() - 1
        if len(self.channels) <= most:
            return []
        text = (
            f"{len(self.channels)} convolutions halve an image of {height}x{width} pixels to "
            f"nothing; give at most {most}"
        )
        return [Problem(("model", "channels"), text)]


class ResNet(Model):
    """The residual network for small images of He et al. (2015), §4.2: three stages of n blocks."""

    name: Literal["resnet"] = "resnet"
    depth: Annotated[int, Field(ge=8, le=1202)] = 20
    """The number of layers with weights, 6n+2: 8, 14, 20, 32, 44, 56, 110."""
    width: Size = 16
    """The channels of the first stage; the second and third have two and four times as many."""

    @field_validator("depth")
    @classmethod
    def _is_6n_plus_2(cls, depth: int) -> int:
        if (depth - 2) % 6:
            below = depth - (depth - 2) % 6
            raise ValueError(
                f"expected a depth of 6n+2, got {depth}; the nearest are {below} and {below + 6}"
            )
        return depth

    def problems(self, facts: DataFacts) -> list[Problem]:
        """Takes images from 8x8 up."""
        return self._needs_images(facts)


class Gpt(Model):
    """A small decoder-only transformer; its context is the dataset's."""

    name: Literal["gpt"] = "gpt"
    layers: Annotated[int, Field(ge=1, le=1000)] = 4
    """The number of transformer blocks."""
    width: Size = 128
    """The size of a token's vector in the residual stream (d_model)."""
    heads: Size = 4
    """The number of attention heads; it divides the width."""
    dropout: Dropout = 0.0
    """The share zeroed in training: of embeddings, attention weights and block outputs."""

    @field_validator("heads")
    @classmethod
    def _divides_width(cls, heads: int, info: ValidationInfo) -> int:
        width = info.data.get("width")
        if width is not None and width % heads:
            fitting = [each for each in range(1, width + 1) if width % each == 0]
            near = sorted(sorted(fitting, key=lambda each: abs(each - heads))[:2])
            raise ValueError(
                f"expected a divisor of the width {width}, got {heads}; "
                f"the nearest are {' and '.join(str(each) for each in near)}"
            )
        return heads

    def problems(self, facts: DataFacts) -> list[Problem]:
        """Takes text alone."""
        if facts.task == "language":
            return []
        image = len(facts.inputs) == 3 and min(facts.inputs[1:]) >= SMALLEST_IMAGE
        other = "mlp, cnn or resnet" if image else "mlp"
        text = f"gpt reads tokens, and this dataset's task is {facts.task}; use {other}"
        return [Problem(("model", "name"), text)]


class CustomModel(Model):
    """Somebody's own model: a callable that takes the other keys and returns a torch module."""

    model_config = ConfigDict(extra="allow")

    name: Annotated[str, Field(pattern=f"^{IMPORT_PATH.pattern}$")]
    """The import path, `package.module:thing`; the module may lie next to the config file."""

    @property
    def arguments(self) -> Mapping[str, Any]:
        """What the callable is called with."""
        return self.model_extra or {}

    def problems(self, facts: DataFacts) -> list[Problem]:
        """None that can be known without running somebody's code."""
        return []


ModelSpec = Annotated[Linear | Mlp | Cnn | ResNet | Gpt, Field(discriminator="name")]
"""Any built-in model, told apart by its `name`."""

MODELS: tuple[type[Model], ...] = (Linear, Mlp, Cnn, ResNet, Gpt)
"""Every built-in model; somebody's own is a `CustomModel`."""
