"""Numbers as a reader wants them: rounded quantities, and a dash where there is none."""

from __future__ import annotations

import math


def amount(value: float) -> str:
    """A quantity in at most four signs, e.g. ``1.2k``, ``3.4M``, ``5.6e+12``."""
    if not math.isfinite(value):
        return "–" if math.isnan(value) else "∞"
    for limit, factor, suffix in ((1e4, 1, ""), (1e6, 1e3, "k"), (1e9, 1e6, "M"), (1e12, 1e9, "G")):
        if abs(value) < limit:
            return (
                f"{value / factor:.3g}{suffix}"
                if abs(value) < 1e3
                else f"{value / factor:.4g}{suffix}"
            )
    return f"{value:.2e}"


def number(value: float, digits: int = 2) -> str:
    """A number with so many decimals and no negative zero; a dash where it is not finite."""
    if not math.isfinite(value):
        return "–"
    return f"{round(float(value), digits) + 0.0:.{digits}f}"
