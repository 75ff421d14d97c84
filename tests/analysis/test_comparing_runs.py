from __future__ import annotations

import numpy as np
import pytest

from lrrun.analysis.compare import (
    MISSING,
    RunView,
    caution,
    compare,
    order,
    verdict,
)
from lrrun.errors import UsageError
from lrrun.runlog.summary import Best, Summary, summarize

CONFIG = {
    "name": "a",
    "seed": 0,
    "optimizer": {"name": "sgd", "lr": 0.1, "momentum": 0.9},
    "scheduler": {"name": "cosine", "warmup": "5%", "final": "1%"},
}


def run(label: str, loss: float | None = 1.0, status="completed", **config) -> RunView:
    best = {} if loss is None else {"val_loss": Best(loss, 3, 30, (0.1,))}
    seconds = float(len(label))
    return RunView(label, status, "", {**CONFIG, **config}, Summary(best, seconds=seconds))


def differences(*runs: RunView) -> dict[str, tuple]:
    return {each.key: each.values for each in compare(runs).differences}


def test_equal_configs_differ_in_nothing_but_the_name() -> None:
    assert differences(run("a"), run("b", name="b")) == {}


def test_arguments_of_one_component_differ_one_by_one() -> None:
    other = {"name": "sgd", "lr": 0.2, "nesterov": True}
    assert differences(run("a"), run("b", optimizer=other)) == {
        "optimizer.lr": (0.1, 0.2),
        "optimizer.momentum": (0.9, MISSING),
        "optimizer.nesterov": (MISSING, True),
    }


def test_different_components_stand_whole_without_what_they_share() -> None:
    other = {"name": "step", "warmup": "5%", "every": "10 epochs"}
    assert differences(run("a"), run("b", scheduler=other)) == {
        "scheduler": ({"name": "cosine", "final": "1%"}, {"name": "step", "every": "10 epochs"})
    }


def test_a_list_of_parts_is_one_value() -> None:
    parts = [{"name": "step", "for": "10 epochs"}, {"name": "cosine"}]
    assert differences(run("a"), run("b", scheduler=parts)) == {
        "scheduler": (CONFIG["scheduler"], parts)
    }


def test_ranking_puts_lost_and_empty_runs_last() -> None:
    runs = [run("gone", 0.01, "diverged"), run("none", None), run("b", 0.3), run("a", 0.2)]
    comparison = compare(runs)
    assert [runs[index].name for index in comparison.ranking] == ["a", "b", "none", "gone"]
    assert verdict(comparison) == "a is best: val_loss 0.2 at epoch 3, 0.1 (33%) below b."


def test_an_accuracy_is_ranked_upwards() -> None:
    def scored(name: str, value: float) -> RunView:
        summary = Summary({"val_acc": Best(value, 2, 20, (0.1,))})
        return RunView(name, "completed", "", CONFIG, summary)

    comparison = compare([scored("a", 0.5), scored("b", 0.75)])
    assert comparison.metric == "val_acc"
    assert verdict(comparison) == "b is best: val_acc 0.75 at epoch 2, 0.25 (50%) above a."


@pytest.mark.parametrize(
    ("runs", "sentence"),
    [
        ((run("a", None), run("b", None)), "No run has a finished epoch yet"),
        ((run("a", 0.5), run("b", 0.5)), "a and b are level: val_loss 0.5."),
        ((run("a", 0.5), run("b", None)), "a is best: val_loss 0.5 at epoch 3; no other run"),
    ],
)
def test_verdicts_of_few_numbers(runs, sentence: str) -> None:
    assert verdict(compare(runs)).startswith(sentence)


def test_cautions() -> None:
    assert caution(compare([run("a"), run("b", scheduler="x")])).startswith("One seed each")
    assert "spread between seeds" in caution(compare([run("a"), run("b", seed=1)]))
    assert caution(compare([run("a", status="running"), run("b")])).endswith("died: a.")
    assert caution(compare([run("a", x=1), run("b", seed=1)])) == ""
    many = [run(f"r{i}", status="running") for i in range(20)]
    assert caution(compare(many)).endswith("r6, r7 and 12 more.")


def test_orders() -> None:
    comparison = compare([run("ccc", 0.3), run("a", 0.2), run("bb", 0.1)])
    assert order(comparison, "given") == (0, 1, 2)
    assert order(comparison, "name") == (1, 2, 0)
    assert order(comparison, "time") == (1, 2, 0)
    assert order(comparison, "rank") == order(comparison, "val_loss") == (2, 1, 0)
    with pytest.raises(UsageError, match="did you mean val_loss"):
        order(comparison, "valloss")


def test_summaries_pass_over_what_is_not_finite() -> None:
    nan, inf = float("nan"), float("inf")
    epochs = {
        "epoch": np.array([1.0, 2, 3, 4]),
        "step": np.array([10.0, 20, 30, 40]),
        "samples": np.array([100.0, 200, 300, 400]),
        "lr/body": np.array([4.0, 3, 2, 1]),
        "lr/head": np.array([0.4, 0.3, 0.2, 0.1]),
        "train_loss": np.array([3.0, 2, 1, nan]),
        "val_loss": np.array([2.0, 0.5, 0.5, inf]),
        "val_acc": np.array([0.1, 0.9, 0.9, nan]),
        "val_odd": np.full(4, nan),
        "grad_norm": np.ones(4),
    }
    summary = summarize(epochs, {"seconds": np.array([1.0, 2, 3, nan])})
    assert set(summary.best) == {"train_loss", "val_loss", "val_acc"}
    assert summary.best["val_loss"] == Best(0.5, 2, 20, (3.0, 0.3))
    assert summary.best["val_acc"].value == 0.9
    assert summary.last == {"train_loss": 1.0, "val_loss": inf, "val_acc": 0.9}
    assert (summary.epochs, summary.steps, summary.samples, summary.seconds) == (4, 40, 400, 6.0)
