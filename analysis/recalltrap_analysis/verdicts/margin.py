"""What an effect's bounds say about a margin, in words. Pure: numbers in, words out.

Silence of a test is never "no effect": an effect is called small only where its bound says so, and
only from eight seeds on. Of modes that a seed falls into rarely, fewer seeds may show none at all.
"""

from __future__ import annotations

import math

MARGIN = 0.05
"""In attainment: effects within it don't matter for what to do."""
SMALL_FROM = 8
"""Seeds from which a bound may say that there is no larger effect."""

LARGER = "larger than the margin"
WITHIN = "within ±margin"
SMALLER = "smaller"
NOT_LARGER = "not larger"
UNDECIDED = "undecided"


def not_seen(n: int) -> str:
    """Instead of *within* and *not larger* where the seeds are too few to say so."""
    return f"not seen in {n} seeds"


def margin_words(low: float, high: float, n: int, margin: float = MARGIN) -> str:
    """The verdict on one effect.

    Args:
        low: The effect's lower one-sided 5 % bound; NaN where there is none.
        high: Its upper one.
        n: The seeds behind it.
        margin: The largest effect that doesn't matter, in the effect's unit.

    Returns:
        `LARGER` where the lower bound is above the margin; `SMALLER` where the upper one is below
        minus the margin; `WITHIN` where both lie inside; `NOT_LARGER` where only the upper one is
        at or below the margin; else `UNDECIDED`. Under eight seeds `not_seen` stands for both
        *within* and *not larger*.

    Raises:
        ValueError: the margin is negative or not finite, or the bounds are in the wrong order.
    """
    if not (math.isfinite(margin) and margin >= 0):
        raise ValueError(f"a margin is a number from 0 on, not {margin}")
    if math.isnan(low) or math.isnan(high):
        return UNDECIDED
    if low > high:
        raise ValueError(f"the lower bound {low} is above the upper bound {high}")
    if low > margin:
        return LARGER
    if high < -margin:
        return SMALLER
    if high > margin:
        return UNDECIDED
    if n < SMALL_FROM:
        return not_seen(n)
    return WITHIN if low >= -margin else NOT_LARGER
