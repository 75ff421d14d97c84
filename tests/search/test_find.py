"""Finding the LR of small experiments, from the range test to the answer, in this process."""

from __future__ import annotations

import json
import math
import random
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lrrun.analysis.lr_search import Result, Trial
from lrrun.config.experiment import Experiment
from lrrun.config.reading import experiment_from_text, load_experiment
from lrrun.errors import EnvironmentFault, NoAnswer, UnusableFile
from lrrun.records import EpochRecord, Notice, Outcome
from lrrun.runlog.lock import RunLock
from lrrun.runlog.reader import Run, list_runs
from lrrun.search.answer import diverges_at
from lrrun.search.find import Search, find
from lrrun.search.finding import Finding, kept_data, kept_finding
from lrrun.training.journey import Event
from lrrun.training.runner import run
from lrrun.training.signals import StopOnSignals

CONFIG = """
name: small
seed: 3
model: {name: mlp, hidden: [16]}
dataset: {name: synthetic-classification, rows: 400, separation: 2.5, batch_size: 20}
optimizer: {name: sgd, lr: 0.0001}
scheduler: cosine
train: {steps: 60, evaluate: 100%, device: cpu}
"""


def one_by_one(
    experiments: Sequence[Experiment], runs_dir: Path, *, stop: Any, **_: Any
) -> Iterator[tuple[int, Event]]:
    for index, experiment in enumerate(experiments):
        for event in run(experiment, runs_dir, stop=stop):
            yield index, event


def search(folder: Path, **settings: Any) -> Search:
    made_by = settings.pop("train_many", one_by_one)
    return Search(folder, 1e-5, 100.0, 60, train_many=made_by, **settings)


def found(experiment: Experiment, how: Search) -> Finding:
    *notices, finding = find(experiment, how)
    assert all(isinstance(each, Notice) for each in notices)
    assert isinstance(finding, Finding)
    return finding


def final_loss(experiment: Experiment, folder: Path) -> float:
    rows = [event for event in run(experiment, folder) if isinstance(event, EpochRecord)]
    return rows[-1].metrics["val_loss"] if rows else math.inf


def test_what_is_found_trains_better_than_its_neighbours(tmp_path: Path) -> None:
    finding = found(experiment_from_text(CONFIG), search(tmp_path, budget=7.0))
    losses = [
        final_loss(experiment_from_text(CONFIG, [f"optimizer.lr={lr!r}"]), tmp_path / "grid")
        for lr in (finding.recommended_lr / 10, finding.recommended_lr, finding.recommended_lr * 30)
    ]
    assert losses[1] == min(losses)
    assert finding.interval is not None
    assert finding.interval[0] <= finding.recommended_lr <= finding.interval[1]
    assert finding.diverges_at is None or finding.diverges_at > finding.recommended_lr
    assert finding.to_paste == (f"optimizer.lr={finding.recommended_lr:g}",)


def test_the_search_is_kept_in_a_run_folder_and_costs_what_it_says(tmp_path: Path) -> None:
    finding = found(experiment_from_text(CONFIG), search(tmp_path, budget=4.0))
    kept = json.loads((finding.path / "find.json").read_text("utf-8"))
    assert kept["recommended_lr"] == finding.recommended_lr
    assert [each.name for each in list_runs(tmp_path)] == ["small-find-1"]
    trials = [each for each in list_runs(finding.path / "trials") if isinstance(each, Run)]
    assert len(trials) == len(kept["trials"])
    updates = sum(run.info["step"] for run in trials)
    assert kept["cost"]["trial_steps"] == updates
    assert kept["cost"]["steps"] == updates + kept["cost"]["range_steps"]
    assert kept["cost"]["runs"] <= 4.0
    rows = (finding.path / "curve.csv").read_text("utf-8").splitlines()
    assert rows[0] == "lr,loss,smoothed"
    assert len(rows) == 1 + len(finding.curve.lr)


def test_the_same_search_finds_the_same(tmp_path: Path) -> None:
    one, two = (
        found(experiment_from_text(CONFIG), search(tmp_path / name, budget=3.0)).as_data()
        for name in "ab"
    )
    assert {**one, "path": ""} == {**two, "path": ""}


def test_quick_stops_after_the_range_test(tmp_path: Path) -> None:
    finding = found(experiment_from_text(CONFIG), search(tmp_path, quick=True))
    assert not finding.results
    assert finding.interval is None
    assert finding.as_data()["confirmed"] is False
    assert finding.recommended_lr == pytest.approx(finding.rules["minimum/10"], rel=0.01)
    assert "not confirmed" in finding.caution


