"""What so many seeds can tell of a difference and its margin, and how many it would take.

One-sided Student t tests, with the spread as given; power by the noncentral t distribution.
"""

from __future__ import annotations

import math
from functools import cache

from recalltrap_analysis.statistics.effect_sizes import noncentral_t_cdf
from recalltrap_analysis.statistics.looks import critical_t
from recalltrap_analysis.statistics.seeds_needed import (
    MOST_SEEDS,
    SeedsNeeded,
    sd_interval,
    seeds_range,
)
from recalltrap_analysis.statistics.student import ONE_SIDED

POWER = 0.8


def power_larger(
    effect: float, sd: float, n: int, margin: float, level: float = ONE_SIDED
) -> float:
    """The probability that n seeds find a true effect larger than the margin.

    By symmetry also that they find an effect of `2 * margin - effect` not larger.

    Args:
        effect: The true mean difference.
        sd: The standard deviation of one seed's difference.
        n: Seeds; one can't tell anything.
        margin: The largest difference that doesn't matter.
        level: The test's one-sided level.
    """
    if n < 2:
        return 0.0
    if sd <= 0:
        return float(effect > margin)
    return _power(math.sqrt(n) * (effect - margin) / sd, n, level)


@cache
def _power(shift: float, n: int, level: float) -> float:
    return 1 - noncentral_t_cdf(critical_t(n, level), n - 1, shift)


def detectable_effect(
    sd: float, n: int, margin: float, level: float = ONE_SIDED, power: float = POWER
) -> float:
    """The smallest true effect found larger than the margin with this power; infinite at one seed.

    Raises:
        ValueError: a spread that isn't a number from 0 on, or a power not between level and 1.
    """
    return margin + _distance(sd, n, level, power)


def not_larger_effect(
    sd: float, n: int, margin: float, level: float = ONE_SIDED, power: float = POWER
) -> float:
    """The largest true effect found *not larger* than the margin with this power."""
    return margin - _distance(sd, n, level, power)


def _distance(sd: float, n: int, level: float, power: float) -> float:
    """How far from the margin the truth must lie, on either side."""
    if not (math.isfinite(sd) and sd >= 0):
        raise ValueError(f"a spread is a number from 0 on, not {sd}")
    if not level < power < 1:
        raise ValueError(f"a power lies between the level {level:g} and 1, not {power}")
    if n < 2:
        return math.inf
    return sd / math.sqrt(n) * _shift(n, level, power)


@cache
def _shift(n: int, level: float, power: float) -> float:
    """The noncentrality with this power."""
    from scipy import optimize  # half a second, which nothing else needs

    above = critical_t(n, level) + 10.0
    while _power(above, n, level) < power:
        above *= 2
    return float(optimize.brentq(lambda shift: _power(shift, n, level) - power, 0.0, above))


def seeds_needed(
    mean: float,
    sd: float,
    n: int,
    margin: float,
    level: float = ONE_SIDED,
    power: float = POWER,
    least: int = 2,
) -> SeedsNeeded:
    """How many seeds in all would tell a difference from its margin, as a range.

    Args:
        mean: The mean found, taken for the true one.
        sd: The standard deviation over seeds found; its 80 % interval makes the range.
        n: The seeds that both were found with, at least two.
        margin: What the difference is held against.
        level: The one-sided level of the test.
        power: With what probability the test should tell.
        least: The fewest seeds that may say it.
    """
    distance = abs(mean - margin)
    ends = [_seeds(distance, end, level, power) for end in sd_interval(sd, n)]
    return seeds_range(*(max(end, least, n + 1) for end in ends))


def _seeds(distance: float, sd: float, level: float, power: float) -> int:
    """The fewest seeds with this power; more than `MOST_SEEDS` where those don't do."""
    below, enough = 1, MOST_SEEDS + 1
    if distance <= 0:
        return enough if sd > 0 else 2
    while enough - below > 1:
        middle = (below + enough) // 2
        told = power_larger(distance, sd, middle, 0.0, level) >= power
        below, enough = (below, middle) if told else (middle, enough)
    return enough
