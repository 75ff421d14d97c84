"""The columns of a run's tables: which there are, in what order, and how they may be called."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from lrrun.errors import UsageError

EPOCH_COLUMNS = ("epoch", "step", "samples")
STEP_COLUMNS = ("step",)
TIMING_COLUMNS = ("epoch", "step", "seconds", "samples_per_second")
HEADROOM = "headroom.csv"

_COLUMN = re.compile(r"[^\W\d][^\s,\"]*")  # a spreadsheet takes what begins with = for a formula


@dataclass(frozen=True)
class Columns:
    """What the rows of a run hold beside their place in it.

    `groups` names the param groups, in order; `metrics` the columns after train_loss, in order;
    `grad_norm` says whether records carry it, `driven` what they carry beside the LR, `headroom`
    whether the run is gauged.
    """

    groups: tuple[str, ...]
    metrics: tuple[str, ...] = ()
    grad_norm: bool = False
    driven: tuple[str, ...] = ()
    headroom: bool = False

    def headers(self) -> dict[str, str]:
        """The first line of every table, by file name; raises UsageError for a column's name."""
        lr, norm = self._per_group("lr"), ("grad_norm",) if self.grad_norm else ()
        columns = {
            "epochs.csv": (*EPOCH_COLUMNS, *lr, "train_loss", *self.metrics, *norm),
            "steps.csv": (*STEP_COLUMNS, *lr, "loss", *self.driven, *norm),
            "timing.csv": TIMING_COLUMNS,
        }
        if self.headroom:
            ratios = self._per_group("update_ratio") if len(self.groups) > 1 else ()
            columns[HEADROOM] = (*STEP_COLUMNS, *lr, "headroom", "update_ratio", *ratios)
        for names in columns.values():
            _check(names)
        return {file_name: ",".join(names) + "\n" for file_name, names in columns.items()}

    def _per_group(self, name: str) -> tuple[str, ...]:
        if len(self.groups) == 1:
            return (name,)
        return tuple(f"{name}/{group}" for group in self.groups)


def _check(names: Iterable[str]) -> None:
    seen = set()
    for name in names:
        if not (_COLUMN.fullmatch(name) and name.isprintable()):
            raise UsageError(
                f"column {name!r}: expected the name of a param group or metric: a letter first, "
                "and no spaces, commas, quotes or control characters"
            )
        if name in seen:
            raise UsageError(f"column {name!r}: two param groups or metrics have this name")
        seen.add(name)
