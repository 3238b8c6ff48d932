"""How many seeds would make an interval as narrow as asked, as a range, and the range's words.

A plan, not a promise: the spread over seeds is itself estimated, so an answer has two ends.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from recalltrap_analysis.statistics.paired import CONFIDENCE, JACKKNIFE, WILSON, Estimate
from recalltrap_analysis.statistics.quantiles import chi2_quantiles, normal_quantile, t_quantile

UPPER = 0.5 + CONFIDENCE / 2
SPREAD_CONFIDENCE = 0.8
"""Of the interval of a standard deviation behind a range of seeds."""
MOST_SEEDS = 100
"""Beyond so many in all, no study is worth its seeds."""


@dataclass(frozen=True)
class SeedsNeeded:
    """How many seeds in all something takes, were the truth what was found.

    `low` and `high` come from the ends of the interval of its spread, both at most `MOST_SEEDS`;
    `capped` says that the upper end was cut there, `sensible` that the lower end wasn't.
    """

    low: int
    high: int
    sensible: bool
    capped: bool

    def text(self) -> str:
        """How many in all, e.g. ``12 to 19``."""
        if not self.sensible:
            return f"more than {MOST_SEEDS}"
        if self.capped:
            return f"{self.low} to over {self.high}"
        return f"{self.low} to {self.high}" if self.low < self.high else f"{self.low}"

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


def seeds_range(low: int, high: int) -> SeedsNeeded:
    """The range between two numbers of seeds, capped."""
    return SeedsNeeded(
        min(low, MOST_SEEDS), min(high, MOST_SEEDS), low <= MOST_SEEDS, high > MOST_SEEDS
    )


def sd_interval(sd: float, n: int, confidence: float = SPREAD_CONFIDENCE) -> tuple[float, float]:
    """The interval of a standard deviation estimated from n normal values, by chi-square.

    Raises:
        ValueError: fewer than two values.
    """
    if n < 2:
        raise ValueError("one seed says nothing of how much seeds differ")
    tail = (1 - confidence) / 2
    low, high = (
        sd * math.sqrt((n - 1) / float(chi2_quantiles(quantile, n - 1)))
        for quantile in (1 - tail, tail)
    )
    return low, high


def seeds_for_width(estimate: Estimate, width: float) -> SeedsNeeded:
    """How many seeds in all would give an interval no wider than `width`, as a range.

    Scales the estimate's own interval with its number of seeds, at either end of the 80 % interval
    of the spread behind it. Ratios of spreads scale on the log axis, everything else as Student's
    t does; shares by Wilson's formula, whose spread the share itself fixes: one number.

    Raises:
        ValueError: the estimate has no interval to scale, or the width is not positive.
    """
    if not width > 0:
        raise ValueError(f"a width of {width:g} is not positive")
    if not (math.isfinite(estimate.low) and math.isfinite(estimate.high)):
        raise ValueError(f"{estimate.method}: nothing says how wide more seeds would make it")
    return seeds_range(*(_enough(estimate, width, end) for end in sd_interval(1.0, estimate.n)))


def _enough(estimate: Estimate, width: float, spread: float) -> int:
    """The fewest seeds whose interval is narrow enough; more than `MOST_SEEDS` if those aren't."""
    below, enough = 1, MOST_SEEDS + 1
    while enough - below > 1:
        middle = (below + enough) // 2
        narrow = width_at(estimate, middle, spread) <= width
        below, enough = (below, middle) if narrow else (middle, enough)
    return enough


def width_at(estimate: Estimate, n: int, spread: float = 1.0) -> float:
    """The width to expect of an estimate's interval with n seeds; endless for one.

    `spread`: how many times as large as estimated the spread over seeds is; a share has none.
    """
    if estimate.method == WILSON:
        z, share = normal_quantile(UPPER), estimate.value
        spread = share * (1 - share) / n + z**2 / (4 * n**2)
        return 2 * z / (1 + z**2 / n) * math.sqrt(spread)
    if n < 2 or (estimate.method == JACKKNIFE and n < 3):
        return math.inf
    now, then = (t_quantile(UPPER, m - 1) / math.sqrt(m) for m in (estimate.n, n))
    if estimate.method == JACKKNIFE:
        half = math.log(estimate.high / estimate.low) / 2 * spread * (then / now)
        return 2 * estimate.value * math.sinh(min(half, 600.0))
    return (estimate.high - estimate.low) * spread * (then / now)
