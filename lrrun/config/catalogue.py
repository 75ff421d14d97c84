"""What a config can name, with parameters and a line about each."""

from __future__ import annotations

import inspect

from pydantic import BaseModel

from lrrun.config.datasets import DATASETS
from lrrun.config.models import MODELS
from lrrun.config.optimizers import OPTIMIZERS
from lrrun.schedules.catalogue import CATALOGUE

Row = tuple[str, str, str]
"""(name, parameters, what it is)."""


def catalogue(dialects: bool = False) -> dict[str, list[Row]]:
    """Per kind, every built-in component; `dialects` adds other libraries' schedules."""
    return {
        "model": [_declared(each) for each in MODELS],
        "dataset": [_declared(each) for each in DATASETS],
        "optimizer": [
            (
                name,
                ", ".join(f"{k}={v!r}" for k, v in each.defaults.items()),
                f"torch.optim.{each.torch_name}",
            )
            for name, each in OPTIMIZERS.items()
        ],
        "scheduler": [
            (name, ", ".join(str(each) for each in entry.parameters.values()), entry.summary)
            for name, entry in CATALOGUE.items()
            if dialects or entry.clock is None
        ],
    }


def _declared(section: type[BaseModel]) -> Row:
    fields = section.model_fields
    parameters = ", ".join(
        key if each.is_required() else f"{key}={each.default!r}"
        for key, each in fields.items()
        if key != "name"
    )
    summary = (inspect.getdoc(section) or "").split("\n", 1)[0]
    return fields["name"].default, parameters, summary
