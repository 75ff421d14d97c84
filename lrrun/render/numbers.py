"""How numbers look, everywhere."""

from __future__ import annotations

import math


def number(value: float | None, digits: int = 4) -> str:
    """A measured value in `digits` significant digits; '-' where there is none.

    >>> [number(value) for value in (0.05, 0.0123456, 3.2e-05, 12345.678, float("nan"), None)]
    ['0.05', '0.01235', '3.2e-05', '12346', 'nan', '-']
    """
    if value is None:
        return "-"
    if not math.isfinite(value):
        return f"{value:g}"
    if 10**digits <= abs(value) < 1e7:
        return f"{value:.0f}"
    text = f"{value:.{digits}g}"
    return text.replace("e+0", "e").replace("e+", "e")


def metric(value: float | None) -> str:
    """As `number`, zeros kept, so that a column of one metric lines up at the point.

    >>> metric(0.05), metric(0.9861), metric(1.5e-7), metric(123.456)
    ('0.0500', '0.9861', '1.5e-07', '123.5')
    """
    if value is None or not math.isfinite(value) or value == 0 or not 1e-2 <= abs(value) < 100:
        return number(value)
    return f"{value:.4f}" if abs(value) < 10 else f"{value:.3f}"


def rates(values: tuple[float, ...]) -> str:
    """The LR, or the LRs of several param groups; equal ones are written once.

    >>> rates((0.1,)), rates((0.1, 0.001))
    ('0.1', '0.1 / 0.001')
    """
    return " / ".join(dict.fromkeys(number(value) for value in values)) or "-"


def share(value: float) -> str:
    """A share of a whole in percent; little is not nothing.

    >>> share(0.95), share(0.002), share(0.0)
    ('95%', '<1%', '0%')
    """
    return "<1%" if 0 < value < 0.005 else f"{value:.0%}"


def count(value: int) -> str:
    """A whole number, its thousands apart.

    >>> count(43110)
    '43,110'
    """
    return f"{value:,}"


def duration(seconds: float) -> str:
    """Wall-clock time, in the unit that a person would use.

    >>> duration(0.42), duration(9.84), duration(200), duration(7500)
    ('0.42 s', '9.8 s', '3 min 20 s', '2 h 05 min')
    """
    if not math.isfinite(seconds):
        return "-"
    if seconds < 59.95:
        return f"{seconds:.2f} s" if seconds < 1 else f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"
