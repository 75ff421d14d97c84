"""Chunks in other processes, and on Ray: the same results, and a dead worker costs its chunk."""

from __future__ import annotations

import csv
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

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
