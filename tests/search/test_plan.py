"""sweep.yaml: what was planned is read back, and what was changed is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from lrrun.errors import UnusableFile
from lrrun.search.axes import parse_axis
from lrrun.search.design import Design, Method
from lrrun.search.plan import Plan

CONFIG = {
    "model": {"name": "mlp"},
    "optimizer": {"lr": 0.1},
    "train": {"epochs": 1, "device": "cpu"},
}


@pytest.fixture
def plan() -> Plan:
    axes = parse_axis("optimizer.lr=1e-4..1:log:13"), parse_axis("scheduler=cosine,{name: wsd}")
    method = Method("random", 20, seed=3, halving="hyperband", rungs="cooldown")
    return Plan(
        "a-sweep",
        "2026-01-02T03:04:05+00:00",
        "lrrun sweep",
        CONFIG,
        Design(axes, method),
        ("val_loss",),
    )


def test_a_plan_is_read_back_whole(plan: Plan, tmp_path: Path) -> None:
    full = plan.extended((parse_axis("optimizer.lr=1..10:log:4"),)).extended(7)
    full = full.with_batch([(1, 2, 3, 7), (4, 5)]).with_batch([(6,)])
    (tmp_path / "sweep.yaml").write_text(full.text())
    assert Plan.read(tmp_path) == full
    assert "1-3 7" in full.text()


def test_the_same_sweep_is_the_same_wherever_and_however_it_runs(plan: Plan) -> None:
    elsewhere = {**CONFIG, "train": {"epochs": 1, "device": "cuda"}}
    same = replace(plan, config=elsewhere, command="other", chunk=7, name="b", created="later")
    assert same.identity == plan.identity
    longer = {**CONFIG, "train": {"epochs": 2, "device": "cpu"}}
    assert replace(plan, config=longer).identity != plan.identity
    other = Design((parse_axis("optimizer.lr=1e-4..1:log:14"),), plan.design.method)
    assert replace(plan, design=other).identity != plan.identity


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("epochs: 1", "epochs: 2", "were changed after the sweep began"),
        ("0.0001..1:log:13", "0.0001..1:log:12", "were changed after the sweep began"),
        ("schema_version: 1", "schema_version: 2", "written by a newer lrrun"),
        ("'1-3'", "1-x", "expected trials such as 1-3 7"),
        ("'1-3'", "1-99999999", "expected trials such as 1-3 7"),
        ("identity:", "identities:", "not the plan of a sweep"),
        ("axes:", "axes: [", "not the plan of a sweep"),
    ],
)
def test_a_changed_plan_is_refused(
    plan: Plan, tmp_path: Path, before: str, after: str, message: str
) -> None:
    text = plan.with_batch([(1, 2, 3)]).text()
    assert before in text
    (tmp_path / "sweep.yaml").write_text(text.replace(before, after))
    with pytest.raises(UnusableFile, match=message) as raised:
        Plan.read(tmp_path)
    assert "sweep.yaml" in str(raised.value)
