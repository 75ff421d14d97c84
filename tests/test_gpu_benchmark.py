"""The benchmark for a GPU, which is rarely at hand: all of it runs here, in tiny sizes."""

from __future__ import annotations

import importlib
import json
import runpy
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

SCRIPTS = Path(__file__).parents[1] / "benchmarks" / "speed"


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """The script, whose contenders run in this process: a process each takes seconds to begin."""
    monkeypatch.syspath_prepend(str(SCRIPTS))
    before = set(sys.modules)
    script = importlib.import_module("gpu")

    def call(name: str, *arguments: str) -> dict[str, Any]:
        monkeypatch.setattr(sys, "argv", [name, *arguments])
        told = capsys.readouterr().out
        runpy.run_path(str(SCRIPTS / name), run_name="__main__")
        result: dict[str, Any] = json.loads(capsys.readouterr().out.splitlines()[-1])
        print(told)
        return result

    monkeypatch.setattr(script, "call", call)
    yield script
    for name in set(sys.modules) - before:
        if Path(str(getattr(sys.modules[name], "__file__", ""))).parent == SCRIPTS:
            del sys.modules[name]


def run(gpu: Any, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["gpu.py", *arguments])
    gpu.main()


def test_without_a_gpu_it_says_so(
    gpu: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    run(gpu, monkeypatch)
    assert capsys.readouterr().out == "gpu: no CUDA device here, so nothing was measured\n"


def test_a_dry_run_prints_every_table(
    gpu: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    run(gpu, monkeypatch, "--dry", "--out", str(tmp_path))
    tables = {each.stem: each.read_text() for each in tmp_path.iterdir()}
    assert sorted(tables) == [
        "fused-gpu",
        "gpu",
        "steps-digits-gpu-dry",
        "steps-gpt-gpu-dry",
        "steps-resnet-gpu-dry",
    ]
    verdicts = [line for line in tables["gpu"].splitlines() if line.endswith(("yes |", "no |"))]
    assert len(verdicts) == 5
    assert "2 LRs, fused" in tables["fused-gpu"]
    for name in ("digits", "resnet", "gpt"):
        assert all(each in tables[f"steps-{name}-gpu-dry"] for each in gpu.CONTENDERS)
