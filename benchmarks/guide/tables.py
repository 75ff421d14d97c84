"""The guide's tables, as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from figures import TASKS, Places
from results import Sweep, Trial, called, finding, grouped, lowest, size

from lrrun.analysis.points import Point
from lrrun.analysis.response import ResponseCurve


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; all columns but the first are numbers."""
    lines = [header, ["---", *["--:"] * (len(header) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def spread(losses: Sequence[float], diverged: int = 0) -> str:
    """Mean ± standard deviation, or how many diverged."""
    if diverged:
        return f"{diverged} of {len(losses)} diverged"
    return f"{np.mean(losses):.3f} ± {np.std(losses, ddof=1):.3f}"


def at(point: Point | None) -> str:
    """A loss and its deviation over seeds."""
    return "-" if point is None else spread(point.losses, point.lost)


def basin(curve: ResponseCurve) -> str:
    """The LRs that are as good as the best, where the grid's ends are no bound."""
    found = curve.basin
    if found is None:
        return "-"
    low, high = "<" if found.open_low else "", ">" if found.open_high else ""
    return f"{low}{found.low:.2g} to {high}{found.high:.2g}"


def grid(places: Places) -> str:
    (curve,) = Sweep(places["grid"]).response.curves
    rows = []
    for point in curve.points:
        trials = Sweep(places["grid"]).where(lr=point.lr)
        accuracy = [each.run.epochs["val_acc"][-1] for each in trials if each.status == "completed"]
        shown = f"{np.mean(accuracy):.1%}" if not point.lost else "-"
        rows.append((f"{point.lr:g}", at(point), shown))
    return table(("optimizer.lr", "val_loss", "val_acc"), rows)


def find(places: Places) -> str:
    rows = []
    for task in TASKS:
        told = finding(places[f"find-{task}"])
        curve = cosine(places, task)
        low, high = told["interval"]
        rows.append(
            (
                task,
                f"{lowest(curve).lr:.2g}",
                basin(curve),
                f"{told['recommended_lr']:.2g}",
                f"{low:.2g} to {high:.2g}",
                f"{told['diverges_at']:.2g}" if told["diverges_at"] else "-",
                f"{told['cost']['runs']:.1f} runs",
            )
        )
    header = (
        "task",
        "best of the grid",
        "as good there",
        "`find` says",
        "as good",
        "diverges at",
        "cost",
    )
    return table(header, rows)


def rules(places: Places) -> str:
    told = {task: finding(places[f"find-{task}"]) for task in TASKS}
    names = list(told["digits"]["rules"])
    rows = []
    for name in names:
        cells = []
        for task in TASKS:
            lr = told[task]["rules"][name]
            best = lowest(cosine(places, task)).lr
            cells.append("-" if lr is None else f"{lr:.2g} ({_times(lr / best)} ×)")
        rows.append((name, *cells))
    return table(("rule", *TASKS), rows)


def _times(ratio: float) -> str:
    return f"{ratio:.0f}" if ratio >= 100 else f"{ratio:.2g}"


def cosine(places: Places, task: str) -> ResponseCurve:
    """The response of a task's cosine: its ground truth."""
    return Sweep(places[f"schedules-{task}"]).curve(lambda own: own["scheduler"] == "cosine")


def shapes(places: Places) -> str:
    rows = []
    for lr in (1e-3, 1e-2, 1e-1, 1.0, 10.0):
        trials = Sweep(places["grid"]).where(lr=lr)
        done = [each.run.epochs for each in trials if each.status == "completed"]
        cells = ["-"] * 4
        if done:
            early, train, val = (
                float(np.mean([own[metric][place] for own in done]))
                for metric, place in (("val_loss", 1), ("train_loss", -1), ("val_loss", -1))
            )
            cells = [f"{early:.3f}", f"{train:.3f}", f"{val:.3f}", f"{val - train:+.3f}"]
        rows.append((f"{lr:g}", *cells, f"{len(trials) - len(done)} of {len(trials)}"))
    header = (
        "optimizer.lr",
        "val_loss after 10%",
        "train_loss at the end",
        "val_loss at the end",
        "gap",
        "diverged",
    )
    return table(header, rows)


def schedules(places: Places) -> str:
    responses = {task: Sweep(places[f"schedules-{task}"]).response for task in TASKS}
    rows = []
    for index, curve in enumerate(responses["digits"].curves):
        cells = []
        for task in TASKS:
            own = responses[task].curves[index]
            best = lowest(own)
            least = min(lowest(each).mean for each in responses[task].curves)
            good = best.mean <= least + responses[task].tolerance.value
            mark = "**" if good else ""
            cells += [f"{mark}{at(best)}{mark}", f"{best.lr:.2g}"]
        rows.append((f"`{called(curve.settings['scheduler'])}`", *cells))
    return table(("schedule", *(word for task in TASKS for word in (task, "at LR"))), rows)


def forgiving(places: Places) -> str:
    responses = {task: Sweep(places[f"schedules-{task}"]).response for task in TASKS}
    rows = []
    for index, curve in enumerate(responses["digits"].curves):
        cells = []
        for task in TASKS:
            own = responses[task].curves[index]
            cells += [f"{own.sensitivity:.3f}", basin(own)]
        rows.append((f"`{called(curve.settings['scheduler'])}`", *cells))
    header = ("schedule", *(w for task in TASKS for w in (f"{task}: sensitivity", "as good")))
    return table(header, rows)


def responses(place: Path, key: str, second: str | None = None) -> str:
    """One row a curve: its best LR and how wide it is."""
    rows = []
    for curve in Sweep(place).response.curves:
        names = [_named(curve.settings[each]) for each in (key, second) if each is not None]
        end = f"{curve.diverges_at:.2g}" if curve.diverges_at else "-"
        best = curve.best
        lr = "-" if best is None else f"{best.lr:.2g}"
        rows.append((*names, lr, at(best), basin(curve), end))
    header = [key.rpartition(".")[2], *([second.rpartition(".")[2]] if second else [])]
    return table((*header, "best LR", "val_loss there", "as good", "a seed diverges at"), rows)


def _named(value: object) -> str:
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return f"{value:.0%}"
    return (
        str(size(value))
        if isinstance(value, (list, tuple)) and not isinstance(value[0], dict)
        else f"`{called(value)}`"
    )


def headroom(places: Places) -> str:
    rows = []
    for trials in grouped(Sweep(places["headroom"]).trials, "optimizer.lr"):
        measured = np.concatenate([each.run.headroom["headroom"] for each in trials])
        rows.append(
            (
                f"{trials[0].values['optimizer.lr']:g}",
                f"{np.median(measured):.2g}",
                f"{np.mean(measured < 0.05):.0%}",
                f"{np.mean(measured > 1):.0%}",
                _losses(trials),
            )
        )
    header = ("optimizer.lr", "LR / critical LR, median", "below 0.05", "above 1", "val_loss")
    return table(header, rows)


def early(places: Places) -> str:
    sweep = Sweep(places["early"])
    groups = grouped(sweep.where(lr=0.1), "scheduler")
    rows = []
    for group in groups:
        schedule = group[0].values["scheduler"]
        rows.append(
            (
                schedule["at"][0],
                *(_losses(sweep.where(lr=lr, scheduler=schedule)) for lr in (0.1, 0.2)),
            )
        )
    return table(("LR / 10 at", "LR 0.1", "LR 0.2"), rows)


def often(places: Places) -> str:
    sweep = Sweep(places["often"])
    rows = []
    for every in ("1%", "5%"):
        for group in grouped(sweep.where(evaluate=every), "scheduler"):
            last = [each.run.epochs["lr"][-1] for each in group]
            cuts = [np.count_nonzero(np.diff(each.run.epochs["lr"])) for each in group]
            rows.append(
                (
                    every,
                    str(group[0].values["scheduler"]["patience"]),
                    f"{np.median(cuts):.0f}",
                    f"{np.median(last):.2g}",
                    _losses(group),
                )
            )
    header = ("evaluated every", "patience", "cuts, median", "LR at the end, median", "val_loss")
    return table(header, rows)


def overfitting(places: Places) -> str:
    rows = []
    for trials in grouped(Sweep(places["overfitting"]).trials, "scheduler"):
        own = [each.run.epochs for each in trials]
        train, lowest_val, val = (
            np.mean([pick(table) for table in own])
            for pick in (
                lambda t: t["train_loss"][-1],
                lambda t: t["val_loss"].min(),
                lambda t: t["val_loss"][-1],
            )
        )
        when = np.median([table["epoch"][np.argmin(table["val_loss"])] for table in own])
        rows.append(
            (
                f"`{called(trials[0].values['scheduler'])}`",
                f"{train:.5f}",
                f"{lowest_val:.3f}",
                f"{when:.0f}",
                f"{val:.3f}",
            )
        )
    header = (
        "schedule",
        "train_loss at the end",
        "lowest val_loss",
        "at epoch",
        "val_loss at the end",
    )
    return table(header, rows)


def _losses(trials: Sequence[Trial]) -> str:
    lost = sum(each.status != "completed" for each in trials)
    return spread([each.loss for each in trials], lost)


RESPONSES: dict[str, tuple[str, str | None]] = {
    "length": ("train.scale", None),
    "optimizers": ("optimizer", None),
    "batch-size": ("optimizer", "dataset.batch_size"),
    "warmup": ("scheduler", None),
    "warmup-tiny-gpt": ("scheduler", None),
    "width": ("optimizer", "model.hidden"),
}
"""Experiment → the keys beside the LR that its table has a row for."""
