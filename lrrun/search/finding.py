"""What `find` found: one LR, how sure it is, what it cost; and the files that keep it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lrrun.analysis.lr_rules import RULES, RangeCurve, disagreement
from lrrun.analysis.lr_search import Result
from lrrun.runlog import files, strict_json

FILE_NAME = "find.json"
SCHEMA_VERSION = 1


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
        return f"{lr} trains best ({as_good}{end})"

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
            "rules": {rule: self.rules.get(rule) for rule in RULES},
            "rules_differ_by": disagreement(self.rules),
            "cost": self.cost.as_data(),
            "trials": [
                {**asdict(each.trial), "val_loss": each.loss, "steps": each.steps}
                for each in self.results
            ],
            "path": str(self.path),
        }

    def write(self) -> None:
        """Keep it in the find's folder, as find.json."""
        files.write_text(self.path / FILE_NAME, strict_json.dumps(self.as_data()) + "\n")


def write_curve(path: Path, curve: RangeCurve) -> None:
    """Keep a range test's curve in its folder, as curve.csv."""
    columns = (curve.lr.tolist(), curve.loss.tolist(), curve.smoothed.tolist())
    rows = [",".join(map(repr, row)) for row in zip(*columns, strict=True)]
    files.write_text(path / "curve.csv", "\n".join(["lr,loss,smoothed", *rows, ""]))
