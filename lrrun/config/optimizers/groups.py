"""One param group of the `optimizer` section: which parameters, and what they have of their own."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, ConfigDict, Field

from lrrun.config.base import Section
from lrrun.units import Fraction

DEFAULT = "default"
"""What build_optimizer calls the group of the parameters that no pattern matches."""

_PIECE = re.compile(r"(.*_)?(no_decay|layer\d\d+|mup_x.*)")
"""What it calls the pieces of a group: by weight decay, by layer, by width."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def _patterns(written: object) -> tuple[str, ...]:
    patterns = written if isinstance(written, (list, tuple)) else [written]
    if not patterns or not all(isinstance(each, str) and each for each in patterns):
        raise ValueError(
            "expected a pattern of parameter names such as head.*, or a list of them, "
            f"got {written!r}"
        )
    return tuple(patterns)


def _fraction(written: object) -> float:
    return float(Fraction.parse(written))


class GroupSpec(Section):
    """The parameters that a pattern matches, with an LR and arguments of their own."""

    model_config = ConfigDict(extra="allow")

    match: Annotated[
        tuple[str, ...], BeforeValidator(_patterns, json_schema_input_type=str | list[str])
    ]
    """Glob patterns over parameter names; a parameter goes to the first group that it matches."""
    name: Annotated[str, Field(pattern=f"^{_NAME.pattern}$", max_length=60)] | None = None
    """The group's name in the logs; by default the first pattern without its wildcards."""
    lr_factor: Annotated[
        float, BeforeValidator(_fraction, json_schema_input_type=float | str), Field(gt=0)
    ] = 1.0
    """The group's LR as a fraction of optimizer.lr: 0.1 or 10%."""
    scheduler: Any = None
    """The group's own schedule, from the group's LR; by default it follows the run's."""

    @property
    def arguments(self) -> Mapping[str, Any]:
        """The optimizer's arguments that this group sets for itself."""
        return self.model_extra or {}

    def label(self, position: int) -> str:
        """The group's name; `position` is its place in the config, from 1.

        >>> GroupSpec(match=("head.*",)).label(1), GroupSpec(match=("*[ab]*",)).label(2)
        ('head', 'group2')
        """
        bare = self.match[0].strip("*.")
        plain = _NAME.fullmatch(bare) and not is_taken(bare)
        return self.name or (bare if plain else f"group{position}")


def is_taken(name: str) -> bool:
    """Is this what lrrun calls a group of its own?

    >>> is_taken("default"), is_taken("head_no_decay"), is_taken("layer07"), is_taken("layer1")
    (True, True, True, False)
    """
    return name == DEFAULT or _PIECE.fullmatch(name) is not None
