"""What so many seeds can tell of a difference and its margin, and how many it would take.

One-sided Student t tests, with the spread as given; power by the noncentral t distribution.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy import optimize, stats

from recalltrap_analysis.statistics.effect_sizes import noncentral_t_cdf
from recalltrap_analysis.statistics.looks import critical_t
from recalltrap_analysis.statistics.student import ONE_SIDED

POWER = 0.8
SPREAD_CONFIDENCE = 0.8
"""Of the interval of a standard deviation behind a range of seeds."""
MOST_SEEDS = 100
"""Beyond so many in all, no study is worth its seeds."""


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
    above = critical_t(n, level) + 10.0
    while _power(above, n, level) < power:
        above *= 2
    return float(optimize.brentq(lambda shift: _power(shift, n, level) - power, 0.0, above))


def sd_interval(sd: float, n: int, confidence: float = SPREAD_CONFIDENCE) -> tuple[float, float]:
    """The interval of a standard deviation estimated from n normal values, by chi-square.

    Raises:
        ValueError: fewer than two values.
    """
    if n < 2:
        raise ValueError("one seed says nothing of how much seeds differ")
    tail = (1 - confidence) / 2
    low, high = (
        sd * math.sqrt((n - 1) / float(stats.chi2.ppf(quantile, n - 1)))
        for quantile in (1 - tail, tail)
    )
    return low, high


@dataclass(frozen=True)
class SeedsNeeded:
    """How many seeds in all would settle a difference, were its true mean the one found.

    `low` and `high` come from the ends of the interval of its spread, both at most `MOST_SEEDS`;
    `capped` says that the upper end was cut there, `sensible` that the lower end wasn't.
    """

    low: int
    high: int
    sensible: bool
    capped: bool

    def more_text(self, n: int) -> str:
        """How many more than n, e.g. ``4 to 11 more seeds``."""
        if not self.sensible:
            return f"can't be settled at a sensible cost (more than {MOST_SEEDS} seeds)"
        low, high = (max(1, end - n) for end in (self.low, self.high))
        if self.capped:
            return f"{low} to over {high} more seeds"
        if low == high:
            return f"{low} more seed{'s' if low > 1 else ''}"
        return f"{low} to {high} more seeds"


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
    low, high = (max(end, least, n + 1) for end in ends)
    return SeedsNeeded(
        min(low, MOST_SEEDS), min(high, MOST_SEEDS), low <= MOST_SEEDS, high > MOST_SEEDS
    )


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


def seeds_for_width(sd: float, n: int, width: float) -> SeedsNeeded:
    """How many seeds in all give a 95 % t interval of the mean no wider than `width`, as a range.

    Args:
        sd: The standard deviation over seeds found; its 80 % interval makes the range.
        n: The seeds that it was found with, at least two.
        width: Of the interval.
    """
    if not width > 0:
        raise ValueError(f"a width of {width:g} is not positive")
    counts = np.arange(2, MOST_SEEDS + 1)
    unit_widths = 2 * stats.t.ppf(0.975, counts - 1) / np.sqrt(counts)
    ends = []
    for end in sd_interval(sd, n):
        enough = counts[end * unit_widths <= width]
        ends.append(int(enough[0]) if enough.size else MOST_SEEDS + 1)
    low, high = ends
    return SeedsNeeded(
        min(low, MOST_SEEDS), min(high, MOST_SEEDS), low <= MOST_SEEDS, high > MOST_SEEDS
    )
