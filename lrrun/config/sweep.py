"""The `sweep` section: what `lrrun sweep` varies when it is given no axes of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from lrrun.config.base import Section
from lrrun.config.fields import Count, Seed
from lrrun.config.messages import problems_of
from lrrun.config.yaml_text import Document
from lrrun.errors import ConfigError, KeyPath, Problem


class Sweep(Section):
    """Axes and method of a sweep of this config; the command line's options win over them."""

    axes: dict[str, Any] = Field(default_factory=dict)
    """Config key → its values: a list, or a range such as 1e-4..1:log:13 or 0..4."""
    random: Count | None = None
    """Draw so many points instead of taking the whole grid."""
    tpe: Count | None = None
    """Let Optuna's TPE choose so many points, each batch after the results of those before."""
    halving: bool = False
    """Train every point for a share of the run first, and only the best ones further."""
    hyperband: bool = False
    """Successive halving with several first rungs, in case short runs mislead."""
    eta: Annotated[int, Field(ge=2, le=100)] = 3
    """Of so many points one goes on to the next rung, which is so many times as long."""
    least: Annotated[float, Field(gt=0, lt=1)] = 1 / 9
    """The shortest rung, as a share of the run."""
    rungs: Literal["rescaled", "cooldown"] = "rescaled"
    """How a short run finishes its schedule: all of it shrunk, or constant and then a cooldown."""
    seed: Seed = 0
    """Of what is drawn; the runs have their own."""
    trials: Count | None = None
    """Stop after so many trials; the same command goes on from there."""
    minutes: Annotated[float, Field(gt=0)] | None = None
    """Begin no further trials after so many minutes."""

    @model_validator(mode="after")
    def _one_method(self) -> Sweep:
        if self.random and self.tpe:
            raise ValueError("give one of random and tpe")
        if self.halving and self.hyperband:
            raise ValueError("give one of halving and hyperband")
        if self.tpe and (self.halving or self.hyperband):
            raise ValueError("tpe takes whole runs; use random with halving or hyperband")
        return self


_EITHER = (("random", "tpe"), ("halving", "hyperband"))


def read_sweep(document: Document, options: Mapping[str, Any]) -> Sweep:
    """The section, with what the command line gives instead; raises ConfigError, located."""
    data = document.data if isinstance(document.data, dict) else {}
    written = data.get("sweep") or {}
    if not isinstance(written, dict):
        problem = Problem(("sweep",), f"expected a mapping, got {written!r}")
        raise ConfigError(document.locate([problem]))
    replaced = {key for either in _EITHER if set(either) & set(options) for key in either}
    merged = {key: value for key, value in written.items() if key not in replaced}
    try:
        return Sweep.model_validate({**merged, **options})
    except ValidationError as error:
        places: dict[KeyPath, str] = {("sweep", key): f"command line: --{key}" for key in options}
        if options:
            places["sweep",] = "command line"
        located = Document(data, {**document.places, **places}, document.file)
        raise ConfigError(located.locate(problems_of(error, Sweep, ("sweep",)))) from None
