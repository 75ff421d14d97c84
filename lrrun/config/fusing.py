"""Which experiments may train as one stacked model, and which key of a config forbids it.

Stacked replicas go through the same operations at the same steps. So they may differ in every
number that is read per step (the LR and its schedule, momentum, weight decay, clipping) and in
their chance, but not in shapes, data, horizon or anything that chooses another operation.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lrrun.config.experiment import Experiment

STACKED = (
    "adadelta",
    "adagrad",
    "adam",
    "adamax",
    "adamw",
    "asgd",
    "nadam",
    "radam",
    "rmsprop",
    "rprop",
    "sgd",
)
"""The optimizers that have a stacked form."""

_FREE = ("name", "seed", "seeds", "scheduler", "checkpoint")
_FREE_CO_SCHEDULES = ("momentum", "weight_decay")
_FREE_TRAIN = (
    "clip_norm",
    "log_every",
    "early_stopping",
    "divergence_factor",
    "spike_factor",
    "on_divergence",
    "rewind_factor",
)


@dataclass(frozen=True, slots=True)
class Group:
    """Experiments, by index, that may be stacked; `reason` says why one has to stay alone."""

    indices: tuple[int, ...]
    reason: str | None = None


def groups(experiments: Sequence[Experiment]) -> list[Group]:
    """Put together what may be stacked; groups, and indices inside them, in the order given."""
    found: dict[str, list[int]] = {}
    reasons: dict[str, str] = {}
    for index, experiment in enumerate(experiments):
        reason = reason_alone(experiment)
        key = _key(experiment) if reason is None else f"alone {index}"
        found.setdefault(key, []).append(index)
        if reason is not None:
            reasons[key] = reason
    return [Group(tuple(indices), reasons.get(key)) for key, indices in found.items()]


def reason_alone(experiment: Experiment) -> str | None:
    """Why this experiment can never be stacked with another, naming the key; None where it may."""
    optimizer, train = experiment.optimizer, experiment.train
    if optimizer.name not in STACKED:
        return f"optimizer.name: {optimizer.name} has no stacked form"
    if train.precision == "fp16":
        return "train.precision: fp16 scales the loss of every replica on its own"
    if train.on_divergence == "rewind":
        return "train.on_divergence: a rewind takes one replica back, and the others go on"
    if train.headroom is not None:
        return "train.headroom: the gauge tries steps on one model at a time"
    return None


def differing_key(one: Experiment, other: Experiment) -> str | None:
    """The first key in which two experiments differ and that forbids to stack them, or None."""
    flat, also = _flat(_shape(one)), _flat(_shape(other))
    return next((key for key in {**flat, **also} if flat.get(key) != also.get(key)), None)


def _key(experiment: Experiment) -> str:
    return json.dumps(_shape(experiment), sort_keys=True, default=repr)


def _shape(experiment: Experiment) -> dict[str, Any]:
    """The resolved config without what replicas may differ in."""
    config = _without(experiment.resolved(), _FREE)
    config["optimizer"] = _optimizer_shape(config["optimizer"])
    config["co_schedules"] = _without(config.get("co_schedules", {}), _FREE_CO_SCHEDULES)
    train = _without(config["train"], _FREE_TRAIN)
    if "ema" in train:
        train["ema"] = "a decay"
    return {**config, "train": train}


def _optimizer_shape(section: Mapping[str, Any]) -> dict[str, Any]:
    """The section without its numbers and its groups' schedules; layers keep their own groups."""
    kept = {key: value for key, value in section.items() if not _is_numeric(value)}
    if "layer_decay" in section:
        kept["layer_decay"] = "by layer"
    groups_ = [_without(each, ("scheduler", "lr_factor")) for each in section["groups"]]
    return {**kept, "groups": [_optimizer_shape({**each, "groups": ()}) for each in groups_]}


def _is_numeric(value: Any) -> bool:
    """Is it a number, or a list of numbers? A switch is neither."""
    if isinstance(value, (list, tuple)):
        return bool(value) and all(_is_numeric(each) for each in value)
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _without(section: Mapping[str, Any], keys: Sequence[str]) -> dict[str, Any]:
    return {key: value for key, value in section.items() if key not in keys}


def _flat(config: Any, path: str = "") -> dict[str, Any]:
    """Key path → value, of nested mappings; lists are values."""
    if not isinstance(config, Mapping):
        return {path: config}
    flat: dict[str, Any] = {}
    for key, value in config.items():
        flat |= _flat(value, f"{path}.{key}".lstrip("."))
    return flat
