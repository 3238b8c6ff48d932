"""What an effect's bounds say about a margin, in words. Pure: numbers in, words out.

Silence of a test is never "no effect": an effect is called small only where its bound says so, and
only from eight seeds on. Of modes that a seed falls into rarely, fewer seeds may show none at all.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

MARGIN = 0.05
"""In attainment: effects within it don't matter for what to do. Also in nats (per token, for
language), where it is a twentieth of a likelihood."""
MARGIN_IN_SDS = 0.1
"""Where the reward has no supremum, and so no attainment: in its standard deviations under p'."""
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


def contradict(one: str, other: str) -> bool:
    """Whether no effect can be what both verdicts say; to leave it open contradicts nothing."""
    effects = {
        LARGER: {LARGER},
        SMALLER: {SMALLER},
        WITHIN: {WITHIN},
        NOT_LARGER: {WITHIN, SMALLER},
    }
    if one not in effects or other not in effects:
        return False
    return not effects[one] & effects[other]


@dataclass(frozen=True)
class Decisions:
    """What four one-sided tests say of an effect and its margin."""

    larger: bool
    smaller: bool
    not_larger: bool
    not_smaller: bool


UNTESTED = Decisions(False, False, False, False)


def decision_words(found: Decisions, n: int) -> str:
    """The verdict on one effect, from tests that n seeds stand behind.

    Returns:
        `LARGER` and `SMALLER` where that was decided; `WITHIN` where the effect is neither larger
        nor smaller; `NOT_LARGER` where only that is known; else `UNDECIDED`. Under eight seeds
        `not_seen` stands for both *within* and *not larger*.
    """
    if found.larger:
        return LARGER
    if found.smaller:
        return SMALLER
    if not found.not_larger:
        return UNDECIDED
    if n < SMALL_FROM:
        return not_seen(n)
    return WITHIN if found.not_smaller else NOT_LARGER


def margin_words(low: float, high: float, n: int, margin: float = MARGIN) -> str:
    """The verdict on one effect by its bounds; see `decision_words`.

    Args:
        low: The effect's lower one-sided bound; NaN where there is none.
        high: Its upper one.
        n: The seeds behind it.
        margin: The largest effect that doesn't matter, in the effect's unit.

    Raises:
        ValueError: the margin is negative or not finite, or the bounds are in the wrong order.
    """
    if not (math.isfinite(margin) and margin >= 0):
        raise ValueError(f"a margin is a number from 0 on, not {margin}")
    if low > high:
        raise ValueError(f"the lower bound {low} is above the upper bound {high}")
    # A bound that there is none of compares as false, and decides nothing.
    return decision_words(
        Decisions(low > margin, high < -margin, high <= margin, low >= -margin), n
    )
