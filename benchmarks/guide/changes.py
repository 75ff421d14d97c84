"""What the guide says of changes: of optimizer, batch, width, length, and of the LR on its way."""

from __future__ import annotations

import math

import numpy as np
from figures import Places
from results import Sweep, called, grouped, lowest, size
from sentences import Claims, mean_loss

from lrrun.analysis.response import ResponseCurve


def best_lrs(curves: list[ResponseCurve], key: str) -> dict[object, float]:
    """The best LR for each value of a key."""
    return {size(each.settings[key]): lowest(each).lr for each in curves}


def of(place: str, optimizer: str, places: Places) -> list[ResponseCurve]:
    """The curves of a sweep with optimizers whose name begins so."""
    curves = Sweep(places[place]).response.curves
    return [each for each in curves if called(each.settings["optimizer"]).startswith(optimizer)]


def headroom(places: Places, claims: Claims) -> str:
    groups = grouped(Sweep(places["headroom"]).trials, "optimizer.lr")
    medians = [
        float(np.median(np.concatenate([each.run.headroom["headroom"] for each in own])))
        for own in groups
    ]
    best = min(range(len(groups)), key=lambda k: mean_loss(groups[k]))
    lr = groups[best][0].values["optimizer.lr"]
    return claims.say(
        f"The best LR of these four, {lr:g}, used {medians[best]:.0%} of the critical LR (the "
        f"median), the LR ten times lower {medians[best - 1]:.1%}. A gauge that says 1% "
        "for most of a run says: try ten times more. The gauge needs "
        "a network that learns: at LR 1 it reads about the same as at 0.1, and nothing is learnt.",
        medians[best - 1] < 0.5 * medians[best],
        0.05 < medians[best] < 0.5,
    )


def overfitting(places: Places, claims: Claims) -> str:
    groups = grouped(Sweep(places["overfitting"]).trials, "scheduler")
    rises = {}
    for trials in groups:
        tables = [each.run.epochs["val_loss"] for each in trials]
        name = called(trials[0].values["scheduler"])
        rises[name] = float(np.mean([own[-1] / own.min() for own in tables]))
    return claims.say(
        "In 100 epochs the training loss goes to nothing, and the validation loss ends "
        f"{rises['constant'] - 1:.0%} above its lowest with a constant LR and "
        f"{rises['cosine'] - 1:.0%} above it with cosine.",
        rises["constant"] > 1.05,
    )


def length(places: Places, claims: Claims) -> str:
    curves = Sweep(places["length"]).response.curves
    best = best_lrs(list(curves), "train.scale")
    told = ", ".join(f"{lr:.2g} at {float(scale):.0%}" for scale, lr in best.items())
    low = [each.points[0].mean / lowest(each).mean for each in curves]
    return claims.say(
        f"The best LRs, to the nearest of the grid: {told} of the length. What changes here is "
        f"the price of a low LR: {curves[0].points[0].lr:g} ends at {low[0]:.1f} times the best "
        f"loss in the shortest run, and at {low[-1]:.1f} times in the whole one. Time makes up for "
        "an LR that is too low, not for one that is too high.",
        low[0] > 1.5 * low[-1],
    )


def optimizers(places: Places, claims: Claims) -> str:
    response = Sweep(places["optimizers"]).response
    sgd, momentum, adam, _ = response.curves
    plain, heavy, own = (lowest(each).lr for each in (sgd, momentum, adam))
    losses = [lowest(each).mean for each in response.curves]
    return claims.say(
        f"The best LR of SGD is {plain:.2g}, of SGD with momentum 0.9 it is {heavy:.2g}, of Adam "
        f"{own:.2g}. Momentum 0.9 adds up ten steps, so that a lower LR goes as far; Adam divides "
        "by the size of the gradient, so that its LR is the length of a step of each weight and "
        "hardly depends on the scale of the loss. Their best losses are "
        f"{losses[0]:.3f}, {losses[1]:.3f} and "
        f"{losses[2]:.3f}, AdamW's {losses[3]:.3f}. An LR that is too low by ten costs SGD with "
        f"momentum {_ten_below(momentum):.1f} times its best loss and Adam {_ten_below(adam):.1f} "
        "times: Adam forgives a low LR better. At a high one it diverges where SGD dies quietly.",
        plain > heavy > own,
        _ten_below(adam) < _ten_below(momentum),
        adam.diverges_at is not None and momentum.diverges_at is None,
    )


def _ten_below(curve: ResponseCurve) -> float:
    """What a tenth of the best LR costs: the loss there over the best one."""
    best = lowest(curve)
    near = min(curve.points, key=lambda each: abs(math.log10(10 * each.lr / best.lr)))
    return near.mean / best.mean


def batch_size(places: Places, claims: Claims) -> str:
    told = []
    for name in ("sgd", "adam"):
        best = best_lrs(of("batch-size", name, places), "dataset.batch_size")
        sizes = list(best)
        slope = math.log(best[sizes[-1]] / best[sizes[0]]) / math.log(sizes[-1] / sizes[0])
        lrs = ", ".join(f"{lr:.2g} at {rows}" for rows, lr in best.items())
        told.append(f"{name}: {lrs}, as the batch to the power {slope:.2f}")
    return claims.say(f"Best LRs, to the nearest of the grid: {'; '.join(told)}.")


