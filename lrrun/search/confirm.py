"""Short real runs of a config at other learning rates, its own schedule rescaled with them."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lrrun.analysis.lr_search import Result, Trial
from lrrun.config.check import check_if_known
from lrrun.config.experiment import Experiment
from lrrun.errors import ConfigError, EnvironmentFault
from lrrun.records import EpochRecord, Notice, Outcome
from lrrun.runlog.reader import Run
from lrrun.search.lr_key import at_lr, changed
from lrrun.search.reuse import FinishedRuns

if TYPE_CHECKING:
    from lrrun.training.journey import Event
    from lrrun.training.signals import StopOnSignals

TrainMany = Callable[..., "Iterator[tuple[int, Event]]"]
"""What trains experiments and says what happens in each: `train_many` of lrrun.training.fused."""

JUDGED_BY = "val_loss"

FUSED_FROM = 4_000
"""Updates, of all runs together, from which on stacking pays: it takes seconds to get ready."""


@dataclass(frozen=True)
class Confirmer:
    """Trains trials of one experiment into the folder `runs_dir`."""

    experiment: Experiment
    total_steps: int
    runs_dir: Path
    facts: Mapping[str, Any]
    stop: StopOnSignals | None = None
    allow_code: bool = False
    train_many: TrainMany | None = None
    """Takes the place of the fused engine's."""
    done: FinishedRuns = field(default_factory=lambda: FinishedRuns(()))
    """Runs of a search that was stopped, which need not be made again."""

    def allows(self, lr: float) -> bool:
        """Can the config have this LR? A bare `final: 1e-3` forbids those below it, for one."""
        try:
            check_if_known(self._experiment(Trial(lr, 1.0, self.experiment.seeds[0])))
        except ConfigError:
            return False
        return True

    def run(self, trials: Sequence[Trial]) -> Generator[Notice, None, list[Result] | None]:
        """Train them all, handing on what must not be missed; None where a signal interrupted it.

        A trial that diverged has the loss infinity. Raises EnvironmentFault where one failed: what
        failed once would fail at the recommended LR too.
        """
        experiments = [self._experiment(trial) for trial in trials]
        losses = [math.nan] * len(trials)
        ends: dict[int, Outcome] = {}
        for index, experiment in enumerate(experiments):
            if (folder := self.done.like(experiment)) is not None:
                losses[index], ends[index] = _kept(Run.open(folder))
        left = [index for index in range(len(trials)) if index not in ends]
        fuse = sum(trials[index].scale for index in left) * self.total_steps >= FUSED_FROM
        for number, event in self._train([experiments[index] for index in left], fuse):
            index = left[number]
            if isinstance(event, EpochRecord):
                losses[index] = event.metrics.get(JUDGED_BY, losses[index])
            elif isinstance(event, Outcome):
                ends[index] = event
            elif isinstance(event, Notice):
                yield event
        if any(end.status == "interrupted" for end in ends.values()):
            return None
        return [
            self._result(trial, loss, ends[index])
            for index, (trial, loss) in enumerate(zip(trials, losses, strict=True))
        ]

    def _result(self, trial: Trial, loss: float, end: Outcome) -> Result:
        if end.status == "failed":
            raise EnvironmentFault(f"the run at LR {trial.lr:g} failed: {end.sentence}")
        good = end.status == "completed" and math.isfinite(loss)
        return Result(trial, loss if good else math.inf, end.step)

    def _train(self, experiments: list[Experiment], fuse: bool) -> Iterator[tuple[int, Event]]:
        from lrrun.training.fused.runner import train_many

        made_by = self.train_many or train_many
        return made_by(experiments, self.runs_dir, facts=self.facts, stop=self.stop, fuse=fuse)

    def _experiment(self, trial: Trial) -> Experiment:
        scale = self.experiment.train.scale * trial.scale
        overrides = [
            *at_lr(self.experiment, trial.lr),
            f"train.scale={scale!r}",
            f"seed={trial.seed}",
            "train.headroom=null",
            "checkpoint={last: 1, best: null}",
        ]
        if self.experiment.train.on_divergence == "rewind":
            overrides.append("train.on_divergence=stop")  # a rewind trains at another LR
        return changed(self.experiment, overrides, self.allow_code)


def _kept(run: Run) -> tuple[float, Outcome]:
    """The last loss and the end of a run that was made before."""
    loss = run.summary.last.get(JUDGED_BY, math.nan)
    return loss, Outcome(run.status, run.sentence, int(run.info["step"]))
