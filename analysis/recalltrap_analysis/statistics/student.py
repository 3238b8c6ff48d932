"""Student's t for verdicts on a margin: intervals, bounds, p-values, and shares of a whole.

The t interval is used at every number of seeds here, so that a bound on either side, and a bound
adjusted for looks at the data, come from the same two numbers. Shapes: N seeds.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from scipy.special import stdtr

from recalltrap_analysis.statistics.paired import (
    CONFIDENCE,
    STUDENT,
    Estimate,
    finite,
)
from recalltrap_analysis.statistics.quantiles import t_quantile

ONE_SIDED = 0.05
FIELLER = "Fieller"
ONE_SEED = "no interval: one seed"


def student_interval(values_N: npt.ArrayLike) -> Estimate:
    """The mean over seeds with its 95 % interval by Student's t; for pairs pass the differences.

    Raises:
        ValueError: no seeds, or a value that is not finite.
    """
    values_N = finite(values_N)
    n = len(values_N)
    mean = float(values_N.mean())
    if n == 1:
        return Estimate(mean, np.nan, np.nan, ONE_SEED, 1)
    from_mean_N = (
        values_N - mean
    )  # a report asks thousands of times: `std` takes five times as long
    deviation = math.sqrt(float(from_mean_N @ from_mean_N) / (n - 1))
    half = t_quantile(0.5 + CONFIDENCE / 2, n - 1) * deviation / n**0.5
    return Estimate(mean, mean - half, mean + half, STUDENT, n)


def one_sided_bounds(
    estimate: Estimate, alpha: float = ONE_SIDED, freedom: float | None = None
) -> tuple[float, float]:
    """The bounds that the true mean lies above, and below, each at level 1 - alpha.

    Args:
        estimate: Of `student_interval`, or another t interval.
        alpha: The risk of each bound by itself.
        freedom: The interval's degrees of freedom, where they aren't the seeds less one.

    Returns:
        Lower and upper bound; NaN where there is no interval.
    """
    if estimate.n < 2:
        return np.nan, np.nan
    if freedom is None:
        assert estimate.method == STUDENT, "a bound at another level needs Student's t"
        freedom = estimate.n - 1
    widths = t_quantile(1 - alpha, freedom) / t_quantile(0.5 + CONFIDENCE / 2, freedom)
    half = widths * (estimate.high - estimate.low) / 2
    return estimate.value - half, estimate.value + half


def p_larger(values_N: npt.ArrayLike, margin: float) -> float:
    """One-sided p-value of a true mean at or below the margin: small says that it is larger.

    Student's t, so that it is at most alpha where the bound of level 1 - alpha lies beyond the
    margin. Values that don't vary decide by their mean alone; NaN with one seed.

    Raises:
        ValueError: no seeds, or a value that is not finite.
    """
    mean, error, freedom = _mean_error(values_N)
    if freedom < 1:
        return np.nan
    if error == 0:
        return float(mean <= margin)
    return float(stdtr(freedom, (margin - mean) / error))


def p_not_larger(values_N: npt.ArrayLike, margin: float) -> float:
    """One-sided p-value of a true mean beyond the margin: small says that it is not larger."""
    return 1.0 - p_larger(values_N, margin)


def p_smaller(values_N: npt.ArrayLike, margin: float) -> float:
    """One-sided p-value of a true mean at or above minus the margin: small says smaller."""
    return p_larger(-finite(values_N), margin)


def p_not_smaller(values_N: npt.ArrayLike, margin: float) -> float:
    """One-sided p-value of a true mean below minus the margin: small says not smaller."""
    return p_not_larger(-finite(values_N), margin)


def _mean_error(values_N: npt.ArrayLike) -> tuple[float, float, int]:
    """Mean, standard error and degrees of freedom; no error with one seed."""
    values_N = finite(values_N)
    n = len(values_N)
    error = float(values_N.std(ddof=1)) / n**0.5 if n > 1 else np.nan
    return float(values_N.mean()), error, n - 1


def share_of_whole(part_N: npt.ArrayLike, whole_N: npt.ArrayLike) -> Estimate:
    """Mean of a part divided by the mean of its whole, with Fieller's interval (Fieller 1954).

    Args:
        part_N: The part, one value per seed.
        whole_N: What it is a part of, for the same seeds in the same order.

    Returns:
        An estimate without an interval where the whole isn't clear of 0: any share would do then.
    """
    part_N, whole_N = finite(part_N), finite(whole_N)
    if part_N.shape != whole_N.shape:
        raise ValueError("a part and its whole must have the same seeds")
    n = len(part_N)
    part, whole = float(part_N.mean()), float(whole_N.mean())
    value = part / whole if whole else np.nan
    if n < 2:
        return Estimate(value, np.nan, np.nan, ONE_SEED, n)
    (var_p, covariance), (_, var_w) = np.cov(part_N, whole_N) / n
    t2 = t_quantile(0.5 + CONFIDENCE / 2, n - 1) ** 2
    # The shares that a t test of part - share * whole doesn't reject: a quadratic in the share.
    a, b, c = whole**2 - t2 * var_w, part * whole - t2 * covariance, part**2 - t2 * var_p
    if a <= 0:
        return Estimate(value, np.nan, np.nan, "no interval: the whole isn't clear of 0", n)
    root = float(np.sqrt(max(0.0, b**2 - a * c)))
    return Estimate(value, float((b - root) / a), float((b + root) / a), FIELLER, n)
