"""How a schedule continues when its run is made longer: the overrides that say so."""

from __future__ import annotations

import json
from typing import Any, Literal

from lrrun.config.experiment import Experiment
from lrrun.errors import UsageError
from lrrun.units import Length, Units

How = Literal["keep", "rescale", "branch"]

TAIL = {"name": "linear", "final": 0}
"""What a branch does unless it is told otherwise: the LR falls to 0."""

_CO_SCHEDULES = ("momentum", "weight_decay")


def extension(
    experiment: Experiment, units: Units, at: int, longer: Length, how: How, tail: Any = None
) -> list[str]:
    """The overrides that make the run of `experiment` longer, as a fork at step `at` continues it.

    `keep`: the schedule stays as planned and its last value is held for `longer` more steps.
    `rescale`: the run and every length of its schedule are stretched to the new horizon. `branch`:
    the schedule stays as planned up to the fork, and `tail` (a scheduler section) takes the run
    `longer` steps from there to its end. Raises UsageError where that has no meaning.
    """
    total = units.total_steps
    try:
        more = units.steps(longer, at)
    except ValueError as error:
        raise UsageError(f"--extend {longer}: {error}") from None
    if more < 1:
        raise UsageError(f"--extend {longer}: expected at least one step, got {more}")
    if tail is not None and how != "branch":
        raise UsageError(
            f"--extend --how {how} goes on with the schedule as it is; leave out the "
            "new scheduler, or write --how branch"
        )
    if how == "rescale":
        return [f"train.scale={experiment.train.scale * (total + more) / total!r}"]
    if experiment.train.scale != 1:
        text = "a run that was shrunk or stretched (train.scale) can be extended by rescale alone"
        raise UsageError(f"--extend --how {how}: {text}")
    if how == "keep":
        return [f"train.steps={total + more}", *_planned(experiment, total)]
    if at < 1:
        raise UsageError("--extend --how branch: expected a fork past step 0")
    return [f"train.steps={at + more}", *_planned(experiment, total, at, tail or TAIL)]


def _planned(
    experiment: Experiment, total: int, until: int | None = None, tail: Any = None
) -> list[str]:
    """Every schedule of the config as a run of `total` steps has it, then the LR's tail."""
    data = experiment.document.data
    sections: dict[str, Any] = {"scheduler": data.get("scheduler", "constant")}
    for k, group in enumerate(experiment.optimizer.groups):
        written = getattr(group, "scheduler", None)
        if written is not None:
            sections[f"optimizer.groups[{k}].scheduler"] = written
    overrides = [
        f"{key}={json.dumps(_part(each, total, until, tail))}" for key, each in sections.items()
    ]
    if experiment.optimizer.lr is None:  # the schedule brings it, which only shows on top
        overrides.append(f"optimizer.lr={experiment.base_lr!r}")
    for name in _CO_SCHEDULES:
        if name in experiment.co_schedules:
            section = _part(data["co_schedules"][name], total)
            overrides.append(f"co_schedules.{name}={json.dumps(section)}")
    return overrides


def _part(section: Any, total: int, until: int | None = None, tail: Any = None) -> Any:
    planned = {"name": "planned", "of": section, "run": f"{total} steps"}
    if until is None:
        return planned
    return [{**planned, "until": f"{until} steps"}, *(tail if isinstance(tail, list) else [tail])]
