"""The words that the loop, the log and the analysis share.

The training loop yields these, the run folder stores them, the analysis reads them back. All
numbers are plain Python numbers: nothing here knows torch, files or the clock's origin.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

Status = Literal["running", "completed", "diverged", "interrupted", "failed"]


@dataclass(frozen=True, slots=True)
class StepRecord:
    """One optimizer update.

    `step` is the update's index, from 0. `lr` holds, for every param group in order, the
    learning rate that this very update used. `loss` is the mean training loss over the update's
    samples, before the update. `driven` holds what the run schedules beside the LR (momentum,
    weight decay, batch size), in the order of the run's names for it.
    """

    step: int
    lr: tuple[float, ...]
    loss: float
    grad_norm: float | None = None
    driven: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class StepBlock:
    """Consecutive updates of one run in columns: what as many StepRecords say, at less cost.

    `first` is the index of the first one. `lr` has a column for each param group, `driven` one for
    each thing that is scheduled beside the LR; all columns have one length.

    >>> [row.step for row in StepBlock(7, ([0.1, 0.1],), [2.0, 1.5])]
    [7, 8]
    """

    first: int
    lr: tuple[list[float], ...]
    loss: list[float]
    grad_norm: list[float] | None = None
    driven: tuple[list[float], ...] = ()

    def __len__(self) -> int:
        return len(self.loss)

    def __iter__(self) -> Iterator[StepRecord]:
        for k, loss in enumerate(self.loss):
            yield StepRecord(
                self.first + k,
                tuple(column[k] for column in self.lr),
                loss,
                None if self.grad_norm is None else self.grad_norm[k],
                tuple(column[k] for column in self.driven),
            )


@dataclass(frozen=True, slots=True)
class EpochRecord:
    """The state of a run at the end of an epoch, or at an evaluation inside one.

    `epoch` counts from 1 (the epoch that this row stands in), `step` is the number of updates
    done, `samples` the number of training samples seen. `lr` is what the last update used, one
    per param group. `train_loss` is the mean over the samples seen since the row before.
    `metrics` holds `val_loss`, `val_acc` and the like; it is empty where nothing was evaluated.
    `seconds` is wall-clock time since the row before, `samples_per_second` the training speed.
    """

    epoch: int
    step: int
    samples: int
    lr: tuple[float, ...]
    train_loss: float
    metrics: Mapping[str, float] = field(default_factory=dict)
    grad_norm: float | None = None
    seconds: float = 0.0
    samples_per_second: float = 0.0


@dataclass(frozen=True, slots=True)
class HeadroomRecord:
    """The update of `step`, measured: how far its LR is from the critical one.

    `headroom` is lr / critical_lr, the same for all param groups: below 1 the update lowered the
    loss of its own rows, at 0.1 it could have been ten times larger before it would not. 0 and inf
    where no end was found. `update_ratio` is the norm of what the update added over that of the
    weights, `group_ratios` the same for each of several param groups.
    """

    step: int
    lr: tuple[float, ...]
    headroom: float
    update_ratio: float
    group_ratios: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Incident:
    """Something that a run survived and that its record must not hide.

    `skip`: the update of `step` was not made. `rewind`: after `step` the run went back to step
    `to`, from where every LR is multiplied by `factor`, on top of earlier rewinds. `fallback`: from
    about `step` on the run is computed in another way than was chosen for it, and slower.
    """

    kind: Literal["skip", "rewind", "fallback"]
    step: int
    sentence: str
    to: int | None = None
    factor: float | None = None


@dataclass(frozen=True, slots=True)
class Notice:
    """A sentence for the person at the keyboard, which they must not miss."""

    sentence: str


Record = StepRecord | EpochRecord | HeadroomRecord


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended, with one sentence that says why; a divergence is a finding, not a crash."""

    status: Status
    sentence: str
    step: int


@dataclass(frozen=True, slots=True)
class Trial:
    """One run of a sweep, reduced to what its analysis needs.

    `values` holds the value of every axis of the sweep, by config key; `seed` is the run's. `loss`
    is the number that the sweep makes small, nan where there is none; `steps` the updates done.
    `status` is the run's, or what the sweep made of it; only what is completed or diverged counts.
    """

    values: Mapping[str, object]
    seed: int
    status: str
    loss: float
    steps: int
    diverged: bool


_GROWING = frozenset(
    ("acc", "accuracy", "top1", "top5", "auc", "auroc", "f1", "r2", "precision", "recall")
)


def higher_is_better(metric: str) -> bool:
    """True for a metric that grows as the model gets better, told by the words of its name.

    >>> higher_is_better("val_acc"), higher_is_better("val_loss")
    (True, False)
    """
    return not _GROWING.isdisjoint(metric.lower().replace("-", "_").split("_"))
