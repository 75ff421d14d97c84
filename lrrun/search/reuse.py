"""Finished runs by what they did, so that no trial is trained twice."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from lrrun.config.experiment import Experiment
from lrrun.runlog.names import sweep_folders
from lrrun.runlog.reader import Run, list_runs

_FREE = ("name", "checkpoint")
_FREE_TRAIN = ("device", "threads", "log_every")
"""Keys that do not change what a run comes to."""


class FinishedRuns:
    """The completed and diverged runs of some folders, found again by their config and data.

    Smoke runs never count, nor do runs on data that have changed since, nor those that `among` says
    no to.
    """

    def __init__(
        self, folders: Iterable[Path], among: Callable[[Run], bool] = lambda run: True
    ) -> None:
        self._found: dict[str, list[Run]] = {}
        self._data: dict[str, Any] = {}
        for folder in folders:
            for run in list_runs(folder):
                if isinstance(run, Run) and _counts(run) and among(run):
                    self._found.setdefault(_key(run.config), []).append(run)

    def like(self, experiment: Experiment) -> Path | None:
        """The folder of a run of the same experiment on the same data, the oldest one, or None."""
        runs = self._found.get(_key_of(experiment), [])
        data = self._fingerprint(experiment) if runs else None
        return next((run.path for run in runs if run.info.get("data") == data), None)

    def _fingerprint(self, experiment: Experiment) -> Any:
        """That of the experiment's data as they are now; each dataset is loaded once."""
        from lrrun.training import datasets
        from lrrun.training.fingerprint import fingerprint

        key = f"{experiment.dataset.model_dump_json()} {experiment.folder}"
        if key not in self._data:
            splits = datasets.load(experiment.dataset, experiment.folder)
            self._data[key] = fingerprint(splits).as_data()
        return self._data[key]


def all_folders(runs_dir: Path) -> list[Path]:
    """Where finished runs may lie: the runs' folder, and every sweep in it."""
    return [runs_dir, *sweep_folders(runs_dir)]


def _counts(run: Run) -> bool:
    return run.status in ("completed", "diverged") and not run.info.get("smoke")


def is_same_work(run: Run, experiment: Experiment) -> bool:
    """Would the experiment, on the same data, do again what the run does?"""
    return _key(run.config) == _key_of(experiment)


def _key_of(experiment: Experiment) -> str:
    return _key(json.loads(json.dumps(experiment.resolved())))


def _key(config: Mapping[str, Any]) -> str:
    kept = {key: value for key, value in config.items() if key not in _FREE}
    train = {k: v for k, v in config["train"].items() if k not in _FREE_TRAIN}
    return json.dumps({**kept, "train": train}, sort_keys=True)
