"""What response curves say, in sentences: the best, the most forgiving, and where to go on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from lrrun.analysis.response import Response, ResponseCurve, best_loss

_CLOSE = 0.05
"""Sensitivities that differ by less than this share are level."""


def best(response: Response) -> str:
    """One sentence: the best curve and LR, how sure, and which others are as good."""
    ranking = response.ranking
    if not ranking:
        lowest = min(point.lr for curve in response.curves for point in curve.points)
        return (
            f"A seed diverged at every LR that was tried: begin lower than {lowest:.4g}, "
            f"at {lowest / 10:.4g} for example."
        )
    first = ranking[0]
    point = first.best
    assert point is not None
    seeds = len(point.losses)
    sure = "one seed" if point.half_width is None else f"+/- {point.half_width:.2g}, {seeds} seeds"
    text = (
        f"Best: {first.label} at {response.lr_key} {point.lr:.4g}, loss {point.mean:.4g} ({sure})."
    )
    limit = point.mean + response.tolerance.value
    level = [curve.label for curve in ranking[1:] if best_loss(curve) <= limit]
    return f"{text} As good within the tolerance: {', '.join(level)}." if level else text


def forgiving(response: Response) -> str:
    """One sentence: which curve forgives a wrong LR most, by basin width and by LR sensitivity.

    Widths closer than a step of the grid are level, and so are sensitivities within _CLOSE.
    """
    curves = response.ranking
    if not curves:
        return "No basin: a seed diverged at every LR."
    if len(curves) == 1:
        sensitivity = curves[0].sensitivity
        cost = "" if sensitivity is None else f", LR sensitivity {sensitivity:.3g}"
        return f"{curves[0].label}: a basin {_width(curves[0])}{cost}; nothing to compare it with."
    widest, widths = _widest(curves)
    calmest, costs = _calmest(curves)
    by_basin = f"basin {widths}"
    by_cost = f"LR sensitivity {costs}" if calmest else "LR sensitivity unknown"
    told = f"({by_basin}; {by_cost})"
    basins_level, costs_level = len(widest) == len(curves), len(calmest) in (0, len(curves))
    if basins_level and costs_level:
        return f"No curve is more forgiving than the others {told}."
    if basins_level or costs_level:
        return _winners(response, calmest if basins_level else widest, told)
    both = [curve for curve in widest if any(curve is each for each in calmest)]
    if both:
        return _winners(response, both, told)
    return f"Most forgiving by basin {_names(widest)}, by sensitivity {_names(calmest)} {told}."


def _winners(response: Response, winners: Sequence[ResponseCurve], told: str) -> str:
    """The verdict, and what is paid for it where the most forgiving has not the best loss."""
    lost = min(best_loss(each) for each in winners) - best_loss(response.ranking[0])
    paid = (
        f"; its best loss is {lost:.2g} above the best" if lost > response.tolerance.value else ""
    )
    return f"Most forgiving: {_names(winners)} {told}{paid}."


def _widest(curves: Sequence[ResponseCurve]) -> tuple[list[ResponseCurve], str]:
    step = max((curve.step for curve in curves if curve.step is not None), default=0.0)
    widths = [curve.basin.decades if curve.basin else 0.0 for curve in curves]
    told = ", ".join(f"{curve.label} {_width(curve)}" for curve in curves)
    enough = max(widths) - 0.999 * step
    return [each for each, width in zip(curves, widths, strict=True) if width >= enough], told


def _calmest(curves: Sequence[ResponseCurve]) -> tuple[list[ResponseCurve], str]:
    known = [(c, c.sensitivity) for c in curves if c.sensitivity is not None]
    if not known:
        return [], ""
    told = ", ".join(f"{curve.label} {value:.3g}" for curve, value in known)
    least = min(value for _, value in known)
    return [curve for curve, value in known if value <= least * (1 + _CLOSE)], told


def _width(curve: ResponseCurve) -> str:
    found = curve.basin
    assert found is not None
    at_least = "at least " if found.open_low or found.open_high else ""
    return f"{at_least}{found.decades:.2g} decades"


def _names(curves: Sequence[ResponseCurve]) -> str:
    return " and ".join(curve.label for curve in curves)


def findings(response: Response) -> Iterator[str]:
    """What to do next, and what the curves leave out, a line each."""
    for curve in response.curves:
        yield from _extensions(curve)
        for status, count in curve.left_out.items():
            yield f"{curve.label}: {count} trial{'s' if count > 1 else ''} {status}, not counted"
    if len(response.curves) > 1 and response.over is None:
        yield "the curves share no range of LRs, so their sensitivities cannot be compared"
    if all(len(point.losses) < 2 for curve in response.curves for point in curve.points):
        yield "one seed at every LR: differences may be the seed's doing"


def _extensions(curve: ResponseCurve) -> Iterator[str]:
    if len(curve.points) == 1 and curve.edges:
        low, high = (edge.extend_to for edge in curve.edges)
        tried = f"{curve.label}: one LR was tried, {curve.edges[0].lr:.4g}"
        yield f"{tried}: try {low:g} and {high:g} too"
        return
    for edge in curve.edges:
        at = f"{curve.label}: the best LR, {edge.lr:.4g}, is the {edge.side} tried"
        yield f"{at}: extend to {edge.extend_to:g}"