def warmup(places: Places, claims: Claims) -> str:
    without, short, long = Sweep(places["warmup"]).response.curves
    gpt = Sweep(places["warmup-tiny-gpt"]).response
    bests = [lowest(each).mean for each in gpt.curves]
    apart = (max(bests) - min(bests)) / gpt.tolerance.value
    small = "no difference that seeds do not make" if apart < 2 else "a difference too"
    return claims.say(
        f"A network of eight hidden layers without normalisation, with Adam: its best loss is "
        f"{lowest(without).mean:.3f} without warmup, {lowest(short).mean:.3f} with 5% and "
        f"{lowest(long).mean:.3f} with 25% of the run, and the best LR goes from "
        f"{lowest(without).lr:.2g} to {lowest(long).lr:.2g}. Warmup lets it bear a higher LR. On "
        f"tiny-gpt, which is one layer with normalisation, the best losses with and without warmup "
        f"are {apart:.1f} standard deviations apart: {small}. A model that small does not need it; "
        "it costs little, too.",
        lowest(long).mean < lowest(without).mean,
        lowest(long).lr > lowest(without).lr,
    )


def critical(places: Places, claims: Claims) -> str:
    past, bears = {}, {}
    for trials in grouped(Sweep(places["headroom-warmup"]).trials, "scheduler"):
        measured = np.array([each.run.headroom["headroom"][:40] for each in trials])
        lr = np.array([each.run.headroom["lr"][:40] for each in trials])
        name = called(trials[0].values["scheduler"])
        past[name] = float(np.mean(measured[:, :20] > 1))
        with np.errstate(divide="ignore"):
            critical = lr / measured
        bears[name] = [float(np.median(own)) for own in (critical[:, :4], critical[:, 20:])]
    told = [f"{low:.2g} and {high:.2g} with `{name}`" for name, (low, high) in bears.items()]
    shares = [f"{share:.0%}" for share in past.values()]
    return claims.say(
        "The critical LR, as the median of the first 20 steps and of steps 100 to 200, is "
        f"{' and '.join(told)}. {' and '.join(shares)} of the measurements in the first 100 steps "
        "found an LR past it. So the gauge does not say why warmup helped here: the critical LR "
        "does not rise on the way, as it does in larger networks.",
        all(low >= high for low, high in bears.values()),
    )


def width(places: Places, claims: Claims) -> str:
    curves = Sweep(places["width"]).response.curves
    plain = [each for each in curves if "muP" not in called(each.settings["optimizer"])]
    mup = [each for each in curves if "muP" in called(each.settings["optimizer"])]
    told = [
        ", ".join(f"{lr:.2g} at width {own}" for own, lr in best_lrs(group, "model.hidden").items())
        for group in (plain, mup)
    ]
    return claims.say(
        f"With Adam the best LR is {told[0]}, and some seed diverges at "
        f"{_ends(plain)}: the wider, the lower the LR that holds. With muP, whose LR is that of "
        f"the narrowest network, the best LR is {told[1]}: it does not fall with the width.",
        lowest(plain[-1]).lr < lowest(plain[0]).lr,
        lowest(mup[-1]).lr >= lowest(plain[-1]).lr,
    )


def _ends(curves: list[ResponseCurve]) -> str:
    """From where on a seed diverges, for each curve."""
    found = [
        "no LR tried" if each.diverges_at is None else f"{each.diverges_at:.2g}" for each in curves
    ]
    return ", ".join(found[:-1]) + " and " + found[-1]


def early(places: Places, claims: Claims) -> str:
    sweep = Sweep(places["early"])
    texts, costs, ahead = [], [], []
    for lr in (0.1, 0.2):
        groups = grouped(sweep.where(lr=lr), "scheduler")
        losses = {own[0].values["scheduler"]["at"][0]: mean_loss(own) for own in groups}
        best = min(losses, key=lambda at: losses[at])
        costs.append(losses["10%"] / losses[best])
        soon, late = (
            np.mean([each.run.epochs["val_loss"][2] for each in own])
            for own in (groups[0], groups[-1])
        )
        ahead.append((soon, late))
        texts.append(
            f"at LR {lr:g}, the cut after 10% of the run ends at {losses['10%']:.3f}, the best "
            f"one, after {best}, at {losses[best]:.3f}"
        )
    return claims.say(
        f"A{texts[0][1:]}; {texts[1]}. The early cut looks like progress when it is made: at 15% "
        f"of the run, LR 0.2, it stands at {ahead[1][0]:.3f} and the runs without it at "
        f"{ahead[1][1]:.3f}. What it takes is the way that the high LR would still have gone.",
        min(costs) > 1.1,
        ahead[1][0] < ahead[1][1],
    )


def often(places: Places, claims: Claims) -> str:
    sweep = Sweep(places["often"])
    losses = {
        (every, own[0].values["scheduler"]["patience"]): mean_loss(own)
        for every in ("1%", "5%")
        for own in grouped(sweep.where(evaluate=every), "scheduler")
    }
    best = min(losses, key=lambda key: losses[key])
    return claims.say(
        f"Looking every 1% with no patience ends at {losses['1%', 0]:.3f}; the best, patience "
        f"{best[1]} with a look every {best[0]}, at {losses[best]:.3f}. A noisy metric fails to "
        "improve about every other time whatever the LR, so an impatient rule cuts until nothing "
        "moves.",
        losses["1%", 0] > 1.1 * losses[best],
        best != ("1%", 0),
    )


ALL = (
    headroom,
    overfitting,
    length,
    optimizers,
    batch_size,
    warmup,
    critical,
    width,
    early,
    often,
)
