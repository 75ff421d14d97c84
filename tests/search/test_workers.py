"""Chunks in other processes, and on Ray: the same results, and a dead worker costs its chunk."""

from __future__ import annotations

import csv
import socket
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lrrun.errors import EnvironmentFault
from lrrun.search.launch import Order
from lrrun.search.on_ray import OnRay, _train

Lrrun = Callable[..., Any]


def rows(sweep: Path) -> list[dict[str, str]]:
    with (sweep / "trials.csv").open() as table:
        return list(csv.DictReader(table))


@pytest.mark.parametrize("where", [("--processes", "2"), ("--ray",)], ids=["processes", "ray"])
def test_a_dead_worker_costs_its_chunk_which_is_trained_again(
    lrrun: Lrrun, deadly: Path, where: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    if where == ("--ray",):
        pytest.importorskip("ray", reason="Ray is not installed")
        monkeypatch.setattr("os.sched_getaffinity", lambda pid: {0, 1}, raising=False)
    always = deadly.parent / "always"
    flags = f"model.flag={deadly.parent / 'dead'},{always}"
    axes = (flags, "model.at=0,2", "--no-fuse", "--allow-code", "--quiet")
    done = lrrun("sweep", deadly, *axes, *where)
    assert done.code == 1, done.err
    found = rows(Path("runs/tiny-sweep-1"))
    assert [row["status"] for row in found] == ["completed", "completed", "completed", "failed"]
    assert "its worker died 2 times" in found[3]["sentence"]
    plain = (f"model.flag={deadly.parent / 'dead'},x", "model.at=0,2", *axes[2:], "--new")
    (deadly.parent / "x").touch()
    assert lrrun("sweep", deadly, *plain).code == 0
    alone = rows(Path("runs/tiny-sweep-2"))
    for row, other in zip(found[:3], alone, strict=False):
        assert {**row, "model.flag": ""} == {**other, "model.flag": ""}


def test_without_ray_its_extra_is_named(
    lrrun: Lrrun, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    done = lrrun("sweep", config, "optimizer.lr=0.1,0.2", "--ray", "--dry-run")
    assert done.code == 5
    assert 'pip install "lrrun[ray]"' in done.err


def test_without_optuna_its_extra_is_named(
    lrrun: Lrrun, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "optuna", None)
    done = lrrun("sweep", config, "optimizer.lr=0.1..1:log", "--tpe", "3", "--dry-run")
    assert done.code == 5
    assert 'pip install "lrrun[optuna]"' in done.err


@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_a_cluster_that_does_not_answer_is_named_at_once(
    lrrun: Lrrun, config: Path, scheme: str
) -> None:
    pytest.importorskip("ray", reason="Ray is not installed")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]  # free, once the server is closed
    where = f"{scheme}127.0.0.1:{port}"
    done = lrrun("sweep", config, "optimizer.lr=0.1,0.2", "--ray", where, "--dry-run")
    assert done.code == 5
    assert f"cannot reach Ray on {where}" in done.err


def test_ray_address_names_the_cluster(
    lrrun: Lrrun, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ray", reason="Ray is not installed")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{port}")
    done = lrrun("sweep", config, "optimizer.lr=0.1,0.2", "--ray", "--dry-run")
    assert done.code == 5
    assert f"cannot reach Ray on 127.0.0.1:{port}: [Errno" in done.err


def test_what_is_no_address_of_a_cluster_is_refused(lrrun: Lrrun, config: Path) -> None:
    done = lrrun("sweep", config, "optimizer.lr=0.1,0.2", "--ray", "127.0.0.1", "--dry-run")
    assert done.code == 2
    assert "127.0.0.1: neither key=values nor the address of a Ray cluster" in done.err


def test_a_worker_that_does_not_see_the_sweep_says_so(tmp_path: Path) -> None:
    order = Order(plan=None, trials=(), sweep=tmp_path / "gone")  # type: ignore[arg-type]
    with pytest.raises(EnvironmentFault, match=r"has no '.*gone'; choose with --runs-dir"):
        _train(order)


@pytest.mark.parametrize(
    ("cause", "message"),
    [
        (
            ModuleNotFoundError("No module named 'lrrun'\ntraceback"),
            "cannot train: No module named",
        ),
        (EnvironmentFault("vm has no 'runs'"), "^vm has no 'runs'$"),
    ],
    ids=["no lrrun", "no folder"],
)
def test_a_worker_that_cannot_train_stops_the_sweep_and_says_why(
    cause: Exception, message: str
) -> None:
    """Other than a worker that dies, whose chunk is trained again."""
    ray = pytest.importorskip("ray", reason="Ray is not installed")
    failed = ray.exceptions.RayTaskError("_train", "a traceback\n", cause).as_instanceof_cause()

    def get(task: Any) -> Any:
        raise failed

    launcher = OnRay("127.0.0.1:1")
    launcher._ray = SimpleNamespace(exceptions=ray.exceptions, get=get)
    stop: Any = SimpleNamespace(requested=lambda: False)
    waiting: Any = []
    with pytest.raises(EnvironmentFault, match=message) as raised:
        [*launcher._result("task", None, 1, waiting, stop)]  # type: ignore[arg-type]
    assert "\n" not in str(raised.value) and not waiting
