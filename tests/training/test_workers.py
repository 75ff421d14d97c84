"""Rows made in worker processes: the same bits for any number of them, and nothing left behind."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import queue
import random
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lrrun.batches import EvenBatches
from lrrun.config.datasets.custom import Workers
from lrrun.config.reading import load_experiment
from lrrun.errors import ConfigError, EnvironmentFault
from lrrun.records import Outcome, StepRecord
from lrrun.runlog.info import read_info
from lrrun.training import checkpoint_files
from lrrun.training.datasets import MapStyle, RowsAhead, in_order
from lrrun.training.datasets.custom import as_splits
from lrrun.training.datasets.rows import Request
from lrrun.training.datasets.workers import WorkerPool, _Deaths
from lrrun.training.journey import Started
from lrrun.training.resume import resume
from lrrun.training.runner import run
from lrrun.training.signals import StopOnSignals
from lrrun.training.state import differences

CPU = torch.device("cpu")

CODE = """\
import os
import random
import signal
import time
from pathlib import Path

import numpy as np
import torch


class Noisy(torch.utils.data.Dataset):
    classes = 3

    def __init__(self, rows, trap=None, armed=None):
        self.x = torch.arange(rows * 4.0).reshape(rows, 4).sin()
        self.trap = trap
        self.armed = armed

    def __len__(self):
        return len(self.x)

    def __getitem__(self, index):
        if self.trap and index == 17 and Path(self.armed).exists():
            self.fall()
        noise = torch.rand(4) + np.random.rand() + random.random()
        return self.x[index] + 0.1 * noise.float(), index % 3

    def fall(self):
        if self.trap == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.trap == "hang":
            time.sleep(1000)
        if self.trap == "file":
            raise FileNotFoundError("17.png")
        raise ValueError("bad pixels")


def pair(rows=26, trap=None, armed=None):
    return Noisy(rows, trap, armed), Noisy(7)
