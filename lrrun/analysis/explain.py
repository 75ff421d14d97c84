"""What a run's numbers say that nobody asked for: findings, each with what to do about it."""

from __future__ import annotations

from collections.abc import Iterator

AT_CHANCE = 0.01
"""A loss within this share of a guess's has learnt nothing."""


def at_chance(best_loss: float | None, chance_loss: float | None, peak_lr: float) -> Iterator[str]:
    """Did the loss ever leave what a uniform guess has, ln K for K outcomes?

    `best_loss` is the lowest validation loss, in nats; `chance_loss` None where there is no such
    thing (regression).

    >>> list(at_chance(2.3025, 2.302585, 3.0))
    ['the loss never left chance: 2.303 at best, and a guess has 2.303; the LR (3 at its peak) is \
probably far too high, or the data carries no signal']
    """
    if best_loss is None or chance_loss is None or best_loss < (1 - AT_CHANCE) * chance_loss:
        return
    yield (
        f"the loss never left chance: {best_loss:.4g} at best, and a guess has {chance_loss:.4g}; "
        f"the LR ({peak_lr:.4g} at its peak) is probably far too high, or the data carries no "
        "signal"
    )
