"""Which runs make a group, what counts in its mean, and what is said of the best two."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from lrrun.analysis.compare import RunView, compare
from lrrun.analysis.group_verdict import group_notes, group_verdict
from lrrun.analysis.seed_groups import Grouping, group_by_seed, in_order
from lrrun.runlog.summary import Best, Summary

NAN = float("nan")


def run(
    label: str, seed: int, loss: float | None, status="completed", metric="val_loss", **config
) -> RunView:
    best = {} if loss is None else {metric: Best(loss, 3, 30, (0.1,))}
    last = {} if loss is None else {metric: loss + 0.5}
    whole = {"name": label.partition("-")[0], "seed": seed, "scheduler": "cosine", **config}
    return RunView(label, status, "", whole, Summary(best, last))


def several(name: str, losses: Sequence[float | None], first: int = 0, **config) -> list[RunView]:
    return [run(f"{name}-{k}", k, loss, **config) for k, loss in enumerate(losses, start=first)]


def grouped(*runs: RunView, baseline=frozenset()) -> Grouping:
    return group_by_seed(compare(runs), baseline)


def shape(grouping: Grouping) -> dict[str, list[str]]:
    return {each.label: [run.name for run in each.views] for each in grouping.groups}


def test_runs_that_differ_in_their_seed_are_one_group() -> None:
    found = grouped(*several("a", [0.2, 0.4]), *several("b", [0.1, 0.3], scheduler="wsd"))
    assert shape(found) == {"b": ["b-0", "b-1"], "a": ["a-0", "a-1"]}
    mean, half = found.groups[1].mean("val_loss") or (0, 0)
    assert (mean, half) == (pytest.approx(0.3), pytest.approx(12.7062 * 0.1, rel=1e-4))
    assert found.groups[1].mean("val_loss", "last") == (pytest.approx(0.8), pytest.approx(half))
    assert found.decides


def test_groups_of_one_name_are_called_by_what_differs() -> None:
    runs = [
        run(f"t-{k}", k % 2, 0.1 + k // 2, optimizer={"name": "sgd", "lr": lr})
        for k, lr in enumerate([0.5, 0.5, 0.25, 0.25])
    ]
    assert list(shape(grouped(*runs))) == ["lr 0.5", "lr 0.25"]


def test_one_config_under_two_names_is_two_groups_where_seeds_come_again() -> None:
    before, after = several("main", [0.2, 0.3]), several("branch", [0.1, 0.2])
    assert set(shape(grouped(*before, *after))) == {"main", "branch"}
    more = several("more", [0.1, 0.2], first=2)
    assert list(shape(grouped(*before, *more))) == ["all runs"]


def test_a_baseline_stays_by_itself() -> None:
    runs = several("a", [0.2, 0.3, 0.2, 0.3])
    found = grouped(*runs, baseline={2, 3})
    assert set(shape(found)) == {"a", "a (baseline)"}
    assert [each.is_baseline for each in found.groups] == ["base" in each for each in shape(found)]


def test_a_seed_that_was_trained_twice_counts_once() -> None:
    runs = [*several("a", [0.2, 0.4]), run("a-9", 1, 0.6)]
    found = grouped(*runs, *several("b", [1.0, 2.0], scheduler="wsd"))
    assert found.groups[0].values("val_loss") == {"0": 0.2, "1": 0.5}
    assert "a: runs of one seed count as one, by their mean: a-1, a-9." in group_notes(found)


def test_a_group_with_a_diverged_seed_is_ranked_behind_and_named() -> None:
    hot = [*several("hot", [0.01, 0.02]), run("hot-2", 2, 0.001, "diverged", scheduler="cosine")]
    found = grouped(*hot, *several("b", [0.3, 0.5, 0.4], scheduler="wsd"))
    assert list(shape(found)) == ["b", "hot"]
    assert group_verdict(found).startswith("b is best: mean val_loss 0.4 ± 0.25 over 3 seeds; no")
    assert group_notes(found) == [
        "hot: 1 of 3 seeds diverged (hot-2); ranked behind the groups where none did, its mean is "
        "over the others."
    ]
    assert "hot" not in found.to_best
    assert group_verdict(grouped(*hot, run("x-1", 1, 0.5, "diverged", scheduler="x"))) == (
        "No group is without divergence: fewest in hot, 1 of 3 seeds."
    )


def test_a_seed_that_diverged_once_is_in_no_mean() -> None:
    runs = [*several("a", [0.2, 0.4]), run("a-9", 1, 0.6, "diverged")]
    found = grouped(*runs, *several("b", [1.0, 2.0], scheduler="wsd"))
    assert (found.groups[1].values("val_loss"), found.groups[1].lost) == ({"0": 0.2}, 1)


def test_runs_that_say_nothing_are_named() -> None:
    runs = [*several("a", [0.2, 0.4, None]), run("a-3", 3, 0.1, "running"), run("a-4", 4, NAN)]
    found = grouped(*runs, *several("b", [1.0, 2.0], scheduler="wsd"))
    assert found.groups[0].values("val_loss") == {"0": 0.2, "1": 0.4}
    assert group_notes(found)[-1] == (
        "a: not in the mean: a-3 running, a-2 without a val_loss, a-4 without a val_loss."
    )


def test_a_difference_that_seeds_tell() -> None:
    """Paired differences 0.1, 0.2, 0.3: 0.2 ± 4.3027 · 0.1 / √3 = 0.2 ± 0.2484; then times 1/10."""
    losses = [0.5, 0.9, 0.7]
    noisy = [each + gap for each, gap in zip(losses, (0.1, 0.2, 0.3), strict=True)]
    steady = [each + gap for each, gap in zip(losses, (0.19, 0.2, 0.21), strict=True)]
    a = several("a", losses)
    unsure = grouped(*a, *several("b", noisy, scheduler="wsd"))
    assert group_verdict(unsure) == (
        "a has the best mean, but that may be chance: mean val_loss 0.7, 0.2 (22%) below b."
    )
    assert group_notes(unsure) == [
        "95% interval of the difference: -0.0484 to 0.448 (paired over 3 seeds).",
        "To tell a difference of this size takes about 5 seeds each (power 0.8).",
    ]
    sure = grouped(*a, *several("b", steady, scheduler="wsd"))
    assert group_verdict(sure) == "a is better: mean val_loss 0.7, 0.2 (22%) below b."
    assert group_notes(sure) == [
        "95% interval of the difference: 0.175 to 0.225 (paired over 3 seeds)."
    ]
    level = grouped(*a, *several("b", losses, scheduler="wsd"))
    assert group_verdict(level) == "a and b are level: mean val_loss 0.7, the same seed by seed."
    assert group_notes(level) == []


def test_a_metric_that_grows_is_turned() -> None:
    a = several("a", [0.8, 0.9, 0.7], metric="val_acc")
    b = several("b", [0.61, 0.7, 0.49], metric="val_acc", scheduler="wsd")
    found = grouped(*a, *b)
    assert group_verdict(found) == "a is better: mean val_acc 0.8, 0.2 (33%) above b."
    assert group_notes(found)[0].startswith("95% interval of the difference: 0.175 to 0.225 (")


def test_of_more_groups_the_intervals_are_corrected() -> None:
    a, b = several("a", [0.5, 0.9, 0.7]), several("b", [0.69, 1.1, 0.91], scheduler="wsd")
    c = several("c", [0.8, 1.0, 0.9], scheduler="linear")
    found = grouped(*a, *b, *c)
    two = grouped(*a, *b)
    assert found.to_best["b"].confidence == pytest.approx(1 - 0.05 / 3)
    ratio = (found.to_best["b"].half_width or 0) / (two.to_best["b"].half_width or 1)
    assert ratio == pytest.approx(7.6488 / 4.3027, rel=1e-4)  # t of 2 degrees at 1 - 0.05/6
    assert "Bonferroni over the 3 pairs" in group_notes(found)[0]
    assert group_notes(found)[-1] == "Not told from a either: c."


def test_the_best_of_five_is_not_set_against_the_only_one() -> None:
    found = grouped(*several("a", [0.2, 0.4, 0.6, 0.5, 0.3]), run("b-1", 0, 0.3, scheduler="wsd"))
    assert found.decides and list(shape(found)) == ["b", "a"]
    assert "may be chance" in group_verdict(found)
    assert "(5 and 1 seeds, taken to spread alike)" in group_notes(found)[0]
    assert not grouped(run("a-1", 0, 0.1), run("b-1", 0, 0.2, scheduler="wsd")).decides
    assert not grouped(*several("a", [0.1, 0.2])).decides


def test_orders_of_groups() -> None:
    runs = [*several("a", [0.2, 0.4]), *several("b", [0.1, 0.2], scheduler="wsd")]
    found = grouped(*runs)
    assert [each.label for each in in_order(found, "rank", ())] == ["b", "a"]
    assert [each.label for each in in_order(found, "given", (0, 1, 2, 3))] == ["a", "b"]
    assert [each.label for each in in_order(found, "val_loss", (0, 1, 2, 3))] == ["b", "a"]