"""

CONFIG = """\
name: noisy
model: {name: mlp, hidden: [8], dropout: 0.2}
dataset: {name: "noisy_rows:pair", batch_size: 6, workers: WORKERS}
optimizer: {name: sgd, lr: 0.05, momentum: 0.9}
scheduler: {name: cosine}
co_schedules: {batch_size: [{name: constant, factor: 50%, for: 30%}, {name: constant, factor: 1}]}
train: {epochs: 3, device: cpu, threads: 1, accumulate: 2, evaluate: 3 steps}
checkpoint: {every: 2 steps}
"""


@pytest.fixture(autouse=True)
def _no_process_stays(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """torch looks after hung workers every few tenths of a second, and none outlives a test."""
    for module in (torch.utils.data._utils, torch.utils.data._utils.worker):
        monkeypatch.setattr(module, "MP_STATUS_CHECK_INTERVAL", 0.3)
    yield
    assert multiprocessing.active_children() == []


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(tmp_path_factory.mktemp("straight"), 0)


def experiment(folder: Path, workers: int, *overrides: str) -> Any:
    (folder / "noisy_rows.py").write_text(CODE)
    (folder / "c.yaml").write_text(CONFIG.replace("WORKERS", str(workers)))
    return load_experiment(folder / "c.yaml", overrides, allow_code=True)


def train(folder: Path, workers: int, *overrides: str, stop: StopOnSignals | None = None) -> Path:
    *_, outcome = run(experiment(folder, workers, *overrides), folder, stop=stop)
    assert isinstance(outcome, Outcome)
    return folder / "noisy-1"


def go_on(path: Path, *overrides: str) -> int:
    """Resume to the end; the step it resumed from."""
    events = list(resume(path, overrides, allow_code=True))
    assert events[-1].status == "completed"
    return next(each.step for each in events if isinstance(each, Started))


def assert_same(path: Path, straight: Path) -> None:
    for name in ("epochs.csv", "steps.csv"):
        assert (path / name).read_bytes() == (straight / name).read_bytes()
    one, other = (
        checkpoint_files.load(each / "checkpoints" / "last.pt") for each in (path, straight)
    )
    found = differences(one, other)
    assert [key for key in found if not key.startswith(("run", "marks"))] == []


class StopAt(StopOnSignals):
    def __init__(self, asked: int) -> None:
        super().__init__()
        self.left = asked

    def requested(self) -> bool:
        self.left -= 1
        return self.left < 0


@pytest.mark.parametrize("workers", [1, 4])
def test_the_number_of_workers_changes_no_bit(tmp_path: Path, straight: Path, workers: int) -> None:
    assert_same(train(tmp_path, workers), straight)


@pytest.mark.parametrize(("before", "after", "stop"), [(0, 0, 1), (2, 2, 4), (0, 2, 9), (2, 3, 12)])
def test_a_resume_in_the_middle_of_an_epoch_repeats_it(
    tmp_path: Path, straight: Path, before: int, after: int, stop: int
) -> None:
    path = train(tmp_path, before, stop=StopAt(stop))
    stopped = read_info(path)["step"]
    assert read_info(path)["status"] == "interrupted"
    assert go_on(path, f"dataset.workers={after}") == stopped > 0
    assert_same(path, straight)


def test_what_rows_draw_depends_on_seed_and_update_alone() -> None:
    class Drawing(torch.utils.data.Dataset[Any]):
        def __len__(self) -> int:
            return 4

        def __getitem__(self, index: int) -> Any:
            return torch.tensor([torch.rand(()), np.random.rand(), random.random()]), 0

    rows = MapStyle(Drawing(), CPU)
    plan = EvenBatches(rows=4, size=4)
    for draw in (torch.manual_seed, np.random.seed, random.seed):
        draw(1)
    before = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()
    drawn = {
        (seed, step): RowsAhead(rows, plan, 2, seed, None).of_update(step)
        for seed in (0, 1)
        for step in (0, 1)
    }
    after = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()
    assert torch.equal(before[0], after[0])
    assert before[1:] == after[1:]
    values = torch.cat([x for batches in drawn.values() for x, _ in batches])
    assert len(values.unique()) == values.numel() == 48  # no draw comes twice
    (again, _), _ = RowsAhead(rows, plan, 2, 1, None).of_update(1)
    assert torch.equal(again, drawn[1, 1][0][0])


def test_rows_are_made_alike_under_autocast_and_many_threads() -> None:
    class Sums(torch.utils.data.Dataset[Any]):
        def __len__(self) -> int:
            return 1

        def __getitem__(self, index: int) -> Any:
            values = torch.linspace(0, 1, 300_000).sin()
            return (values[:512].reshape(16, 32) @ values[:32]).sum() + values.sum(), 0.0

    rows = MapStyle(Sums(), CPU)
    one, _ = rows.batch(torch.tensor([0]))
    torch.set_num_threads(2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        other, _ = rows.batch(torch.tensor([0]))
    assert torch.get_num_threads() == 2
    assert torch.equal(one, other)


def test_every_evaluation_sees_the_same_rows(tmp_path: Path) -> None:
    experiment(tmp_path, 2)
    namespace: dict[str, Any] = {"__name__": "noisy_rows"}
    exec(CODE, namespace)
    _, val = namespace["pair"]()
    here, ahead = MapStyle(val, CPU), MapStyle(val, CPU, workers=Workers(2))
    passes = [[*in_order(source, 5, 2, CPU)] for source in (here, here, ahead, ahead)]
    half = in_order(ahead, 5, 2, CPU)
    next(half)
    half.close()
    passes.append([*in_order(ahead, 5, 2, CPU)])
    ahead.close()
    assert [len(x) for x, _ in passes[0]] == [2, 2, 1]
    for each in passes[1:]:
        assert all(torch.equal(a[0], b[0]) for a, b in zip(each, passes[0], strict=True))


def test_any_update_can_be_asked_for() -> None:
    class Numbers(torch.utils.data.Dataset[Any]):
        def __len__(self) -> int:
            return 10

        def __getitem__(self, index: int) -> Any:
            return torch.tensor([float(index)]), index

    rows = MapStyle(Numbers(), CPU, workers=Workers(2, prefetch=3))
    ahead = RowsAhead(rows, EvenBatches(10, 4), 4, 0, 9)
    there = {step: ahead.of_update(step)[0][1].tolist() for step in (0, 1, 2, 3, 8, 4, 5)}
    rows.close()
    here = RowsAhead(MapStyle(Numbers(), CPU), EvenBatches(10, 4), 4, 0, 9)
    assert there == {step: here.of_update(step)[0][1].tolist() for step in there}
    assert sorted(there[0] + there[1] + there[2]) == [*range(10)]


@pytest.mark.parametrize("trap", ["kill", "hang"])
def test_a_worker_that_is_gone_ends_a_run_that_can_be_resumed(
    tmp_path: Path, straight: Path, trap: str
) -> None:
    armed = tmp_path / "armed"
    armed.touch()
    settings = (f"dataset.trap={trap}", f"dataset.armed={armed}", "dataset.worker_timeout=1")
    said = {"kill": "killed by SIGKILL", "hang": "made no batch for 1 seconds"}
    with pytest.raises(EnvironmentFault, match=said[trap]):
        train(tmp_path, 2, *settings)
    assert multiprocessing.active_children() == []
    path = tmp_path / "noisy-1"
    assert read_info(path)["status"] == "failed"
    armed.unlink()
    assert go_on(path) >= 0
    assert_same(path, straight)


@pytest.mark.parametrize(("trap", "kind"), [("raise", ConfigError), ("file", EnvironmentFault)])
def test_what_somebodys_row_raises_is_named_alike(
    tmp_path: Path, trap: str, kind: type[Exception]
) -> None:
    armed = tmp_path / "armed"
    armed.touch()
    said = []
    for workers in (0, 2):
        folder = tmp_path / str(workers)
        folder.mkdir()
        with pytest.raises(kind) as caught:
            train(folder, workers, f"dataset.trap={trap}", f"dataset.armed={armed}")
        said.append(str(caught.value))
    assert said[0] == said[1]
    assert "noisy_rows:pair: training row 17 cannot be made into a batch: " in said[0]
    error = {"raise": "ValueError: bad pixels", "file": "FileNotFoundError: 17.png"}
    assert f"{error[trap]} (noisy_rows.py:" in said[0]


def test_signals_for_the_whole_group_leave_workers_at_work(tmp_path: Path, straight: Path) -> None:
    """Ctrl-C and a scheduler's SIGTERM reach every process; ending the run is for the main one."""
    reached = set()
    for event in run(experiment(tmp_path, 2), tmp_path):
        if isinstance(event, StepRecord):
            for worker in multiprocessing.active_children():
                for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1):
                    os.kill(worker.pid or 0, number)
                reached.add(worker.pid)
    assert len(reached) == 4  # two for training, two for validation
    assert_same(tmp_path / "noisy-1", straight)


