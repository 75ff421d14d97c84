"""Name → schedule: one decorated function is all that a new schedule needs.

The function's keyword arguments are the schedule's parameters. Their annotations say how each one
is read from a config (`Length`, `Height`, `Fraction`, `int`, `float`, `bool`, `str`, `Literal`,
lists of these); their defaults are the config's defaults; its docstring is its documentation.
"""

from __future__ import annotations

import functools
import inspect
import math
import types
import typing
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from lrrun.schedules.base import Curve
from lrrun.units import Fraction, Height, Length

Clock = Literal["step", "epoch"]
"""What another library's schedule counts."""

Builder = TypeVar("Builder", bound=Callable[..., Curve])


class Section(tuple[Any, ...]):
    """The annotation of a parameter that is a schedule itself: a name, a mapping or a list.

    spec.py reads it into part specs and spec.nested builds it; `list[Section]` is several.
    """


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a schedule, as its signature declares it."""

    name: str
    kind: Any
    default: Any

    @property
    def required(self) -> bool:
        """True where the config must give it."""
        return self.default is inspect.Parameter.empty

    def read(self, written: object) -> Any:
        """The argument's value from plain config data; ValueError says what was expected."""
        return _read(self.kind, written)

    def __str__(self) -> str:
        return self.name if self.required else f"{self.name}={_show(self.default)}"


@dataclass(frozen=True, slots=True)
class Entry:
    """A named schedule.

    `holds` says what it does past the run's end: hold its last value, or go on as the formula does.
    `clock` is set for another library's schedule: what that library counts, and what `interval:`
    overrides; our own count steps. `own_lr` names the parameter with which a schedule brings its
    own LR, in place of the optimizer's (`name` where it is the schedule itself that knows it).
    """

    name: str
    build: Callable[..., Curve]
    holds: bool = True
    clock: Clock | None = None
    own_lr: str | None = None

    @property
    def parameters(self) -> dict[str, Parameter]:
        """By name, as the builder's signature declares them; read when they are asked for."""
        return _parameters(self.build)

    @property
    def summary(self) -> str:
        """The first line of the docstring."""
        return (inspect.getdoc(self.build) or "").split("\n", 1)[0]


_DOTTED = {
    "torch.optim.lr_scheduler.": "torch.",
    "torch.optim.swa_utils.": "torch.",
    "optim.lr_scheduler.": "torch.",
    "lr_scheduler.": "torch.",
    "tf.keras.optimizers.schedules.": "keras.",
    "tensorflow.keras.optimizers.schedules.": "keras.",
    "keras.optimizers.schedules.": "keras.",
    "tf.keras.callbacks.": "keras.",
    "keras.callbacks.": "keras.",
    "transformers.optimization.": "transformers.",
    "timm.scheduler.": "timm.",
    "mmengine.optim.": "mmengine.",
    "optax.schedules.": "optax.",
}
"""Where the libraries keep their schedules → the prefix under which we name them."""

CATALOGUE: dict[str, Entry] = {}
"""Every schedule that a config can name."""


def register(
    name: str, *, holds: bool = True, clock: Clock | None = None, own_lr: str | None = None
) -> Callable[[Builder], Builder]:
    """Enter the decorated function as schedule `name`; see Entry for the other arguments.

    The function's first parameter is the Span in which the part stands; it returns the curve.
    """

    def enter(build: Builder) -> Builder:
        if name in CATALOGUE:
            raise ValueError(f"two schedules are named {name!r}")
        CATALOGUE[name] = Entry(name, build, holds, clock, own_lr)
        return build

    return enter


def find(name: str) -> Entry | None:
    """The schedule that a config names, or None.

    A dotted path of another library and a bare name of torch's are the same schedule as the
    library's prefix and the name.
    """
    name = with_prefix(name)
    return CATALOGUE.get(name) or CATALOGUE.get(f"torch.{name}")


def with_prefix(name: str) -> str:
    """A schedule's name with its library's prefix in place of the path where the library keeps it.

    >>> with_prefix("tf.keras.optimizers.schedules.CosineDecay")
    'keras.CosineDecay'
    """
    for dotted, prefix in _DOTTED.items():
        if name.startswith(dotted):
            return prefix + name.rpartition(".")[2]  # timm.scheduler.cosine_lr.CosineLRScheduler
    return name


def neighbours(name: str) -> list[str]:
    """The names among which an unknown one is looked for: its library's where it has a prefix."""
    library = with_prefix(name).partition(".")[0] + "."
    return [known for known in CATALOGUE if known.startswith(library)] or list(CATALOGUE)


@functools.cache
def _parameters(build: Callable[..., Curve]) -> dict[str, Parameter]:
    hints = typing.get_type_hints(build)
    signature = list(inspect.signature(build).parameters.values())[1:]
    return {each.name: Parameter(each.name, hints[each.name], each.default) for each in signature}


def _read(kind: Any, written: object) -> Any:
    """Read plain data as `kind`; raises ValueError with what was expected and what was got."""
    if kind in (Length, Height, Fraction):
        return kind.parse(written)
    origin, options = typing.get_origin(kind), typing.get_args(kind)
    if origin is Literal:
        if written not in options:
            raise ValueError(f"expected {_either(options)}, got {written!r}")
        return written
    if origin in (typing.Union, types.UnionType):
        return _read_union(options, written)
    if origin in (list, tuple):
        if not isinstance(written, (list, tuple)):
            raise ValueError(f"expected a list, got {written!r}")
        return [_read(options[0], each) for each in written]
    if kind is Any:
        return written
    return _read_plain(kind, written)


def _read_union(options: tuple[Any, ...], written: object) -> Any:
    if written is None and type(None) in options:
        return None
    errors = []
    for option in options:
        if option is not type(None):
            try:
                return _read(option, written)
            except ValueError as error:
                errors.append(str(error))
    raise ValueError(errors[-1])


_PLAIN = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}


def _read_plain(kind: Any, written: object) -> Any:
    wrong = ValueError(f"expected {_PLAIN[kind]}, got {written!r}")
    if isinstance(written, bool) != (kind is bool):
        raise wrong
    if kind is float and isinstance(written, int):
        return float(written)
    if not isinstance(written, kind):
        raise wrong
    if kind is float and not math.isfinite(written):
        raise ValueError(f"expected a finite number, got {written!r}")
    return written


def _either(options: tuple[Any, ...]) -> str:
    return " or ".join(str(option) for option in options)


def _show(value: object) -> str:
    return str(value) if isinstance(value, (Length, Height)) else repr(value)
