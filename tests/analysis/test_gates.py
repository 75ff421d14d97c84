"""Gates: what can be written, and when runs, groups and learning rates meet them."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from lrrun.analysis.compare import RunView, compare
from lrrun.analysis.gates import Gate, GateResult, baseline_of, check_gates, judge, read_gate
from lrrun.analysis.lr_traces import LrTrace, departure, judge_lrs, lr_trace
from lrrun.analysis.seed_groups import Grouping, group_by_seed
from lrrun.errors import UsageError
from lrrun.runlog.summary import Best, Summary


def run(name: str, seed: int, loss: float, status="completed", **config) -> RunView:
    best = {"val_loss": Best(loss, 3, 30, (0.1,)), "val_acc": Best(1 - loss, 3, 30, (0.1,))}
    whole = {"name": name.partition("-")[0], "seed": seed, **config}
    summary = Summary(best, {"val_loss": loss + 0.5}, steps=4)
    return RunView(name, status, "", whole, summary)


def grouping(new: list[float], baseline: list[float] = (), first: int = 0) -> Grouping:
    runs = [run(f"new-{k}", k, loss) for k, loss in enumerate(new)]
    runs += [run(f"old-{k}", k, loss) for k, loss in enumerate(baseline, start=first)]
    return group_by_seed(compare(runs), set(range(len(new), len(runs))))


def held(text: str, new: list[float], baseline: list[float] = (), first: int = 0) -> GateResult:
    gate, found = read_gate(text), grouping(new, baseline, first)
    check_gates([gate], found, ["val_loss", "val_acc"])
    (group,) = [each for each in found.groups if not each.is_baseline]
    return judge(gate, group, baseline_of(group, found) if gate.of_baseline else None)


@pytest.mark.parametrize(
    ("text", "gate"),
    [
        ("val_loss<=0.08", Gate("val_loss<=0.08", "val_loss", number=0.08)),
        (" val_acc > 9e-1 ", Gate("val_acc > 9e-1", "val_acc", operator=">", number=0.9)),
        ("a.last >= -.5", Gate("a.last >= -.5", "a", "last", ">=", -0.5)),
        ("a.best<1", Gate("a.best<1", "a", "best", "<", 1.0)),
        ("a <= baseline", Gate("a <= baseline", "a", of_baseline=True)),
        ("a<=baseline-2 %", Gate("a<=baseline-2 %", "a", share=-0.02, of_baseline=True)),
        ("a>=baseline - 0.5", Gate("a>=baseline - 0.5", "a", "best", ">=", -0.5, 0.0, True)),
        ("lr", Gate("lr", "lr", of_baseline=True)),
    ],
    ids=lambda value: value.strip() if isinstance(value, str) else "",
)
def test_what_can_be_written(text: str, gate: Gate) -> None:
    assert read_gate(text) == gate


def test_the_gates_of_the_page_can_be_read() -> None:
    page = (Path(__file__).parents[2] / "docs" / "comparing.md").read_text("utf-8")
    written = re.findall(r'--gate (?:"(.+?)"|(lr))', page)
    assert len(written) >= 5
    for quoted, bare in written:
        assert read_gate(quoted or bare).metric in ("val_loss", "val_acc", "lr")


@pytest.mark.parametrize(
    "text",
    [
        *("", "val_loss", "val_loss 0.1", "a=<1", "a==1", "a<=1%", "a<=base", "a<=nan", "a<=1e999"),
        *("a<=baseline+", "a<=baseline*2", "<=1", "a<=1 b", "a<=baseline + inf"),
    ],
)
def test_what_cannot(text: str) -> None:
    with pytest.raises(UsageError, match=r"gate .*: expected a (condition such as|finite)"):
        read_gate(text)


@pytest.mark.parametrize(
    ("text", "met"),
    [
        ("val_loss<=0.25", True),
        ("val_loss<0.25", False),
        ("val_loss<=0.2499", False),
        ("val_acc>=0.75", True),
        ("val_acc>0.75", False),
        ("val_loss.last<=0.25", False),
        ("val_loss.last<=0.75", True),
    ],
)
def test_one_run_is_held_to_its_value(text: str, met: bool) -> None:
    found = held(text, [0.25])
    assert (found.met, found.of) == (met, "new-0")
    assert "with 95%" not in found.sentence


def test_a_group_is_held_to_the_worse_end_of_its_interval() -> None:
    """0.1, 0.2, 0.3: 0.2 ± 4.3027 · 0.1 / √3, so 0.4484 at most."""
    losses = [0.1, 0.2, 0.3]
    assert held("val_loss<=0.449", losses).met and not held("val_loss<=0.448", losses).met
    assert held("val_acc>=0.551", losses).met and not held("val_acc>=0.552", losses).met
    unsure = held("val_loss<=0.3", losses)
    assert unsure.sentence == (
        "new has val_loss 0.2, and -0.04841 to 0.4484 with 95% (3 seeds): undecided; "
        "about 10 seeds would tell"
    )
    assert (unsure.value, unsure.bound) == (pytest.approx(0.2), 0.3)
    assert (unsure.low, unsure.high) == pytest.approx((-0.0484, 0.4484), abs=1e-4)
    lost = held("val_loss<=-0.1", losses)
    assert not lost.met and "undecided" not in lost.sentence


@pytest.mark.parametrize(
    ("text", "new", "old", "met"),
    [
        ("val_loss<=baseline", 0.5, 0.5, True),
        ("val_loss<baseline", 0.5, 0.5, False),
        ("val_loss<=baseline + 2%", 0.51, 0.5, True),
        ("val_loss<=baseline + 2%", 0.511, 0.5, False),
        ("val_loss<=baseline + 0.02", 0.511, 0.5, True),
        ("val_loss<=baseline - 10%", 0.46, 0.5, False),
        ("val_acc>=baseline - 10%", 0.54, 0.5, True),
    ],
)
def test_one_run_against_one(text: str, new: float, old: float, met: bool) -> None:
    assert held(text, [new], [old]).met is met


def test_seeds_are_paired_with_those_of_the_baseline() -> None:
    old = [0.49, 0.5, 0.51]
    same = held("val_loss <= baseline", old, old)
    assert same.met and same.sentence.endswith("with 95% (paired over 3 seeds)")
    assert held("val_loss<=baseline+2%", [each * 1.019 for each in old], old).met
    assert not held("val_loss<=baseline+2%", [each * 1.021 for each in old], old).met
    assert not held("val_loss<=baseline+2%", old, old, first=7).met  # other seeds: Welch


def test_a_baseline_below_zero_has_its_share_added() -> None:
    assert held("val_loss<=baseline + 10%", [-0.9], [-1.0]).met
    assert not held("val_loss<=baseline + 10%", [-0.89], [-1.0]).met


def test_runs_that_did_not_complete_meet_nothing() -> None:
    for status in ("diverged", "running", "failed", "interrupted"):
        runs = [run("a-0", 0, 0.1), run("a-1", 1, 0.1, status)]
        (group,) = group_by_seed(compare(runs)).groups
        found = judge(read_gate("val_loss<=9"), group, None)
        assert (found.met, found.sentence) == (False, f"not completed: a-1 {status}")


def test_a_run_without_the_metric_is_named() -> None:
    runs = [
        run("a-0", 0, 0.1),
        RunView("a-1", "completed", "", {"name": "a", "seed": 1}, Summary()),
    ]
    (group,) = group_by_seed(compare(runs)).groups
    found = judge(read_gate("val_loss<=9"), group, None)
    assert (found.met, found.sentence) == (False, "no finite val_loss in a-1")


def test_what_cannot_be_judged() -> None:
    with pytest.raises(UsageError, match="did you mean val_loss"):
        held("val_los<=1", [0.1])
    with pytest.raises(UsageError, match="--baseline RUN says"):
        held("val_loss<=baseline", [0.1])
    runs = [run(f"{k}-0", 0, 0.1, lr=k) for k in "abc"]
    found = group_by_seed(compare(runs), {0, 1})
    with pytest.raises(UsageError, match=r"c-0: the baseline has several groups \(a \(base"):
        baseline_of(found.groups[2], found)
    again = group_by_seed(compare([*runs, run("b-1", 0, 0.1, lr="b")]), {0, 1})
    (own,) = [each for each in again.groups if each.label == "b"]
    assert baseline_of(own, again).label == "b (baseline)"


def trace(lrs: list[float], steps: list[int] | None = None, updates: int | None = None) -> LrTrace:
    at = np.array(steps if steps is not None else range(len(lrs)), float)
    return LrTrace(at, {"lr": np.array(lrs)}, len(lrs) if updates is None else updates)


def test_lrs_are_held_bit_for_bit() -> None:
    lrs = [0.1, 0.2, 0.3]
    assert departure(trace(lrs), trace(lrs)) == ""
    assert departure(trace([0.1, 0.2, np.nextafter(0.3, 1)]), trace(lrs)) == (
        "lr 0.30000000000000004 at step 2, the baseline 0.3"
    )
    assert departure(trace([0.0, -0.0]), trace([0.0, 0.0])) == "lr -0.0 at step 1, the baseline 0.0"
    assert departure(trace([0.1, 0.2]), trace(lrs)) == "LRs of 2 steps, the baseline of 3"
    assert departure(trace([0.1, 0.3], [0, 2], 3), trace(lrs)) == ""
    assert departure(trace([0.1], [1], 3), trace([0.1], [0], 3)).startswith("no step that")
    two = LrTrace(np.zeros(1), {"lr/a": np.ones(1), "lr/b": np.ones(1)}, 1)
    assert departure(two, trace([1.0])) == "columns lr/a, lr/b, the baseline lr"


def test_a_trace_is_joined_from_blocks() -> None:
    blocks = [
        {"step": np.array([0.0, 1.0]), "lr": np.array([0.5, 0.4]), "loss": np.ones(2)},
        {"step": np.array([2.0]), "lr": np.array([0.3]), "loss": np.ones(1)},
    ]
    found = lr_trace(iter(blocks), 3)
    assert (found.steps.tolist(), found.updates) == ([0, 1, 2], 3)
    assert {name: each.tolist() for name, each in found.lrs.items()} == {"lr": [0.5, 0.4, 0.3]}


def test_lrs_are_those_of_the_baselines_run_of_the_same_seed() -> None:
    found = grouping([0.1, 0.2], [0.1, 0.2])
    new, old = sorted(found.groups, key=lambda each: each.is_baseline)
    traces = {index: trace([0.1 * (1 + index % 2)]) for index in range(4)}  # follow the seed
    assert judge_lrs(read_gate("lr"), new, old, traces.__getitem__).met
    traces[1] = trace([0.7])
    lost = judge_lrs(read_gate("lr"), new, old, traces.__getitem__)
    assert (lost.met, lost.of) == (False, "new")
    assert lost.sentence == "new-1 has lr 0.7 at step 0, the baseline 0.2"
