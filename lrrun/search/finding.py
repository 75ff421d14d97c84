"""What `find` found: one LR, how sure it is, what it cost; and the files that keep it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lrrun.analysis.lr_rules import RULES, Floats, RangeCurve, disagreement
from lrrun.analysis.lr_search import Result, Trial
from lrrun.errors import UnusableFile
from lrrun.runlog import files, strict_json
from lrrun.runlog.reader import Run

FILE_NAME = "find.json"
CURVE = "curve.csv"
SCHEMA_VERSION = 1

_LIMIT_BYTES = 64 << 20


@dataclass(frozen=True)
class Cost:
    """Updates that were made, and how many runs of the config they would have been."""

    range_steps: int
    trial_steps: int
    total_steps: int
    """Updates of one run of the config."""

    @property
    def runs(self) -> float:
        """The cost in runs of the config."""
        return (self.range_steps + self.trial_steps) / self.total_steps

    def as_data(self) -> dict[str, float]:
        """As plain data; `steps` is all of them."""
        return {
            "steps": self.range_steps + self.trial_steps,
            "range_steps": self.range_steps,
            "trial_steps": self.trial_steps,
            "run_steps": self.total_steps,
            "runs": self.runs,
        }


@dataclass(frozen=True)
class Finding:
    """The LR to train with, and everything that speaks for it.

    `interval` holds the LRs that are statistically as good (None after a range test alone), `loss`
    and `noise` the recommended LR's final loss and one run's standard deviation from seed to seed.
    `diverges_at` is the lowest LR above it that lost all. `rules` has each rule's LR.
    """

    path: Path
    keys: tuple[str, ...]
    recommended_lr: float
    interval: tuple[float, float] | None
    diverges_at: float | None
    loss: float | None
    noise: float | None
    rules: Mapping[str, float]
    curve: RangeCurve
    results: Sequence[Result]
    cost: Cost
    caution: str = ""
    at_edge: str = ""
    """Why no LR beyond it was tried, where it is the largest or smallest of the longest runs."""

    @property
    def to_paste(self) -> tuple[str, ...]:
        """The overrides that give a config this LR."""
        return tuple(f"{key}={self.recommended_lr:g}" for key in self.keys)

    @property
    def sentence(self) -> str:
        """The finding in words."""
        lr = f"{self.keys[0]} {self.recommended_lr:g}"
        end = "" if self.diverges_at is None else f"; it diverges at {self.diverges_at:.3g}"
        if self.interval is None:
            return f"{lr}, by the range test alone{end}"
        low, high = self.interval
        as_good = f"{low:.3g} to {high:.3g} are as good" if low < high else "no other is known"
        edge = f"; {self.at_edge}" if self.at_edge else ""
        return f"{lr} trains best ({as_good}{end}){edge}"

    @property
    def disagreement(self) -> str:
        """How far the rules are apart."""
        return f"the rules differ by a factor of {disagreement(self.rules):.2g}"

    def as_data(self) -> dict[str, Any]:
        """As plain data; a rule that found nothing has None."""
        return {
            "schema_version": SCHEMA_VERSION,
            "sentence": self.sentence,
            "recommended_lr": self.recommended_lr,
            "interval": self.interval,
            "diverges_at": self.diverges_at,
            "val_loss": self.loss,
            "noise": self.noise,
            "to_paste": self.to_paste,
            "confirmed": self.interval is not None,
            "caution": self.caution,
            "at_edge": self.at_edge,
            "rules": {rule: self.rules.get(rule) for rule in RULES},
            "rules_differ_by": disagreement(self.rules),
            "cost": self.cost.as_data(),
            "trials": [
                {**asdict(each.trial), "val_loss": each.loss, "steps": each.steps}
                for each in self.results
            ],
            "path": str(self.path),
            "range_test_diverged": self.curve.diverged,
        }

    def write(self) -> None:
        """Keep it in the find's folder, as find.json."""
        files.write_text(self.path / FILE_NAME, strict_json.dumps(self.as_data()) + "\n")


def write_curve(path: Path, curve: RangeCurve) -> None:
    """Keep a range test's curve in its folder, as curve.csv."""
    columns = (curve.lr.tolist(), curve.loss.tolist(), curve.smoothed.tolist())
    rows = [",".join(map(repr, row)) for row in zip(*columns, strict=True)]
    files.write_text(path / CURVE, "\n".join(["lr,loss,smoothed", *rows, ""]))


def write_refusal(path: Path, reason: str) -> None:
    """Keep in find.json why a search has no answer."""
    data = {"schema_version": SCHEMA_VERSION, "recommended_lr": None, "no_answer": reason}
    files.write_text(path / FILE_NAME, strict_json.dumps({**data, "path": str(path)}) + "\n")


def is_stopped(run: Run) -> bool:
    """Has the search kept neither an answer nor that there is none?"""
    return not (run.path / FILE_NAME).is_file()


def kept_data(path: Path) -> dict[str, Any]:
    """What find.json says; raises UnusableFile where it is missing or broken."""
    file = path / FILE_NAME
    try:
        data = json.loads(files.read_bytes(file, _LIMIT_BYTES))
    except FileNotFoundError:
        raise UnusableFile(f"{file}: missing; expected the folder of a search") from None
    except (ValueError, RecursionError) as error:
        raise UnusableFile(f"{file}: not readable as JSON: {error}") from None
    version = data.get("schema_version") if isinstance(data, dict) else None
    if version != SCHEMA_VERSION:
        raise UnusableFile(f"{file}: schema_version: expected {SCHEMA_VERSION}, got {version!r}")
    return dict(data)


def kept_finding(path: Path, data: Mapping[str, Any]) -> Finding:
    """The finding that `data`, of find.json, and curve.csv keep; raises UnusableFile."""
    try:
        lr, loss, smoothed = _kept_curve(path / CURVE)
        interval = data["interval"]
        cost = data["cost"]
        return Finding(
            path=path,
            keys=tuple(text.partition("=")[0] for text in data["to_paste"]),
            recommended_lr=float(data["recommended_lr"]),
            interval=None if interval is None else (float(interval[0]), float(interval[1])),
            diverges_at=_number(data["diverges_at"]),
            loss=_number(data["val_loss"]),
            noise=_number(data["noise"]),
            rules={rule: float(at) for rule, at in data["rules"].items() if at is not None},
            curve=RangeCurve(lr, loss, smoothed, bool(data["range_test_diverged"])),
            results=tuple(map(_kept_result, data["trials"])),
            cost=Cost(*(int(cost[key]) for key in ("range_steps", "trial_steps", "run_steps"))),
            caution=str(data["caution"]),
            at_edge=str(data.get("at_edge", "")),
        )
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise UnusableFile(
            f"{path}: {FILE_NAME} or {CURVE} is not as find wrote it: {error!r}"
        ) from None


def _kept_curve(file: Path) -> tuple[Floats, Floats, Floats]:
    try:
        header, *lines = files.read_bytes(file, _LIMIT_BYTES).decode().split()
    except FileNotFoundError:
        raise UnusableFile(f"{file}: missing") from None
    if header != "lr,loss,smoothed" or not lines:
        raise ValueError("no curve")
    lr, loss, smoothed = np.array([line.split(",") for line in lines], dtype=float).T
    return lr, loss, smoothed


def _kept_result(data: Mapping[str, Any]) -> Result:
    loss = _number(data["val_loss"])
    trial = Trial(float(data["lr"]), float(data["scale"]), int(data["seed"]))
    return Result(trial, math.inf if loss is None else loss, int(data["steps"]))


def _number(value: Any) -> float | None:
    return None if value is None else float(value)