def test_a_death_is_told_where_a_batch_is_waited_for_and_nowhere_else() -> None:
    pool = WorkerPool(_double, Workers(1, prefetch=1))
    made = pool.serve(range(100))
    assert next(made) == 0
    (worker,) = multiprocessing.active_children()
    os.kill(worker.pid or 0, signal.SIGKILL)
    worker.join()
    with pytest.raises(EnvironmentFault, match="killed by SIGKILL"):
        list(made)


def test_a_death_heard_where_nothing_can_be_raised_is_told_in_the_wait() -> None:
    """As in a callback of the garbage collector, where an exception is printed and lost."""

    def dead(number: int, frame: object) -> None:
        raise RuntimeError("a worker died")

    deaths = _Deaths()
    deaths._handler = dead  # in the place of torch's
    before = signal.signal(signal.SIGCHLD, deaths)
    try:
        with deaths.heard([]):
            deaths(signal.SIGCHLD, sys._getframe())
            with pytest.raises(RuntimeError, match="a worker died"):
                queue.Queue[None]().get(timeout=30)
    finally:
        signal.signal(signal.SIGCHLD, before)


def _double(number: int) -> int:
    return 2 * number


def test_two_streams_at_a_time_have_their_own_workers() -> None:
    rows = MapStyle([(torch.tensor([float(k)]), k) for k in range(9)], CPU, workers=Workers(1))
    one, two = (
        rows.stream(Request([k], 0) for k in order) for order in (range(9), range(8, 0, -1))
    )
    pairs = [(int(a), int(b)) for (_, a), (_, b) in zip(one, two, strict=False)]
    assert pairs == [(k, 8 - k) for k in range(8)]
    one.close()  # type: ignore[attr-defined]
    rows.close()


def test_workers_do_not_outlive_a_main_process_that_is_killed(tmp_path: Path) -> None:
    told = tmp_path / "workers"
    main = os.fork()
    if not main:
        with contextlib.suppress(BaseException):
            made = WorkerPool(_double, Workers(2)).serve(range(1000))
            next(made)
            pids = [str(each.pid) for each in multiprocessing.active_children()]
            told.with_suffix(".new").write_text(" ".join(pids))
            told.with_suffix(".new").rename(told)
            time.sleep(60)
        os._exit(1)
    while not told.exists():
        time.sleep(0.01)
    os.kill(main, signal.SIGKILL)
    os.waitpid(main, 0)
    workers = [int(pid) for pid in told.read_text().split()]
    assert len(workers) == 2
    end = time.monotonic() + 30
    while any(_lives(pid) for pid in workers):
        assert time.monotonic() < end
        time.sleep(0.05)


def _lives(pid: int) -> bool:
    """Is it there, and more than a name that nobody has asked for yet?"""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_workers_that_have_nothing_to_make_are_refused() -> None:
    table = torch.zeros(4, 2), torch.tensor([0, 1, 0, 1])
    with pytest.raises(ConfigError, match=r"dataset\.workers: m:f returns tensors"):
        as_splits((table, table), "m:f", Workers(2))


def test_a_dataset_that_cannot_be_sent_to_a_process_is_said() -> None:
    before = multiprocessing.get_start_method()
    multiprocessing.set_start_method("spawn", force=True)
    try:
        with pytest.raises(ConfigError, match=r"dataset.workers: the dataset cannot be sent"):
            next(WorkerPool(lambda request: request, Workers(1)).serve([1]))
    finally:
        multiprocessing.set_start_method(before, force=True)
