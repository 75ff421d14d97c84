"""Learning-rate schedules as pure functions of the optimizer step; numpy only."""

from lrrun.schedules import (  # noqa: F401  (entering the catalogue)
    combine,
    cooldown,
    cycles,
    decays,
    dialects,
    plateau,
    recipes,
    recipes_open,
    shapes,
    warmup,
    wsd,
)
from lrrun.schedules.base import Schedule
from lrrun.schedules.catalogue import CATALOGUE, register
from lrrun.schedules.spec import build, parse, schedule

__all__ = ["CATALOGUE", "Schedule", "build", "parse", "register", "schedule"]
