"""Numbers as text: one function per kind of number, for the report, the terminal and captions.

A number that there is none of is a dash, whatever its kind. Nothing is computed here.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    import pandas as pd

    from recalltrap_analysis.statistics.paired import Estimate

    Row: TypeAlias = Mapping[str, Any] | pd.Series[Any]

DASH = "–"


def quantity_text(value: float) -> str:
    """A quantity in at most four signs, e.g. ``1.2k``, ``3.4M``, ``5.6e+12``."""
    if not math.isfinite(value):
        return DASH if math.isnan(value) else "∞"
    for limit, factor, suffix in ((1e4, 1, ""), (1e6, 1e3, "k"), (1e9, 1e6, "M"), (1e12, 1e9, "G")):
        if abs(value) < limit:
            return (
                f"{value / factor:.3g}{suffix}"
                if abs(value) < 1e3
                else f"{value / factor:.4g}{suffix}"
            )
    return f"{value:.2e}"


def duration_text(seconds: float) -> str:
    """A time, e.g. ``12.3 s``."""
    return f"{quantity_text(seconds)} s"


def decimal_text(value: float, digits: int = 2) -> str:
    """A number with so many decimals and no negative zero."""
    if not math.isfinite(value):
        return DASH
    return f"{round(float(value), digits) + 0.0:.{digits}f}"


def signed_text(value: float, digits: int = 2) -> str:
    """A difference, with its sign."""
    return f"{value:+.{digits}f}" if math.isfinite(value) else DASH


def significant_text(value: float, digits: int = 3) -> str:
    """A number in so many significant digits, e.g. ``0.0123``."""
    return f"{value:.{digits}g}" if math.isfinite(value) else DASH


def p_text(p: float) -> str:
    """A p-value."""
    return significant_text(p, 2)


def share_text(share: float, digits: int | None = None) -> str:
    """A share in per cent; unless told otherwise with a digit more where it is small."""
    if not math.isfinite(share):
        return DASH
    if digits is None:
        digits = 1 if share < 0.1 else 0
    return f"{share:.{digits}%}"


def ratio_text(above: float, below: float) -> str:
    """One number divided by another; a dash where the other is 0."""
    return decimal_text(above / below) if below > 0 else DASH


def range_text(values: Iterable[float], digits: int = 2) -> str:
    """From the smallest to the largest, e.g. ``0.12 to 0.34``."""
    known = [float(value) for value in values if math.isfinite(value)]
    if not known:
        return DASH
    return f"{decimal_text(min(known), digits)} to {decimal_text(max(known), digits)}"


def interval_text(value: float, low: float, high: float, digits: int = 2) -> str:
    """A number with its interval, e.g. ``0.63 [0.50, 0.75]``."""
    if not math.isfinite(value):
        return DASH
    if not math.isfinite(low):
        return f"{decimal_text(value, digits)} [no interval]"
    end = "∞" if math.isinf(high) else decimal_text(high, digits)
    return f"{decimal_text(value, digits)} [{decimal_text(low, digits)}, {end}]"


def row_interval(row: Row, name: str, digits: int = 2) -> str:
    """The column `name` of a table's row with `name_low` and `name_high`."""
    return interval_text(row[name], row[f"{name}_low"], row[f"{name}_high"], digits)


def estimate_text(estimate: Estimate | None) -> str:
    """An estimate with its interval."""
    if estimate is None:
        return DASH
    return interval_text(estimate.value, estimate.low, estimate.high)


def count_text(number: int, noun: str) -> str:
    """How many there are, e.g. ``1 cell``, ``3 studies``."""
    if number == 1:
        return f"1 {noun}"
    return f"{number} {noun[:-1]}ies" if noun.endswith("y") else f"{number} {noun}s"


def setting_text(value: Any) -> str:
    """A setting's value as a reader would write it."""
    if isinstance(value, bool | str) or value is None:
        return str(value)
    if isinstance(value, tuple):
        return "[" + ", ".join(setting_text(item) for item in value) + "]"
    return f"{value:g}" if isinstance(value, int | float) else str(value)


def point_text(point: Sequence[Any], axes: Sequence[str]) -> str:
    """A grid point, e.g. ``kl_weight 2, student_components 3``."""
    if not axes:
        return "the only grid point"
    return ", ".join(_named(point, axes))


def point_lines(point: Sequence[Any], axes: Sequence[str]) -> str:
    """A grid point on several lines, for a narrow title; empty without axes."""
    return "\n".join(_named(point, axes))


def _named(point: Sequence[Any], axes: Sequence[str]) -> list[str]:
    return [f"{axis} {setting_text(value)}" for axis, value in zip(axes, point, strict=True)]
