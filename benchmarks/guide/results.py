"""What the experiments came to, read from the folders that lrrun wrote."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lrrun.analysis.points import Point
from lrrun.analysis.response import Response, ResponseCurve, respond
from lrrun.runlog.reader import Run
from lrrun.search.opening import trials_so_far
from lrrun.search.plan import Plan
from lrrun.search.trials import as_records

Floats = NDArray[np.float64]
Values = Mapping[str, Any]


@dataclass(frozen=True)
class Trial:
    """One run of a sweep: the axes' values, how it ended, and its folder."""

    values: Values
    status: str
    loss: float
    run: Run


@dataclass(frozen=True)
class Sweep:
    """A finished sweep."""

    path: Path

    @cached_property
    def response(self) -> Response:
        """Its response curves; as good is what lies within one standard deviation of the best.

        The deviation is that from seed to seed, pooled over the best LRs of all curves.
        """
        plan = Plan.read(self.path)
        records = as_records(plan, *trials_so_far(plan, self.path))
        bests = [each.best for each in respond(records).curves]
        known = [each.deviation**2 for each in bests if each is not None and each.deviation]
        return respond(records, within=math.sqrt(np.mean(known)))

    @cached_property
    def trials(self) -> list[Trial]:
        """Its runs; the loss of one that diverged is infinite."""
        plan = Plan.read(self.path)
        planned, rows = trials_so_far(plan, self.path)
        found = []
        for each in planned:
            row = rows[each.number]
            loss = row.metrics["val_loss"] if row.status == "completed" else math.inf
            found.append(Trial(each.values, row.status, loss, Run.open(self.path / row.folder)))
        return found

    def where(self, **values: Any) -> list[Trial]:
        """The trials with these values; a key is the last word of an axis's."""
        return [each for each in self.trials if _matches(each.values, values)]

    def curve(self, keep: Callable[[Values], bool]) -> ResponseCurve:
        """The one response curve whose settings are kept."""
        (found,) = (each for each in self.response.curves if keep(each.settings))
        return found


def _matches(values: Values, asked: Values) -> bool:
    own = {key.rpartition(".")[2]: value for key, value in values.items()}
    return all(own[key] == value for key, value in asked.items())


def finding(path: Path) -> dict[str, Any]:
    """What a find wrote."""
    found: dict[str, Any] = json.loads((path / "find.json").read_text())
    return found


def range_curve(path: Path) -> tuple[Floats, Floats]:
    """The LRs of a range test and its smoothed losses."""
    lr, _, smoothed = np.loadtxt(path / "curve.csv", delimiter=",", skiprows=1, unpack=True)
    return lr, smoothed


def called(setting: Any) -> str:
    """A component as the guide's tables name it."""
    if isinstance(setting, list):
        return " + ".join(str(part["name"]) for part in setting)
    if not isinstance(setting, dict):
        return str(setting)
    rest = ", ".join(
        "muP" if key == "mup" else f"{key} {_written(value)}"
        for key, value in setting.items()
        if key not in ("name", "lr")
    )
    return f"{setting['name']} ({rest})" if rest else str(setting["name"])


def _written(value: Any) -> str:
    return " and ".join(map(str, value)) if isinstance(value, list) else str(value)


def lowest(curve: ResponseCurve) -> Point:
    """The best LR of a curve that has one."""
    assert curve.best is not None
    return curve.best


def mean_course(trials: list[Trial], metric: str) -> tuple[Floats, Floats]:
    """Epochs and the mean over seeds of a column of epochs.csv."""
    tables = [each.run.epochs for each in trials]
    return tables[0]["epoch"], np.mean([table[metric] for table in tables], axis=0)


def size(value: Any) -> Any:
    """A batch size, or the width of a network whose layers are equally wide."""
    return value[0] if isinstance(value, (list, tuple)) else value


def grouped(trials: Sequence[Trial], key: str) -> list[list[Trial]]:
    """The trials by the value of an axis, in its order."""
    groups: dict[str, list[Trial]] = {}
    for each in trials:
        groups.setdefault(repr(each.values[key]), []).append(each)
    return list(groups.values())
