"""Looking at the data more than once: the level of each look that keeps the risk of all of them.

Pocock's shape (Pocock 1977): one nominal level for every look. His boundaries are for a known
spread; these are for Student's t, by simulation, since few seeds make the difference. K looks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache

import numpy as np
from scipy.special import stdtr, stdtrit

from recalltrap.streams import stream
from recalltrap_analysis.statistics.paired import Array
from recalltrap_analysis.statistics.student import ONE_SIDED

DRAWS = 250_000
"""Each is read in both directions; the risk of all looks then has a standard error of 0.0003, one
shared by 8 tests of 0.0009."""
LEAST_SEEDS = 2
"""A look at fewer tests nothing."""


def nominal_level(looks: Sequence[int], level: float = ONE_SIDED, tests: int = 1) -> float:
    """The one-sided level of every look that rejects a true null with probability `level` in all.

    Args:
        looks: Numbers of seeds at which the data are judged, in any order; each look holds the
            seeds of those before it. None or one needs no adjustment.
        level: The risk over all looks together.
        tests: Of how many tests Holm's adjusted p-values are compared with the result. A smaller
            risk is shared by the looks less well, so this can't be the level of a single test:
            it is Bonferroni's over tests, which Holm's steps after the first only stay under.

    Returns:
        `level` itself without a second look.

    Raises:
        ValueError: a level that isn't between 0 and 0.5, or no test.
    """
    if not 0 < level < 0.5:
        raise ValueError(f"a one-sided level is between 0 and 0.5, not {level}")
    if tests < 1:
        raise ValueError(f"{tests} tests have no level")
    counted = tuple(sorted({int(n) for n in looks if n >= LEAST_SEEDS}))
    if len(counted) < 2:
        return level
    return tests * _one_test(counted, level / tests)


@cache
def _one_test(looks: tuple[int, ...], level: float) -> float:
    """The quantile of the smallest p-value over the looks, under the null."""
    smallest_S = _smallest_p(looks)
    rank = level * len(smallest_S)
    if rank < 50:  # too deep in the tail to simulate: a union bound, which is never too lenient
        return level / len(looks)
    return float(np.quantile(smallest_S, level))


@cache
def _smallest_p(looks: tuple[int, ...]) -> Array:
    """The smallest one-sided p-value over the looks, by study without an effect; shape [2 S]."""
    largest_t = {direction: np.full(DRAWS, np.inf) for direction in (1, -1)}
    for n, t_S in zip(looks, nested_t(looks, DRAWS), strict=True):
        # Only p-values below a half compete, and most studies have their smallest elsewhere.
        for direction, smallest_S in largest_t.items():
            p_S = np.ones(DRAWS)
            promising_S = direction * t_S > 0
            p_S[promising_S] = stdtr(n - 1, -direction * t_S[promising_S])
            np.minimum(smallest_S, p_S, out=smallest_S)
    return np.concatenate(list(largest_t.values()))


def nested_t(looks: Sequence[int], draws: int, shift: float = 0.0) -> list[Array]:
    """t statistics of one growing normal sample at every look, by simulated study.

    Drawn as what they depend on, each group's sum and its sum of squares about its own mean,
    instead of seed by seed.

    Args:
        looks: Numbers of seeds, rising, from two on.
        draws: How many studies to simulate.
        shift: The true mean in standard deviations.

    Returns:
        One array of shape [draws] per look.
    """
    generator = stream(0, "analysis/looks")
    total_S, square_S = np.zeros(draws), np.zeros(draws)
    found, before = [], 0
    for n in looks:
        new = n - before
        sum_S = new * shift + math.sqrt(new) * generator.standard_normal(draws)
        square_S += sum_S**2 / new
        if new > 1:
            square_S += generator.chisquare(new - 1, size=draws)
        total_S += sum_S
        variance_S = (square_S - total_S**2 / n) / (n - 1)
        found.append(total_S / np.sqrt(n * variance_S))
        before = n
    return found


def critical_t(n: int, level: float) -> float:
    """The t statistic of n seeds above which a one-sided test rejects."""
    return float(stdtrit(n - 1, 1 - level))
