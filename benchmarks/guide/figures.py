"""The guide's pictures, each from one experiment or two."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from results import (
    Sweep,
    Trial,
    called,
    finding,
    grouped,
    lowest,
    mean_course,
    range_curve,
    size,
)

from lrrun.analysis.response import ResponseCurve
from lrrun.render.figures import new_figure, save
from lrrun.render.finding import RULE_COLORS

TASKS = ("digits", "regression", "tiny-gpt")
PICKED = ("constant", "exponential (final 1%)", "linear", "cosine", "wsd (cooldown 20%)")
"""The schedules that are drawn; the tables have them all."""

Places = Mapping[str, Path]


def draw_all(places: Places, folder: Path) -> None:
    """Draw every picture of the guide into `folder`."""
    for picture in (
        grid,
        find,
        shapes,
        schedules,
        courses,
        length,
        optimizers,
        batch_size,
        warmup,
        width,
        headroom,
        early_and_often,
        overfitting,
    ):
        file = folder / f"{picture.__name__.replace('_', '-')}.png"
        picture(places, file)
        _shrink(file)


def _shrink(file: Path) -> None:
    """A quarter of the bytes: 64 colours are enough for curves."""
    Image.open(file).convert("RGB").quantize(64).save(file, optimize=True)


def grid(places: Places, file: Path) -> None:
    figure, axes = new_figure(file)
    (curve,) = Sweep(places["grid"]).response.curves
    _responses(axes, [("mean of 5 seeds", curve)])
    for point in curve.points:
        if point.lost:
            axes.axvline(point.lr, color="0.6", linestyle=":")
            axes.text(
                point.lr,
                0.98,
                f"{point.lost} of {len(point.losses)} diverged ",
                ha="right",
                va="top",
                rotation=90,
                transform=axes.get_xaxis_transform(),
            )
    assert curve.basin is not None
    axes.axvspan(curve.basin.low, curve.basin.high, color="C2", alpha=0.2, label="as good")
    axes.set_title("digits, SGD with momentum, cosine")
    axes.legend()
    save(figure, file)


def find(places: Places, file: Path) -> None:
    figure, panels = new_figure(file, len(TASKS))
    for task, axes in zip(TASKS, panels, strict=True):
        place = places[f"find-{task}"]
        lr, loss = range_curve(place)
        told = finding(place)
        axes.plot(lr, loss, color="0.3")
        for index, (rule, found) in enumerate(told["rules"].items()):
            if found is not None:
                dots = (index, (1, 4))  # rules that agree stand beside each other
                color = RULE_COLORS[rule]
                axes.axvline(found, color=color, linestyle=dots, linewidth=2, label=rule)
        axes.axvspan(*told["interval"], color="C2", alpha=0.25, label="confirmed")
        axes.axvline(told["recommended_lr"], color="C2", linewidth=2, label="found")
        axes.set(xscale="log", title=task, xlabel="optimizer.lr", ylim=(0, 1.5 * loss[0]))
    panels[0].set_ylabel("training loss in the range test, smoothed")
    panels[0].legend(fontsize="small", handlelength=3)
    save(figure, file)


def shapes(places: Places, file: Path) -> None:
    figure, (left, right) = new_figure(file, 2)
    sweep = Sweep(places["grid"])
    for index, lr in enumerate((1e-3, 1e-2, 1e-1, 1.0, 10.0)):
        trials = sweep.where(lr=lr)
        run = trials[0].run
        label = f"lr {lr:g}" + ("" if trials[0].status == "completed" else " (diverges)")
        left.plot(run.epochs["epoch"], run.epochs["val_loss"], ".-", color=f"C{index}", label=label)
        steps = run.steps["step"] < 150
        right.plot(run.steps["step"][steps], run.steps["loss"][steps], color=f"C{index}")
    left.set(xlabel="epoch", ylabel="val_loss", yscale="log", xticks=range(0, 21, 5))
    right.set(xlabel="step", ylabel="training loss of each batch", yscale="log", ylim=(None, 50))
    right.legend(*left.get_legend_handles_labels(), loc="upper right")
    save(figure, file)


def schedules(places: Places, file: Path) -> None:
    figure, panels = new_figure(file, len(TASKS))
    for task, axes in zip(TASKS, panels, strict=True):
        curves = Sweep(places[f"schedules-{task}"]).response.curves
        named = [(called(each.settings["scheduler"]), each) for each in curves]
        _responses(axes, [each for each in named if each[0] in PICKED], band=False)
        worst = max(lowest(each).mean for each in curves)
        best = min(lowest(each).mean for each in curves)
        axes.set(title=task, ylim=(best - 0.2 * (worst - best), worst + (worst - best)))
        axes.set_yscale("linear")
    panels[0].legend()
    save(figure, file)


def courses(places: Places, file: Path) -> None:
    """What the loss does while the LR does what its schedule says, at one LR."""
    figure, (left, right) = new_figure(file, 2)
    sweep = Sweep(places["schedules-tiny-gpt"])
    lr = lowest(sweep.curve(lambda own: own["scheduler"] == "cosine")).lr
    for trials in grouped(sweep.where(lr=lr), "scheduler"):
        name = called(trials[0].values["scheduler"])
        if name in PICKED:
            steps = trials[0].run.steps
            left.plot(steps["step"], steps["lr"], label=name)
            epochs = trials[0].run.epochs
            right.plot(epochs["step"], mean_course(trials, "val_loss")[1], label=name)
    left.set(xlabel="step", ylabel="learning rate")
    right.set(xlabel="step", ylabel="val_loss, mean of 3 seeds", yscale="log")
    right.legend()
    save(figure, file)


def length(places: Places, file: Path) -> None:
    figure, axes = new_figure(file)
    curves = Sweep(places["length"]).response.curves
    _responses(
        axes, [(f"{100 * each.settings['train.scale']:g}% of the run", each) for each in curves]
    )
    axes.set_ylim(top=1)
    axes.legend()
    save(figure, file)


def optimizers(places: Places, file: Path) -> None:
    figure, axes = new_figure(file)
    curves = Sweep(places["optimizers"]).response.curves
    _responses(axes, [(called(each.settings["optimizer"]), each) for each in curves])
    axes.legend()
    save(figure, file)


def batch_size(places: Places, file: Path) -> None:
    _two_panels(places["batch-size"], file, "dataset.batch_size", "batch {}")


def width(places: Places, file: Path) -> None:
    _two_panels(places["width"], file, "model.hidden", "hidden {}")


def _two_panels(place: Path, file: Path, key: str, label: str) -> None:
    """A panel for each optimizer, a curve for each value of `key`."""
    figure, panels = new_figure(file, 2)
    curves = Sweep(place).response.curves
    optimizers = list(dict.fromkeys(called(each.settings["optimizer"]) for each in curves))
    for name, axes in zip(optimizers, panels, strict=True):
        own = [each for each in curves if called(each.settings["optimizer"]) == name]
        _responses(axes, [(label.format(size(each.settings[key])), each) for each in own])
        axes.set_title("adam with muP" if "muP" in name else name)
        axes.legend()
    save(figure, file)


def warmup(places: Places, file: Path) -> None:
    figure, (left, right) = new_figure(file, 2)
    curves = Sweep(places["warmup"]).response.curves
    _responses(left, [(called(each.settings["scheduler"]), each) for each in curves])
    left.set_title("eight hidden layers, Adam")
    left.legend()
    for index, trials in enumerate(grouped(Sweep(places["headroom-warmup"]).trials, "scheduler")):
        table = [each.run.headroom for each in trials]
        steps = table[0]["step"]
        lr = np.median([each["lr"] for each in table], axis=0)
        with np.errstate(divide="ignore"):
            critical = np.median([each["lr"] / each["headroom"] for each in table], axis=0)
        name = called(trials[0].values["scheduler"])
        right.plot(steps, critical, ".-", color=f"C{index}", label=f"critical LR: {name}")
        right.plot(steps, lr, "--", color=f"C{index}", label="its LR")
    right.set(yscale="log", xlabel="step", title="median of 5 seeds", xlim=(0, 250))
    right.legend(fontsize="small")
    save(figure, file)


def headroom(places: Places, file: Path) -> None:
    figure, axes = new_figure(file)
    for trials in grouped(Sweep(places["headroom"]).trials, "optimizer.lr"):
        table = [each.run.headroom for each in trials]
        rows = min(len(each["step"]) for each in table)
        value = np.median([each["headroom"][:rows] for each in table], axis=0)
        lr = trials[0].values["optimizer.lr"]
        axes.plot(table[0]["step"][:rows], value, ".-", label=f"lr {lr:g}")
    axes.axhline(1, color="0.5", linestyle=":")
    axes.set(yscale="log", xlabel="step", ylabel="LR / critical LR, median of 3 seeds")
    axes.legend()
    save(figure, file)


def early_and_often(places: Places, file: Path) -> None:
    figure, (left, right) = new_figure(file, 2)
    for lr in (0.1, 0.2):
        groups = grouped(Sweep(places["early"]).where(lr=lr), "scheduler")
        at = [float(each[0].values["scheduler"]["at"][0].rstrip("%")) for each in groups]
        _errors(left, at, groups, f"lr {lr:g}")
    left.set(xlabel="LR / 10 after this share of the run, %", ylabel="val_loss, mean and sd")
    for every in ("1%", "5%"):
        groups = grouped(Sweep(places["often"]).where(evaluate=every), "scheduler")
        patience = [each[0].values["scheduler"]["patience"] for each in groups]
        _errors(right, patience, groups, f"evaluated every {every}")
    right.set(xlabel="patience of plateau, in evaluations")
    left.legend()
    right.legend()
    save(figure, file)


def overfitting(places: Places, file: Path) -> None:
    figure, axes = new_figure(file)
    for index, trials in enumerate(grouped(Sweep(places["overfitting"]).trials, "scheduler")):
        name = called(trials[0].values["scheduler"])
        for metric, style in (("val_loss", "-"), ("train_loss", "--")):
            epochs, loss = mean_course(trials, metric)
            axes.plot(epochs, loss, style, color=f"C{index}", label=f"{name}: {metric}")
    axes.set(xlabel="epoch", ylabel="loss, mean of 3 seeds", yscale="log")
    axes.legend()
    save(figure, file)


def _errors(axes: Any, x: Sequence[float], groups: Sequence[Sequence[Trial]], label: str) -> None:
    losses = [[each.loss for each in trials] for trials in groups]
    deviations = [np.std(each, ddof=1) for each in losses]
    axes.errorbar(
        x, [np.mean(each) for each in losses], deviations, marker="o", capsize=3, label=label
    )


def _responses(axes: Any, curves: Sequence[tuple[str, ResponseCurve]], band: bool = True) -> None:
    """Mean loss over LR, with a circle at each best; a gap where a seed diverged."""
    for index, (label, curve) in enumerate(curves):
        held = [point for point in curve.points if not point.lost]
        lr, mean = [point.lr for point in held], np.array([point.mean for point in held])
        axes.plot(lr, mean, ".-", color=f"C{index}", label=label)
        if band:
            half = np.array([point.deviation or 0.0 for point in held])
            axes.fill_between(lr, mean - half, mean + half, color=f"C{index}", alpha=0.2)
        if curve.best is not None:
            axes.plot(
                curve.best.lr,
                curve.best.mean,
                "o",
                color=f"C{index}",
                fillstyle="none",
                markersize=9,
            )
    axes.set(xscale="log", yscale="log", xlabel="optimizer.lr", ylabel="val_loss, mean over seeds")
    axes.grid(alpha=0.3)