@pytest.mark.parametrize("low", [0.3, 0.5])
def test_a_quick_answer_below_what_was_tested_is_refused(tmp_path: Path, low: float) -> None:
    """The loss is lowest less than a decade above the first LR: a tenth of that is below it."""
    with pytest.raises(NoAnswer, match=rf"below the LRs that were tested, {low:g} to 100; give a"):
        found(experiment_from_text(CONFIG), Search(tmp_path, low, 100.0, 100, quick=True))


def test_runs_that_lead_outside_the_range_test_are_believed_and_that_is_said(
    tmp_path: Path,
) -> None:
    finding = found(
        experiment_from_text(CONFIG), Search(tmp_path, 0.8, 100.0, train_many=one_by_one)
    )
    assert finding.recommended_lr < 0.8
    assert min(each.trial.lr for each in finding.results) < finding.recommended_lr
    assert "runs led outside the range test's 0.8 to 100" in finding.caution


def test_very_short_runs_are_confirmed_and_widened_in_a_minutes_steps(tmp_path: Path) -> None:
    """Ten updates a run: its range test alone takes as many as ten runs."""
    experiment = experiment_from_text(CONFIG, ["train.steps=10", "dataset.separation=4"])
    finding = found(experiment, Search(tmp_path, 1e-7, 10.0, train_many=one_by_one))
    cost = finding.as_data()["cost"]
    updates = sum(each.steps for each in finding.results)
    assert cost["steps"] == cost["range_steps"] + updates <= 400
    assert cost["runs"] == cost["steps"] / 10
    assert {each.trial.scale for each in finding.results} == {1.0}
    lrs = {each.trial.lr for each in finding.results}
    assert finding.at_edge == ""
    assert min(lrs) < finding.recommended_lr < max(lrs)
    assert len({each.trial.seed for each in finding.results}) > 1


def test_a_budget_without_a_run_left_falls_back_on_the_rules(tmp_path: Path) -> None:
    experiment = experiment_from_text(CONFIG, ["train.steps=40"])
    finding = found(experiment, search(tmp_path, budget=1.51))
    assert not finding.results
    assert finding.as_data()["confirmed"] is False
    assert finding.caution.startswith("the range test took the budget; not confirmed by any run")
    assert finding.cost.runs <= 1.51


def test_a_best_at_the_edge_is_said_in_the_sentence(tmp_path: Path) -> None:
    experiment = experiment_from_text(CONFIG, ["train.steps=10"])
    finding = found(experiment, Search(tmp_path, 1e-5, 100.0, 40, budget=5.0))
    assert "it is the only LR tried: give a larger --budget" in finding.sentence
    assert kept_finding(finding.path, kept_data(finding.path)).sentence == finding.sentence


