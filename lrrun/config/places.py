"""Where a key belongs that was written in the wrong place: `lr` is `optimizer.lr`."""

from __future__ import annotations

from lrrun.config.checkpoint import Checkpoint
from lrrun.config.datasets.base import Dataset
from lrrun.config.optimizers import OPTIMIZERS, OptimizerSpec
from lrrun.config.train import Train
from lrrun.registry import nearest, unknown_argument
from lrrun.schedules.spec import ENVELOPE

KEYS = (
    "name",
    "seed",
    "seeds",
    "model",
    "dataset",
    "optimizer",
    "scheduler",
    "co_schedules",
    "train",
    "checkpoint",
    "folder",
    "sweep",
)
"""The top-level keys of a config."""


def place_of(key: str) -> str | None:
    """The key of a config that somebody meant by a bare `key`, or None.

    >>> place_of("lr"), place_of("learning_rate"), place_of("num_epochs"), place_of("warmup")
    ('optimizer.lr', 'optimizer.lr', 'train.epochs', 'scheduler.warmup')
    """
    own = {name for each in OPTIMIZERS.values() for name in each.defaults}
    sections = {
        "scheduler": ENVELOPE[1:],
        "checkpoint": Checkpoint.model_fields,
        "dataset": Dataset.model_fields,
        "optimizer": [*OptimizerSpec.model_fields, *sorted(own)],
        "train": Train.model_fields,
    }
    places = {name: f"{section}.{name}" for section, names in sections.items() for name in names}
    del places["name"]
    places |= {key: key for key in ("seed", "seeds")}
    found = nearest(key, places)
    return places[found] if found else None


def unknown_top(key: str) -> str:
    """The message for a key that does not stand at the top of a config.

    >>> unknown_top("optimiser").partition(" (")[0], unknown_top("lr").partition(" (")[0]
    ('unknown key; did you mean optimizer?', 'unknown key; did you mean optimizer.lr?')
    """
    place = None if nearest(key, KEYS) else place_of(key)
    if place is None:
        return unknown_argument(key, KEYS)
    return f"unknown key; did you mean {place}? (at the top stand {', '.join(KEYS)})"
