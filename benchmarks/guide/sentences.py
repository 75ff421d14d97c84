"""What the guide says of its numbers; a sentence that they no longer bear out is reported."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from figures import TASKS, Places
from results import Sweep, Trial, called, finding, grouped, lowest
from tables import cosine

from lrrun.analysis.response import Response, ResponseCurve


@dataclass
class Claims:
    """Sentences; `broken` are those that the numbers speak against."""

    broken: list[str] = field(default_factory=list)

    def say(self, text: str, *holds: bool | np.bool_) -> str:
        """The sentence, which all of `holds` must bear out."""
        if not all(holds):
            self.broken.append(text)
        return text


def mean_loss(trials: Sequence[Trial]) -> float:
    return float(np.mean([each.loss for each in trials]))


def grid(places: Places, claims: Claims) -> str:
    (curve,) = Sweep(places["grid"]).response.curves
    best = lowest(curve)
    loss = {point.lr: point.mean for point in curve.points}
    low, high = loss[0.01], loss[1.0]
    assert curve.basin is not None
    return claims.say(
        f"The best LR tried is {best.lr:g}, and from {curve.basin.low:.2g} to "
        f"{curve.basin.high:.2g} all are as good. A tenth of it ends at a loss "
        f"{low / best.mean:.1f} times as high; ten times of it learns nothing at all. The valley "
        "has a slope on the left and a cliff on the right.",
        best.lr == 0.1,
        low > 1.5 * best.mean,
        high > 2.0,
    )


def find(places: Places, claims: Claims) -> str:
    told = {task: finding(places[f"find-{task}"]) for task in TASKS}
    within = [
        task
        for task in TASKS
        if (own := cosine(places, task).basin) is not None
        and own.low <= told[task]["recommended_lr"] <= own.high
    ]
    ratios = [told[task]["recommended_lr"] / lowest(cosine(places, task)).lr for task in TASKS]
    runs = max(told[task]["cost"]["runs"] for task in TASKS)
    return claims.say(
        f"The LR it found is within the grid's own interval on {len(within)} of {len(TASKS)} "
        f"tasks, and {min(ratios):.2g} to {max(ratios):.2g} times the grid's best LR. It cost at "
        f"most {runs:.0f} runs, where a grid of nine LRs and three seeds costs 27. One seed is one "
        "seed: `benchmarks/find/accuracy.py` repeats it ten times on five tasks.",
        all(1 / 3.2 <= ratio <= 3.2 for ratio in ratios),
    )


def rules(places: Places, claims: Claims) -> str:
    apart = [finding(places[f"find-{task}"])["rules_differ_by"] for task in TASKS]
    return claims.say(
        f"On one and the same curve the rules differ by a factor of {min(apart):.0f} to "
        f"{max(apart):.0f}.",
        min(apart) > 3,
    )


def low(places: Places, claims: Claims) -> str:
    sweep = Sweep(places["grid"])
    slow, good = (
        np.mean([each.run.epochs["val_loss"] for each in sweep.where(lr=lr)], axis=0)
        for lr in (1e-3, 0.1)
    )
    when = 1 + int(np.argmax(good < slow[-1]))
    return claims.say(
        f"Where LR 0.001 is after 20 epochs, LR 0.1 is in epoch {when}.", slow[-1] > good[-1]
    )


def high(places: Places, claims: Claims) -> str:
    trials = Sweep(places["grid"]).where(lr=1.0)
    kept = [each for each in trials if each.status == "completed"]
    stuck = [each.loss for each in kept]
    return claims.say(
        f"At LR 1, {len(kept)} of {len(trials)} runs finish, and end at {np.mean(stuck):.2f}: that "
        f"is ln 10 = {math.log(10):.2f}, a guess among ten digits. The loss is finite and the "
        "network is dead.",
        bool(kept) and abs(np.mean(stuck) - math.log(10)) < 0.1,
    )


def courses(places: Places, claims: Claims) -> str:
    sweep = Sweep(places["schedules-tiny-gpt"])
    lr = lowest(cosine(places, "tiny-gpt")).lr
    by_name = {
        called(each[0].values["scheduler"]): each
        for each in grouped(sweep.where(lr=lr), "scheduler")
    }
    course = {
        name: np.mean([each.run.epochs["val_loss"] for each in trials], axis=0)
        for name, trials in by_name.items()
    }
    constant, wsd = course["constant"], course["wsd (cooldown 20%)"]
    kept = 1 + int(0.8 * (len(constant) - 1))
    return claims.say(
        f"On tiny-gpt at LR {lr:.2g}: until the cooldown begins, `wsd` and `constant` are the same "
        f"run, at {wsd[kept - 1]:.3f}; in the last 20% `wsd` falls to {wsd[-1]:.3f} and `constant` "
        f"comes to {constant[-1]:.3f}.",
        np.allclose(constant[: kept - 1], wsd[: kept - 1]),
        wsd[-1] < constant[-1],
    )


def schedules(places: Places, claims: Claims) -> str:
    texts, level_everywhere = [], set()
    for index, task in enumerate(TASKS):
        response = Sweep(places[f"schedules-{task}"]).response
        best, last = response.ranking[0], response.ranking[-1]
        gap = (lowest(last).mean - lowest(best).mean) / response.tolerance.value
        level = [_schedule(each) for each in _as_good(response)]
        level_everywhere = level_everywhere & {*level} if index else {*level}
        texts.append(
            f"On {task} the best is `{_schedule(best)}`, {len(level) - 1} of the other "
            f"{len(response.curves) - 1} are as good, and the worst, `{_schedule(last)}`, is "
            f"{gap:.1f} standard deviations behind."
        )
    names = _listed([f"`{each}`" for each in sorted(level_everywhere)])
    texts.append(
        f"As good as the best on all three: {names}. The exponential to 1% is last everywhere: "
        "for half of its run it trains at less than a tenth of the LR. On digits the schedule "
        "hardly matters. On the other two, whose loss still falls when the run ends, keeping the "
        "LR high for long and letting it fall late is ahead of linear and cosine, which fall from "
        "the beginning: these runs are short, and what papers found for long ones stands below."
    )
    return claims.say(
        " ".join(texts),
        "wsd (cooldown 20%)" in level_everywhere,
        all("exponential" in _schedule(_ranking(places, task)[-1]) for task in TASKS),
    )


def _ranking(places: Places, task: str) -> list[ResponseCurve]:
    return Sweep(places[f"schedules-{task}"]).response.ranking


def _as_good(response: Response) -> list[ResponseCurve]:
    least = lowest(response.ranking[0]).mean + response.tolerance.value
    return [each for each in response.ranking if lowest(each).mean <= least]


def _schedule(curve: ResponseCurve) -> str:
    return called(curve.settings["scheduler"])


def forgiving(places: Places, claims: Claims) -> str:
    calm, touchy = [], []
    for task in TASKS:
        curves = Sweep(places[f"schedules-{task}"]).response.curves
        ordered = sorted(curves, key=lambda each: each.sensitivity or 0.0)
        calm.append(f"`{_schedule(ordered[0])}` on {task}")
        touchy.append(f"`{_schedule(ordered[-1])}` on {task}")
    return claims.say(f"Least sensitive: {_listed(calm)}; most: {_listed(touchy)}.")


def _listed(words: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(words[:-1]), *words[-1:])))


ALL = (grid, find, rules, low, high, courses, schedules, forgiving)