def test_no_trace_is_left_in_what_is_trained_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Global generators, threads and the bits of the next run are as if nothing had been tested."""

    def train(folder: Path) -> tuple[bytes, dict[str, torch.Tensor]]:
        list(run(experiment_from_text(CONFIG), folder))
        weights = torch.load(folder / "small-1/checkpoints/best.pt", weights_only=True)
        return (folder / "small-1/steps.csv").read_bytes(), weights["model"]

    monkeypatch.delenv("OMP_NUM_THREADS")  # runs choose their threads, and may leave another number
    before = train(tmp_path / "before")
    torch.manual_seed(5)
    np.random.seed(6)
    random.seed(7)
    torch.set_num_threads(2)
    expected = (torch.get_rng_state(), np.random.get_state(), random.getstate())
    found(experiment_from_text(CONFIG), search(tmp_path / "found", budget=3.0))
    assert torch.equal(torch.get_rng_state(), expected[0])
    assert all(
        np.array_equal(a, b) for a, b in zip(np.random.get_state(), expected[1], strict=True)
    )
    assert random.getstate() == expected[2]
    assert torch.get_num_threads() == 2
    steps, weights = train(tmp_path / "after")
    assert steps == before[0]
    assert all(torch.equal(weights[name], before[1][name]) for name in weights)


def test_noise_is_refused_with_the_reason(tmp_path: Path) -> None:
    experiment = experiment_from_text(CONFIG, ["dataset.separation=0"])
    with pytest.raises(NoAnswer, match=r"no learning rate|no run learnt anything"):
        found(experiment, search(tmp_path, budget=3.0))
    with pytest.raises(NoAnswer, match="the loss never fell"):
        found(experiment, search(tmp_path, quick=True))


def test_a_run_that_fails_ends_the_search(tmp_path: Path) -> None:
    def failing(experiments: Sequence[Experiment], *_: Any, **__: Any) -> Iterator[Any]:
        for index, _experiment in enumerate(experiments):
            yield index, Outcome("failed", "the data went away", 0)

    with pytest.raises(EnvironmentFault, match=r"run at LR .* failed: the data went away"):
        found(experiment_from_text(CONFIG), search(tmp_path, train_many=failing))


def test_a_signal_ends_the_search_without_an_answer(tmp_path: Path) -> None:
    stop = StopOnSignals()
    stop.received = 2
    told = list(find(experiment_from_text(CONFIG), search(tmp_path, stop=stop)))
    assert all(isinstance(each, Notice) for each in told)


def test_a_stopped_search_goes_on_and_makes_no_run_twice(tmp_path: Path) -> None:
    """Stopped in the middle of a round of runs, it ends as the one that was not stopped."""
    made: list[int] = []

    def killed(experiments: Sequence[Experiment], runs_dir: Path, **_: Any) -> Iterator[Any]:
        for index, experiment in enumerate(experiments):
            for event in run(experiment, runs_dir):
                yield index, event
                if len(made) == 2:
                    raise KeyboardInterrupt  # the third run is left in the middle
            made.append(index)

    straight = found(experiment_from_text(CONFIG), search(tmp_path / "a", budget=4.0))
    folder = tmp_path / "b"
    with pytest.raises(KeyboardInterrupt):
        found(experiment_from_text(CONFIG), search(folder, budget=4.0, train_many=killed))
    before = {each.name for each in (folder / "small-find-1" / "trials").iterdir()}
    again = found(experiment_from_text(CONFIG), search(folder, budget=4.0))
    assert len(before) == 3
    assert [each.name for each in list_runs(folder)] == ["small-find-1"]
    assert {**again.as_data(), "path": ""} == {**straight.as_data(), "path": ""}
    assert len(list_runs(again.path / "trials")) == len(straight.results)
    found(experiment_from_text(CONFIG), search(folder, budget=4.0))
    assert len(list_runs(folder)) == 2  # what came to its end is left as it is


KILLED = ("model.at=9", "--allow-code", "--steps", "30", "--no-plots")


@pytest.mark.parametrize("options", [("--quick",), ("--budget", "6")], ids=["quick", "confirmed"])
def test_a_search_killed_in_its_range_test_leaves_one_folder(
    lrrun: Any, deadly: Path, options: tuple[str, ...]
) -> None:
    """The same command makes the test again, and nothing is left of the first one."""
    command = ("find", str(deadly), *KILLED, *options)
    died = subprocess.run([sys.executable, "-m", "lrrun", *command], capture_output=True)
    assert died.returncode == -signal.SIGKILL
    (left,) = list_runs(Path("runs"))
    assert isinstance(left, Run)
    assert left.status == "running"
    other = lrrun(*command, "--from", "1e-6")
    assert other.code in (0, 8), other.err
    assert len(list_runs(Path("runs"))) == 2  # another search: the first may still go on
    again = lrrun(*command)
    assert again.code in (0, 8), again.err
    assert f"{left.path}, which was stopped in its range test, begins anew" in again.err
    searches = [each for each in list_runs(Path("runs")) if isinstance(each, Run)]
    assert [each.status == "running" for each in searches] == [False, False]
    assert left.info["id"] not in [each.info["id"] for each in searches]


def test_a_range_test_that_another_process_is_making_is_left_alone(
    lrrun: Any, deadly: Path
) -> None:
    command = ("find", str(deadly), *KILLED, "--quick")
    subprocess.run([sys.executable, "-m", "lrrun", *command], capture_output=True)
    (left,) = list_runs(Path("runs"))
    with RunLock(left.path):
        assert lrrun(*command).code in (0, 8)
    assert [each.name for each in list_runs(Path("runs"))] == [left.path.name, "tiny-find-2"]


def test_a_search_that_another_process_is_busy_with_is_left_alone(tmp_path: Path) -> None:
    def killed(*_: Any, **__: Any) -> Iterator[Any]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        found(experiment_from_text(CONFIG), search(tmp_path, budget=3.0, train_many=killed))
    with RunLock(tmp_path / "small-find-1"):
        other = found(experiment_from_text(CONFIG), search(tmp_path, budget=3.0))
    assert other.path.name == "small-find-2"


def test_what_was_found_is_read_back(tmp_path: Path) -> None:
    finding = found(experiment_from_text(CONFIG), search(tmp_path, budget=4.0))
    kept = kept_finding(finding.path, kept_data(finding.path))
    assert kept.as_data() == finding.as_data()
    assert kept.curve.smoothed.tolist() == finding.curve.smoothed.tolist()


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        ("find.json", '"rules": {', '"rules": [], "more": {'),
        ("find.json", '"schema_version": 1', '"schema_version": 99'),
        ("find.json", "{", "{{"),
        ("curve.csv", "lr,loss", "lr;loss"),
    ],
    ids=["another shape", "newer", "no JSON", "no curve"],
)
def test_a_search_that_was_damaged_is_refused(
    tmp_path: Path, name: str, before: str, after: str
) -> None:
    finding = found(experiment_from_text(CONFIG), search(tmp_path, quick=True))
    file = finding.path / name
    file.write_text(file.read_text("utf-8").replace(before, after, 1), "utf-8")
    with pytest.raises(UnusableFile, match=name):
        kept_finding(finding.path, kept_data(finding.path))


def test_lrs_that_the_config_forbids_are_not_tried(tmp_path: Path) -> None:
    """A bare `final: 0.02` is an LR, above which every base LR must be."""
    experiment = experiment_from_text(
        CONFIG, ["scheduler={name: cosine, final: 0.02}", "optimizer.lr=0.1"]
    )
    finding = found(experiment, search(tmp_path, budget=3.0))
    assert min(each.trial.lr for each in finding.results) >= 0.02


def test_the_key_of_a_schedule_that_brings_its_lr_is_named(tmp_path: Path) -> None:
    text = CONFIG.replace("lr: 0.0001", "momentum: 0.9").replace(
        "cosine", "{name: OneCycleLR, max_lr: 0.01, total_steps: 60}"
    )
    finding = found(experiment_from_text(text), search(tmp_path, budget=3.0))
    assert finding.to_paste == (f"scheduler.max_lr={finding.recommended_lr:g}",)
    peaks = [Run.open(each).steps["lr"].max() for each in (finding.path / "trials").iterdir()]
    assert max(peaks) == pytest.approx(max(each.trial.lr for each in finding.results), rel=0.2)


def test_a_schedule_that_listens_to_metrics_is_confirmed_as_it_is(tmp_path: Path) -> None:
    experiment = experiment_from_text(
        CONFIG, ["scheduler={name: plateau, patience: 1}", "train.evaluate=10%"]
    )
    assert found(experiment, search(tmp_path, budget=3.0)).recommended_lr > 0


@pytest.mark.parametrize(("edge", "expected"), [(0.2, 0.4), (0.35, 0.35), (9.0, 0.4), (None, 0.4)])
def test_it_diverges_where_the_first_long_run_did_or_the_range_test_above_them(
    edge: float | None, expected: float
) -> None:
    losses = {0.1: 0.5, 0.2: 0.4, 0.3: 0.6, 0.4: 2.3, 0.8: math.inf, 0.05: 2.3}
    full = [Result(Trial(lr, 1.0, 0), loss, 10) for lr, loss in losses.items()]
    rules = {} if edge is None else {"edge": edge}
    assert diverges_at(0.2, full, 2.28, rules) == expected
    assert diverges_at(0.2, full[:3], 2.28, rules) == (edge if edge and edge > 0.3 else None)


def test_somebody_elses_model_is_searched_once_it_is_trusted(tmp_path: Path) -> None:
    (tmp_path / "found_model.py").write_text(
        "from torch import nn\n\ndef net(width):\n"
        "    return nn.Sequential(nn.Linear(20, width), nn.ReLU(), nn.Linear(width, 4))\n"
    )
    config = tmp_path / "own.yaml"
    config.write_text(
        CONFIG.replace("{name: mlp, hidden: [16]}", "{name: 'found_model:net', width: 16}")
    )
    experiment = load_experiment(config, allow_code=True)
    finding = found(experiment, search(tmp_path / "runs", budget=3.0, allow_code=True))
    assert finding.results
