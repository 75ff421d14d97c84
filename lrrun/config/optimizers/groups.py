"""One param group of the `optimizer` section: which parameters, and what they have of their own."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, ConfigDict, Field

from lrrun.config.base import Section
from lrrun.units import Fraction

RESERVED_NAMES = ("default", "no_decay")
"""What build_optimizer calls the groups of the parameters that no pattern matches."""

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
        plain = _NAME.fullmatch(bare) and bare not in RESERVED_NAMES
        return self.name or (bare if plain else f"group{position}")
