"""Beside the mean over seeds: its robust sister, effect sizes, and spread.

Shapes: N seeds. Pairs stand at equal positions; values that are not finite are refused.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache, lru_cache

import numpy as np
import numpy.typing as npt
from scipy.special import fdtrc, ndtr

from recalltrap_analysis.statistics.paired import (
    CONFIDENCE,
    Array,
    Estimate,
    finite,
)
from recalltrap_analysis.statistics.quantiles import chi2_quantiles, normal_quantile, t_quantile

TRIM = 0.25
UPPER = 0.5 + CONFIDENCE / 2
WINSORISED = "Tukey-McLaughlin"
NONCENTRAL, LARGE_EFFECT = "noncentral t", "normal approximation"
FIELLER = "Fieller"
NONCENTRAL_UP_TO = 30.0


def interquartile_mean(values_N: npt.ArrayLike) -> Estimate:
    """The mean of the middle half of the seeds (IQM), with its interval.

    A quarter of the seeds, rounded down, is left out at each end. The interval is that of a
    trimmed mean: winsorised sd, Student's t (Tukey and McLaughlin 1963).

    Raises:
        ValueError: no seeds, or a value that is not finite.
    """
    values_N = np.sort(finite(values_N))
    n = values_N.size
    cut = int(TRIM * n)
    value = float(values_N[cut : n - cut].mean())
    freedom = n - 2 * cut - 1
    if freedom < 1:
        return Estimate(value, np.nan, np.nan, "no interval: one seed", n)
    winsorised_N = np.clip(values_N, values_N[cut], values_N[n - cut - 1])
    error = winsorised_N.std(ddof=1) * math.sqrt(n) / (n - 2 * cut)
    half = float(t_quantile(UPPER, freedom) * error)
    return Estimate(value, value - half, value + half, WINSORISED, n)


def effect_size(first_N: npt.ArrayLike, second_N: npt.ArrayLike) -> Estimate:
    """Paired effect size d_z: mean of first - second over the sd of the differences.

    The interval inverts the noncentral t distribution, exact for normal differences; where t is
    beyond 30 it is the normal approximation (Hedges and Olkin 1985).

    Raises:
        ValueError: the arms are not pairs, or their difference does not vary.
    """
    first_N, second_N = finite(first_N), finite(second_N)
    if first_N.shape != second_N.shape:
        raise ValueError("the two arms hold different numbers of seeds, so they are not pairs")
    difference_N = first_N - second_N
    n = difference_N.size
    if n < 2:
        return Estimate(np.nan, np.nan, np.nan, "no effect size: one seed", n)
    sd = float(difference_N.std(ddof=1))
    scale = max(float(np.abs(first_N).max()), float(np.abs(second_N).max()))
    if sd <= 1e-12 * scale or sd == 0:
        raise ValueError("the differences do not vary over the seeds: they have no effect size")
    value = float(difference_N.mean()) / sd
    t = value * math.sqrt(n)
    if abs(t) > NONCENTRAL_UP_TO:
        half = normal_quantile(UPPER) * math.sqrt(1 / n + value**2 / (2 * (n - 1)))
        return Estimate(value, value - half, value + half, LARGE_EFFECT, n)
    low, high = (_noncentrality(t, n - 1, level) for level in (UPPER, 1 - UPPER))
    return Estimate(value, low / math.sqrt(n), high / math.sqrt(n), NONCENTRAL, n)


def _noncentrality(t: float, freedom: int, level: float) -> float:
    """The noncentrality under which a t as small as this has probability `level`."""
    reach = 10.0 + 3 * abs(t)  # with few seeds the interval reaches far beyond t itself
    from scipy import optimize  # half a second, which nothing else needs

    return float(
        optimize.brentq(
            lambda shift: noncentral_t_cdf(t, freedom, shift) - level, t - reach, t + reach
        )
    )


def noncentral_t_cdf(t: float, freedom: int, shift: float) -> float:
    """P(T <= t) of the noncentral t, the normal's cdf averaged over the chi-squared quantiles.

    scipy's `nct.cdf` (1.17) is NaN at some shifts in the tails, which stops a root finder.
    """
    weights, scale = _chi_nodes(freedom)
    return float(weights @ ndtr(t * scale - shift))


@lru_cache(maxsize=64)
def _chi_nodes(freedom: int) -> tuple[Array, Array]:
    """Weights and values of sqrt(chi squared / freedom) that average over its distribution."""
    nodes, weights = _legendre_nodes()
    return weights / 2, np.sqrt(chi2_quantiles((nodes + 1) / 2, freedom) / freedom)


@cache
def _legendre_nodes() -> tuple[Array, Array]:
    nodes, weights = np.polynomial.legendre.leggauss(200)
    return nodes, weights


def brown_forsythe(groups: Sequence[npt.ArrayLike]) -> float:
    """p-value of equal spread in all groups: Levene's test around the medians.

    It takes the groups for independent; for paired arms the instability ratio's interval is the
    sharper statement. NaN where no group varies.

    Raises:
        ValueError: fewer than two groups, or one with fewer than two seeds.
    """
    values = [finite(group) for group in groups]
    if len(values) < 2 or min(group.size for group in values) < 2:
        raise ValueError("a test of equal spread needs two groups of at least two seeds")
    deviations = [np.abs(group - np.median(group)) for group in values]
    if all(np.ptp(group) == 0 for group in deviations):
        return math.nan
    sizes, means = [group.size for group in deviations], [group.mean() for group in deviations]
    grand = sum(size * mean for size, mean in zip(sizes, means, strict=True)) / sum(sizes)
    between = sum(size * (mean - grand) ** 2 for size, mean in zip(sizes, means, strict=True))
    within = sum(((group - mean) ** 2).sum() for group, mean in zip(deviations, means, strict=True))
    # one-way analysis of variance of the deviations
    above, below = len(values) - 1.0, sum(sizes) - len(values)
    with np.errstate(divide="ignore"):
        return float(fdtrc(above, below, below * between / (above * within)))


def ratio_of_means(first_N: npt.ArrayLike, second_N: npt.ArrayLike) -> Estimate:
    """mean(first) / mean(second) over paired seeds, with Fieller's interval.

    Where the denominator can't be told from 0 the interval is unbounded: `high` is inf.

    Raises:
        ValueError: the arms are not pairs, or the denominator's mean is not positive.
    """
    first_N, second_N = finite(first_N), finite(second_N)
    if first_N.shape != second_N.shape:
        raise ValueError("the two arms hold different numbers of seeds, so they are not pairs")
    n = first_N.size
    x, y = float(first_N.mean()), float(second_N.mean())
    if y <= 0:
        raise ValueError("the denominator's mean is not positive: there is no ratio")
    if n < 2:
        return Estimate(x / y, np.nan, np.nan, "no interval: one seed", n)
    t2 = t_quantile(UPPER, n - 1) ** 2 / n
    (xx, xy), (_, yy) = np.cov(first_N, second_N)
    # the ratios r with (x - r y)^2 <= t^2 var(x - r y)
    a, b, c = y**2 - t2 * yy, x * y - t2 * xy, x**2 - t2 * xx
    root = math.sqrt(max(b**2 - a * c, 0.0))
    if a <= 0:
        low = (b - root) / a if a < 0 and b**2 > a * c else -math.inf
        return Estimate(x / y, min(low, x / y), math.inf, FIELLER, n)
    return Estimate(x / y, (b - root) / a, (b + root) / a, FIELLER, n)
