"""Lengths and heights as people write them, resolved once into optimizer steps and LRs.

A **length** carries its unit: `500 steps`, `10 epochs`, `5%`, `300M tokens`, `20k samples`; a bare
whole number is steps, `rest` is what the other parts leave. A **height** is an LR: a percent of the
param group's base LR, or a bare LR. A **fraction** is a bare fraction or a percent.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Unit = Literal["steps", "epochs", "%", "tokens", "samples", "rest"]

_ALIASES: dict[str, Unit] = {
    **dict.fromkeys(("step", "steps", "st", "update", "updates"), "steps"),
    **dict.fromkeys(("epoch", "epochs", "ep"), "epochs"),
    **dict.fromkeys(("token", "tokens", "tok"), "tokens"),
    **dict.fromkeys(("sample", "samples"), "samples"),
    "%": "%",
}
_MULTIPLES = {"": 1, "k": 10**3, "K": 10**3, "M": 10**6, "B": 10**9, "G": 10**9, "T": 10**12}
_LENGTH = re.compile(r"([0-9][0-9_]*\.?[0-9]*(?:[eE][+-]?[0-9]+)?)\s*([kKMBGT]?)\s*([A-Za-z]*|%)")


@dataclass(frozen=True, slots=True)
class Length:
    """A stretch of training, in the unit it was written in.

    >>> Length.parse("10 epochs")
    Length(value=10.0, unit='epochs')
    >>> str(Length.parse("300M tokens"))
    '300M tokens'
    >>> Length.parse(0.05)
    Traceback (most recent call last):
    ...
    ValueError: expected a length with its unit, got 0.05; write 5% (of the run) or 0.05 epochs
    """

    value: float
    unit: Unit

    @classmethod
    def parse(cls, written: object) -> Length:
        """Read a length; raises ValueError with what was expected, got, and what to write."""
        if isinstance(written, Length):
            return written
        if isinstance(written, bool):
            raise ValueError(f"expected a length such as 500 steps, 10 epochs or 5%, got {written}")
        if isinstance(written, int):
            return cls._checked(float(written), "steps", written)
        if isinstance(written, float):
            if written.is_integer():
                return cls._checked(written, "steps", written)
            raise ValueError(_bare_fraction(written))
        text = str(written).strip()
        if text == "rest":
            return cls(0.0, "rest")
        match = _LENGTH.fullmatch(text)
        unit = _ALIASES.get(match[3].lower()) if match and match[3] else None
        if not match or (match[3] and unit is None):
            raise ValueError(
                f"expected a length such as 500 steps, 10 epochs, 5% or 300M tokens, got {text!r}"
            )
        value = float(match[1].replace("_", "")) * _MULTIPLES[match[2]]
        if unit is None and not value.is_integer():
            raise ValueError(_bare_fraction(value))
        return cls._checked(value, unit or "steps", written)

    @classmethod
    def _checked(cls, value: float, unit: Unit, written: object) -> Length:
        if not math.isfinite(value) or value < 0:
            raise ValueError(f"expected a length of at least 0, got {written}")
        if unit == "steps" and not value.is_integer():
            raise ValueError(f"expected a whole number of steps, got {written}")
        return cls(value, unit)

    def __str__(self) -> str:
        if self.unit == "rest":
            return "rest"
        if self.unit == "%":
            return f"{self.value:g}%"
        name = self.unit.removesuffix("s") if self.value == 1 else self.unit
        return f"{_short(self.value)} {name}"


def _bare_fraction(value: float) -> str:
    return (
        f"expected a length with its unit, got {value:g}; "
        f"write {value * 100:g}% (of the run) or {value:g} epochs"
    )


def _short(value: float) -> str:
    """300000000.0 → '300M'; whole thousands stay as they are below a million."""
    for letter, multiple in (("T", 10**12), ("B", 10**9), ("M", 10**6)):
        if value >= multiple and float(f"{value / multiple:.6g}") * multiple == value:
            return f"{value / multiple:.6g}{letter}"
    return f"{value:.0f}" if value == int(value) else f"{value:g}"


@dataclass(frozen=True, slots=True)
class Height:
    """A learning rate: absolute, or a percent of the param group's base LR.

    >>> Height.parse("1%").of(0.5)
    0.005
    >>> Height.parse(1e-5).of(0.5)
    1e-05
    """

    value: float
    relative: bool = False

    @classmethod
    def parse(cls, written: object) -> Height:
        """Read a height; raises ValueError with what was expected and what was got."""
        if isinstance(written, Height):
            return written
        value, percent = _number(
            written, "an LR such as 1e-5, or a percent of the base LR such as 1%"
        )
        if not math.isfinite(value) or value < 0:
            raise ValueError(f"expected an LR of at least 0, got {written}")
        return cls(value, percent)

    def of(self, base: float) -> float:
        """The LR that this height means for a param group whose base LR is `base`."""
        return self.value * base if self.relative else self.value

    def __str__(self) -> str:
        return f"{self.value * 100:g}%" if self.relative else f"{self.value:g}"


class Fraction(float):
    """A plain fraction, written bare or as a percent: `0.1` and `10%` are the same.

    >>> Fraction.parse("10%")
    0.1
    """

    @classmethod
    def parse(cls, written: object) -> Fraction:
        """Read a fraction; raises ValueError with what was expected and what was got."""
        value, _ = _number(written, "a fraction such as 0.1 or 10%")
        if not math.isfinite(value):
            raise ValueError(f"expected a finite fraction, got {written}")
        return cls(value)


def _number(written: object, expected: str) -> tuple[float, bool]:
    """(value, was it a percent?) of a number or of a text that ends in %."""
    if isinstance(written, bool) or not isinstance(written, (int, float, str)):
        raise ValueError(f"expected {expected}, got {written!r}")
    if isinstance(written, str):
        try:
            percent = written.strip().endswith("%")
            value = float(written.strip().removesuffix("%"))
        except ValueError:
            raise ValueError(f"expected {expected}, got {written!r}") from None
        return (value / 100 if percent else value), percent
    return float(written), False


@dataclass(frozen=True, slots=True)
class Units:
    """How long the run is, and what an epoch, a sample and a token are in optimizer steps.

    `total_steps` is the horizon; `steps_per_epoch`, `samples_per_epoch` and `tokens_per_epoch` are
    None where the dataset does not know them (a pure `lrrun schedule --steps 1000`). A run that was
    shrunk from T to T' steps has `scale` T'/T, and every length of its schedule shrinks with it, to
    at least one step. Where the batch size changes on the way, `rows_before` (int64, shape [T+1])
    holds the rows seen before each update, and a length in epochs, samples or tokens depends on
    where it begins.
    """

    total_steps: int
    steps_per_epoch: int | None = None
    samples_per_epoch: int | None = None
    tokens_per_epoch: int | None = None
    scale: float = 1.0
    rows_before: NDArray[np.int64] | None = None

    def steps(self, length: Length, begin: int = 0) -> int:
        """The nearest whole number of optimizer steps, for a length that begins at step `begin`.

        Raises ValueError where the unit has no meaning for this run.

        >>> Units(total_steps=690, steps_per_epoch=23).steps(Length.parse("10 epochs"))
        230
        """
        steps = math.floor(self.exact_steps(length, begin) + 0.5)
        return max(1, steps) if self.scale != 1 and length.value > 0 else steps

    def exact_steps(self, length: Length, begin: int = 0) -> float:
        """The length in optimizer steps, before rounding."""
        if length.unit == "steps":
            return length.value * self.scale
        if length.unit == "%":
            return length.value / 100 * self.total_steps
        if length.unit == "rest":
            raise ValueError("'rest' is the length of a part (`for: rest`), not of a parameter")
        per_epoch = {
            "epochs": 1,
            "samples": self.samples_per_epoch,
            "tokens": self.tokens_per_epoch,
        }[length.unit]
        if self.rows_before is not None and self.samples_per_epoch and per_epoch:
            rows = length.value / per_epoch * self.samples_per_epoch * self.scale
            return self._steps_of_rows(rows, begin, self.rows_before)
        if self.steps_per_epoch is None:
            raise ValueError(
                f"{length}: the steps in an epoch are not known here; "
                "give --steps-per-epoch, or write the length in steps or percent"
            )
        if not per_epoch:
            raise ValueError(
                f"{length}: this dataset has no {length.unit}; write it in steps, epochs or percent"
            )
        return length.value / per_epoch * self.steps_per_epoch * self.scale

    def _steps_of_rows(self, rows: float, begin: int, before: NDArray[np.int64]) -> float:
        """The steps that `rows` training rows take from step `begin` on; past the end, as there."""
        target = before[min(begin, len(before) - 1)] + rows
        if target <= before[-1]:
            return float(np.interp(target, before, np.arange(len(before)))) - begin
        last = before[-1] - before[-2]
        return float(len(before) - 1 + (target - before[-1]) / last) - begin
