"""Which keys of a config hold the learning rate, and the same experiment at another one."""

from __future__ import annotations

from collections.abc import Iterable

from lrrun.config.experiment import Experiment
from lrrun.config.overrides import apply_overrides
from lrrun.config.reading import read_experiment
from lrrun.errors import UsageError, dotted
from lrrun.schedules.spec import brought_lr


def lr_keys(experiment: Experiment) -> tuple[str, ...]:
    """The keys to set for another base LR, the one that a person would set first.

    It is `optimizer.lr`, or the key of the schedule that brings its own LR (`scheduler.max_lr`),
    and then `optimizer.lr` as well where the config gives both. Raises UsageError where the
    schedule brings several LRs, of which no one number is the learning rate.
    """
    brought = brought_lr(experiment.parts)
    if brought is None:
        return ("optimizer.lr",)
    path, value = brought
    key = dotted(path)
    if value is None:
        raise UsageError(
            f"{key} holds several LRs, and find looks for one: write one number there, or a "
            "schedule that starts from optimizer.lr"
        )
    return (key,) if experiment.optimizer.lr is None else (key, "optimizer.lr")


def changed(
    experiment: Experiment, overrides: Iterable[str], allow_code: bool = False
) -> Experiment:
    """The experiment with other values for some keys, read anew; raises ConfigError."""
    return read_experiment(apply_overrides(experiment.document, overrides), allow_code)


def at_lr(experiment: Experiment, lr: float) -> list[str]:
    """The overrides that give the experiment another base LR."""
    return [f"{key}={lr!r}" for key in lr_keys(experiment)]
